"""Work for later, as rows: enqueued in the transaction of its cause, claimed under a lease, retried.

Effects outside the database happen at least once; a job's key makes the receiver able to tell.
"""

from __future__ import annotations

import os
import random
import socket
import uuid
from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Index, UniqueConstraint, and_, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage.database import Base, utc_now

LEASE = timedelta(seconds=60)
LONGEST_PAUSE = timedelta(minutes=30)
UNSAID = "the worker's log says where"


class JobState(StrEnum):
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"  # gave up; an operator sees it and may send it round again


class Job(Base):
    __tablename__ = "jobs"
    __table_args__ = (UniqueConstraint("kind", "key"), Index(None, "state", "due_at"))
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    key: Mapped[str]  # says what this work is; the same work twice is one job
    payload: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(default=JobState.READY)
    due_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    give_up_at: Mapped[datetime]
    owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    last_error: Mapped[str | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


def enqueue(
    session: Session,
    kind: str,
    key: str,
    payload: dict[str, Any],
    *,
    delay: timedelta = timedelta(0),
    patience: timedelta = timedelta(hours=72),
) -> None:
    """The job exists if and only if this transaction commits; the same kind and key again is nothing new."""
    now = utc_now()
    insert = sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgresql_insert
    session.execute(
        insert(Job)
        .values(
            kind=kind,
            key=key,
            payload=payload,
            state=JobState.READY,
            due_at=now + delay,
            attempts=0,
            give_up_at=now + patience,
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=["kind", "key"])
    )


def new_owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def is_any_due(session: Session, kinds: Collection[str], *, now: datetime) -> bool:
    """A look that takes no lock, so that idle workers do not queue for the writer's place."""
    return session.scalar(select(Job.id).where(_due(kinds, now)).limit(1)) is not None


def claim(session: Session, kinds: Collection[str], *, owner: str, now: datetime) -> Job | None:
    """The job that is due longest, leased to `owner`; a lease that ran out is due again."""
    job = session.scalar(
        select(Job)
        .where(_due(kinds, now))
        .order_by(Job.due_at, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if job is None:
        return None
    job.state, job.owner, job.lease_until = JobState.RUNNING, owner, now + LEASE
    job.attempts += 1
    return job


def claim_this(
    session: Session, kind: str, key: str, *, owner: str, lease: timedelta, now: datetime
) -> Job | None:
    """This very job, leased to `owner` before it is due; None where somebody has it or has done it."""
    job = session.scalar(
        select(Job).where(Job.kind == kind, Job.key == key, Job.state == JobState.READY).with_for_update()
    )
    if job is None:
        return None
    job.state, job.owner, job.lease_until = JobState.RUNNING, owner, now + lease
    job.attempts += 1
    return job


def hand_back(session: Session, job: Job, *, now: datetime) -> bool:
    """Undone, but not failed: due at once, for whoever claims it next."""
    return _fenced(
        session, job, state=JobState.READY, due_at=now, lease_until=None, attempts=job.attempts - 1
    )


def ask_again(
    session: Session, kind: str, key: str, *, delay: timedelta, patience: timedelta, now: datetime
) -> None:
    """Whoever waits for this work asks once more after it was done, or given up: it is done once more."""
    session.execute(
        update(Job)
        .where(Job.kind == kind, Job.key == key, Job.state.in_((JobState.DONE, JobState.DEAD)))
        .values(
            state=JobState.READY,
            due_at=now + delay,
            give_up_at=now + patience,
            attempts=0,
            finished_at=None,
            last_error=None,
        )
    )


def finish(session: Session, job: Job, *, now: datetime) -> bool:
    """Mark the job done; False when another worker has taken it over meanwhile (then undo your effects)."""
    return _fenced(session, job, state=JobState.DONE, finished_at=now, lease_until=None, last_error=None)


def reason_of(error: Exception) -> str:
    """The error's type and what may be said of it: a job's reason is shown to operators and named in logs.

    An error of the connection speaks of a peer, one of the system of its number, and whoever raises one
    with `is_harmless` promises that its sentence is our own. Any other message may quote a patient.
    """
    if isinstance(error, OSError) and error.errno is not None:
        sentence = os.strerror(error.errno)
    elif isinstance(error, ConnectionError) or getattr(error, "is_harmless", False):
        sentence = str(error)
    else:
        sentence = UNSAID
    return f"{type(error).__name__}: {sentence}"[:2000]


def retry(session: Session, job: Job, *, error: Exception, now: datetime, permanent: bool = False) -> bool:
    """Put the job back with a growing pause; dead once it is permanent or its patience has run out."""
    reason = reason_of(error)
    pause = min(LONGEST_PAUSE, timedelta(seconds=2.0 * 2 ** min(job.attempts, 12))) * random.uniform(
        0.75, 1.25
    )
    if permanent or now + pause > job.give_up_at:
        return _fenced(
            session, job, state=JobState.DEAD, finished_at=now, lease_until=None, last_error=reason
        )
    return _fenced(
        session, job, state=JobState.READY, due_at=now + pause, lease_until=None, last_error=reason
    )


def renew(session: Session, job: Job, *, now: datetime) -> bool:
    return _fenced(session, job, lease_until=now + LEASE)


def revive(session: Session, job_id: int, *, now: datetime) -> bool:
    """An operator sends a dead job round again."""
    changed = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.state == JobState.DEAD)
        .values(state=JobState.READY, due_at=now, give_up_at=now + timedelta(hours=72), finished_at=None)
    )
    return bool(changed.rowcount == 1)  # type: ignore[attr-defined]


def _due(kinds: Collection[str], now: datetime) -> ColumnElement[bool]:
    return and_(
        Job.kind.in_(list(kinds)),
        or_(
            and_(Job.state == JobState.READY, Job.due_at <= now),
            and_(Job.state == JobState.RUNNING, Job.lease_until < now),
        ),
    )


def _fenced(session: Session, job: Job, **values: Any) -> bool:
    # Only the owner of this very attempt may change the row: a worker that slept past its lease may not.
    changed = session.execute(
        update(Job)
        .where(
            Job.id == job.id,
            Job.owner == job.owner,
            Job.attempts == job.attempts,
            Job.state == JobState.RUNNING,
        )
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    return bool(changed.rowcount == 1)  # type: ignore[attr-defined]
