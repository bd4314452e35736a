"""Liveness, readiness with what is missing, and figures for Prometheus. Public, and without detail."""

from collections.abc import Callable
from datetime import datetime

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from reading_portal import measures
from reading_portal.dependencies import Now, ReadSession, database_of, objects_of
from storage import changes
from storage.imaging import ArrivalState, Study
from storage.jobs import Job, JobState
from storage.objects import ObjectMissing
from worklist.orders import ServiceRequest
from worklist.reading_tasks import OPEN, ReadingTask

router = APIRouter(tags=["operation"])


@router.get("/healthz")
def alive() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def ready(request: Request) -> JSONResponse:
    """200 when everything that a reader needs is there; 503 and `missing` otherwise."""
    missing = [name for name, is_there in NEEDED.items() if not _holds(is_there, request)]
    return JSONResponse({"ready": not missing, "missing": missing}, status_code=503 if missing else 200)


@router.get("/metrics")
def metrics(session: ReadSession, now: Now) -> Response:
    """Prometheus text format: requests of this process, and the centre's queues."""
    _count_queues(session, now)
    return Response(measures.exposition(), media_type=measures.CONTENT_TYPE)


def _has_database(request: Request) -> bool:
    with database_of(request).reading() as session:
        changes.newest(session)
    return True


def _has_objects(request: Request) -> bool:
    try:
        objects_of(request).size("readiness/probe")
    except ObjectMissing:
        return True  # the store answered, which is all that was asked
    return True


def _has_authority(request: Request) -> bool:
    return request.app.state.authority is not None and bool(request.app.state.authority.ca_pem())


def _has_live_events(request: Request) -> bool:
    return not request.app.state.broadcast.is_stopping


NEEDED: dict[str, Callable[[Request], bool]] = {
    "database": _has_database,
    "object-store": _has_objects,
    "signing-authority": _has_authority,
    "events": _has_live_events,
}


def _holds(is_there: Callable[[Request], bool], request: Request) -> bool:
    try:
        return is_there(request)
    except Exception:  # whatever a driver raises, the answer is the same: not there
        return False


def _count_queues(session: Session, now: datetime) -> None:
    for gauge in (measures.TASKS, measures.JOBS):
        gauge.clear()
    tasks = (
        select(ReadingTask.state, func.count()).where(ReadingTask.state.in_(OPEN)).group_by(ReadingTask.state)
    )
    for state, count in session.execute(tasks):
        measures.TASKS.labels(str(state)).set(count)
    overdue = (
        select(func.count())
        .select_from(ReadingTask)
        .where(ReadingTask.state.in_(OPEN), ReadingTask.due_at < now)
    )
    measures.OVERDUE.set(session.scalar(overdue) or 0)
    jobs = (
        select(Job.kind, Job.state, func.count())
        .where(Job.state != JobState.DONE)
        .group_by(Job.kind, Job.state)
    )
    for kind, state, count in session.execute(jobs):
        measures.JOBS.labels(kind, str(state)).set(count)
    unmatched = (
        select(func.count())
        .select_from(Study)
        .outerjoin(ServiceRequest, ServiceRequest.study_pk == Study.id)
        .where(Study.arrival_state == ArrivalState.SETTLED, ServiceRequest.id.is_(None))
    )
    measures.UNMATCHED.set(session.scalar(unmatched) or 0)
