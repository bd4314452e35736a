"""Critical results (危急值): raised with the study, told at once, acknowledged with a read-back."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from storage import audit, changes
from storage.audit import Act
from storage.changes import Topic
from storage.database import Base
from storage.imaging import Study
from worklist.orders import ServiceRequest
from worklist.people import Practitioner, Role, Who, must_have, visible_to
from worklist.problems import Missing, Refused, Unacceptable, WrongState
from worklist.report_content import CriticalStatement


class CriticalState(StrEnum):
    RAISED = "raised"  # told to the ordering unit in the same transaction
    ACKNOWLEDGED = "acknowledged"


class Category(StrEnum):
    """How soon somebody must hear it (ACR practice parameter)."""

    MINUTES = "minutes"
    HOURS = "hours"
    DAYS = "days"


class CriticalResult(Base):
    __tablename__ = "critical_results"
    id: Mapped[int] = mapped_column(primary_key=True)
    study_pk: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    service_request_id: Mapped[int | None] = mapped_column(ForeignKey("service_requests.id"))
    institution_code: Mapped[str] = mapped_column(index=True)
    modality: Mapped[str]
    category: Mapped[str]
    statement: Mapped[str]
    state: Mapped[str]
    raised_by: Mapped[str]
    raised_at: Mapped[datetime]
    acknowledged_by: Mapped[str | None]
    acknowledged_at: Mapped[datetime | None]
    read_back: Mapped[str | None]
    study: Mapped[Study] = relationship()

    @property
    def subject(self) -> str:
        return f"critical:{self.id}"


def raise_critical_result(
    session: Session, study: Study, *, category: str, statement: str, by: Who, now: datetime
) -> CriticalResult:
    """Raise it and tell the ordering unit in the same transaction."""
    must_have(by, Role.READER, Role.REVIEWER)
    if category not in set(Category):
        raise Unacceptable(f"the category is one of: {', '.join(Category)}")
    if not statement.strip():
        raise Unacceptable("a critical result says what was found")
    order = session.scalar(select(ServiceRequest).where(ServiceRequest.study_pk == study.id))
    row = CriticalResult(
        study_pk=study.id,
        service_request_id=order.id if order else None,
        institution_code=study.institution_code,
        modality=study.modality,
        category=category,
        statement=statement.strip(),
        state=CriticalState.RAISED,
        raised_by=by.username,
        raised_at=now,
    )
    session.add(row)
    session.flush()
    _tell(session, row, "raise", by, now)
    return row


def acknowledge_critical_result(
    session: Session, critical_id: int, *, read_back: str, by: Who, now: datetime
) -> CriticalResult:
    """Only the ordering unit acknowledges, and says back what it heard."""
    row = session.scalar(
        select(CriticalResult)
        .where(CriticalResult.id == critical_id, visible_to(session, by, CriticalResult))
        .with_for_update()
    )
    if row is None:
        raise Missing("no such critical result")
    must_have(by, Role.CLINICIAN)
    if row.institution_code != by.institution_code:
        raise Refused("a critical result is acknowledged by the unit that ordered the exam")
    if row.state != CriticalState.RAISED:
        raise WrongState(
            "it has been acknowledged already", holder=row.acknowledged_by, since=row.acknowledged_at
        )
    if len(read_back.strip()) < 2:
        raise Unacceptable("say back what you heard, in your own words")
    row.state, row.acknowledged_by, row.acknowledged_at = CriticalState.ACKNOWLEDGED, by.username, now
    row.read_back = read_back.strip()
    _tell(session, row, "acknowledge", by, now)
    return row


def critical_results_for(session: Session, person: Who, *, only_open: bool = False) -> list[CriticalResult]:
    query = select(CriticalResult).where(visible_to(session, person, CriticalResult))
    if only_open:
        query = query.where(CriticalResult.state == CriticalState.RAISED)
    return list(session.scalars(query.order_by(CriticalResult.id.desc()).limit(200)))


def statement_for(session: Session, study: Study) -> CriticalStatement | None:
    """What the report prints: the newest critical result of the study, who heard it and when."""
    row = session.scalar(
        select(CriticalResult)
        .where(CriticalResult.study_pk == study.id)
        .order_by(CriticalResult.id.desc())
        .limit(1)
    )
    if row is None:
        return None
    told = session.get(Practitioner, row.acknowledged_by) if row.acknowledged_by else None
    return CriticalStatement(
        category=row.category,
        statement=row.statement,
        notified_at=row.raised_at,
        notified_to=told.name if told else "",
        acknowledged_at=row.acknowledged_at,
        read_back=row.read_back or "",
    )


def _tell(session: Session, row: CriticalResult, verb: str, by: Who, now: datetime) -> None:
    audit.record(session, Act.CRITICAL, verb, row.subject, by=by.actor, at=now, category=row.category)
    changes.publish(
        session,
        Topic.CRITICAL,
        row.subject,
        verb,
        institution_code=row.institution_code,
        modality=row.modality,
    )
