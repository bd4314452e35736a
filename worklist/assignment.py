"""Who should read what next: late binding from a shared pool, the most urgent first."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ForeignKey, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage.database import Base
from worklist.people import Role, Who, visible_to
from worklist.problems import Refused, Unacceptable
from worklist.reading_tasks import Claim, ReadingTask, TaskState, claim, find_task, tell, why_not
from worklist.turnaround import Priority, rank

SKIPPED_FOR = timedelta(hours=2)
SKIP_REASONS = ("conflict", "skill", "workload", "other")


class TaskSkip(Base):
    """A reader passed over a task, with a coded reason."""

    __tablename__ = "task_skips"
    id: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("reading_tasks.id"), index=True)
    username: Mapped[str] = mapped_column(index=True)
    reason: Mapped[str]
    at: Mapped[datetime]


def next_task(session: Session, *, by: Who, now: datetime) -> Claim | None:
    """Claim the best task for this reader: handed over to them first, then by class and due time."""
    skipped = select(TaskSkip.task_id).where(
        TaskSkip.username == by.username, TaskSkip.at > now - SKIPPED_FOR
    )
    waiting = [TaskState.READY] if by.has(Role.READER) else []
    if by.has(Role.REVIEWER):
        waiting.append(TaskState.AWAITING_REVIEW)
    candidates = session.scalars(
        select(ReadingTask)
        .where(
            visible_to(session, by, ReadingTask),
            ReadingTask.state.in_(waiting),
            or_(ReadingTask.holder.is_(None), ReadingTask.lease_until <= now),
            ReadingTask.id.not_in(skipped),
        )
        .order_by(
            (ReadingTask.reserved_for == by.username).desc().nulls_last(),
            ReadingTask.rank,
            ReadingTask.due_at,
            ReadingTask.id,
        )
        .limit(200)
        .with_for_update(skip_locked=True)
    )
    for task in candidates:
        if why_not(session, task, by, now=now) is None:
            return claim(session, task.id, by=by, now=now)
    return None


def skip(session: Session, task_id: int, *, by: Who, reason: str, now: datetime) -> None:
    """Do not offer me this one for a while."""
    if reason not in SKIP_REASONS:
        raise Unacceptable(f"the reason is one of: {', '.join(SKIP_REASONS)}")
    task = find_task(session, by, task_id)
    if task.rank == rank(Priority.STAT, None):
        raise Refused("the most urgent class cannot be skipped")
    session.add(TaskSkip(task_id=task.id, username=by.username, reason=reason, at=now))
    tell(session, task, "skip", by.actor, now, reason=reason)
