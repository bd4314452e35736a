"""Rounds through everything that is kept, without end: how far each has come, and who walks it now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage.database import Base, LateJson

LEASE = timedelta(minutes=5)


class Round(Base):
    """One row for each kind of round. One worker walks it at a time, whichever machine it is on."""

    __tablename__ = "rounds"
    name: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[str] = mapped_column(default="")  # where whoever comes next goes on
    counts: Mapped[dict[str, Any]]  # of this round so far
    began_at: Mapped[datetime]
    turn: Mapped[int] = mapped_column(default=0)  # a fence: a walker that slept too long changes nothing
    lease_until: Mapped[datetime]
    finished_at: Mapped[datetime | None]  # the last complete one
    finished_counts: Mapped[dict[str, Any] | None] = mapped_column(LateJson)


@dataclass(frozen=True)
class Turn:
    """What a walker was given."""

    number: int
    position: str
    counts: dict[str, int]


def take(session: Session, name: str, *, every: timedelta, now: datetime) -> Turn | None:
    """Walk on where the last walker stopped; None while another walks, or before the next round is due."""
    insert = sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgresql_insert
    new = {"name": name, "position": "", "counts": {}, "began_at": now, "turn": 0, "lease_until": now}
    session.execute(insert(Round).values(**new).on_conflict_do_nothing(index_elements=["name"]))
    found = session.scalar(select(Round).where(Round.name == name).with_for_update(skip_locked=True))
    if found is None or found.lease_until > now:
        return None
    is_at_rest = found.finished_at is not None and found.began_at <= found.finished_at
    if is_at_rest:
        if now < found.began_at + every:
            return None
        found.position, found.counts, found.began_at = "", {}, now
    found.turn += 1
    found.lease_until = now + LEASE
    return Turn(found.turn, found.position, dict(found.counts))


def save(session: Session, name: str, turn: Turn, *, now: datetime) -> bool:
    """How far the round has come; False where somebody else walks it by now."""
    return _fenced(session, name, turn, position=turn.position, counts=turn.counts, lease_until=now + LEASE)


def finish(session: Session, name: str, turn: Turn, *, now: datetime) -> bool:
    return _fenced(
        session,
        name,
        turn,
        position="",
        counts=turn.counts,
        finished_counts=turn.counts,
        finished_at=now,
        lease_until=now,
    )


def give_back(session: Session, name: str, turn: Turn, *, now: datetime) -> bool:
    """Somebody else may go on, at once."""
    return _fenced(session, name, turn, position=turn.position, counts=turn.counts, lease_until=now)


def look(session: Session, name: str) -> Round | None:
    return session.get(Round, name)


def _fenced(session: Session, name: str, turn: Turn, **values: Any) -> bool:
    changed = session.execute(
        update(Round)
        .where(Round.name == name, Round.turn == turn.number)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    return bool(changed.rowcount)  # type: ignore[attr-defined]
