"""Emergency access: a study beyond one's own rights, for a reason, for a while, judged by another."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from storage import audit
from storage.audit import Act
from storage.imaging import Patient, Study
from worklist.people import Role, StudyAccess, Who, must_have
from worklist.problems import Missing, Refused, Unacceptable, WrongState

LASTS = timedelta(hours=4)
MAY_OPEN = (Role.READER, Role.REVIEWER, Role.CLINICIAN)
MAY_REVIEW = (Role.DIRECTOR, Role.AUDITOR, Role.QUALITY)


def find_hidden(session: Session, *, by: Who, institution: str, accession_or_patient_id: str) -> list[Study]:
    """Studies by exact accession number or patient ID of one institution: enough to ask, not to browse."""
    must_have(by, *MAY_OPEN)
    text = accession_or_patient_id.strip()
    if not text:
        return []
    return list(
        session.scalars(
            select(Study)
            .join(Patient, Patient.id == Study.patient_pk)
            .where(
                Study.institution_code == institution,
                or_(Study.accession_number == text, Patient.patient_id == text),
            )
            .order_by(Study.id.desc())
            .limit(20)
        )
    )


def open_access(
    session: Session, *, by: Who, study_instance_uid: str, reason: str, now: datetime
) -> StudyAccess:
    """See this study for four hours. The reason is kept, and somebody else judges it."""
    must_have(by, *MAY_OPEN)
    if len(reason.strip()) < 5:
        raise Unacceptable("emergency access takes a reason that a reviewer can judge")
    study = session.scalar(select(Study).where(Study.study_instance_uid == study_instance_uid))
    if study is None:
        raise Missing("no such study")
    access = StudyAccess(
        study_pk=study.id,
        username=by.username,
        reason=reason.strip(),
        kind="break-glass",
        opened_at=now,
        expires_at=now + LASTS,
    )
    session.add(access)
    audit.record(
        session,
        Act.BREAK_GLASS,
        "open",
        f"study:{study_instance_uid}",
        by=by.actor,
        at=now,
        reason=reason.strip(),
    )
    return access


def pending(session: Session, *, by: Who) -> list[tuple[StudyAccess, Study]]:
    """Emergency accesses that nobody has judged yet, the oldest first."""
    must_have(by, *MAY_REVIEW)
    rows = session.execute(
        select(StudyAccess, Study)
        .join(Study, Study.id == StudyAccess.study_pk)
        .where(StudyAccess.kind == "break-glass", StudyAccess.reviewed_at.is_(None))
        .order_by(StudyAccess.id)
    )
    return [(access, study) for access, study in rows]


def review(session: Session, access_id: int, *, by: Who, verdict: str, now: datetime) -> None:
    """Judge an emergency access: justified or unjustified; never one's own."""
    must_have(by, *MAY_REVIEW)
    if verdict not in ("justified", "unjustified"):
        raise Unacceptable("the verdict is justified or unjustified")
    access = session.get(StudyAccess, access_id)
    if access is None or access.kind != "break-glass":
        raise Missing("no such emergency access")
    if access.username == by.username:
        raise Refused("nobody judges the own emergency access")
    if access.reviewed_at is not None:
        raise WrongState("this emergency access has been judged already", holder=access.reviewed_by)
    access.reviewed_by, access.reviewed_at, access.verdict = by.username, now, verdict
    if verdict == "unjustified":
        access.expires_at = min(access.expires_at or now, now)
    audit.record(session, Act.BREAK_GLASS, verdict, f"access:{access_id}", by=by.actor, at=now)
