"""Mutual recognition (结果互认): is there an equivalent exam already, what was decided, which mark stands.

What is recognised is the images or the waveform, never the opinion (国卫医发〔2022〕6号, art. 2). The centre
advises and records; the treating clinician decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ForeignKey, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage import audit
from storage.audit import Act
from storage.database import Base
from storage.imaging import ArrivalState, Patient, Series, Study, moment_of
from storage.institutions import Institution
from storage.persons import same_person
from worklist.agreements import day_of
from worklist.orders import ServiceRequest, move_order
from worklist.people import Role, StudyAccess, Who, must_have
from worklist.policy import read_policy
from worklist.problems import Missing, Unacceptable, WrongState
from worklist.recognition_items import certificate_scope, item_for, items_by_code

# Why an equivalent exam is done again all the same: the six reasons of the national rule, then local ones.
DECLINE_REASONS: dict[str, tuple[str, str]] = {
    "condition-changed": (
        "病情变化，已有结果难以满足诊疗需求",
        "The condition has changed; the result no longer suffices",
    ),
    "fast-change": (
        "检查结果在疾病发展演变中变化较快",
        "The result changes fast in the course of the disease",
    ),
    "major-measure": (
        "对诊疗意义重大（手术、输血等重大措施前）",
        "Decisive before surgery, transfusion or similar",
    ),
    "emergency": ("急诊、急救等紧急状态", "Emergency"),
    "forensic": ("司法、伤残及病退等鉴定", "Forensic or disability assessment"),
    "other-clinical": ("其他情形确需复查", "Another clinical need for a repeat"),
    "patient-asks": ("患者要求复查", "The patient asks for a repeat"),
    "quality": ("原检查质量不能满足诊断", "The quality of the earlier exam does not allow a diagnosis"),
}

SCOPE_MARKS: dict[str, str] = {
    "county": "县域 HR",
    "city": "市级 HR",
    "province": "省级 HR",
    "national": "全国 HR",
}


class RecognitionRecord(Base):
    """What the clinician decided about one equivalent exam, and that the patient was told."""

    __tablename__ = "recognition_records"
    id: Mapped[int] = mapped_column(primary_key=True)
    service_request_id: Mapped[int] = mapped_column(ForeignKey("service_requests.id"), index=True)
    study_pk: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    study_instance_uid: Mapped[str]
    decision: Mapped[str]  # accept | decline
    reason: Mapped[str | None]
    patient_informed: Mapped[bool]
    mark: Mapped[str | None]  # the mark that the accepted exam bore
    decided_by: Mapped[str]
    decided_at: Mapped[datetime]


@dataclass(frozen=True)
class Candidate:
    """An equivalent exam of the same person, within its validity, with its images here."""

    candidate: str  # the study's UID
    item: str
    item_name: str
    institution: str
    institution_name: str
    performed_at: datetime
    valid_until: datetime
    number_of_instances: int
    scope: str | None
    report_id: int | None


def find_equivalent(session: Session, order: ServiceRequest, *, now: datetime) -> list[Candidate]:
    """Exams that may spare this one, the newest first. The order's own study never counts."""
    items = items_by_code(session)
    item = items.get(
        order.item or item_for(session, modality=order.modality, body_part=order.body_part) or ""
    )
    if item is None:
        return []
    found = []
    timezone = read_policy(session).timezone
    oldest = day_of(now) - timedelta(days=item.valid_days)
    for study in session.scalars(
        select(Study)
        .join(Patient, Patient.id == Study.patient_pk)
        .where(
            same_person(session, order.patient),
            Study.arrival_state == ArrivalState.SETTLED,
            Study.number_of_instances > 0,
            Study.modality == item.modality,
            or_(Study.study_date.is_(None), Study.study_date >= oldest),
            Study.first_instance_at > now - timedelta(days=item.valid_days),
            Study.study_instance_uid != order.study_instance_uid,
        )
        .order_by(Study.first_instance_at.desc())
        .limit(50)
    ):
        if study.id == order.study_pk or _item_of(session, study) != item.item:
            continue
        place = session.get(Institution, study.institution_code)
        # A device's clock may run ahead; the exam was made before its first image arrived.
        performed_at = min(moment_of(study, timezone), study.first_instance_at)
        found.append(
            Candidate(
                candidate=study.study_instance_uid,
                item=item.item,
                item_name=item.name,
                institution=study.institution_code,
                institution_name=place.name if place else study.institution_code,
                performed_at=performed_at,
                valid_until=performed_at + timedelta(days=item.valid_days),
                number_of_instances=study.number_of_instances,
                scope=scope_of(session, study),
                report_id=_report_of(session, study),
            )
        )
    return found


def decide(
    session: Session,
    order: ServiceRequest,
    *,
    candidate: str,
    decision: str,
    reason: str | None,
    patient_informed: bool,
    by: Who,
    now: datetime,
) -> RecognitionRecord:
    """Accept the equivalent exam in place of the order, or decline it with a coded reason."""
    must_have(by, Role.CLINICIAN, Role.TECHNICIAN, Role.INTEGRATION)
    if decision not in ("accept", "decline"):
        raise Unacceptable("the decision is accept or decline")
    if decision == "decline" and reason not in DECLINE_REASONS:
        raise Unacceptable(f"declining takes one of the reasons: {', '.join(DECLINE_REASONS)}")
    if not patient_informed:
        raise Unacceptable("the patient is told of the decision and of its reason first")
    if candidate not in {one.candidate for one in find_equivalent(session, order, now=now)}:
        raise Missing("no such equivalent exam for this order")
    study = session.scalar(select(Study).where(Study.study_instance_uid == candidate))
    if study is None:
        raise Missing("no such equivalent exam for this order")
    if decision == "accept" and order.study_pk is not None:
        raise WrongState("the ordered exam has been made already")
    scope = scope_of(session, study)
    row = RecognitionRecord(
        service_request_id=order.id,
        study_pk=study.id,
        study_instance_uid=candidate,
        decision=decision,
        reason=reason if decision == "decline" else None,
        patient_informed=patient_informed,
        mark=SCOPE_MARKS.get(scope or ""),
        decided_by=by.username,
        decided_at=now,
    )
    session.add(row)
    if decision == "accept":
        # The clinician who relies on another institution's images may see them.
        session.add(
            StudyAccess(
                study_pk=study.id,
                institution_code=order.institution_code,
                reason=f"recognised for {order.accession_number}",
                kind="recognition",
                opened_at=now,
            )
        )
        move_order(session, order, "recognise", by=by.actor, now=now, study=candidate)
    audit.record(
        session, Act.RECOGNITION, decision, order.subject, by=by.actor, at=now, study=candidate, reason=reason
    )
    return row


def decisions(session: Session, order: ServiceRequest) -> list[RecognitionRecord]:
    return list(
        session.scalars(
            select(RecognitionRecord)
            .where(RecognitionRecord.service_request_id == order.id)
            .order_by(RecognitionRecord.id)
        )
    )


def scope_of(session: Session, study: Study) -> str | None:
    """The scope of the certificate that covered this acquisition, or None; frozen into the report."""
    item = _item_of(session, study)
    if item is None:
        return None
    device = session.scalar(
        select(Series.station_ae)
        .where(Series.study_pk == study.id, Series.modality == study.modality)
        .order_by(Series.id)
        .limit(1)
    )
    return certificate_scope(
        session,
        institution_code=study.institution_code,
        device=device or "",
        item=item,
        on=study.study_date or day_of(study.first_instance_at),
    )


def mark_for(session: Session, study: Study) -> str:
    """The recognition mark to print, or an empty text."""
    return SCOPE_MARKS.get(scope_of(session, study) or "", "")


def _item_of(session: Session, study: Study) -> str | None:
    ordered = session.scalar(select(ServiceRequest.item).where(ServiceRequest.study_pk == study.id))
    return ordered or item_for(session, modality=study.modality, body_part=study.body_part_examined)


def _report_of(session: Session, study: Study) -> int | None:
    from worklist.reports import DiagnosticReport  # reports print the mark; this looks at reports

    return session.scalar(
        select(DiagnosticReport.id).where(
            DiagnosticReport.study_pk == study.id, DiagnosticReport.current_version.is_not(None)
        )
    )
