"""Who may ask whom to read what, until when: the gate for routing and for seeing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from sqlalchemy import Dialect, ForeignKey, UniqueConstraint, bindparam, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage.database import Base
from storage.prepared import Prepared


class Agreement(Base):
    """`asks` sends its exams of these modalities to `reads` (远程诊断协议), both days inclusive."""

    __tablename__ = "agreements"
    __table_args__ = (UniqueConstraint("asks", "reads"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    asks: Mapped[str] = mapped_column(ForeignKey("institutions.code"))
    reads: Mapped[str] = mapped_column(ForeignKey("institutions.code"), index=True)
    modalities: Mapped[list[str]]
    starts_on: Mapped[date | None]
    until: Mapped[date]
    is_active: Mapped[bool] = mapped_column(default=True)


def covered(session: Session, reads: str, on: date) -> dict[str, set[str]]:
    """Institution → modalities that `reads` may read for it on that day; its own exams are its own."""
    found: dict[str, set[str]] = {}
    connection = session.connection()
    cursor = connection.connection.cursor()
    try:
        rows = _covered(connection.dialect).run(cursor, {"reads": reads, "today": on}).fetchall()
    finally:
        cursor.close()
    for asks, modalities in rows:
        found.setdefault(asks, set()).update(
            json.loads(modalities) if isinstance(modalities, str) else modalities
        )
    return found


@lru_cache(maxsize=8)
def _covered(dialect: Dialect) -> Prepared:
    """Every query of a county's archive asks for its forty partners: no objects, and no detours."""
    today = bindparam("today", type_=Agreement.until.type)
    return Prepared(
        select(Agreement.asks, Agreement.modalities).where(
            Agreement.reads == bindparam("reads"),
            Agreement.is_active,
            Agreement.until >= today,
            or_(Agreement.starts_on.is_(None), Agreement.starts_on <= today),
        ),
        dialect,
    )


def readers_of(session: Session, asks: str, modality: str, on: date) -> list[str]:
    """Institutions that may read this modality for `asks` on that day, `asks` itself first."""
    partners: Iterable[Agreement] = session.scalars(
        select(Agreement).where(Agreement.asks == asks, Agreement.is_active, Agreement.until >= on)
    )
    return [asks, *(one.reads for one in partners if modality in one.modalities and one.reads != asks)]


def day_of(now: datetime, timezone: str = "Asia/Shanghai") -> date:
    """The calendar day at the centre: an agreement ends at midnight there, not at midnight UTC."""
    return now.astimezone(ZoneInfo(timezone)).date()
