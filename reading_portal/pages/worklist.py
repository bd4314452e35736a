"""The reader's worklist: what waits, how long it may wait, and whose hands it is in. Live."""

import json
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from sqlalchemy import select

from reading_portal.dependencies import requires
from reading_portal.pages.first_picture import bundle
from reading_portal.pages.searching import SearchWords, searched
from reading_portal.pages.visit import Looking, Visit
from storage.institutions import Institution, InstitutionKind
from worklist.people import Role, names
from worklist.reading_tasks import OPEN, ReadingTask, TaskState, tasks_for
from worklist.turnaround import Priority, urgency

router = APIRouter(dependencies=[Depends(requires(Role.READER, Role.REVIEWER, Role.DIRECTOR, Role.QUALITY))])
FILTERS_COOKIE = "worklist"
MOST = 300

# What the reader sees under each name of a view.
VIEWS: dict[str, tuple[str, ...]] = {
    "open": tuple(OPEN),
    "ready": (TaskState.READY,),
    "mine": (TaskState.CLAIMED, TaskState.SUSPENDED, TaskState.AWAITING_REVIEW),
    "review": (TaskState.AWAITING_REVIEW,),
    "done": (TaskState.COMPLETED,),
}
MODALITIES = ("CT", "MR", "DX", "CR", "US", "MG", "ECG")

# Sorting by a column; the default is the order of the mind: class first, then due time.
SORTS: dict[str, Any] = {
    "due": lambda task: task.completed_at or task.due_at,
    "patient": lambda task: task.study.patient.name.lower(),
    "institution": lambda task: task.institution_code,
    "arrived": lambda task: task.opened_at,
}


class Filters:
    """What the reader asked to see; kept in the address and, between visits, in a cookie, but for the words
    that were searched for: they name patients."""

    def __init__(
        self,
        view: Annotated[str, Query()] = "open",
        modality: Annotated[str, Query(max_length=4)] = "",
        priority: Annotated[str, Query(max_length=10)] = "",
        institution: Annotated[str, Query(max_length=16)] = "",
        sort: Annotated[str, Query()] = "",
        x_search: SearchWords = "",
    ) -> None:
        self.view = view if view in VIEWS else "open"
        self.modality, self.priority, self.institution = modality, priority, institution
        self.q = searched(x_search)
        self.sort = sort if sort.lstrip("-") in SORTS else ""

    @property
    def is_narrowed(self) -> bool:
        return any((self.modality, self.priority, self.institution, self.q))

    def query(self, **changed: str) -> str:
        said = {key: value for key, value in (vars(self) | changed).items() if value and key != "q"}
        return urlencode(said)


Asked = Annotated[Filters, Depends()]


@router.get("/worklist")
def show_worklist(visit: Looking, asked: Asked) -> Response:
    request = visit.request
    if not request.query_params and (kept := _kept(request.cookies.get(FILTERS_COOKIE))):
        asked = kept
    townships = visit.session.execute(
        select(Institution.code, Institution.name)
        .where(Institution.is_active, Institution.kind != InstitutionKind.COMMISSION)
        .order_by(Institution.code)
    ).all()
    answer = visit.page(
        "worklist.html",
        warm=bundle("image").everything,
        asked=asked,
        rows=_rows(visit, asked),
        townships=townships,
        modalities=sorted(visit.who.reads, key=MODALITIES.index) if visit.who.reads else MODALITIES,
        priorities=list(Priority),
        views=[view for view in VIEWS if view != "review" or visit.who.has(Role.REVIEWER)],
        may_claim=visit.who.has(Role.READER, Role.REVIEWER),
    )
    # Search words are names of patients: they stay out of the cookie.
    kept_words = {key: value for key, value in vars(asked).items() if key != "q"}
    answer.set_cookie(FILTERS_COOKIE, json.dumps(kept_words), httponly=True, samesite="lax", path="/worklist")
    return answer


@router.get("/worklist/rows")
def show_rows(visit: Looking, asked: Asked) -> Response:
    """The rows alone, for the page to refresh itself."""
    return visit.part("_worklist_rows.html", rows=_rows(visit, asked), asked=asked)


def _rows(visit: Visit, asked: Filters) -> list[dict[str, Any]]:
    tasks = tasks_for(
        visit.session,
        visit.who,
        states=list(VIEWS[asked.view]),
        modality=asked.modality or None,
        priority=asked.priority or None,
        institution=asked.institution or None,
        patient=asked.q or None,
        limit=MOST,
    )
    if asked.view == "mine":
        tasks = [task for task in tasks if task.holder == visit.who.username]
    if asked.view == "done":
        tasks.sort(key=lambda task: task.completed_at or task.opened_at, reverse=True)
    if asked.sort:
        tasks.sort(key=SORTS[asked.sort.lstrip("-")], reverse=asked.sort.startswith("-"))
    people = names(visit.session)
    return [_row(visit, task, people) for task in tasks]


def _row(visit: Visit, task: ReadingTask, people: dict[str, str]) -> dict[str, Any]:
    is_open = task.state in OPEN
    end = visit.now if is_open else (task.completed_at or visit.now)
    return {
        "task": task,
        "patient": task.study.patient,
        "order": task.service_request,
        "urgency": urgency(task.opened_at, task.due_at, visit.now) if is_open else "done",
        "seconds": (task.due_at - end).total_seconds(),
        "holder": people.get(task.holder or "", task.holder or ""),
        "is_mine": task.holder == visit.who.username,
        "reserved": people.get(task.reserved_for or "", ""),
        # Images that its reader may not have seen: they came after the task was opened.
        "has_new_images": is_open and task.study.version > task.study_version,
        "is_new": visit.now - task.opened_at < timedelta(seconds=20),
    }


def _kept(cookie: str | None) -> Filters | None:
    try:
        said = json.loads(cookie or "")
        return Filters(**{key: str(value) for key, value in said.items() if key != "q"})
    except (ValueError, TypeError, AttributeError):
        return None
