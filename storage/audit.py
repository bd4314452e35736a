"""Who saw or did what, when, from where: an append-only table, each row hashed over its predecessor.

The only place where persons are named. Event names follow DICOM PS3.15 A.5 where it has one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Index, func, insert, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage.database import Base, before_commit, utc_now

GENESIS = "0" * 64
# After the sequence number and the moment, in this order.
_HASHED = (
    "act",
    "verb",
    "actor",
    "subject",
    "institution_code",
    "source",
    "outcome",
    "detail",
    "previous_hash",
)
_LOCK = 0x41554449  # "AUDI": one appender at a time on PostgreSQL, held only from the last word to the commit


class Act(StrEnum):
    ASSOCIATION = "association"  # network entry: accepted or refused, with what was done on it
    SIGN_IN = "user-authentication"
    VIEW = "instances-accessed"
    QUERY = "query"
    EXPORT = "data-export"
    ORDER = "order-record"
    PATIENT = "patient-record"
    STUDY = "study-record"
    TASK = "reading-task"
    REPORT = "report"
    RECOGNITION = "recognition"
    CRITICAL = "critical-result"
    BREAK_GLASS = "emergency-override"
    DECLARATION = "configuration"
    DELIVERY = "instances-transferred"
    SECURITY = "security-alert"
    OBJECT = "stored-object"


class AuditEvent(Base):
    __tablename__ = "audit_events"
    __table_args__ = (Index(None, "subject", "seq"), Index(None, "act", "at"))
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    act: Mapped[str]
    verb: Mapped[str]  # what happened to the subject: "claim", "sign", "refuse", …
    actor: Mapped[str]  # a username, "ae:T01_CT", or "center"
    subject: Mapped[str]  # "task:12", "study:1.2.3", "association"
    institution_code: Mapped[str | None]
    source: Mapped[str]  # address
    outcome: Mapped[str]  # success | failure
    detail: Mapped[dict[str, Any]]
    previous_hash: Mapped[str]
    hash: Mapped[str]


@dataclass(frozen=True)
class Actor:
    """Who acts: a person (`username`), a device (`ae:TITLE`) or the centre itself, and from where."""

    name: str
    institution_code: str | None = None
    source: str = ""


CENTER = Actor("center")


def record(
    session: Session,
    act: Act,
    verb: str,
    subject: str,
    *,
    by: Actor = CENTER,
    outcome: str = "success",
    at: datetime | None = None,
    **detail: Any,
) -> None:
    """Append one event in this transaction; it is chained just before the commit."""
    waiting: list[dict[str, Any]] = session.info.setdefault("audit", [])
    if not waiting:
        before_commit(session, _chain)
    waiting.append(
        {
            "at": at or utc_now(),
            "act": act.value,
            "verb": verb,
            "actor": by.name,
            "subject": subject,
            "institution_code": by.institution_code,
            "source": by.source,
            "outcome": outcome,
            "detail": detail,
        }
    )


def history(session: Session, subject: str) -> list[AuditEvent]:
    """What happened to one subject, oldest first."""
    return list(
        session.scalars(select(AuditEvent).where(AuditEvent.subject == subject).order_by(AuditEvent.seq))
    )


def broken_links(session: Session) -> Iterator[int]:
    """The sequence numbers where the chain does not hold: changed, removed, inserted or reordered rows."""
    previous, expected = GENESIS, 1
    for event in session.scalars(
        select(AuditEvent).order_by(AuditEvent.seq).execution_options(yield_per=1000)
    ):
        if event.seq != expected or event.previous_hash != previous or event.hash != _hash(vars(event)):
            yield event.seq
        previous, expected = event.hash, event.seq + 1


def _chain(session: Session) -> None:
    # All row locks of this transaction are taken by now: waiting here cannot deadlock with another appender.
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    last = session.execute(
        select(AuditEvent.seq, AuditEvent.hash).order_by(AuditEvent.seq.desc()).limit(1)
    ).first()
    newest, previous = (last.seq, last.hash) if last else (0, GENESIS)
    events = session.info.pop("audit")
    for seq, event in enumerate(events, newest + 1):
        event["seq"], event["previous_hash"] = seq, previous
        event["hash"] = previous = _hash(event)
    # Rows, not objects: a modality that opens an association for each image leaves a trace of each.
    session.execute(insert(AuditEvent), events)


def _hash(event: Mapping[str, Any]) -> str:
    at = event["at"].astimezone(UTC).isoformat(timespec="microseconds")
    words = [event["seq"], at, *(event[name] for name in _HASHED)]
    text_ = json.dumps(words, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text_.encode()).hexdigest()


def count(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(AuditEvent)) or 0
