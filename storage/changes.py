"""What changed, for everyone who looks at a list: the rows behind the portal's server-sent events.

A change says where to look again, never what is there; readers fetch through their own rights.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage.database import Base, utc_now


class Topic(StrEnum):
    TASK = "task"
    ORDER = "order"
    STUDY = "study"
    REPORT = "report"
    CRITICAL = "critical"
    DEVICE = "device"
    PERSON = "person"


class Change(Base):
    __tablename__ = "changes"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    topic: Mapped[str]
    subject: Mapped[str]  # "task:12"
    verb: Mapped[str]
    institution_code: Mapped[str]
    modality: Mapped[str] = mapped_column(default="")


def publish(
    session: Session, topic: Topic, subject: str, verb: str, *, institution_code: str, modality: str = ""
) -> None:
    session.add(
        Change(
            at=utc_now(),
            topic=topic.value,
            subject=subject,
            verb=verb,
            institution_code=institution_code,
            modality=modality,
        )
    )


def since(session: Session, last_id: int, *, overlap: int = 200) -> list[Change]:
    """Changes after `last_id`, with an overlap: ids commit out of order, so a reader must look back and
    drop what it has already told."""
    return list(
        session.scalars(select(Change).where(Change.id > last_id - overlap).order_by(Change.id).limit(2000))
    )


def newest(session: Session) -> int:
    return session.scalar(select(Change.id).order_by(Change.id.desc()).limit(1)) or 0


def forget(session: Session, *, older_than: timedelta) -> None:
    session.execute(delete(Change).where(Change.at < utc_now() - older_than))
