"""Studies that the caller may see; those without an order, and how they find one and lose it again."""

from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from reading_portal.dependencies import CurrentPractitioner, Now, OpenSession, ReadSession, TheDatabase
from reading_portal.routes.orders import Order, PatientSeen, order_of, patient_seen
from reading_portal.shapes import Answer, Cursor, Limit, Shape, UidKey, position
from reading_portal.viewing import note_query
from storage import audit
from storage.audit import Act
from storage.identity import name_matches
from storage.imaging import Origin, Patient, Study
from worklist import arrivals, orders, reading_tasks
from worklist.orders import ServiceRequest
from worklist.people import Who, visible_to
from worklist.problems import Missing
from worklist.reports import DiagnosticReport

router = APIRouter(prefix="/api", tags=["studies"])


class StudySeen(Answer):
    study_instance_uid: str
    institution: str
    patient: PatientSeen
    accession_number: str
    study_date: date | None
    study_time: str
    study_description: str
    modality: str
    body_part: str
    arrival_state: str
    number_of_series: int
    number_of_instances: int
    first_instance_at: datetime
    last_instance_at: datetime
    settled_at: datetime | None
    settled_by: str | None
    expected_instances: int | None
    missing_instances: int
    order_id: int | None


class SeriesSeen(Answer):
    series_instance_uid: str
    modality: str
    series_number: int | None
    series_description: str
    body_part: str
    number_of_instances: int
    is_made_here: bool


class StudyInFull(StudySeen):
    series: list[SeriesSeen]
    reading_task_id: int | None
    reading_task_state: str | None
    report_ids: list[int]


class Studies(Answer):
    items: list[StudySeen]
    next_cursor: str | None


class LikelyOrder(Answer):
    order: Order
    reasons: list[str]


class UnmatchedStudy(StudySeen):
    likely_orders: list[LikelyOrder]


class UnmatchedStudies(Answer):
    items: list[UnmatchedStudy]
    next_cursor: str | None


class Match(Shape):
    order: Annotated[int, Field(ge=1, le=2**31 - 1)]


@router.get("/studies")
def list_studies(
    who: CurrentPractitioner,
    session: ReadSession,
    database: TheDatabase,
    now: Now,
    patient: Annotated[str | None, Query(max_length=64)] = None,
    accession_number: Annotated[str | None, Query(max_length=64)] = None,
    institution: Annotated[str | None, Query(max_length=64)] = None,
    modality: Annotated[str | None, Query(max_length=16)] = None,
    since: Annotated[date | None, Query(description="first study date")] = None,
    until: Annotated[date | None, Query(description="last study date")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Studies:
    """Studies that the caller may see, the last arrived first."""
    query = select(Study).where(visible_to(session, who, Study, now=now))
    if patient:
        query = query.join(Patient, Patient.id == Study.patient_pk).where(
            or_(name_matches(patient), Patient.patient_id == patient.strip())
        )
    exact = {
        Study.accession_number: accession_number,
        Study.institution_code: institution,
        Study.modality: modality,
    }
    for column, value in exact.items():
        if value is not None:
            query = query.where(column == value)
    if since is not None:
        query = query.where(Study.study_date >= since)
    if until is not None:
        query = query.where(Study.study_date <= until)
    rows, next_cursor = _page(session, query, limit, cursor)
    known = _orders_of(session, rows)
    words = {"patient": patient, "accession_number": accession_number}
    note_query(database, who, "studies", found=len(rows), searched=words, now=now)
    return Studies(
        items=[StudySeen(**study_of(row, known.get(row.id))) for row in rows], next_cursor=next_cursor
    )


@router.get("/studies/{study_instance_uid}")
def look_at_study(
    study_instance_uid: UidKey, who: CurrentPractitioner, session: OpenSession, now: Now
) -> StudyInFull:
    """One study with its series, its order, its reading task and its reports."""
    study = find_study(session, who, study_instance_uid, now)
    audit.record(session, Act.VIEW, "look-at-study", f"study:{study_instance_uid}", by=who.actor, at=now)
    task = reading_tasks.task_of(session, study)
    report_ids = session.scalars(
        select(DiagnosticReport.id)
        .where(DiagnosticReport.study_pk == study.id, DiagnosticReport.current_version.is_not(None))
        .order_by(DiagnosticReport.id)
    )
    series = [
        SeriesSeen(
            series_instance_uid=one.series_instance_uid,
            modality=one.modality,
            series_number=one.series_number,
            series_description=one.series_description,
            body_part=one.body_part_examined,
            number_of_instances=one.number_of_instances,
            is_made_here=one.origin == Origin.MADE,
        )
        for one in study.series
    ]
    return StudyInFull(
        **study_of(study, _orders_of(session, [study]).get(study.id)),
        series=series,
        reading_task_id=task.id if task else None,
        reading_task_state=task.state if task else None,
        report_ids=list(report_ids),
    )


@router.get("/unmatched-studies")
def list_unmatched_studies(
    who: CurrentPractitioner,
    session: ReadSession,
    database: TheDatabase,
    now: Now,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> UnmatchedStudies:
    """Studies that arrived without an order, each with the orders that it may belong to."""
    found = arrivals.unmatched_studies(session, who, limit=limit + 1, before_id=position(cursor))
    page = found[:limit]
    items = [
        UnmatchedStudy(
            **study_of(study, None),
            likely_orders=[
                LikelyOrder(order=Order(**order_of(order)), reasons=reasons)
                for order, reasons in orders.likely_orders(session, study)
            ],
        )
        for study in page
    ]
    note_query(database, who, "unmatched-studies", found=len(page), searched={}, now=now)
    return UnmatchedStudies(items=items, next_cursor=str(page[-1].id) if len(found) > limit else None)


@router.post("/studies/{study_instance_uid}/match")
def match_study(
    study_instance_uid: UidKey, body: Match, who: CurrentPractitioner, session: OpenSession, now: Now
) -> Order:
    """A technician says that this study answers this order (its `id`)."""
    study = find_study(session, who, study_instance_uid, now)
    order = orders.find_order(session, who, body.order)
    arrivals.match_study(session, study, order, by=who, now=now)
    session.flush()
    session.refresh(order, ["study"])
    return Order(**order_of(order))


@router.post("/studies/{study_instance_uid}/unmatch")
def unmatch_study(
    study_instance_uid: UidKey, who: CurrentPractitioner, session: OpenSession, now: Now
) -> Order:
    """The way back, as long as nothing was signed; answers the order, which is open again."""
    study = find_study(session, who, study_instance_uid, now)
    order = arrivals.unmatch_study(session, study, by=who, now=now)
    session.flush()
    session.refresh(order, ["study"])
    return Order(**order_of(order))


def find_study(session: Session, who: Who, study_instance_uid: str, now: datetime) -> Study:
    """Raises Missing for a study that is not there or not the person's to see."""
    study = session.scalar(
        select(Study).where(
            Study.study_instance_uid == study_instance_uid, visible_to(session, who, Study, now=now)
        )
    )
    if study is None:
        raise Missing("no such study")
    return study


def study_of(row: Study, order_id: int | None) -> dict[str, Any]:
    columns = (
        "study_instance_uid", "accession_number", "study_date", "study_time", "study_description", "modality",
        "arrival_state", "number_of_series", "number_of_instances", "first_instance_at", "last_instance_at",
        "settled_at", "settled_by", "expected_instances", "missing_instances",
    )  # fmt: skip
    return {name: getattr(row, name) for name in columns} | {
        "institution": row.institution_code,
        "patient": patient_seen(row.patient),
        "body_part": row.body_part_examined,
        "order_id": order_id,
    }


def _orders_of(session: Session, studies: list[Study]) -> dict[int, int]:
    rows = session.execute(
        select(ServiceRequest.study_pk, ServiceRequest.id).where(
            ServiceRequest.study_pk.in_([study.id for study in studies])
        )
    )
    return {row.study_pk: row.id for row in rows}


def _page(
    session: Session, query: Select[Any], limit: int, cursor: str | None
) -> tuple[list[Study], str | None]:
    before = position(cursor)
    if before is not None:
        query = query.where(Study.id < before)
    found = list(session.scalars(query.order_by(Study.id.desc()).limit(limit + 1)))
    page = found[:limit]
    return page, str(page[-1].id) if len(found) > limit else None
