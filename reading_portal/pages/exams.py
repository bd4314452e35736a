"""The exam list of an institution: ordered, in progress, acquired, reported. Live."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from sqlalchemy import select

from reading_portal.dependencies import requires
from reading_portal.pages.searching import SearchWords, searched
from reading_portal.pages.visit import Looking, Visit
from worklist.orders import OrderState, ServiceRequest, orders_for
from worklist.people import Role
from worklist.reading_tasks import ReadingTask, TaskState
from worklist.reports import DiagnosticReport, has_later_images

router = APIRouter(dependencies=[Depends(requires(Role.TECHNICIAN, Role.CLINICIAN, Role.DIRECTOR))])

VIEWS: dict[str, tuple[str, ...]] = {
    "open": (OrderState.ORDERED, OrderState.IN_PROGRESS, OrderState.ACQUIRED),
    "reported": (OrderState.REPORTED, OrderState.CLOSED),
    "ended": (OrderState.RECOGNISED, OrderState.CANCELLED),
    "all": tuple(OrderState),
}
# How far along the way an order is, for the four steps that the list draws.
STEPS = {"ordered": 1, "in-progress": 2, "acquired": 3, "reported": 4, "closed": 4}


class Asked:
    def __init__(
        self,
        view: Annotated[str, Query()] = "open",
        before: Annotated[int | None, Query(ge=1)] = None,
        x_search: SearchWords = "",
    ) -> None:
        self.view, self.q, self.before = view if view in VIEWS else "open", searched(x_search), before


Wish = Annotated[Asked, Depends()]
LENGTH = 100


@router.get("/exams")
def show_exams(visit: Looking, asked: Wish) -> Response:
    return visit.page(
        "exams.html",
        asked=asked,
        rows=_rows(visit, asked),
        views=list(VIEWS),
        length=LENGTH,
        may_order=visit.who.has(Role.TECHNICIAN, Role.CLINICIAN),
    )


@router.get("/exams/rows")
def show_rows(visit: Looking, asked: Wish) -> Response:
    return visit.part("_exam_rows.html", rows=_rows(visit, asked))


def _rows(visit: Visit, asked: Asked) -> list[dict[str, Any]]:
    orders = orders_for(
        visit.session,
        visit.who,
        states=list(VIEWS[asked.view]),
        patient=asked.q or None,
        limit=LENGTH,
        before_id=asked.before,
    )
    if asked.q.isdigit() and not orders:
        orders = orders_for(visit.session, visit.who, accession_number=asked.q, limit=LENGTH)
    tasks = _newest(visit, orders, ReadingTask)
    reports = _newest(visit, orders, DiagnosticReport)
    later = has_later_images(visit.session, reports.values())
    return [
        {
            "order": order,
            "task": tasks.get(order.id),
            "report": reports.get(order.id),
            "has_later_images": order.id in reports and later[reports[order.id].id],
            "step": STEPS.get(order.state, 0),
            "is_returned": order.id in tasks and tasks[order.id].state == TaskState.RETURNED,
        }
        for order in orders
    ]


def _newest(visit: Visit, orders: list[ServiceRequest], noun: Any) -> dict[int, Any]:
    rows = visit.session.scalars(
        select(noun).where(noun.service_request_id.in_([order.id for order in orders])).order_by(noun.id)
    )
    return {row.service_request_id: row for row in rows}
