"""Who may be the same person as whom: found for each new patient by the worker, kept for an operator to see.

What is kept agrees with every decision at any time: both are written under the same hold.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from functools import lru_cache

from sqlalchemy import ForeignKey, Index, UniqueConstraint, delete, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage.database import Base, Database
from storage.imaging import Patient, PatientNameToken
from storage.persons import group_of, hold_persons, set_apart
from storage.resemblance import POSSIBLE, Resemblance, birth_date_of, names_of, near_dates, resemblance

AT_ONCE = 20  # patients of one transaction of the worker
MOST = 20  # proposals for one patient; a hundred namesakes without birth dates help nobody
MOST_NAMESAKES = 300


class PersonProposal(Base):
    """Two patients that may be one person."""

    __tablename__ = "person_proposals"
    __table_args__ = (UniqueConstraint("first_pk", "second_pk"), Index(None, "score", "id"))
    id: Mapped[int] = mapped_column(primary_key=True)
    first_pk: Mapped[int] = mapped_column(ForeignKey("patients.id"))  # the smaller of the two
    second_pk: Mapped[int] = mapped_column(ForeignKey("patients.id"), index=True)
    score: Mapped[int]
    proposed_at: Mapped[datetime]


def likely_same(session: Session, patient: Patient) -> list[tuple[Patient, Resemblance]]:
    """Who may be the same person, the likeliest first; nobody who is linked or told apart already."""
    found = {one.id: one for one in _candidates(session, patient) if one.id != patient.id}
    compared = {pk: resemblance(patient, one) for pk, one in found.items()}
    likely = [pk for pk, alike in compared.items() if alike.score >= POSSIBLE]
    if not likely:
        return []
    ranked = sorted(set(likely) - _settled(session, patient.id), key=lambda pk: (-compared[pk].score, pk))
    return [(found[pk], compared[pk]) for pk in ranked[:MOST]]


def _candidates(session: Session, patient: Patient) -> Iterator[Patient]:
    """By resident ID, and by name with a birth date that fits or is not known: both are indexed."""
    if patient.national_id:
        yield from session.scalars(
            select(Patient).where(Patient.national_id == patient.national_id).limit(MOST_NAMESAKES)
        )
    characters, spellings = names_of(patient.name)
    namesakes = select(PatientNameToken.patient_id).where(PatientNameToken.token.in_(characters | spellings))
    statement = select(Patient).where(Patient.id.in_(namesakes)).order_by(Patient.id.desc())
    born = birth_date_of(patient)
    if born is not None:
        fits = or_(Patient.birth_date.is_(None), Patient.birth_date.in_(_near(born)))
        statement = statement.where(fits)
    if characters | spellings:
        yield from session.scalars(statement.limit(MOST_NAMESAKES))


_near = lru_cache(maxsize=256)(near_dates)


def propose_anew(session: Session, patients: Collection[int], *, now: datetime) -> None:
    """Find again who may be the same as one of these; call it under `hold_persons`."""
    statement = select(Patient).where(Patient.id.in_(patients)).execution_options(populate_existing=True)
    found = {one.id: _scores(session, one) for one in session.scalars(statement).all()}
    _replace(session, found, now)


def compare_patients(database: Database, *, now: datetime) -> bool:
    """Propose for patients that are new or of whom more is known than before; whether there were any.

    They are compared before anything is locked: whoever writes, such as a device that sends, waits for the
    few rows only that come of it.
    """
    waiting = select(Patient).where(Patient.compared_at.is_(None)).order_by(Patient.id).limit(AT_ONCE)
    with database.reading() as session:
        patients = {one.id: one for one in session.scalars(waiting)}
        found = {pk: _scores(session, one) for pk, one in patients.items()}
    if not patients:
        return False
    return database.in_transaction(lambda session: _keep(session, patients, found, now)) > 0


def _keep(
    session: Session, compared: dict[int, Patient], found: dict[int, dict[int, int]], now: datetime
) -> int:
    hold_persons(session)
    # Locked, so that what arrives of them meanwhile is compared after this, and not forgotten.
    statement = select(Patient).where(Patient.id.in_(compared)).with_for_update(skip_locked=True)
    rows = [one for one in session.scalars(statement) if _known(one) == _known(compared[one.id])]
    agreed: dict[int, dict[int, int]] = {}
    for one in rows:
        scores = found[one.id]
        settled = _settled(session, one.id) if scores else ()  # somebody may have decided meanwhile
        agreed[one.id] = {pk: score for pk, score in scores.items() if pk not in settled}
        one.compared_at = now
    _replace(session, agreed, now)
    return len(rows)


def _scores(session: Session, patient: Patient) -> dict[int, int]:
    return {other.id: alike.score for other, alike in likely_same(session, patient)}


def _settled(session: Session, patient_pk: int) -> set[int]:
    group = group_of(session, patient_pk)
    return group | set_apart(session, group)


def _known(patient: Patient) -> tuple[object, ...]:
    return patient.name, patient.sex, patient.birth_date, patient.national_id, patient.phone


def _replace(session: Session, found: Mapping[int, Mapping[int, int]], now: datetime) -> None:
    """Keep these proposals, by patient, other patient and score, in place of all that these patients had."""
    session.execute(
        delete(PersonProposal).where(
            or_(PersonProposal.first_pk.in_(found), PersonProposal.second_pk.in_(found))
        )
    )
    pairs = {
        (min(pk, other), max(pk, other)): score
        for pk, scores in found.items()
        for other, score in scores.items()
    }
    session.add_all(
        PersonProposal(first_pk=first, second_pk=second, score=score, proposed_at=now)
        for (first, second), score in pairs.items()
    )
