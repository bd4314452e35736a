"""The worker: duties done one after the other, again and again; each says whether it found work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from traceback import extract_tb

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from storage import changes, device_figures, jobs
from storage.database import Database, utc_now
from storage.imaging import ArrivalState, Study
from storage.instance_headers import fill_headers
from storage.instance_lists import InstanceList
from storage.jobs import Job
from storage.objects import ObjectStore
from storage.proposals import compare_patients
from storage.sound import SoundObjects
from worklist.arrivals import settle_studies, weigh_lists
from worklist.holdings import HOLDINGS
from worklist.policy import read_policy
from worklist.reading_tasks import LEASED, ReadingTask, expire_leases

log = structlog.get_logger("worker")

Duty = Callable[[], bool]
Handler = Callable[[Job], None]

POLL = 0.25  # seconds between looks when there is nothing to do
CHANGES_KEPT = timedelta(days=2)


class PermanentFailure(Exception):
    """Trying the job again cannot help; it goes to the operator, who reads the sentence."""

    is_harmless = True


def duties(database: Database, objects: ObjectStore, handlers: Mapping[str, Handler]) -> list[Duty]:
    """What a worker does, in the order in which lateness hurts."""
    owner, sound = jobs.new_owner(), SoundObjects(database, objects, HOLDINGS)
    return [
        lambda: weigh(database),
        lambda: settle(database),
        lambda: expire(database),
        lambda: run_job(database, handlers, owner=owner),
        lambda: compare_patients(database, now=utc_now()),
        lambda: fill_headers(database, sound, now=utc_now()),
        Every(timedelta(hours=1), lambda: sweep_changes(database)),
    ]


def run_once(duties: Sequence[Duty]) -> bool:
    """Do every duty once. One that fails does not keep the others from their turn. True: there was work."""
    found = False
    for duty in duties:
        try:
            found = duty() or found
        except Exception as error:
            # The class only: a message may quote a row, and rows hold patients.
            log.error("duty failed", error=type(error).__name__, at=_where(error))
    return found


def run(duties: Sequence[Duty], stop: threading.Event) -> None:
    """Work until `stop` is set."""
    while not stop.is_set():
        if not run_once(duties):
            stop.wait(POLL)


def weigh(database: Database) -> bool:
    with database.reading() as session:
        if session.scalar(select(InstanceList.id).where(InstanceList.weighed_at.is_(None)).limit(1)) is None:
            return False
    return database.in_transaction(lambda session: weigh_lists(session, now=utc_now())) > 0


def settle(database: Database) -> bool:
    with database.reading() as session:
        quiet = read_policy(session).quiet
        if not _is_anything_receiving(session):
            return False
    settled = database.in_transaction(lambda session: settle_studies(session, now=utc_now(), quiet=quiet))
    return settled > 0


def expire(database: Database) -> bool:
    with database.reading() as session:
        if not _is_any_lease_lapsed(session):
            return False
    return database.in_transaction(lambda session: expire_leases(session, now=utc_now())) > 0


def run_job(database: Database, handlers: Mapping[str, Handler], *, owner: str) -> bool:
    """Claim one job, do it outside any transaction, and say how it went."""
    with database.reading() as session:
        if not jobs.is_any_due(session, handlers, now=utc_now()):
            return False
    job = database.in_transaction(lambda session: jobs.claim(session, handlers, owner=owner, now=utc_now()))
    if job is None:
        return False
    done = threading.Event()
    renewal = threading.Thread(target=_renew, args=(database, job, done), daemon=True)
    renewal.start()
    try:
        handlers[job.kind](job)
    except Exception as error:
        failure, permanent = error, isinstance(error, PermanentFailure)
        log.warning(
            "job failed", kind=job.kind, job=job.id, attempt=job.attempts, error=type(error).__name__,
            at=_where(error),
        )  # fmt: skip
        database.in_transaction(
            lambda session: jobs.retry(session, job, error=failure, now=utc_now(), permanent=permanent)
        )
    else:
        database.in_transaction(lambda session: jobs.finish(session, job, now=utc_now()))
    finally:
        done.set()
        renewal.join()
    return True


def sweep_changes(database: Database) -> bool:
    with database.transaction() as session:
        changes.forget(session, older_than=CHANGES_KEPT)
        # Nodes forget their own; of one that never came back nobody else would.
        device_figures.forget(session, now=utc_now())
    return False


class Every:
    """A duty that is done at most once in `period`."""

    def __init__(self, period: timedelta, duty: Duty) -> None:
        self._period, self._duty = period, duty
        self._due_at = utc_now() + period

    def __call__(self) -> bool:
        if utc_now() < self._due_at:
            return False
        self._due_at = utc_now() + self._period
        return self._duty()


def _renew(database: Database, job: Job, done: threading.Event) -> None:
    while not done.wait(jobs.LEASE.total_seconds() / 3):
        database.in_transaction(lambda session: jobs.renew(session, job, now=utc_now()))


def _is_anything_receiving(session: Session) -> bool:
    return (
        session.scalar(select(Study.id).where(Study.arrival_state == ArrivalState.RECEIVING).limit(1))
        is not None
    )


def _is_any_lease_lapsed(session: Session) -> bool:
    lapsed = select(ReadingTask.id).where(ReadingTask.state.in_(LEASED), ReadingTask.lease_until < utc_now())
    return session.scalar(lapsed.limit(1)) is not None


def _where(error: BaseException) -> str:
    """File and line of the failure, without its message."""
    frames = extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rsplit('/', 2)[-1]}:{frames[-1].lineno}" if frames else ""
