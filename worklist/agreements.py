"""Who may ask whom to read what, until when: the gate for routing and for seeing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import ForeignKey, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage.database import Base


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
    for agreement in session.scalars(
        select(Agreement).where(Agreement.reads == reads, Agreement.is_active, Agreement.until >= on)
    ):
        if agreement.starts_on is None or agreement.starts_on <= on:
            found.setdefault(agreement.asks, set()).update(agreement.modalities)
    return found


def readers_of(session: Session, asks: str, modality: str, on: date) -> list[str]:
    """Institutions that may read this modality for `asks` on that day, `asks` itself first."""
    partners: Iterable[Agreement] = session.scalars(
        select(Agreement).where(Agreement.asks == asks, Agreement.is_active, Agreement.until >= on)
    )
    return [asks, *(one.reads for one in partners if modality in one.modalities and one.reads != asks)]


def day_of(now: datetime, timezone: str = "Asia/Shanghai") -> date:
    """The calendar day at the centre: an agreement ends at midnight there, not at midnight UTC."""
    return now.astimezone(ZoneInfo(timezone)).date()
