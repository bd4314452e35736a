"""Orders (FHIR ServiceRequest): place, look at, cancel; and the decision on an equivalent exam."""

from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from reading_portal.dependencies import CurrentPractitioner, Now, OpenSession, ReadSession, TheDatabase
from reading_portal.shapes import (
    Answer,
    Code,
    Cursor,
    Day,
    Key,
    Limit,
    Moment,
    Prose,
    Sentence,
    Shape,
    position,
)
from reading_portal.viewing import note_query
from storage import audit
from storage.audit import Act
from worklist import orders, people, recognition, reports
from worklist.orders import NewOrder, NewPatient, ServiceRequest, shown_name

router = APIRouter(prefix="/api/orders", tags=["orders"])


class PatientOfOrder(Shape):
    patient_id: Annotated[str, Field(min_length=1, max_length=64)]
    name: Annotated[str, Field(min_length=1, max_length=64)]
    name_phonetic: Annotated[str, Field(max_length=64)] = ""
    sex: Literal["M", "F", "O"]
    birth_date: Day | None = None
    national_id: Annotated[str, Field(max_length=18)] | None = None
    phone: Annotated[str, Field(max_length=32)] | None = None


class PlacedOrder(Shape):
    institution: Code
    patient: PatientOfOrder
    modality: Code
    body_part: Code = ""
    laterality: Literal["", "R", "L", "B", "U"] = ""
    item: Code | None = None
    priority: Literal["routine", "urgent", "asap", "stat"] = "routine"
    pathway: Literal["chest_pain", "stroke", "trauma", "screening"] | None = None
    clinical_information: Prose = ""
    question: Prose = ""
    scheduled_at: Moment | None = None
    station_ae: Annotated[str, Field(max_length=16)] | None = None
    accession_number: Annotated[str, Field(min_length=1, max_length=16)] | None = None


class Decision(Shape):
    candidate: Code
    decision: Literal["accept", "decline"]
    reason: Code | None = None
    patient_informed: bool


class Cancellation(Shape):
    reason: Sentence


class PatientSeen(Answer):
    patient_id: str
    issuer: str
    name: str
    dicom_name: str
    sex: str
    birth_date: date | None


class Event(Answer):
    at: datetime
    verb: str
    actor: str
    name: str
    detail: dict[str, Any]


class Order(Answer):
    id: int
    accession_number: str
    issuer: str
    study_instance_uid: str
    state: str
    institution: str
    patient: PatientSeen
    modality: str
    body_part: str
    item: str | None
    priority: str
    pathway: str | None
    clinical_information: str
    question: str
    scheduled_at: datetime
    station_ae: str | None
    requester: str
    placed_at: datetime
    cancel_reason: str | None


class Candidate(Answer):
    candidate: str
    item: str
    item_name: str
    institution: str
    institution_name: str
    performed_at: datetime
    valid_until: datetime
    number_of_instances: int
    scope: str | None
    report_id: int | None


class OrderPlaced(Order):
    recognition: list[Candidate]


class OrderInFull(OrderPlaced):
    history: list[Event]
    decisions: list[dict[str, Any]]
    report_id: int | None


class Orders(Answer):
    items: list[Order]
    next_cursor: str | None


class Decided(Answer):
    id: int
    decision: str
    reason: str | None
    mark: str | None
    state: str


def patient_seen(patient: Any) -> PatientSeen:
    return PatientSeen(
        patient_id=patient.patient_id,
        issuer=patient.issuer,
        name=shown_name(patient.name),
        dicom_name=patient.name,
        sex=patient.sex,
        birth_date=patient.birth_date,
    )


def order_of(row: ServiceRequest) -> dict[str, Any]:
    columns = (
        "id", "accession_number", "issuer", "state", "modality", "body_part", "item", "priority", "pathway",
        "clinical_information", "question", "scheduled_at", "station_ae", "requester", "placed_at",
        "cancel_reason",
    )  # fmt: skip
    return {name: getattr(row, name) for name in columns} | {
        "institution": row.institution_code,
        "patient": patient_seen(row.patient),
        # The images may have come under a UID of the device's own.
        "study_instance_uid": row.study.study_instance_uid if row.study else row.study_instance_uid,
    }


def history_of(session: Session, subject: str) -> list[Event]:
    """What happened to one subject, oldest first; looking at it is no step of it."""
    names = people.names(session)
    return [
        Event(
            at=one.at, verb=one.verb, actor=one.actor, name=names.get(one.actor, one.actor), detail=one.detail
        )
        for one in audit.history(session, subject)
        if one.act != Act.VIEW
    ]


@router.post("", status_code=201)
def place_order(body: PlacedOrder, who: CurrentPractitioner, database: TheDatabase, now: Now) -> OrderPlaced:
    """Place an order; the modality worklist has it at once. `recognition` lists equivalent exams."""
    given = body.model_dump(exclude={"patient"})
    new = NewOrder(patient=NewPatient(**body.patient.model_dump()), **given)

    def place(session: Session) -> OrderPlaced:
        order = orders.place_order(session, new, by=who, now=now)
        return OrderPlaced(**order_of(order), recognition=_candidates(session, order, now))

    # Two orders for a new patient collide on the patient's first row: the loser's are told again.
    return database.in_transaction(place)


@router.get("")
def list_orders(
    who: CurrentPractitioner,
    session: ReadSession,
    database: TheDatabase,
    now: Now,
    accession_number: Annotated[str | None, Query(max_length=64)] = None,
    state: Annotated[list[str] | None, Query()] = None,
    patient: Annotated[str | None, Query(max_length=64)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Orders:
    """Orders that the caller may see, newest first. `patient` finds names (characters, pinyin) and IDs."""
    found = orders.orders_for(
        session,
        who,
        states=state,
        accession_number=accession_number,
        patient=patient,
        limit=limit + 1,
        before_id=position(cursor),
    )
    page = found[:limit]
    more = len(found) > limit
    words = {"patient": patient, "accession_number": accession_number}
    note_query(database, who, "orders", found=len(page), searched=words, now=now)
    return Orders(
        items=[Order(**order_of(row)) for row in page], next_cursor=str(page[-1].id) if more else None
    )


@router.get("/{order_id}")
def look_at_order(order_id: Key, who: CurrentPractitioner, session: OpenSession, now: Now) -> OrderInFull:
    """The order with its state, its history, and what was decided about equivalent exams."""
    order = orders.find_order(session, who, order_id)
    audit.record(session, Act.VIEW, "look-at-order", order.subject, by=who.actor, at=now)
    report = session.scalar(
        select(reports.DiagnosticReport.id)
        .where(
            reports.DiagnosticReport.service_request_id == order.id,
            reports.DiagnosticReport.current_version.is_not(None),
        )
        .order_by(reports.DiagnosticReport.id.desc())
        .limit(1)
    )
    decided = [
        {
            "candidate": one.study_instance_uid,
            "decision": one.decision,
            "reason": one.reason,
            "patient_informed": one.patient_informed,
            "mark": one.mark,
            "decided_by": one.decided_by,
            "decided_at": one.decided_at,
        }
        for one in recognition.decisions(session, order)
    ]
    return OrderInFull(
        **order_of(order),
        recognition=_candidates(session, order, now) if order.state == orders.OrderState.ORDERED else [],
        history=history_of(session, order.subject),
        decisions=decided,
        report_id=report,
    )


@router.post("/{order_id}/recognition", status_code=201)
def decide_recognition(
    order_id: Key, body: Decision, who: CurrentPractitioner, session: OpenSession, now: Now
) -> Decided:
    """Accept an equivalent exam in place of this order, or decline it with a coded reason."""
    order = orders.find_order(session, who, order_id)
    row = recognition.decide(
        session,
        order,
        candidate=body.candidate,
        decision=body.decision,
        reason=body.reason,
        patient_informed=body.patient_informed,
        by=who,
        now=now,
    )
    session.flush()
    return Decided(id=row.id, decision=row.decision, reason=row.reason, mark=row.mark, state=order.state)


@router.post("/{order_id}/cancel")
def cancel_order(
    order_id: Key, body: Cancellation, who: CurrentPractitioner, session: OpenSession, now: Now
) -> Order:
    """Revoke an order that nothing was acquired for."""
    order = orders.find_order(session, who, order_id)
    orders.cancel_order(session, order, reason=body.reason, by=who, now=now)
    return Order(**order_of(order))


def _candidates(session: Session, order: ServiceRequest, now: datetime) -> list[Candidate]:
    return [Candidate(**asdict(one)) for one in recognition.find_equivalent(session, order, now=now)]
