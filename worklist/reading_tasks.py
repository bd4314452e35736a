"""ReadingTask: states as a table; claim, lease, fence, release, suspend, hand over, return, complete.

A claim is a lease with a fence: a growing number that every later word must carry. Who lost the lease
hears it, and what was typed stays on the typist's side (house law 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, func, or_, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from storage import audit, changes
from storage.audit import CENTER, Act, Actor
from storage.changes import Topic
from storage.database import Base
from storage.identity import name_matches
from storage.imaging import Patient, Study
from worklist.orders import ServiceRequest
from worklist.people import Role, Who, may_read, visible_to
from worklist.policy import read_policy
from worklist.problems import LostRace, Missing, Refused, StaleFence, Unacceptable, WrongState
from worklist.turnaround import due_at, rank


class TaskState(StrEnum):
    WAITING_IMAGES = "waiting-images"
    READY = "ready"
    CLAIMED = "claimed"
    SUSPENDED = "suspended"
    AWAITING_REVIEW = "awaiting-review"
    RETURNED = "returned"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


S = TaskState
TRANSITIONS: dict[tuple[TaskState, str], TaskState] = {
    (S.WAITING_IMAGES, "images"): S.READY,
    (S.READY, "claim"): S.CLAIMED,
    (S.SUSPENDED, "claim"): S.CLAIMED,
    (S.AWAITING_REVIEW, "claim"): S.AWAITING_REVIEW,
    (S.CLAIMED, "claim"): S.CLAIMED,  # a takeover, or a lease that ran out
    (S.CLAIMED, "release"): S.READY,
    (S.CLAIMED, "expire"): S.READY,
    (S.AWAITING_REVIEW, "release"): S.AWAITING_REVIEW,
    (S.AWAITING_REVIEW, "expire"): S.AWAITING_REVIEW,
    (S.CLAIMED, "suspend"): S.SUSPENDED,
    (S.CLAIMED, "hand-over"): S.READY,
    (S.CLAIMED, "return"): S.RETURNED,
    (S.CLAIMED, "complete"): S.COMPLETED,
    (S.CLAIMED, "ask-review"): S.AWAITING_REVIEW,
    (S.AWAITING_REVIEW, "complete"): S.COMPLETED,
    (S.AWAITING_REVIEW, "reject"): S.READY,
    (S.WAITING_IMAGES, "cancel"): S.CANCELLED,
    (S.READY, "cancel"): S.CANCELLED,
    (S.CLAIMED, "cancel"): S.CANCELLED,
    (S.SUSPENDED, "cancel"): S.CANCELLED,
    (S.RETURNED, "cancel"): S.CANCELLED,
}
CLAIMABLE = tuple(dict.fromkeys(state for state, action in TRANSITIONS if action == "claim"))
LEASED = (S.CLAIMED, S.AWAITING_REVIEW)
OPEN = (S.WAITING_IMAGES, S.READY, S.CLAIMED, S.SUSPENDED, S.AWAITING_REVIEW)

# Coded reasons; the pages say them in the reader's language.
RETURN_REASONS = (
    "motion",
    "exposure",
    "positioning",
    "incomplete",
    "artefact",
    "wrong-patient",
    "lead-misplaced",
    "noise",
    "no-history",
    "other",
)
SUSPEND_REASONS = ("prior-needed", "history-needed", "consultation", "break", "urgent-case", "other")


class ReadingTask(Base):
    __tablename__ = "reading_tasks"
    __table_args__ = (Index(None, "state", "due_at"), Index(None, "state", "lease_until"))
    id: Mapped[int] = mapped_column(primary_key=True)
    study_pk: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    service_request_id: Mapped[int] = mapped_column(ForeignKey("service_requests.id"), index=True)
    institution_code: Mapped[str]
    modality: Mapped[str]
    body_part: Mapped[str] = mapped_column(default="")
    priority: Mapped[str]
    pathway: Mapped[str | None]
    rank: Mapped[int]  # 0 first, see turnaround.rank
    purpose: Mapped[str] = mapped_column(default="read")  # read | verify: images came after the signature
    state: Mapped[str]
    opened_at: Mapped[datetime]
    due_at: Mapped[datetime]
    holder: Mapped[str | None] = mapped_column(index=True)
    claimed_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(default=0)
    reserved_for: Mapped[str | None]  # handed over to: offered to this reader first, hidden from nobody
    reason: Mapped[str | None]  # of the last suspension, return, hand-over or cancellation
    note: Mapped[str | None]
    report_id: Mapped[int | None]
    study_version: Mapped[int] = mapped_column(default=1)  # of the images that the report speaks of
    author: Mapped[str | None]  # who signed as author, once signed; the reviewer is another person
    completed_at: Mapped[datetime | None]
    study: Mapped[Study] = relationship()
    service_request: Mapped[ServiceRequest] = relationship()

    @property
    def subject(self) -> str:
        return f"task:{self.id}"


@dataclass(frozen=True)
class Claim:
    task_id: int
    fence: int
    lease_until: datetime


def open_task(
    session: Session,
    study: Study,
    order: ServiceRequest,
    *,
    now: datetime,
    purpose: str = "read",
    opened_at: datetime | None = None,
    report_id: int | None = None,
) -> ReadingTask:
    """A new task for a study that can be read; `opened_at` keeps an older clock running."""
    modality = study.modality or order.modality
    began = opened_at or now
    task = ReadingTask(
        study_pk=study.id,
        service_request_id=order.id,
        institution_code=study.institution_code,
        modality=modality,
        body_part=order.body_part or study.body_part_examined,
        priority=order.priority,
        pathway=order.pathway,
        rank=rank(order.priority, order.pathway),
        purpose=purpose,
        state=TaskState.READY,
        opened_at=began,
        due_at=due_at(began, priority=order.priority, pathway=order.pathway, modality=modality),
        report_id=report_id,
        study_version=study.version,
    )
    session.add(task)
    session.flush()
    tell(session, task, "open", CENTER, now, purpose=purpose)
    return task


def task_of(session: Session, study: Study) -> ReadingTask | None:
    """The study's newest task."""
    return session.scalar(
        select(ReadingTask).where(ReadingTask.study_pk == study.id).order_by(ReadingTask.id.desc()).limit(1)
    )


def find_task(session: Session, person: Who, task_id: int) -> ReadingTask:
    """Raises Missing for a task that is not there or not the person's to see."""
    task = session.scalar(
        select(ReadingTask)
        .where(ReadingTask.id == task_id, visible_to(session, person, ReadingTask))
        .execution_options(populate_existing=True)
    )
    if task is None:
        raise Missing("no such reading task")
    return task


def tasks_for(
    session: Session,
    person: Who,
    *,
    states: list[str] | None = None,
    modality: str | None = None,
    priority: str | None = None,
    institution: str | None = None,
    patient: str | None = None,
    limit: int = 100,
    offset: int = 0,
) -> list[ReadingTask]:
    """Tasks that the person may see, most urgent first."""
    query = select(ReadingTask).where(visible_to(session, person, ReadingTask))
    query = query.where(ReadingTask.state.in_(states or OPEN))
    if modality:
        query = query.where(ReadingTask.modality == modality)
    if priority:
        query = query.where(ReadingTask.priority == priority)
    if institution:
        query = query.where(ReadingTask.institution_code == institution)
    if patient:
        query = (
            query.join(Study, Study.id == ReadingTask.study_pk)
            .join(Patient, Patient.id == Study.patient_pk)
            .where(or_(name_matches(patient), Patient.patient_id == patient.strip()))
        )
    query = query.order_by(ReadingTask.rank, ReadingTask.due_at, ReadingTask.id)
    return list(session.scalars(query.limit(limit).offset(offset)))


def why_not(session: Session, task: ReadingTask, person: Who, *, now: datetime) -> str | None:
    """What speaks against this person working on this task; None when nothing does."""
    if task.state == TaskState.AWAITING_REVIEW:
        if not person.has(Role.REVIEWER):
            return "only a reviewer may review"
        if task.author == person.username:
            return "the author does not review the own report"
    elif not person.has(Role.READER):
        return "only readers read"
    return may_read(session, person, institution_code=task.institution_code, modality=task.modality, now=now)


def claim(session: Session, task_id: int, *, by: Who, now: datetime, takeover: bool = False) -> Claim:
    """Lease the task to this reader. A repeated claim by the holder answers the same fence.

    Raises Missing, Refused (rights, licence, agreement, too many leases), LostRace (another holder),
    WrongState (nothing to claim any more).
    """
    task = find_task(session, by, task_id)
    refusal = why_not(session, task, by, now=now)
    if refusal is not None:
        raise Refused(refusal)
    policy = read_policy(session)
    is_live = task.holder is not None and (task.lease_until is None or task.lease_until > now)
    if task.state not in CLAIMABLE:
        raise WrongState(f"the task is {task.state}", holder=task.holder, since=task.claimed_at)
    if task.holder == by.username and is_live and task.state in LEASED:
        task.lease_until = now + policy.lease
        return Claim(task.id, task.fence, task.lease_until)
    if task.holder not in (None, by.username) and is_live and not takeover:
        raise LostRace("another reader holds this task", holder=task.holder, since=task.claimed_at)
    if live_leases(session, by.username, now=now, but=task.id) >= policy.most_leases:
        raise Refused(f"a reader holds at most {policy.most_leases} tasks; finish or release one first")
    state = TRANSITIONS[TaskState(task.state), "claim"]
    lease_until = now + policy.lease
    # The guard is the fence that we saw: of two claimers at the same moment one finds it moved on.
    changed = session.execute(
        update(ReadingTask)
        .where(ReadingTask.id == task.id, ReadingTask.fence == task.fence, ReadingTask.state == task.state)
        .values(
            state=state,
            holder=by.username,
            claimed_at=now,
            lease_until=lease_until,
            fence=ReadingTask.fence + 1,
            reserved_for=None,
        )
        .execution_options(synchronize_session=False)
    )
    if changed.rowcount != 1:  # type: ignore[attr-defined]
        raise LostRace("another reader was first")
    previous = task.holder
    session.refresh(task)
    verb = "take-over" if previous not in (None, by.username) else "claim"
    tell(session, task, verb, by.actor, now, fence=task.fence, previous=previous)
    return Claim(task.id, task.fence, lease_until)


def live_leases(session: Session, username: str, *, now: datetime, but: int | None = None) -> int:
    return (
        session.scalar(
            select(func.count())
            .select_from(ReadingTask)
            .where(
                ReadingTask.holder == username,
                ReadingTask.state.in_(LEASED),
                ReadingTask.lease_until > now,
                ReadingTask.id != (but or 0),
            )
        )
        or 0
    )


def held(session: Session, task_id: int, *, by: Who, fence: int, now: datetime) -> ReadingTask:
    """The task, if this person may see it and holds it under exactly this fence. Raises Missing, StaleFence.

    A lease that ran out but that nobody else took is still good: the reader's line was slow, not gone.
    """
    task = session.scalar(
        select(ReadingTask)
        .where(ReadingTask.id == task_id, visible_to(session, by, ReadingTask, now=now))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if task is None:
        raise Missing("no such reading task")
    if task.fence != fence or task.holder != by.username or task.state not in LEASED:
        raise StaleFence(
            "your lease of this task has ended; what you typed was not written and is still with you",
            holder=task.holder,
            since=task.claimed_at,
        )
    return task


def heartbeat(session: Session, task_id: int, *, by: Who, fence: int, now: datetime) -> Claim:
    task = held(session, task_id, by=by, fence=fence, now=now)
    task.lease_until = now + read_policy(session).lease
    return Claim(task.id, task.fence, task.lease_until)


def release(session: Session, task_id: int, *, by: Who, fence: int, now: datetime) -> None:
    """Put the task back into the pool; the draft stays with it, labelled with its author."""
    task = held(session, task_id, by=by, fence=fence, now=now)
    _let_go(task, "release")
    tell(session, task, "release", by.actor, now)


def suspend(
    session: Session,
    task_id: int,
    *,
    by: Who,
    fence: int,
    reason: str,
    now: datetime,
    until: datetime | None = None,
) -> None:
    """Set the task aside; it stays with its holder, until a time if one is given."""
    _coded(reason, SUSPEND_REASONS)
    task = held(session, task_id, by=by, fence=fence, now=now)
    task.state = _step(task, "suspend")
    task.lease_until, task.reason = until, reason
    tell(session, task, "suspend", by.actor, now, reason=reason)


def hand_over(
    session: Session, task_id: int, *, by: Who, fence: int, note: str, now: datetime, to: str | None = None
) -> None:
    """Give the task on: to a named reader first, or to everyone; with a note and every word of the draft."""
    task = held(session, task_id, by=by, fence=fence, now=now)
    _let_go(task, "hand-over")
    task.reserved_for, task.note = to, note
    tell(session, task, "hand-over", by.actor, now, to=to)


def return_to_township(
    session: Session, task_id: int, *, by: Who, fence: int, reason: str, note: str, now: datetime
) -> None:
    """The images are not good enough: back to the technician with a reason; the clock runs on."""
    _coded(reason, RETURN_REASONS)
    task = held(session, task_id, by=by, fence=fence, now=now)
    _let_go(task, "return")
    task.reason, task.note = reason, note
    tell(session, task, "return", by.actor, now, reason=reason)


def cancel_task(session: Session, task: ReadingTask, *, by: Actor, now: datetime, reason: str) -> None:
    _let_go(task, "cancel")
    task.reason = reason
    tell(session, task, "cancel", by, now, reason=reason)


def complete(session: Session, task: ReadingTask, action: str, *, by: Who, now: datetime) -> None:
    """After a signature: `complete`, `ask-review` or `reject`; part of the signature's own transaction."""
    _let_go(task, action)
    if action == "complete":
        task.completed_at = now
    tell(session, task, action, by.actor, now)


def expire_leases(session: Session, *, now: datetime) -> int:
    """Free every task whose lease ran out; its draft stays as its author's. Return how many."""
    lapsed = session.scalars(
        select(ReadingTask)
        .where(
            ReadingTask.holder.is_not(None),
            ReadingTask.state.in_(LEASED),
            ReadingTask.lease_until < now,
        )
        .limit(100)
        .with_for_update(skip_locked=True)
    ).all()
    for task in lapsed:
        previous = task.holder
        _let_go(task, "expire")
        tell(session, task, "expire", CENTER, now, previous=previous)
    return len(lapsed)


def tell(session: Session, task: ReadingTask, verb: str, by: Actor, now: datetime, **detail: Any) -> None:
    audit.record(session, Act.TASK, verb, task.subject, by=by, at=now, state=task.state, **detail)
    changes.publish(
        session,
        Topic.TASK,
        task.subject,
        verb,
        institution_code=task.institution_code,
        modality=task.modality,
    )


def _let_go(task: ReadingTask, action: str) -> None:
    """Leave the holder's hands: the fence moves, so that nothing sent before can still be written."""
    task.state = _step(task, action)
    task.holder = task.lease_until = task.claimed_at = None
    task.fence += 1


def _step(task: ReadingTask, action: str) -> TaskState:
    to = TRANSITIONS.get((TaskState(task.state), action))
    if to is None:
        raise WrongState(
            f"a task that is {task.state} cannot {action}", holder=task.holder, since=task.claimed_at
        )
    return to


def _coded(reason: str, reasons: tuple[str, ...]) -> None:
    if reason not in reasons:
        raise Unacceptable(f"the reason is one of: {', '.join(reasons)}")
