"""What was kept aside because its UID was taken: a list, and both contents side by side for a decision."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form
from fastapi.responses import Response
from pydicom.datadict import dictionary_description

from reading_portal.dependencies import Objects, TheDatabase, requires
from reading_portal.pages.visit import Acting, Looking, Visit
from reading_portal.shapes import Key
from reading_portal.side_by_side import compare, studies_of
from reading_portal.viewing import note_query, note_view
from reading_portal.words import Words
from storage.conflicts import Difference, is_settled, possible
from storage.imaging import QuarantinedInstance
from storage.objects import ObjectStore
from worklist.conflicts import MAY_DECIDE, conflicts_for, count_alike, decide_conflict, find_conflict
from worklist.people import names
from worklist.problems import Unacceptable, WrongState

router = APIRouter(prefix="/quarantine", dependencies=[Depends(requires(*MAY_DECIDE))])

MOST, RECENT = 200, 20
# Who the patient is: where these differ, somebody may be treated by another's images.
IDENTITY = {"00100010", "00100020", "00100021", "00100030", "00100040"}
PATIENT_KEY = {"00100020", "00100021"}  # what makes it another patient to us
PATIENT_SEX = "00100040"


@router.get("")
def show_quarantine(visit: Looking, database: TheDatabase) -> Response:
    waiting = conflicts_for(visit.session, visit.who, limit=MOST)
    everything = conflicts_for(visit.session, visit.who, only_open=False, limit=MOST)
    decided = [one for one in everything if one.resolution is not None]
    decided.sort(key=lambda one: one.resolved_at or one.received_at, reverse=True)
    note_query(database, visit.who, "quarantine", found=len(waiting), searched={}, now=visit.now)
    return visit.page(
        "quarantine.html",
        waiting=[(one, _patient(one)) for one in waiting],
        decided=decided[:RECENT],
        people=names(visit.session),
    )


@router.get("/{conflict_id}")
def show_conflict(visit: Looking, objects: Objects, database: TheDatabase, conflict_id: Key) -> Response:
    answer = _page(visit, objects, conflict_id)
    for study in studies_of(find_conflict(visit.session, visit.who, conflict_id)):
        note_view(database, visit.who, study, now=visit.now)
    return answer


@router.post("/{conflict_id}/decision")
def decide(
    visit: Acting,
    objects: Objects,
    conflict_id: Key,
    decision: Annotated[str, Form(max_length=16)],
    version: Annotated[int, Form(ge=0, le=2**31 - 1)],
    reason: Annotated[str, Form(max_length=1000)] = "",
    with_alike: Annotated[bool, Form()] = False,
) -> Response:
    try:
        decide_conflict(
            visit.session,
            conflict_id,
            decision=decision,
            reason=reason,
            version=version,
            with_alike=with_alike,
            by=visit.who,
            now=visit.now,
        )
    except (Unacceptable, WrongState) as error:
        visit.undo()
        problem = visit.words.problem(str(error))
        is_late = isinstance(error, WrongState)
        # Whoever comes second sees what was decided, and keeps every word.
        return _page(
            visit, objects, conflict_id, problem=problem, reason=reason, status=409 if is_late else 422
        )
    return visit.go(f"/quarantine/{conflict_id}?said=decided")


def _page(
    visit: Visit,
    objects: ObjectStore,
    conflict_id: int,
    *,
    problem: str = "",
    reason: str = "",
    status: int = 200,
) -> Response:
    found = find_conflict(visit.session, visit.who, conflict_id)
    compared = compare(objects, found)
    return visit.page(
        "conflict.html",
        status=status,
        found=found,
        second=found.second,
        study=found.first.series.study if found.first is not None else None,
        is_same_uid=found.first is not None and found.first.sop_instance_uid == found.second.sop_instance_uid,
        compared=compared,
        rows=[_row(one, visit.words) for one in compared.differences],
        is_other_patient=any(one.tag in IDENTITY and "." not in one.path for one in compared.differences),
        is_other_study=any(one.path in PATIENT_KEY for one in compared.differences),
        possible=[] if found.is_first_hidden else [str(one) for one in possible(visit.session, found.second)],
        alike=count_alike(visit.session, found),
        is_settled=is_settled(visit.session, found.second),
        people=names(visit.session),
        problem=problem,
        reason=reason,
    )


def _patient(one: QuarantinedInstance) -> dict[str, str]:
    """Who it says that it is of, for finding it in the list."""

    def value(tag: str) -> str:
        values = one.header.get(tag, {}).get("Value") or [""]
        first = values[0]
        if isinstance(first, dict):
            return "=".join(first.get(group, "") for group in ("Alphabetic", "Ideographic"))
        return str(first or "")

    return {"name": value("00100010"), "sex": value("00100040"), "modality": value("00080060")}


def _row(one: Difference, words: Words) -> dict[str, object]:
    """A difference in words; inside a sequence with the way that leads there."""
    steps = [part.partition("[") for part in one.path.split(".")]
    way = [f"{_name(tag, words)} {number.rstrip(']')}".strip() for tag, _, number in steps]
    return {
        "name": " › ".join(way),
        "tag": f"({one.tag[:4]},{one.tag[4:]})",
        "first": _said(one, one.first, words),
        "second": _said(one, one.second, words),
        "is_identity": one.tag in IDENTITY and "." not in one.path,
    }


def _name(tag: str, words: Words) -> str:
    known = words.code("attribute", tag)
    if known != tag:
        return known
    try:
        return dictionary_description(int(tag, 16))
    except KeyError:
        return words.gettext("Private attribute")


def _said(one: Difference, value: str | None, words: Words) -> str | None:
    if value is None or value == "":
        return value
    if one.tag == PATIENT_SEX:
        return words.sex(value)
    return value if len(value) <= 200 else f"{value[:200]}…"
