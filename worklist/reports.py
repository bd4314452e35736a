"""DiagnosticReport and its immutable versions: draft, find, acknowledge, verify.

A signed version is never changed; later words are a new version. Signing itself is in `issuing`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint, and_, select
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from storage import audit, changes
from storage.audit import Act
from storage.changes import Topic
from storage.database import Base
from storage.imaging import Study
from storage.uids import derived_uid
from worklist.initials import initials_of
from worklist.orders import OrderState, ServiceRequest, move_order
from worklist.people import Role, Who, must_have, visible_to
from worklist.policy import read_policy
from worklist.problems import Missing, Refused, Unacceptable, WrongState
from worklist.reading_tasks import OPEN, ReadingTask, TaskState, held

LONGEST_TEXT = 20_000


class ReportStatus(StrEnum):
    """FHIR R4 diagnostic-report-status, as far as we use it."""

    REGISTERED = "registered"
    PRELIMINARY = "preliminary"
    FINAL = "final"
    AMENDED = "amended"
    APPENDED = "appended"
    ENTERED_IN_ERROR = "entered-in-error"


class Standing(StrEnum):
    """What the verification page says of one version."""

    CURRENT = "current"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"


# What an issued version does to its report, by the verb that issued it.
ISSUED = (ReportStatus.PRELIMINARY, ReportStatus.FINAL, ReportStatus.AMENDED, ReportStatus.APPENDED)
FINISHED = (ReportStatus.FINAL, ReportStatus.AMENDED, ReportStatus.APPENDED)


class DiagnosticReport(Base):
    __tablename__ = "diagnostic_reports"
    id: Mapped[int] = mapped_column(primary_key=True)
    report_uid: Mapped[str] = mapped_column(unique=True)
    study_pk: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    service_request_id: Mapped[int] = mapped_column(ForeignKey("service_requests.id"), index=True)
    institution_code: Mapped[str]
    modality: Mapped[str]
    status: Mapped[str] = mapped_column(default=ReportStatus.REGISTERED)
    # The draft: what the holder of the task is writing. It is never shown outside before it is signed.
    findings: Mapped[str] = mapped_column(default="")
    impression: Mapped[str] = mapped_column(default="")
    recommendation: Mapped[str] = mapped_column(default="")
    template: Mapped[str | None]
    key_images: Mapped[list[dict[str, Any]]]
    positive: Mapped[bool | None]
    image_quality: Mapped[str] = mapped_column(default="")
    revision: Mapped[int] = mapped_column(default=0)
    drafted_by: Mapped[str | None]
    drafted_at: Mapped[datetime | None]
    current_version: Mapped[int | None]
    created_at: Mapped[datetime]
    study: Mapped[Study] = relationship()
    service_request: Mapped[ServiceRequest] = relationship()
    versions: Mapped[list[ReportVersion]] = relationship(
        back_populates="report", order_by="ReportVersion.version"
    )

    @property
    def subject(self) -> str:
        return f"report:{self.id}"


class ReportVersion(Base):
    """One issued artefact: nothing overwrites it; only its standing moves on."""

    __tablename__ = "report_versions"
    __table_args__ = (UniqueConstraint("report_id", "version"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    report_id: Mapped[int] = mapped_column(ForeignKey("diagnostic_reports.id"))
    version: Mapped[int]
    status: Mapped[str]
    standing: Mapped[str] = mapped_column(default=Standing.CURRENT)
    content: Mapped[dict[str, Any]]  # canonical JSON of ReportContent
    content_hash: Mapped[str]
    manifest_hash: Mapped[str]
    previous_hash: Mapped[str]
    pdf_key: Mapped[str] = mapped_column(unique=True)
    pdf_sha256: Mapped[str]
    pdf_size: Mapped[int]
    author: Mapped[str]
    reviewer: Mapped[str | None]
    signed_at: Mapped[datetime]
    verify_token: Mapped[str] = mapped_column(unique=True)
    study_version: Mapped[int]
    report: Mapped[DiagnosticReport] = relationship(back_populates="versions")


class ReportAcknowledgement(Base):
    """The ordering side has read this version."""

    __tablename__ = "report_acknowledgements"
    __table_args__ = (UniqueConstraint("report_id", "version", "institution_code"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    report_id: Mapped[int] = mapped_column(ForeignKey("diagnostic_reports.id"), index=True)
    version: Mapped[int]
    institution_code: Mapped[str]
    username: Mapped[str]
    at: Mapped[datetime]


class AbandonedDraft(Base):
    """The words of one reader at the moment another took over: labelled, kept, never signed unread."""

    __tablename__ = "abandoned_drafts"
    id: Mapped[int] = mapped_column(primary_key=True)
    report_id: Mapped[int] = mapped_column(ForeignKey("diagnostic_reports.id"), index=True)
    username: Mapped[str]
    revision: Mapped[int]
    findings: Mapped[str]
    impression: Mapped[str]
    recommendation: Mapped[str]
    at: Mapped[datetime]


@dataclass(frozen=True, kw_only=True)
class Draft:
    findings: str
    impression: str
    recommendation: str = ""
    template: str | None = None
    key_images: list[dict[str, Any]] = field(default_factory=list)  # {sop_instance_uid, frame, caption}
    positive: bool | None = None
    image_quality: str = ""


def report_of_task(session: Session, task: ReadingTask, *, now: datetime) -> DiagnosticReport:
    """The report that this task is about; made when nobody has written yet."""
    report = session.get(DiagnosticReport, task.report_id) if task.report_id is not None else None
    if report is None:
        report = DiagnosticReport(
            report_uid=derived_uid("report", task.study.study_instance_uid, str(task.id)),
            study_pk=task.study_pk,
            service_request_id=task.service_request_id,
            institution_code=task.institution_code,
            modality=task.modality,
            status=ReportStatus.REGISTERED,
            key_images=[],
            revision=0,
            created_at=now,
        )
        session.add(report)
        session.flush()
        task.report_id = report.id
    return report


def draft_for(session: Session, task: ReadingTask, order: ServiceRequest) -> int | None:
    """What was written for a task that was cancelled, and signed by nobody, goes on under another order."""
    report = session.get(DiagnosticReport, task.report_id) if task.report_id is not None else None
    if report is None or report.current_version is not None:
        return None
    report.service_request_id = order.id
    session.flush()
    session.refresh(report, ["service_request"])
    return report.id


def keep_draft(session: Session, task_id: int, draft: Draft, *, by: Who, fence: int, now: datetime) -> int:
    """Autosave; the new revision. Raises StaleFence: nothing is written, the words stay with the typist."""
    task = held(session, task_id, by=by, fence=fence, now=now)
    if task.state != TaskState.CLAIMED:
        raise WrongState("the report waits for its review; reject it to change it", holder=task.holder)
    for text in (draft.findings, draft.impression, draft.recommendation):
        if len(text) > LONGEST_TEXT:
            raise Unacceptable(f"a part of a report has at most {LONGEST_TEXT} characters")
    report = report_of_task(session, task, now=now)
    if report.drafted_by not in (None, by.username) and (report.findings or report.impression):
        session.add(
            AbandonedDraft(
                report_id=report.id,
                username=report.drafted_by,
                revision=report.revision,
                findings=report.findings,
                impression=report.impression,
                recommendation=report.recommendation,
                at=now,
            )
        )
    report.findings, report.impression = draft.findings, draft.impression
    report.recommendation, report.template = draft.recommendation, draft.template
    report.key_images = draft.key_images
    report.positive, report.image_quality = draft.positive, draft.image_quality
    report.drafted_by, report.drafted_at = by.username, now
    report.revision += 1
    task.lease_until = now + read_policy(session).lease
    return report.revision


def report_for(session: Session, person: Who, report_id: int) -> DiagnosticReport:
    """Raises Missing. An unsigned report is there only for those who may read its study."""
    report = session.scalar(
        select(DiagnosticReport).where(
            DiagnosticReport.id == report_id, visible_to(session, person, DiagnosticReport)
        )
    )
    if report is None or (report.current_version is None and not person.has(Role.READER, Role.REVIEWER)):
        raise Missing("no such report")
    return report


def reports_for(
    session: Session,
    person: Who,
    *,
    statuses: Iterable[str] = ISSUED,
    study_instance_uid: str | None = None,
    limit: int = 100,
    before_id: int | None = None,
) -> list[DiagnosticReport]:
    """Issued reports that the person may see, newest first."""
    query = select(DiagnosticReport).where(
        visible_to(session, person, DiagnosticReport),
        DiagnosticReport.current_version.is_not(None),
        DiagnosticReport.status.in_([str(one) for one in statuses]),
    )
    if study_instance_uid is not None:
        query = query.join(Study, Study.id == DiagnosticReport.study_pk).where(
            Study.study_instance_uid == study_instance_uid
        )
    if before_id is not None:
        query = query.where(DiagnosticReport.id < before_id)
    return list(session.scalars(query.order_by(DiagnosticReport.id.desc()).limit(limit)))


def version_of(session: Session, report: DiagnosticReport, version: int | None = None) -> ReportVersion:
    """One issued version, the current one when none is named. Raises Missing."""
    row = session.scalar(
        select(ReportVersion).where(
            ReportVersion.report_id == report.id,
            ReportVersion.version == (version or report.current_version or 0),
        )
    )
    if row is None:
        raise Missing("no such version of the report")
    return row


def has_later_images(session: Session, reports: Collection[DiagnosticReport]) -> dict[int, bool]:
    """For each report: whether images came after its current version was signed and no reader has said yet
    that it still holds."""
    keys = [report.id for report in reports]
    rows = session.execute(
        select(DiagnosticReport.id, Study.version, ReportVersion.study_version, ReadingTask.id)
        .join(Study, Study.id == DiagnosticReport.study_pk)
        .join(
            ReportVersion,
            and_(
                ReportVersion.report_id == DiagnosticReport.id,
                ReportVersion.version == DiagnosticReport.current_version,
            ),
        )
        .outerjoin(
            ReadingTask,
            and_(
                ReadingTask.study_pk == Study.id,
                ReadingTask.purpose == "verify",
                ReadingTask.state.in_(OPEN),
            ),
        )
        .where(DiagnosticReport.id.in_(keys))
    )
    found = {pk: now > signed or verifying is not None for pk, now, signed, verifying in rows}
    return dict.fromkeys(keys, False) | found


def acknowledge(session: Session, report: DiagnosticReport, *, by: Who, now: datetime) -> None:
    """The ordering side has read the current version. Saying it twice is saying it once."""
    must_have(by, Role.CLINICIAN, Role.INTEGRATION)
    if report.institution_code != by.institution_code and not by.has(Role.INTEGRATION):
        raise Refused("a report is acknowledged by the institution that ordered it")
    if report.current_version is None or report.status == ReportStatus.REGISTERED:
        raise WrongState("there is nothing to acknowledge yet")
    if is_acknowledged(session, report):
        return
    session.add(
        ReportAcknowledgement(
            report_id=report.id,
            version=report.current_version,
            institution_code=report.institution_code,
            username=by.username,
            at=now,
        )
    )
    order = report.service_request
    if order.state == OrderState.REPORTED:
        move_order(session, order, "acknowledge", by=by.actor, now=now)
    audit.record(
        session,
        Act.REPORT,
        "acknowledge",
        report.subject,
        by=by.actor,
        at=now,
        version=report.current_version,
    )
    changes.publish(
        session,
        Topic.REPORT,
        report.subject,
        "acknowledge",
        institution_code=report.institution_code,
        modality=report.modality,
    )


def is_acknowledged(session: Session, report: DiagnosticReport) -> bool:
    return (
        session.scalar(
            select(ReportAcknowledgement.id).where(
                ReportAcknowledgement.report_id == report.id,
                ReportAcknowledgement.version == report.current_version,
            )
        )
        is not None
    )


def acknowledgements(session: Session, report: DiagnosticReport) -> list[ReportAcknowledgement]:
    return list(
        session.scalars(
            select(ReportAcknowledgement)
            .where(ReportAcknowledgement.report_id == report.id)
            .order_by(ReportAcknowledgement.id)
        )
    )


def abandoned_drafts(session: Session, report: DiagnosticReport) -> list[AbandonedDraft]:
    return list(
        session.scalars(
            select(AbandonedDraft)
            .where(AbandonedDraft.report_id == report.id)
            .order_by(AbandonedDraft.id.desc())
        )
    )


@dataclass(frozen=True)
class Verification:
    """What anyone who holds the token may know."""

    standing: str
    version: int
    current_version: int | None
    status: str
    signed_at: datetime
    content_hash: str
    pdf_sha256: str
    center_name: str
    institution_name: str
    modality: str
    initials: str


def verification(session: Session, token: str) -> Verification | None:
    """The standing of the version that bears this token; None for an unknown one."""
    version = session.scalar(select(ReportVersion).where(ReportVersion.verify_token == token))
    if version is None:
        return None
    report = version.report
    standing = version.standing
    if report.status == ReportStatus.ENTERED_IN_ERROR:
        standing = Standing.WITHDRAWN
    return Verification(
        standing=standing,
        version=version.version,
        current_version=report.current_version,
        status=version.status,
        signed_at=version.signed_at,
        content_hash=version.content_hash,
        pdf_sha256=version.pdf_sha256,
        center_name=version.content.get("center_name", ""),
        institution_name=version.content.get("institution_name", ""),
        modality=report.modality,
        initials=initials_of(report.study.patient.name),
    )


def shape_of(draft: DiagnosticReport) -> dict[str, Any]:
    """The draft as the editor wants it."""
    return asdict(
        Draft(
            findings=draft.findings,
            impression=draft.impression,
            recommendation=draft.recommendation,
            template=draft.template,
            key_images=draft.key_images,
            positive=draft.positive,
            image_quality=draft.image_quality,
        )
    )
