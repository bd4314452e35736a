"""Reconciliation: studies without an order beside the likeliest orders, and exams that readers sent back."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from fastapi.responses import Response
from sqlalchemy import select

from reading_portal.dependencies import requires
from reading_portal.pages.visit import Acting, Looking, Visit
from storage.imaging import Study
from worklist.arrivals import match_study, unmatched_studies
from worklist.orders import find_order, likely_orders
from worklist.people import Role, visible_to
from worklist.problems import Missing
from worklist.reading_tasks import ReadingTask, TaskState

router = APIRouter(dependencies=[Depends(requires(Role.TECHNICIAN, Role.DIRECTOR))])
MOST = 50


@router.get("/unmatched")
def show_unmatched(visit: Looking) -> Response:
    return visit.page("unmatched.html", **_what_waits(visit))


@router.get("/unmatched/list")
def show_list(visit: Looking) -> Response:
    return visit.part("_unmatched_list.html", **_what_waits(visit))


@router.post("/unmatched/{study_instance_uid}/match")
def match(visit: Acting, study_instance_uid: str, order: Annotated[int, Form()]) -> Response:
    study = visit.session.scalar(
        select(Study).where(
            Study.study_instance_uid == study_instance_uid, visible_to(visit.session, visit.who, Study)
        )
    )
    if study is None:
        raise Missing("no such study")
    match_study(
        visit.session, study, find_order(visit.session, visit.who, order), by=visit.who, now=visit.now
    )
    return visit.go("/unmatched?said=matched")


def _what_waits(visit: Visit) -> dict[str, Any]:
    returned = visit.session.scalars(
        select(ReadingTask)
        .where(ReadingTask.state == TaskState.RETURNED, visible_to(visit.session, visit.who, ReadingTask))
        .order_by(ReadingTask.id.desc())
        .limit(MOST)
    )
    return {
        "rows": [
            (study, likely_orders(visit.session, study))
            for study in unmatched_studies(visit.session, visit.who, limit=MOST)
        ],
        "returned": list(returned),
        "may_order": visit.who.has(Role.TECHNICIAN),
    }
