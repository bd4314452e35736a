"""Reports: words, sealed documents, versions; addenda, withdrawal, acknowledgement."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from sqlalchemy.orm import Session

from reading_portal.dependencies import (
    Authority,
    CurrentPractitioner,
    Now,
    Objects,
    OpenSession,
    ReadSession,
    SigningSeat,
    TheDatabase,
    TheSettings,
)
from reading_portal.routes.reading_tasks import Issued
from reading_portal.shapes import Answer, Credentials, Cursor, Key, Limit, Prose, Sentence, position
from reading_portal.signing_room import SigningRoom
from storage import audit
from storage.audit import Act
from storage.sound import SoundObjects
from worklist import people, reports
from worklist.people import Role, Who
from worklist.reports import DiagnosticReport, ReportVersion, Standing
from worklist.signing import verify_url

router = APIRouter(prefix="/api/reports", tags=["reports"])

# A browser's own PDF viewer draws inside the answer; nothing else may run there.
PDF_POLICY = "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'self'"


class ReportSummary(Answer):
    id: int
    status: str
    version: int | None
    institution: str
    modality: str
    study_instance_uid: str
    accession_number: str
    order_id: int
    signed_at: datetime | None
    is_acknowledged: bool
    has_later_images: bool  # and no reader has said yet that it still holds


class Report(ReportSummary):
    content: dict[str, Any] | None  # what the current version says; null while nothing is signed
    content_hash: str | None
    pdf_sha256: str | None
    verify_url: str | None
    draft: dict[str, Any] | None  # for readers and reviewers: what is being written
    revision: int | None
    drafted_by: str | None
    acknowledgements: list[dict[str, Any]]


class Reports(Answer):
    items: list[ReportSummary]
    next_cursor: str | None


class Version(Answer):
    version: int
    status: str
    standing: str
    signed_at: datetime
    author: str
    author_name: str
    reviewer: str | None
    reviewer_name: str | None
    content_hash: str
    manifest_hash: str
    previous_hash: str
    pdf_sha256: str
    pdf_size: int
    verify_url: str


class Versions(Answer):
    items: list[Version]


class Addendum(Credentials):
    text: Prose
    reason: Sentence


class Withdrawal(Credentials):
    reason: Sentence


class Acknowledged(Answer):
    report_id: int
    version: int
    is_acknowledged: bool


@router.get("")
def list_reports(
    who: CurrentPractitioner,
    session: ReadSession,
    study_instance_uid: Annotated[str | None, Query(max_length=64)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Reports:
    """Signed reports that the caller may see, newest first."""
    found = reports.reports_for(
        session, who, study_instance_uid=study_instance_uid, limit=limit + 1, before_id=position(cursor)
    )
    page = found[:limit]
    items = [ReportSummary(**_summary(session, row)) for row in page]
    return Reports(items=items, next_cursor=str(page[-1].id) if len(found) > limit else None)


@router.get("/{report_id}")
def look_at_report(
    report_id: Key, who: CurrentPractitioner, session: OpenSession, settings: TheSettings, now: Now
) -> Report:
    """The report as it stands; a draft only for those who may read the study."""
    report = reports.report_for(session, who, report_id)
    _look(session, report, who, now)
    version = reports.version_of(session, report) if report.current_version is not None else None
    writes = who.has(Role.READER, Role.REVIEWER)
    return Report(
        **_summary(session, report),
        content=version.content if version else None,
        content_hash=version.content_hash if version else None,
        pdf_sha256=version.pdf_sha256 if version else None,
        verify_url=verify_url(settings.public_url, version.verify_token) if version else None,
        draft=reports.shape_of(report) if writes else None,
        revision=report.revision if writes else None,
        drafted_by=report.drafted_by if writes else None,
        acknowledgements=[
            {
                "version": one.version,
                "institution": one.institution_code,
                "username": one.username,
                "at": one.at,
            }
            for one in reports.acknowledgements(session, report)
        ],
    )


@router.get("/{report_id}/pdf", response_class=Response)
def read_document(
    report_id: Key,
    who: CurrentPractitioner,
    session: OpenSession,
    objects: Objects,
    now: Now,
    version: Annotated[int | None, Query(ge=1, le=10_000)] = None,
) -> Response:
    """The sealed PDF/A, byte for byte as signed; the current version where none is named.

    `X-Report-Standing` says current, superseded or withdrawn, `X-Report-Current-Version` what stands now.
    """
    report = reports.report_for(session, who, report_id)
    row = reports.version_of(session, report, version)
    _look(session, report, who, now, version=row.version)
    return document_of(report, row, objects)


@router.get("/{report_id}/versions")
def list_versions(
    report_id: Key, who: CurrentPractitioner, session: ReadSession, settings: TheSettings
) -> Versions:
    """Every version that was ever issued, oldest first; nothing of them is ever overwritten."""
    report = reports.report_for(session, who, report_id)
    names = people.names(session)
    return Versions(
        items=[
            Version(
                version=row.version,
                status=row.status,
                standing=row.standing,
                signed_at=row.signed_at,
                author=row.author,
                author_name=names.get(row.author, row.author),
                reviewer=row.reviewer,
                reviewer_name=names.get(row.reviewer, row.reviewer) if row.reviewer else None,
                content_hash=row.content_hash,
                manifest_hash=row.manifest_hash,
                previous_hash=row.previous_hash,
                pdf_sha256=row.pdf_sha256,
                pdf_size=row.pdf_size,
                verify_url=verify_url(settings.public_url, row.verify_token),
            )
            for row in report.versions
        ]
    )


@router.post("/{report_id}/addenda", status_code=201, dependencies=[SigningSeat])
def append_to_report(
    report_id: Key,
    body: Addendum,
    who: CurrentPractitioner,
    database: TheDatabase,
    objects: Objects,
    authority: Authority,
    settings: TheSettings,
    now: Now,
) -> Issued:
    """Later words: a new, signed version that shows them on its first page."""
    room = SigningRoom(database, objects, authority, settings, who, now, password=body.password, otp=body.otp)
    return Issued.model_validate(room.append(report_id, text=body.text, reason=body.reason))


@router.post("/{report_id}/withdraw", dependencies=[SigningSeat])
def withdraw_report(
    report_id: Key,
    body: Withdrawal,
    who: CurrentPractitioner,
    database: TheDatabase,
    objects: Objects,
    authority: Authority,
    settings: TheSettings,
    now: Now,
) -> Issued:
    """A signed statement that the report is not to be used any more."""
    room = SigningRoom(database, objects, authority, settings, who, now, password=body.password, otp=body.otp)
    return Issued.model_validate(room.withdraw(report_id, reason=body.reason))


@router.post("/{report_id}/acknowledge")
def acknowledge_report(
    report_id: Key, who: CurrentPractitioner, database: TheDatabase, now: Now
) -> Acknowledged:
    """The ordering side has read the current version; saying it twice is saying it once."""

    def acknowledge(session: Session) -> Acknowledged:
        report = reports.report_for(session, who, report_id)
        reports.acknowledge(session, report, by=who, now=now)
        return Acknowledged(report_id=report.id, version=report.current_version or 0, is_acknowledged=True)

    return database.in_transaction(acknowledge)


def document_of(report: DiagnosticReport, row: ReportVersion, objects: SoundObjects) -> Response:
    """The stored document as an answer, with what it is worth now in its headers."""
    headers = {
        "Content-Length": str(row.pdf_size),
        "Content-Disposition": f'inline; filename="report-{report.id}-v{row.version}.pdf"',
        "Content-Security-Policy": PDF_POLICY,
        "ETag": f'"{row.pdf_sha256}"',
        "X-Report-Version": str(row.version),
        "X-Report-Standing": row.standing,
        "X-Report-Current-Version": str(report.current_version),
    }
    if row.standing == Standing.SUPERSEDED:
        headers["Link"] = f'</api/reports/{report.id}/pdf>; rel="latest-version"'
    # Read and hashed before the answer begins: what is not what was sealed is an error, not a document.
    document = objects.document(row.pdf_key, row.pdf_sha256)
    return Response(document, media_type="application/pdf", headers=headers)


def _summary(session: Session, report: DiagnosticReport) -> dict[str, Any]:
    version = reports.version_of(session, report) if report.current_version is not None else None
    return {
        "id": report.id,
        "status": report.status,
        "version": report.current_version,
        "institution": report.institution_code,
        "modality": report.modality,
        "study_instance_uid": report.study.study_instance_uid,
        "accession_number": report.service_request.accession_number,
        "order_id": report.service_request_id,
        "signed_at": version.signed_at if version else None,
        "is_acknowledged": reports.is_acknowledged(session, report),
        "has_later_images": reports.has_later_images(session, [report])[report.id],
    }


def _look(session: Session, report: DiagnosticReport, who: Who, now: datetime, **detail: Any) -> None:
    audit.record(session, Act.VIEW, "look-at-report", report.subject, by=who.actor, at=now, **detail)
