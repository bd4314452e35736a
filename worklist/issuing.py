"""Signing: what would be signed, and making the sealed document the current version.

Three steps, so that no transaction waits for a document: `content_to_sign` (or `content_to_approve`, and
`addenda` for later words) says what would be signed; the door composes and seals it and keeps the object;
`issue` makes it current, if nothing moved meanwhile.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage import audit, changes, jobs
from storage.audit import Act
from storage.changes import Topic
from storage.corrections import mark_of
from storage.imaging import Instance, Origin, Patient, Series, Study
from storage.institutions import Institution
from worklist import reading_tasks
from worklist.measurements import archive_measurements
from worklist.orders import OrderState, move_order, shown_name
from worklist.people import Practitioner, Role, Who, may_read, must_have, who
from worklist.policy import read_policy
from worklist.problems import Missing, Refused, Unacceptable, WrongState
from worklist.reading_tasks import ReadingTask, TaskState, held
from worklist.report_content import ReportContent, canonical_json, content_hash, content_of
from worklist.report_facts import facts_of
from worklist.reports import (
    FINISHED,
    DiagnosticReport,
    ReportStatus,
    ReportVersion,
    Standing,
    report_of_task,
    version_of,
)
from worklist.signing import manifest_hash, new_verify_token


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a signer has looked at; None: nobody has said."""

    study_version: int | None = None  # of the images
    study_mark: str | None = None  # storage.corrections.mark_of: whose they are


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What is about to be issued; `issue` refuses it when any of this has moved on meanwhile."""

    verb: str  # sign | approve | append | withdraw
    report_id: int
    task_id: int | None
    fence: int | None
    revision: int
    version: int
    status: ReportStatus
    content: ReportContent
    content_hash: str
    manifest_hash: str
    previous_hash: str
    verify_token: str
    study_version: int
    author: str
    reviewer: str | None
    signed_at: datetime


def content_to_sign(
    session: Session, task_id: int, *, by: Who, fence: int, now: datetime, seen: Seen | None = None
) -> Prepared:
    """What the author's signature would stand for; `seen` is what was looked at. Raises StaleFence, Refused,
    Unacceptable, and WrongState where images came since or the study was corrected."""
    task = held(session, task_id, by=by, fence=fence, now=now)
    if task.state != TaskState.CLAIMED:
        raise WrongState(f"the task is {task.state}", holder=task.holder)
    _may_still(session, task, by, now)
    _must_have_seen(session, task, seen)
    report = report_of_task(session, task, now=now)
    if not report.findings.strip() or not report.impression.strip():
        raise Unacceptable("a report needs findings and an impression before it is signed")
    needs_review = task.modality in read_policy(session).review or by.grade == "trainee"
    is_first = report.status in (ReportStatus.REGISTERED, ReportStatus.PRELIMINARY)
    status = (
        ReportStatus.PRELIMINARY if needs_review else ReportStatus.FINAL if is_first else ReportStatus.AMENDED
    )
    return prepare(session, "sign", report, task=task, author=by, reviewer=None, status=status, now=now)


def content_to_approve(
    session: Session, task_id: int, *, by: Who, fence: int, now: datetime, seen: Seen | None = None
) -> Prepared:
    """What the reviewer's signature would stand for: the author's words, unchanged."""
    task = held(session, task_id, by=by, fence=fence, now=now)
    if task.state != TaskState.AWAITING_REVIEW:
        raise WrongState(f"the task is {task.state} and waits for no review", holder=task.holder)
    must_have(by, Role.REVIEWER)
    if task.author == by.username:
        raise Refused("the author does not review the own report")
    _may_still(session, task, by, now)
    _must_have_seen(session, task, seen)
    report = report_of_task(session, task, now=now)
    author = session.get(Practitioner, task.author or "")
    if author is None:
        raise Missing("the author of this report is not known any more")
    signed = version_of(session, report)
    is_first = not any(version.status in FINISHED for version in report.versions)
    status = ReportStatus.FINAL if is_first else ReportStatus.AMENDED
    return prepare(
        session,
        "approve",
        report,
        task=task,
        author=who(author),
        reviewer=by,
        status=status,
        now=now,
        author_signed_at=signed.signed_at,
    )


def reject(session: Session, task_id: int, *, by: Who, fence: int, note: str, now: datetime) -> None:
    """The reviewer sends the report back to the readers, with a note."""
    task = held(session, task_id, by=by, fence=fence, now=now)
    must_have(by, Role.REVIEWER)
    if not note.strip():
        raise Unacceptable("a report is rejected with a note to its author")
    reading_tasks.complete(session, task, "reject", by=by, now=now)
    task.note, task.reserved_for = note.strip(), task.author


def issue(
    session: Session,
    prepared: Prepared,
    *,
    pdf_key: str,
    pdf_sha256: str,
    pdf_size: int,
    by: Who,
    now: datetime,
) -> ReportVersion:
    """Make the sealed document the current version; task, order, deliveries, traces: one transaction.

    Raises StaleFence or WrongState when the lease, the words or the images moved while it was sealed.
    """
    report = session.scalar(
        select(DiagnosticReport).where(DiagnosticReport.id == prepared.report_id).with_for_update()
    )
    if report is None:
        raise Missing("no such report")
    task = None
    if prepared.task_id is not None and prepared.fence is not None:
        task = held(session, prepared.task_id, by=by, fence=prepared.fence, now=now)
        if report.revision != prepared.revision:
            raise WrongState("the text changed while it was being signed; look at it and sign again")
    if (report.current_version or 0) + 1 != prepared.version:
        raise WrongState("another version was issued meanwhile; look at it first")
    if _manifest(session, report.study) != prepared.manifest_hash:
        raise WrongState("new images arrived while the report was being signed; look at them and sign again")
    if _whose(prepared.content) != _whose_now(report.study.patient):
        raise WrongState("the study was corrected while the report was being signed; look and sign again")
    for older in report.versions:
        if older.standing == Standing.CURRENT:
            older.standing = Standing.SUPERSEDED
    is_withdrawal = prepared.status is ReportStatus.ENTERED_IN_ERROR
    version = ReportVersion(
        report_id=report.id,
        version=prepared.version,
        status=prepared.status,
        standing=Standing.WITHDRAWN if is_withdrawal else Standing.CURRENT,
        content=_as_json(prepared.content),
        content_hash=prepared.content_hash,
        manifest_hash=prepared.manifest_hash,
        previous_hash=prepared.previous_hash,
        pdf_key=pdf_key,
        pdf_sha256=pdf_sha256,
        pdf_size=pdf_size,
        author=prepared.author,
        reviewer=prepared.reviewer,
        signed_at=prepared.signed_at,
        verify_token=prepared.verify_token,
        study_version=prepared.study_version,
    )
    session.add(version)
    report.current_version, report.status = prepared.version, prepared.status
    if task is not None:
        if prepared.verb == "sign":
            task.author = by.username
        action = "ask-review" if prepared.status is ReportStatus.PRELIMINARY else "complete"
        task.study_version = prepared.study_version
        reading_tasks.complete(session, task, action, by=by, now=now)
    order = report.service_request
    if prepared.status is not ReportStatus.PRELIMINARY and order.state in (
        OrderState.ACQUIRED,
        OrderState.REPORTED,
        OrderState.CLOSED,
    ):
        move_order(session, order, "report", by=by.actor, now=now, report=report.id, version=prepared.version)
    _send_home(session, report, version)
    if prepared.verb == "sign":
        archive_measurements(session, report.study, by.username)
    audit.record(
        session,
        Act.REPORT,
        prepared.verb,
        report.subject,
        by=by.actor,
        at=now,
        version=prepared.version,
        status=str(prepared.status),
        content_hash=prepared.content_hash,
    )
    changes.publish(
        session,
        Topic.REPORT,
        report.subject,
        prepared.verb,
        institution_code=report.institution_code,
        modality=report.modality,
    )
    session.flush()
    return version


def _may_still(session: Session, task: ReadingTask, person: Who, now: datetime) -> None:
    """Licence and agreement are asked again at the moment of signing."""
    refusal = may_read(
        session, person, institution_code=task.institution_code, modality=task.modality, now=now
    )
    if refusal is not None:
        raise Refused(refusal)


def _must_have_seen(session: Session, task: ReadingTask, seen: Seen | None) -> None:
    if seen is None:
        return
    if seen.study_version is not None and seen.study_version != task.study.version:
        raise WrongState("new images came after this exam was opened; look at them and sign again")
    if seen.study_mark is not None and seen.study_mark != mark_of(session, task.study):
        raise WrongState("this exam was corrected after it was opened; look at it and sign again")


def prepare(
    session: Session,
    verb: str,
    report: DiagnosticReport,
    *,
    task: ReadingTask | None,
    author: Who,
    reviewer: Who | None,
    status: ReportStatus,
    now: datetime,
    author_signed_at: datetime | None = None,
    reviewer_signed_at: datetime | None = None,
    **more: Any,
) -> Prepared:
    policy = read_policy(session)
    previous = version_of(session, report) if report.current_version else None
    # Later words stay with the report, whatever is written anew beside them.
    more.setdefault("addenda", content_of(previous.content).addenda if previous is not None else ())
    manifest = _manifest(session, report.study)
    version = (report.current_version or 0) + 1
    words = {
        "findings": report.findings,
        "impression": tuple(impression_lines(report.impression)),
        "recommendation": report.recommendation,
    }
    content = facts_of(
        session,
        report,
        policy=policy,
        version=version,
        status=str(status),
        author=author,
        author_signed_at=author_signed_at or now,
        reviewer=reviewer,
        reviewer_signed_at=(reviewer_signed_at or now) if reviewer is not None else None,
        study_manifest_hash=manifest,
        supersedes_version=previous.version if previous is not None else None,
        previous_content_hash=previous.content_hash if previous is not None else "",
        **(words | more),
    )
    return Prepared(
        verb=verb,
        report_id=report.id,
        task_id=task.id if task is not None else None,
        fence=task.fence if task is not None else None,
        revision=report.revision,
        version=version,
        status=status,
        content=content,
        content_hash=content_hash(content),
        manifest_hash=manifest,
        previous_hash=previous.content_hash if previous is not None else "",
        verify_token=new_verify_token(),
        study_version=report.study.version,
        author=author.username,
        reviewer=reviewer.username if reviewer is not None else None,
        signed_at=now,
    )


def impression_lines(text: str) -> list[str]:
    """One conclusion a line. A number that only counts the line goes, the document counts them itself;
    a number that belongs to the words, as in `2.5 cm`, stays."""
    found: list[str] = []
    for line in text.splitlines():
        words = re.sub(rf"^\s*{len(found) + 1}\s*[.、．)）](?!\d)\s*", "", line).strip()
        if words:
            found.append(words)
    return found


def _whose(content: ReportContent) -> tuple[Any, ...]:
    return (
        content.patient_issuer,
        content.patient_id,
        content.patient_name,
        content.patient_sex,
        content.patient_birth_date,
    )


def _whose_now(patient: Patient) -> tuple[Any, ...]:
    return (patient.issuer, patient.patient_id, shown_name(patient.name), patient.sex, patient.birth_date)


def _manifest(session: Session, study: Study) -> str:
    """What the signature binds: every received instance of the study, by UID and content."""
    rows = session.execute(
        select(Instance.sop_instance_uid, Instance.digest)
        .join(Series, Series.id == Instance.series_pk)
        .where(Series.study_pk == study.id, Instance.origin == Origin.RECEIVED)
    )
    return manifest_hash((uid, digest) for uid, digest in rows)


def _send_home(session: Session, report: DiagnosticReport, version: ReportVersion) -> None:
    """Deliveries are rows of the same transaction: the archive, and the institution's receiver."""
    payload = {"report_id": report.id, "version": version.version}
    jobs.enqueue(session, "archive-report", f"{report.report_uid}/{version.version}", payload)
    institution = session.get(Institution, report.institution_code)
    if institution is not None and institution.reports_to:
        jobs.enqueue(
            session,
            "deliver-report",
            f"{report.report_uid}/{version.version}/{institution.reports_to}",
            payload | {"ae_title": institution.reports_to},
        )


def _as_json(content: ReportContent) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(canonical_json(content))
    return loaded
