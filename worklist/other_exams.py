"""What else there is of the same person: exams made before this one, and those made after it."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.imaging import Patient, Study, moment_of
from storage.persons import same_person
from worklist.people import Who, visible_to


class OtherExams(NamedTuple):
    """Both the newest first."""

    earlier: list[Study]
    later: list[Study]


def other_exams(
    session: Session, study: Study, *, timezone: str, seen_by: Who | None = None, limit: int = 50
) -> OtherExams:
    """Studies of the same person, at most `limit` either way; with `seen_by` those that this person may see.

    What is earlier goes by when the exams were made: an old exam may arrive here long after a new one.
    """
    statement = (
        select(Study)
        .join(Patient, Patient.id == Study.patient_pk)
        .where(same_person(session, study.patient), Study.id != study.id, Study.number_of_instances > 0)
    )
    if seen_by is not None:
        statement = statement.where(visible_to(session, seen_by, Study))
    this = _made(study, timezone)
    found = sorted(session.scalars(statement), key=lambda one: _made(one, timezone), reverse=True)
    earlier = [one for one in found if _made(one, timezone) < this]
    later = [one for one in found if _made(one, timezone) > this]
    return OtherExams(earlier[:limit], later[-limit:])


def _made(study: Study, timezone: str) -> tuple[datetime, datetime, int]:
    """By the device's clock; of two with one moment, the one that came first."""
    return moment_of(study, timezone), study.first_instance_at, study.id
