"""Who sees two contents of one UID, and who decides on them; the deciding itself is storage.conflicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy import ColumnElement, false, func, select, true
from sqlalchemy.orm import Session

from storage import conflicts
from storage.conflicts import CannotDecide, Decision, NotSeparable
from storage.database import Database
from storage.imaging import Instance, QuarantinedInstance
from storage.jobs import Job
from storage.objects import ObjectStore
from storage.sound import SoundObjects
from worklist.holdings import HOLDINGS
from worklist.people import Role, Who, must_have
from worklist.problems import Missing, Refused, Unacceptable, WrongState
from worklist.worker import Handler, PermanentFailure

MAY_DECIDE = (Role.ADMINISTRATOR, Role.DIRECTOR, Role.TECHNICIAN)
SHORTEST_REASON = 5


@dataclass(frozen=True)
class Conflict:
    """What was kept aside, and what stands in its place as far as this person may see it."""

    second: QuarantinedInstance
    first: Instance | None
    is_first_hidden: bool  # it belongs to another institution


def visible_conflicts(person: Who) -> ColumnElement[bool]:
    """Administrators and directors of the centre see all, technicians what their own institution sent."""
    if person.has(Role.ADMINISTRATOR, Role.DIRECTOR):
        return true()
    own = QuarantinedInstance.institution_code == person.institution_code
    return own if person.has(Role.TECHNICIAN) else false()


def conflicts_for(
    session: Session, person: Who, *, only_open: bool = True, before: int | None = None, limit: int = 100
) -> Sequence[QuarantinedInstance]:
    """What was kept aside, the newest first; `before` is the id where the last page ended."""
    must_have(person, *MAY_DECIDE)
    statement = select(QuarantinedInstance).where(visible_conflicts(person))
    if only_open:
        statement = statement.where(QuarantinedInstance.resolution.is_(None))
    if before is not None:
        statement = statement.where(QuarantinedInstance.id < before)
    return session.scalars(statement.order_by(QuarantinedInstance.id.desc()).limit(limit)).all()


def count_open(session: Session, person: Who) -> int:
    waiting = (
        select(func.count())
        .select_from(QuarantinedInstance)
        .where(visible_conflicts(person), QuarantinedInstance.resolution.is_(None))
    )
    return session.scalar(waiting) or 0


def find_conflict(session: Session, person: Who, conflict_id: int) -> Conflict:
    """One of those that the person sees. Raises Missing."""
    must_have(person, *MAY_DECIDE)
    second = session.scalar(
        select(QuarantinedInstance).where(QuarantinedInstance.id == conflict_id, visible_conflicts(person))
    )
    if second is None:
        raise Missing("nothing of this number is kept aside")
    first = conflicts.first_of(session, second)
    is_hidden = first is not None and not _sees_all(person) and not _is_own(first, person)
    return Conflict(second, None if is_hidden else first, is_hidden)


def count_alike(session: Session, conflict: Conflict) -> int:
    """How many others wait that one decision could be for: same study, same device, same reason."""
    is_open = conflict.second.resolution is None and not conflict.is_first_hidden
    return len(conflicts.alike(session, conflict.second)) if is_open else 0


def decide_conflict(
    session: Session,
    conflict_id: int,
    *,
    decision: str,
    reason: str,
    version: int,
    with_alike: bool = False,
    by: Who,
    now: datetime,
) -> int:
    """Decide on one, or also on all that wait and are alike; how many were decided on.

    Raises Missing, Refused, Unacceptable, and WrongState for the second of two operators.
    """
    found = find_conflict(session, by, conflict_id)
    if decision not in set(Decision):
        raise Unacceptable(f"the decision is one of {', '.join(Decision)}")
    if len(reason.strip()) < SHORTEST_REASON:
        raise Unacceptable("the decision takes a reason that others understand later")
    chosen = [found.second]
    if with_alike and decision != Decision.REOPEN:
        chosen += conflicts.alike(session, found.second)
    for one in chosen:
        if find_conflict(session, by, one.id).is_first_hidden:
            raise Refused("the first content belongs to another institution; the centre decides")
        try:
            conflicts.decide(
                session,
                one,
                Decision(decision),
                reason=reason.strip(),
                version=version if one is found.second else one.version,
                by=by.actor,
                now=now,
            )
        except CannotDecide as error:
            raise WrongState(
                "this has been decided on meanwhile", holder=one.resolved_by, since=one.resolved_at
            ) from error
    return len(chosen)


def handlers(database: Database, objects: ObjectStore) -> dict[str, Handler]:
    """The kind of job that a decision leaves, for the worker."""
    return {conflicts.JOB: partial(separate, database, SoundObjects(database, objects, HOLDINGS))}


def separate(database: Database, objects: ObjectStore, job: Job) -> None:
    """The job that KEEP_BOTH leaves: make the instance."""
    try:
        conflicts.separate(database, objects, job)
    except NotSeparable as error:
        raise PermanentFailure(str(error)) from error


def _sees_all(person: Who) -> bool:
    return person.has(Role.ADMINISTRATOR, Role.DIRECTOR)


def _is_own(first: Instance, person: Who) -> bool:
    return first.series.study.institution_code == person.institution_code
