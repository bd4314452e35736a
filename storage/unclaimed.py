"""Objects that no row points at: what each seems to be, and since when that is known."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Index, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage.database import Base


class Why(StrEnum):
    """Why an object without a row is (not) worth keeping."""

    TORN = "torn"  # shorter than it says, or nothing at all: its writer never came to the end
    COPY = "copy"  # its content is kept, whole, under another key
    SUPERSEDED = "superseded"  # not what it says about itself, and its instance is kept, whole, elsewhere
    UNEXPLAINED = "unexplained"  # stays


class UnclaimedObject(Base):
    """An object that no row pointed at when it was looked at. It stays where it is until it is discarded."""

    __tablename__ = "unclaimed_objects"
    __table_args__ = (Index(None, "why", "found_at"),)
    object_key: Mapped[str] = mapped_column(primary_key=True)
    why: Mapped[str]
    sop_instance_uid: Mapped[str] = mapped_column(index=True)  # as it says; empty where it says nothing
    size: Mapped[int] = mapped_column(BigInteger)
    found_at: Mapped[datetime]
    looked_at: Mapped[datetime]


def copies_of(session: Session, sop_instance_uid: str) -> list[str]:
    """Keys of further copies of an instance that have not been discarded yet."""
    asked = select(UnclaimedObject.object_key).where(
        UnclaimedObject.sop_instance_uid == sop_instance_uid, UnclaimedObject.why == Why.COPY
    )
    return list(session.scalars(asked))


def count_unclaimed(session: Session) -> dict[str, int]:
    rows = session.execute(select(UnclaimedObject.why, func.count()).group_by(UnclaimedObject.why))
    return {row[0]: row[1] for row in rows}
