"""Who sees patients that may be one person, and who decides on them; the deciding itself is storage.linking.

The director of the centre sees all; a technician the patients of the own institution, which may have one
person under two IDs. A link never widens what somebody may see: `people.visible_to` is asked all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, exists, false, func, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from storage import linking
from storage.identity import name_matches
from storage.imaging import Patient, Study
from storage.linking import CannotLink, Decision, Pair, find_pair
from storage.persons import PersonDecision, group_of, hold_persons, set_apart
from storage.proposals import PersonProposal, likely_same
from storage.resemblance import Resemblance, resemblance
from worklist.people import Role, Who, must_have
from worklist.problems import Missing, Refused, Unacceptable, WrongState

MAY_DECIDE = (Role.DIRECTOR, Role.TECHNICIAN)
SHORTEST_REASON, LONGEST_REASON = 5, 1000
MOST_HISTORY = 100


@dataclass(frozen=True)
class Proposal:
    """Two patients that may be one person; `position` is where the list goes on after it."""

    first: Patient
    second: Patient
    score: int
    position: tuple[int, int]

    @property
    def resemblance(self) -> Resemblance:
        return resemblance(self.first, self.second)


@dataclass(frozen=True)
class SeenPair:
    """Two patients as one person sees them: what belongs to others is counted, and not shown."""

    pair: Pair
    linked: Sequence[Patient]  # to either of the two, as far as they may be seen
    hidden: int  # patients of other institutions who are linked to either
    history: Sequence[PersonDecision]  # between patients who may be seen, the newest first

    @property
    def possible(self) -> tuple[Decision, ...]:
        return () if self.hidden else self.pair.possible


@dataclass(frozen=True)
class PersonSeen:
    """A patient, and how others stand to him, as far as they may be seen."""

    patient: Patient
    linked: Sequence[Patient]
    told_apart: Sequence[Patient]
    likely: Sequence[tuple[Patient, Resemblance]]
    hidden: int


def decidable(person: Who) -> ColumnElement[bool]:
    """Patients about whom this person may decide who they are."""
    if person.has(Role.DIRECTOR):
        return true()
    return Patient.issuer == person.institution_code if person.has(Role.TECHNICIAN) else false()


def proposals_for(
    session: Session,
    person: Who,
    *,
    search: str = "",
    after: tuple[int, int] | None = None,
    limit: int = 50,
) -> list[Proposal]:
    """Who may be the same person as whom, the likeliest first; both are the person's to decide on.

    `search` finds either of the two by name, pinyin, initials or ID.
    """
    must_have(person, *MAY_DECIDE)
    both = _are_decidable(person, PersonProposal.first_pk, PersonProposal.second_pk)
    statement = select(PersonProposal).where(both)
    if search.strip():
        named = select(Patient.id).where(_found_by(search))
        statement = statement.where(
            or_(PersonProposal.first_pk.in_(named), PersonProposal.second_pk.in_(named))
        )
    if after is not None:
        score, number = after
        statement = statement.where(
            or_(PersonProposal.score < score, and_(PersonProposal.score == score, PersonProposal.id < number))
        )
    order = (PersonProposal.score.desc(), PersonProposal.id.desc())
    rows = session.scalars(statement.order_by(*order).limit(limit)).all()
    known = _by_pk(session, (pk for row in rows for pk in (row.first_pk, row.second_pk)))
    return [
        Proposal(known[row.first_pk], known[row.second_pk], row.score, (row.score, row.id)) for row in rows
    ]


def decisions_for(
    session: Session, person: Who, *, before: int | None = None, limit: int = 50
) -> list[tuple[PersonDecision, Patient, Patient]]:
    """What was decided, the newest first, with what was taken back; `before` is where the last page ended."""
    must_have(person, *MAY_DECIDE)
    both = _are_decidable(person, PersonDecision.first_pk, PersonDecision.second_pk)
    statement = select(PersonDecision).where(both)
    if before is not None:
        statement = statement.where(PersonDecision.id < before)
    rows = session.scalars(statement.order_by(PersonDecision.id.desc()).limit(limit)).all()
    known = _by_pk(session, (pk for row in rows for pk in (row.first_pk, row.second_pk)))
    return [(row, known[row.first_pk], known[row.second_pk]) for row in rows]


def patients_found(session: Session, person: Who, search: str, *, limit: int = 12) -> Sequence[Patient]:
    """Patients on whom this person may decide, by name, pinyin, initials, patient ID or resident ID."""
    must_have(person, *MAY_DECIDE)
    if not search.strip():
        return []
    statement = select(Patient).where(decidable(person), _found_by(search))
    return session.scalars(statement.order_by(Patient.id.desc()).limit(limit)).all()


def look_at_person(session: Session, person: Who, patient_pk: int) -> PersonSeen:
    """Raises Missing for a patient who is not there or not this person's to decide on."""
    must_have(person, *MAY_DECIDE)
    patient = session.scalar(select(Patient).where(Patient.id == patient_pk, decidable(person)))
    if patient is None:
        raise Missing("no such patient")
    group = group_of(session, patient.id)
    apart = set_apart(session, group)
    seen = _by_pk(session, group | apart, decidable(person))
    linked = [seen[pk] for pk in sorted(group - {patient.id}) if pk in seen]
    return PersonSeen(
        patient,
        linked,
        [seen[pk] for pk in sorted(apart) if pk in seen],
        [(one, found) for one, found in likely_same(session, patient) if _is_decidable(one, person)],
        hidden=len(group) - 1 - len(linked),
    )


def look_at_pair(session: Session, person: Who, one_pk: int, other_pk: int) -> SeenPair:
    """Two patients side by side. Raises Missing unless both are there and this person's to decide on."""
    must_have(person, *MAY_DECIDE)
    pair = find_pair(session, one_pk, other_pk)
    if pair is None or not (_is_decidable(pair.first, person) and _is_decidable(pair.second, person)):
        raise Missing("no such two patients")
    seen = [one for one in pair.members if _is_decidable(one, person)]
    keys = {one.id for one in seen}
    return SeenPair(
        pair,
        [one for one in seen if one not in (pair.first, pair.second)],
        len(pair.members) - len(seen),
        _history(session, keys),
    )


def decide_pair(
    session: Session,
    one_pk: int,
    other_pk: int,
    *,
    decision: str,
    reason: str,
    version: str,
    by: Who,
    now: datetime,
) -> PersonDecision:
    """Link two patients, tell them apart, or take back what stands between them.

    Raises Missing, Refused, Unacceptable, and WrongState for the second of two operators.
    """
    must_have(by, *MAY_DECIDE)
    hold_persons(session)
    found = look_at_pair(session, by, one_pk, other_pk)
    if decision not in set(Decision):
        raise Unacceptable(f"the decision is one of {', '.join(Decision)}")
    if not SHORTEST_REASON <= len(reason.strip()) <= LONGEST_REASON:
        raise Unacceptable("the decision takes a reason that others understand later")
    if found.hidden:
        raise Refused("one of them is linked to a patient of another institution; the centre decides")
    try:
        return linking.decide(
            session,
            found.pair,
            Decision(decision),
            reason=reason.strip(),
            version=version,
            by=by.actor,
            now=now,
        )
    except CannotLink as error:
        raise WrongState(str(error), holder=error.holder, since=error.since) from error


def count_studies(session: Session, patients: Iterable[Patient]) -> dict[int, int]:
    """How many exams each has: how much hangs on who he is."""
    keys = [one.id for one in patients]
    rows = session.execute(
        select(Study.patient_pk, func.count()).where(Study.patient_pk.in_(keys)).group_by(Study.patient_pk)
    )
    return dict.fromkeys(keys, 0) | {row[0]: row[1] for row in rows}


def _history(session: Session, patients: set[int]) -> Sequence[PersonDecision]:
    among = and_(PersonDecision.first_pk.in_(patients), PersonDecision.second_pk.in_(patients))
    statement = select(PersonDecision).where(among).order_by(PersonDecision.id.desc())
    return session.scalars(statement.limit(MOST_HISTORY)).all()


def _are_decidable(
    person: Who, first: InstrumentedAttribute[int], second: InstrumentedAttribute[int]
) -> ColumnElement[bool]:
    if person.has(Role.DIRECTOR):
        return true()
    # Asked of each pair, by its key: SQLite would read all patients of the institution for an IN.
    return and_(*(exists().where(Patient.id == key, decidable(person)) for key in (first, second)))


def _found_by(search: str) -> ColumnElement[bool]:
    text = search.strip()
    return or_(name_matches(text), Patient.patient_id == text, Patient.national_id == text.upper())


def _is_decidable(patient: Patient, person: Who) -> bool:
    """`decidable`, of a row that is at hand."""
    return person.has(Role.DIRECTOR) or (
        person.has(Role.TECHNICIAN) and patient.issuer == person.institution_code
    )


def _by_pk(
    session: Session, keys: Iterable[int], condition: ColumnElement[bool] | None = None
) -> dict[int, Patient]:
    statement = select(Patient).where(Patient.id.in_(set(keys)), true() if condition is None else condition)
    return {one.id: one for one in session.scalars(statement)}
