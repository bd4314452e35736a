"""What a report says besides the reader's words: who, where, when, with which device, compared with what."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.imaging import Origin, Series, Study, moment_of
from storage.institutions import Institution
from worklist.critical_results import statement_for
from worklist.orders import shown_name
from worklist.other_exams import other_exams
from worklist.people import Practitioner, Who
from worklist.policy import Policy
from worklist.recognition import mark_for
from worklist.recognition_items import items_by_code
from worklist.report_content import KeyImageReference, ReportContent, Signatory

if TYPE_CHECKING:
    from worklist.reports import DiagnosticReport


def facts_of(
    session: Session,
    report: DiagnosticReport,
    *,
    policy: Policy,
    version: int,
    status: str,
    author: Who,
    author_signed_at: datetime,
    reviewer: Who | None,
    reviewer_signed_at: datetime | None,
    **words: Any,
) -> ReportContent:
    """The complete content of one version; `words` are the reader's own and the links to what came before."""
    study, order = report.study, report.service_request
    patient = study.patient
    place = session.get(Institution, report.institution_code)
    items = items_by_code(session)
    requester = session.get(Practitioner, order.requester)
    performed_at = moment_of(study, policy.timezone)
    return ReportContent(
        report_uid=report.report_uid,
        version=version,
        status=status,
        language=policy.language,
        timezone=policy.timezone,
        center_name=policy.center_name,
        institution_name=place.name if place else report.institution_code,
        institution_code=report.institution_code,
        patient_name=shown_name(patient.name),
        patient_name_phonetic=_alphabetic(patient.name),
        patient_id=patient.patient_id,
        patient_issuer=patient.issuer,
        patient_sex=patient.sex,
        patient_birth_date=patient.birth_date,
        patient_age=age_string(patient.birth_date, study.study_date or performed_at.date()),
        modality=report.modality,
        exam_name=items[order.item].name
        if order.item in items
        else study.study_description or report.modality,
        body_part=order.body_part or study.body_part_examined,
        laterality=order.laterality,
        accession_number=order.accession_number,
        study_instance_uid=study.study_instance_uid,
        performed_at=performed_at,
        requester_name=requester.name if requester else "",
        device_name=_device(session, study),
        clinical_information="\n".join(filter(None, (order.clinical_information, order.question))),
        technique=_technique(session, study),
        comparison=_comparison(session, study, policy.timezone, author),
        image_quality=report.image_quality,
        critical=statement_for(session, study),
        key_images=tuple(
            KeyImageReference(
                sop_instance_uid=one["sop_instance_uid"],
                frame=int(one.get("frame") or 1),
                caption=one.get("caption") or "",
            )
            for one in report.key_images
        ),
        recognition_mark=mark_for(session, study),
        author=signatory(session, author, author_signed_at),
        reviewer=signatory(session, reviewer, reviewer_signed_at) if reviewer else None,
        **words,
    )


def age_string(birth_date: date | None, on: date) -> str:
    """Age as DICOM's AS: `067Y`, `005M` under two years, `012D` under two months; empty when unknown."""
    if birth_date is None or birth_date > on:
        return ""
    months = (on.year - birth_date.year) * 12 + on.month - birth_date.month - (on.day < birth_date.day)
    if months >= 24:
        return f"{min(months // 12, 999):03d}Y"
    if months >= 2:
        return f"{months:03d}M"
    return f"{(on - birth_date).days:03d}D"


def signatory(session: Session, person: Who, signed_at: datetime | None) -> Signatory:
    place = session.get(Institution, person.institution_code)
    return Signatory(
        name=person.name,
        username=person.username,
        institution_name=place.name if place else person.institution_code,
        license_number=person.license_number or "",
        title=person.grade or "",
        signed_at=signed_at,
    )


def _alphabetic(name: str) -> str:
    first = name.split("=")[0].replace("^", " ").strip()
    return first if first.isascii() else ""


def _device(session: Session, study: Study) -> str:
    row = session.scalar(
        select(Series.station_ae)
        .where(Series.study_pk == study.id, Series.origin == Origin.RECEIVED)
        .order_by(Series.id)
        .limit(1)
    )
    return row or ""


def _technique(session: Session, study: Study) -> str:
    """The series as the device described them, each once, in order."""
    rows = session.scalars(
        select(Series.series_description)
        .where(Series.study_pk == study.id, Series.origin == Origin.RECEIVED)
        .order_by(Series.series_number)
    )
    return "；".join(dict.fromkeys(row for row in rows if row))


def _comparison(session: Session, study: Study, timezone: str, author: Who) -> str:
    # What the author may not see was not compared with, and is not the report's to tell.
    earlier = other_exams(session, study, timezone=timezone, seen_by=author).earlier
    prior = next((one for one in earlier if one.modality == study.modality), None)
    if prior is None or prior.study_date is None:
        return ""
    return f"{prior.study_date:%Y-%m-%d} {prior.study_description or prior.modality}"
