"""Patients that may be one person: the proposals, one patient, and two side by side for a decision."""

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query
from fastapi.responses import Response
from sqlalchemy import select

from reading_portal.dependencies import TheDatabase, requires
from reading_portal.pages.searching import SearchWords, searched
from reading_portal.pages.visit import Acting, Looking, Visit
from reading_portal.shapes import Key
from reading_portal.viewing import note_patient, note_query
from storage.imaging import Patient, Study
from storage.resemblance import Evidence, Resemblance, birth_date_of, is_against, sex_of
from worklist.people import names, visible_to
from worklist.persons import (
    LONGEST_REASON,
    MAY_DECIDE,
    SHORTEST_REASON,
    count_studies,
    decide_pair,
    decisions_for,
    look_at_pair,
    look_at_person,
    patients_found,
    proposals_for,
)
from worklist.problems import Unacceptable, WrongState

router = APIRouter(prefix="/persons", dependencies=[Depends(requires(*MAY_DECIDE))])

LENGTH, RECENT, EXAMS = 50, 20, 6
E = Evidence
# What two patients are compared by, and what speaks for and against them there.
ROWS: tuple[tuple[str, frozenset[Evidence], frozenset[Evidence]], ...] = (
    (
        "name",
        frozenset({E.SAME_NAME, E.SAME_SPELLING}),
        frozenset({E.SAME_SOUND, E.OTHER_NAME}),
    ),
    ("sex", frozenset({E.SAME_SEX}), frozenset({E.OTHER_SEX})),
    (
        "birth-date",
        frozenset({E.SAME_BIRTH_DATE}),
        frozenset({E.NEAR_BIRTH_DATE, E.OTHER_BIRTH_DATE}),
    ),
    ("resident-id", frozenset({E.SAME_RESIDENT_ID}), frozenset({E.OTHER_RESIDENT_ID})),
    ("phone", frozenset({E.SAME_PHONE}), frozenset()),
)


@router.get("")
def show_proposals(
    visit: Looking,
    database: TheDatabase,
    after: Annotated[str, Query(pattern=r"^(\d{1,3}\.\d{1,9})?$")] = "",
    x_search: SearchWords = "",
) -> Response:
    search = searched(x_search)
    score, _, number = after.partition(".")
    found = proposals_for(
        visit.session,
        visit.who,
        search=search,
        after=(int(score), int(number)) if after else None,
        limit=LENGTH + 1,
    )
    page = found[:LENGTH]
    patients = patients_found(visit.session, visit.who, search)
    shown = len(page) + len(patients)
    note_query(database, visit.who, "persons", found=shown, searched={"patient": search}, now=visit.now)
    return visit.page(
        "persons.html",
        q=search,
        rows=[(one, _marks(one.resemblance), _differing(one.resemblance)) for one in page],
        patients=patients,
        next_page="{}.{}".format(*page[-1].position) if len(found) > LENGTH else "",
        decided=decisions_for(visit.session, visit.who, limit=RECENT),
        people=names(visit.session),
    )


@router.get("/{patient}")
def show_person(visit: Looking, database: TheDatabase, patient: Key, x_search: SearchWords = "") -> Response:
    """One patient, and the others: linked, told apart, likely; or anybody else who is searched for."""
    found = look_at_person(visit.session, visit.who, patient)
    search = searched(x_search)
    others = [one for one in patients_found(visit.session, visit.who, search) if one.id != patient]
    shown = len(others) + len(found.linked) + len(found.told_apart) + len(found.likely)
    note_patient(database, visit.who, patient, now=visit.now)
    note_query(database, visit.who, "persons", found=shown, searched={"patient": search}, now=visit.now)
    return visit.page(
        "persons_patient.html",
        found=found,
        likely=[(one, _marks(alike), _differing(alike)) for one, alike in found.likely],
        others=others,
        q=search,
        studies=count_studies(visit.session, [found.patient])[patient],
    )


@router.get("/{patient}/{other}")
def show_pair(visit: Looking, database: TheDatabase, patient: Key, other: Key) -> Response:
    answer = _pair(visit, patient, other)
    for pk in (patient, other):
        note_patient(database, visit.who, pk, now=visit.now)
    return answer


@router.post("/{patient}/{other}/decision")
def decide(
    visit: Acting,
    patient: Key,
    other: Key,
    version: Annotated[str, Form(max_length=64)],
    decision: Annotated[str, Form(max_length=16)] = "",
    reason: Annotated[str, Form(max_length=4000)] = "",
) -> Response:
    try:
        decide_pair(
            visit.session,
            patient,
            other,
            decision=decision,
            reason=reason,
            version=version,
            by=visit.who,
            now=visit.now,
        )
    except (Unacceptable, WrongState) as error:
        visit.undo()
        problem = visit.words.problem(str(error))
        holder = names(visit.session).get(error.holder or "", "") if isinstance(error, WrongState) else ""
        status = 409 if isinstance(error, WrongState) else 422
        # Whoever comes second sees what stands now, and keeps every word.
        return _pair(visit, patient, other, problem=problem, holder=holder, reason=reason, status=status)
    return visit.go("/persons?said=person-decided")


def _pair(
    visit: Visit,
    one_pk: int,
    other_pk: int,
    *,
    problem: str = "",
    holder: str = "",
    reason: str = "",
    status: int = 200,
) -> Response:
    found = look_at_pair(visit.session, visit.who, one_pk, other_pk)
    pair = found.pair
    return visit.page(
        "persons_pair.html",
        status=status,
        found=found,
        pair=pair,
        alike=pair.resemblance,
        marks=_marks(pair.resemblance),
        rows=[row for row in _rows(visit, pair.first, pair.second, pair.resemblance) if any(row["values"])],
        exams=[_exams(visit, one) for one in (pair.first, pair.second)],
        studies=count_studies(visit.session, (pair.first, pair.second)),
        history=[(one, [_by_pk(found.pair.members, pk) for pk in (one.first_pk, one.second_pk)])
                 for one in found.history],
        people=names(visit.session),
        shortest=SHORTEST_REASON,
        longest=LONGEST_REASON,
        problem=problem,
        holder=holder,
        reason=reason,
    )  # fmt: skip


def _marks(alike: Resemblance) -> list[tuple[str, str]]:
    """What speaks for and against it, each with how it is coloured."""
    return [
        (str(one), "bad" if is_against(one) else "warn" if one in ROWS[2][2] | ROWS[0][2] else "good")
        for one in alike.evidence
    ]


def _differing(alike: Resemblance) -> set[str]:
    """The rows of the comparison in which the two differ."""
    return {code for code, _, other in ROWS if other & set(alike.evidence)}


def _rows(visit: Visit, first: Patient, second: Patient, alike: Resemblance) -> list[dict[str, Any]]:
    evidence, differing = set(alike.evidence), _differing(alike)
    both = [_values(visit, one) for one in (first, second)]
    return [
        {
            "code": code,
            "values": [one[code][0] for one in both],
            "hints": [one[code][1] for one in both],
            "standing": "other" if code in differing else "same" if evidence & same else "",
        }
        for code, same, _ in ROWS
    ]


def _values(visit: Visit, one: Patient) -> dict[str, tuple[str, str]]:
    """What is known of a patient, each with a hint for eyes that compare."""
    words, born, sex = visit.words, birth_date_of(one), one.sex or sex_of(one)
    by_id = words.gettext("by the resident ID")
    # The other way of writing the name: an English page shows it anyway.
    spelled = one.name.split("=")[0].replace("^", " ") if "=" in one.name and words.is_chinese else ""
    return {
        "name": (words.person_name(one.name) if one.name else "", spelled),
        "sex": (words.sex(sex) if sex else "", "" if one.sex else by_id),
        "birth-date": (born.isoformat() if born else "", "" if one.birth_date else by_id),
        "resident-id": (one.national_id or "", ""),
        "phone": (one.phone or "", ""),
    }


def _exams(visit: Visit, patient: Patient) -> list[Study]:
    """The newest exams, as far as this person may see them: perhaps both were made on one day."""
    statement = select(Study).where(
        Study.patient_pk == patient.id, visible_to(visit.session, visit.who, Study, now=visit.now)
    )
    return list(visit.session.scalars(statement.order_by(Study.first_instance_at.desc()).limit(EXAMS)))


def _by_pk(patients: Iterable[Patient], pk: int) -> Patient | None:
    return next((one for one in patients if one.id == pk), None)
