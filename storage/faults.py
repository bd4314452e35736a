"""Stored objects that are not what their rows say: marked, from then on never given out, and mended.

A mark is a row of its own: an instance's row is not touched, and what devices send asks for a mark only
where it would have been answered "identical".
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage import audit
from storage.audit import Act
from storage.database import Base


class Fault(StrEnum):
    MISSING = "missing"
    CHANGED = "changed"  # its bytes do not match its hash
    UNREADABLE = "unreadable"  # the disk fails when it is read


class Mended(StrEnum):
    """Where the good bytes came from."""

    RESENT = "re-sent"  # its device sent the same content again
    COPY = "copy"  # a second copy was in the store or in the spool
    RESTORED = "restored"  # whole again under its own key: from a backup, or back from where it waited


class ObjectFault(Base):
    """One object that was found missing or changed; open until `mended_at` is set."""

    __tablename__ = "object_faults"
    __table_args__ = (Index(None, "mended_at", "checked_at"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    object_key: Mapped[str] = mapped_column(unique=True)
    holding: Mapped[str]  # the table whose row points at the object (storage.holdings)
    name: Mapped[str]  # what that row calls it: a SOP Instance UID, a report's token
    fault: Mapped[str]
    found_at: Mapped[datetime]
    checked_at: Mapped[datetime]
    mended_at: Mapped[datetime | None]
    mended_by: Mapped[str | None]
    # Where images come in nobody waits for the trace: the worker records what was mended there.
    is_told: Mapped[bool] = mapped_column(default=True)


def mark(session: Session, *, key: str, holding: str, name: str, fault: Fault, now: datetime) -> bool:
    """From now on the object is not given out. False where it is marked already."""
    known = session.scalar(select(ObjectFault).where(ObjectFault.object_key == key).with_for_update())
    if known is not None and known.mended_at is None:
        known.fault, known.checked_at = fault, now
        return False
    if known is None:
        known = ObjectFault(object_key=key, holding=holding, name=name)
        session.add(known)
    known.fault, known.found_at, known.checked_at = fault, now, now
    known.mended_at, known.mended_by, known.is_told = None, None, True
    audit.record(
        session, Act.OBJECT, "find-damage", f"object:{name}", outcome="failure", at=now, fault=fault.value,
        object_key=key,
    )  # fmt: skip
    return True


def mend(session: Session, key: str, by: Mended, *, now: datetime) -> bool:
    """The row that pointed at this object has good bytes again; False where it had no mark."""
    changed = session.execute(
        update(ObjectFault)
        .where(ObjectFault.object_key == key, ObjectFault.mended_at.is_(None))
        .values(mended_at=now, mended_by=by.value, is_told=False)
        .execution_options(synchronize_session=False)
    )
    return bool(changed.rowcount)  # type: ignore[attr-defined]


def tell_mended(session: Session, *, now: datetime) -> int:
    """Record in the trace what was mended and is not in it yet; return how many."""
    untold = session.scalars(
        select(ObjectFault)
        .where(ObjectFault.is_told.is_(False), ObjectFault.mended_at.is_not(None))
        .limit(100)
        .with_for_update(skip_locked=True)
    ).all()
    for one in untold:
        one.is_told = True
        audit.record(
            session, Act.OBJECT, "mend", f"object:{one.name}", at=one.mended_at or now,
            mended_by=one.mended_by, object_key=one.object_key,
        )  # fmt: skip
    return len(untold)


def marked_among(session: Session, keys: Collection[str]) -> set[str]:
    """Those of these objects that are marked."""
    asked = select(ObjectFault.object_key).where(
        ObjectFault.object_key.in_(keys), ObjectFault.mended_at.is_(None)
    )
    return set(session.scalars(asked))


def open_faults(session: Session, *, limit: int) -> Sequence[ObjectFault]:
    """The newest finds first."""
    return session.scalars(
        select(ObjectFault)
        .where(ObjectFault.mended_at.is_(None))
        .order_by(ObjectFault.found_at.desc(), ObjectFault.id.desc())
        .limit(limit)
    ).all()


def count_open(session: Session) -> int:
    asked = select(func.count()).select_from(ObjectFault).where(ObjectFault.mended_at.is_(None))
    return session.scalar(asked) or 0
