"""Shortfalls: a device said that it was done, counted its images, and we do not have them all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from storage.imaging import Study
from worklist.performed_steps import INCOMPLETE, PerformedProcedureStep, StepState, kept_of

# A line that is down for a night is not yet a loss; a month later nobody sends it any more.
LOOKED_BACK = timedelta(days=30)
GRACE = timedelta(minutes=10)
MOST = 200


@dataclass(frozen=True)
class Shortfall:
    """One step: `counted` images by its device, of which `kept` are here."""

    ae_title: str
    institution_code: str
    accession_number: str
    study_instance_uid: str
    counted: int
    kept: int
    ended_at: datetime


def shortfalls(session: Session, *, now: datetime, institution_code: str | None = None) -> list[Shortfall]:
    """Completed steps whose study never came, or settled without all of its images; newest first."""
    steps = session.scalars(
        select(PerformedProcedureStep)
        .outerjoin(Study, Study.study_instance_uid == PerformedProcedureStep.study_instance_uid)
        .where(
            PerformedProcedureStep.state == StepState.COMPLETED,
            PerformedProcedureStep.ended_at > now - LOOKED_BACK,
            PerformedProcedureStep.ended_at < now - GRACE,
            or_(Study.id.is_(None), Study.settled_by == INCOMPLETE),
            *([PerformedProcedureStep.institution_code == institution_code] if institution_code else []),
        )
        .order_by(PerformedProcedureStep.ended_at.desc())
        .limit(MOST)
    )
    found = []
    for step in steps:
        kept = kept_of(session, step.study_instance_uid, step.instance_uids)
        if kept < len(step.instance_uids):
            found.append(
                Shortfall(
                    step.ae_title,
                    step.institution_code,
                    step.accession_number,
                    step.study_instance_uid,
                    len(step.instance_uids),
                    kept,
                    step.ended_at or now,
                )
            )
    return found
