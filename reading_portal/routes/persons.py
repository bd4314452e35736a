"""Patients that may be one person: who is proposed, how two compare, and the decision about them."""

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy.orm import Session

from reading_portal.dependencies import CurrentPractitioner, Now, OpenSession, ReadSession, TheDatabase
from reading_portal.shapes import Answer, Code, Cursor, Key, Limit, Shape, position
from reading_portal.viewing import note_patient, note_query
from storage.imaging import Patient
from storage.linking import Decision
from storage.persons import PersonDecision
from storage.resemblance import Resemblance, is_against
from worklist import persons
from worklist.orders import shown_name
from worklist.persons import SeenPair
from worklist.problems import Unacceptable

router = APIRouter(prefix="/api/persons", tags=["persons"])


class NewDecision(Shape):
    decision: Annotated[Decision, Field(strict=False)]
    reason: Annotated[str, Field(max_length=persons.LONGEST_REASON)]
    version: Code


class PatientHere(Answer):
    """One issuer's patient, as far as it is known here."""

    id: int
    issuer: str
    patient_id: str
    name: str
    dicom_name: str
    sex: str
    birth_date: date | None
    national_id: str | None
    phone: str | None
    studies: int


class Likeness(Answer):
    rank: str
    score: int
    evidence_for: list[str]
    evidence_against: list[str]


class ProposalSeen(Likeness):
    first: PatientHere
    second: PatientHere


class Proposals(Answer):
    items: list[ProposalSeen]
    next_cursor: str | None


class DecisionSeen(Answer):
    id: int
    first: int
    second: int
    verdict: str
    evidence: list[str]
    reason: str
    decided_by: str
    decided_at: datetime
    withdrawn_by: str | None
    withdrawn_at: datetime | None
    withdrawal_reason: str | None


class Decisions(Answer):
    items: list[DecisionSeen]
    next_cursor: str | None


class LikelyPatient(Likeness):
    patient: PatientHere


class Person(Answer):
    patient: PatientHere
    linked: list[PatientHere]
    hidden: int
    told_apart: list[PatientHere]
    likely: list[LikelyPatient]


class PairSeen(ProposalSeen):
    linked: list[PatientHere]
    hidden: int
    is_linked: bool
    is_told_apart: bool
    possible: list[str]
    version: str
    history: list[DecisionSeen]


@router.get("/proposals")
def list_proposals(
    who: CurrentPractitioner,
    session: ReadSession,
    database: TheDatabase,
    now: Now,
    patient: Annotated[str, Query(max_length=64, description="name, pinyin or ID of either")] = "",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Proposals:
    """Who may be the same person as whom, the likeliest first."""
    found = persons.proposals_for(session, who, search=patient, after=_position(cursor), limit=limit + 1)
    page = found[:limit]
    note_query(database, who, "persons", found=len(page), searched={"patient": patient}, now=now)
    known = _here(session, [one for row in page for one in (row.first, row.second)])
    items = [
        ProposalSeen(first=known[row.first.id], second=known[row.second.id], **_likeness(row.resemblance))
        for row in page
    ]
    score, number = page[-1].position if page else (0, 0)
    return Proposals(items=items, next_cursor=f"{score}.{number}" if len(found) > limit else None)


@router.get("/decisions")
def list_decisions(
    who: CurrentPractitioner, session: ReadSession, limit: Limit = 50, cursor: Cursor = None
) -> Decisions:
    """What was decided about whom, the newest first, with what was taken back."""
    found = persons.decisions_for(session, who, before=position(cursor), limit=limit + 1)
    page = [row for row, _, _ in found[:limit]]
    after = str(page[-1].id) if len(found) > limit else None
    return Decisions(items=[_decision(row) for row in page], next_cursor=after)


@router.get("/{patient}")
def look_at_person(
    patient: Key, who: CurrentPractitioner, session: ReadSession, database: TheDatabase, now: Now
) -> Person:
    """One patient: who is linked, who was told apart, and who may be the same, the likeliest first."""
    found = persons.look_at_person(session, who, patient)
    others = [*found.linked, *found.told_apart, *(one for one, _ in found.likely)]
    known = _here(session, [found.patient, *others])
    note_patient(database, who, patient, now=now)
    note_query(database, who, "persons", found=len(others), searched={}, now=now)
    return Person(
        patient=known[patient],
        linked=[known[one.id] for one in found.linked],
        hidden=found.hidden,
        told_apart=[known[one.id] for one in found.told_apart],
        likely=[LikelyPatient(patient=known[one.id], **_likeness(alike)) for one, alike in found.likely],
    )


@router.get("/{patient}/{other}")
def look_at_pair(
    patient: Key, other: Key, who: CurrentPractitioner, session: ReadSession, database: TheDatabase, now: Now
) -> PairSeen:
    """Two patients side by side, the older row first; `version` goes with the decision."""
    found = persons.look_at_pair(session, who, patient, other)
    for one in (found.pair.first, found.pair.second):
        note_patient(database, who, one.id, now=now)
    return _pair(session, found)


@router.post("/{patient}/{other}/decision")
def decide_on_persons(
    patient: Key, other: Key, body: NewDecision, who: CurrentPractitioner, session: OpenSession, now: Now
) -> PairSeen:
    """Link them, tell them apart, or undo what stands; `version` is the one that was looked at."""
    persons.decide_pair(
        session,
        patient,
        other,
        decision=body.decision,
        reason=body.reason,
        version=body.version,
        by=who,
        now=now,
    )
    return _pair(session, persons.look_at_pair(session, who, patient, other))


def _pair(session: Session, found: SeenPair) -> PairSeen:
    pair = found.pair
    known = _here(session, [pair.first, pair.second, *found.linked])
    return PairSeen(
        first=known[pair.first.id],
        second=known[pair.second.id],
        linked=[known[one.id] for one in found.linked],
        hidden=found.hidden,
        is_linked=pair.is_linked,
        is_told_apart=pair.is_told_apart,
        possible=[str(one) for one in found.possible],
        version=pair.version,
        history=[_decision(row) for row in found.history],
        **_likeness(pair.resemblance),
    )


def _likeness(alike: Resemblance) -> dict[str, Any]:
    return {
        "rank": alike.rank,
        "score": alike.score,
        "evidence_for": [str(one) for one in alike.evidence if not is_against(one)],
        "evidence_against": [str(one) for one in alike.evidence if is_against(one)],
    }


def _here(session: Session, patients: Sequence[Patient]) -> dict[int, PatientHere]:
    studies = persons.count_studies(session, patients)
    return {
        one.id: PatientHere(
            id=one.id,
            issuer=one.issuer,
            patient_id=one.patient_id,
            name=shown_name(one.name),
            dicom_name=one.name,
            sex=one.sex,
            birth_date=one.birth_date,
            national_id=one.national_id,
            phone=one.phone,
            studies=studies[one.id],
        )
        for one in patients
    }


def _decision(row: PersonDecision) -> DecisionSeen:
    return DecisionSeen(
        id=row.id,
        first=row.first_pk,
        second=row.second_pk,
        verdict=row.verdict,
        evidence=row.evidence,
        reason=row.reason,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        withdrawn_by=row.withdrawn_by,
        withdrawn_at=row.withdrawn_at,
        withdrawal_reason=row.withdrawal_reason,
    )


def _position(cursor: str | None) -> tuple[int, int] | None:
    if not cursor:
        return None
    if not re.fullmatch(r"[0-9]{1,3}\.[0-9]{1,9}", cursor):
        raise Unacceptable("the cursor is not one that this list gave")
    score, _, number = cursor.partition(".")
    return int(score), int(number)
