"""Registration: the order form, the patient behind it, and equivalent exams that may spare the new one."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from reading_portal.dependencies import TheDatabase, requires
from reading_portal.pages.visit import Acting, Looking, Visit
from storage import audit
from storage.audit import Act
from storage.identity import BadNationalId, name_matches, read_national_id
from storage.imaging import Patient, Study
from worklist.arrivals import match_study, unmatch_study
from worklist.orders import (
    NewOrder,
    NewPatient,
    OrderState,
    ServiceRequest,
    cancel_order,
    find_order,
    place_order,
)
from worklist.people import Role, names, visible_to
from worklist.problems import Missing, Problem, Unacceptable
from worklist.recognition import DECLINE_REASONS, decide, decisions, find_equivalent
from worklist.recognition_items import items_by_code
from worklist.reports import DiagnosticReport, has_later_images
from worklist.turnaround import Pathway, Priority

router = APIRouter()
orderers = [Depends(requires(Role.TECHNICIAN, Role.CLINICIAN))]

PLAIN_FILM = (
    "CHEST", "ABDOMEN", "SKULL", "CSPINE", "TSPINE", "LSPINE", "PELVIS", "SHOULDER", "ELBOW", "WRIST", "HAND",
    "HIP", "KNEE", "LEG", "ANKLE", "FOOT",
)  # fmt: skip
# Which parts the form offers for each modality: DICOM's Body Part Examined (PS3.16 Annex L).
BODY_PARTS: dict[str, tuple[str, ...]] = {
    "CT": ("CHEST", "HEAD", "ABDOMEN", "PELVIS", "NECK", "CSPINE", "TSPINE", "LSPINE", "HEART"),
    "DX": PLAIN_FILM,
    "CR": PLAIN_FILM,
    "MR": ("BRAIN", "CSPINE", "TSPINE", "LSPINE", "KNEE", "ABDOMEN", "PELVIS"),
    "US": ("ABDOMEN", "THYROID", "BREAST", "HEART", "PELVIS", "KIDNEY", "NECK"),
    "MG": ("BREAST",),
    "ECG": ("HEART",),
}  # fmt: skip
PAIRED = ("SHOULDER", "ELBOW", "WRIST", "HAND", "HIP", "KNEE", "LEG", "ANKLE", "FOOT")
SIDES = ("L", "R", "B")


class OrderForm(BaseModel):
    """The form as it was sent; what makes no sense comes back with its mistake."""

    patient_id: str = ""
    name: str = ""
    name_phonetic: str = ""
    sex: str = ""
    birth_date: str = ""
    national_id: str = ""
    phone: str = ""
    modality: str = ""
    body_part: str = ""
    laterality: str = ""
    priority: str = Priority.ROUTINE.value
    pathway: str = ""
    clinical_information: str = ""
    question: str = ""
    study: str = ""  # the study, already here, that this order is made for


@router.get("/orders/new", dependencies=orderers)
def show_form(visit: Looking, patient: int | None = None, study: str = "") -> Response:
    return _form(visit, _prefilled(visit, patient, study))


@router.post("/orders/new", dependencies=orderers)
def place(visit: Looking, database: TheDatabase, form: Annotated[OrderForm, Form()]) -> Response:
    def placed(session: Session) -> int:
        order = place_order(session, _new_order(visit, form), by=visit.who, now=visit.now)
        if form.study:
            match_study(session, _study(session, visit, form.study), order, by=visit.who, now=visit.now)
        return order.id

    try:
        # Two orders for a new patient collide on the patient's first row: the loser's are told again.
        order_id = database.in_transaction(placed)
    except Problem as error:
        return _form(visit, form, problem=visit.words.problem(str(error)), status=422)
    return visit.go(f"/orders/{order_id}?said=order-placed")


# What is asked about a patient travels in a body: addresses are kept in histories and logs of proxies.
@router.post("/orders/patients", dependencies=orderers)
def search_patients(visit: Looking, q: Annotated[str, Form(max_length=64)] = "") -> Response:
    """Patients of the own institution by name, pinyin, initials, patient ID or resident ID."""
    text = q.strip()
    found: list[Patient] = []
    if text:
        ways = or_(name_matches(text), Patient.patient_id == text, Patient.national_id == text.upper())
        query = select(Patient).where(Patient.issuer == visit.who.institution_code, ways)
        found = list(visit.session.scalars(query.order_by(Patient.id.desc()).limit(12)))
    return visit.part("_patients.html", patients=found, q=text)


@router.post("/orders/resident-id", dependencies=orderers)
def check_resident_id(visit: Looking, text: Annotated[str, Form(max_length=32)]) -> Response:
    """What a resident ID says of its holder; 422 with a sentence where it cannot be right."""
    try:
        said = read_national_id(text)
    except BadNationalId as error:
        return JSONResponse({"detail": visit.words.problem(str(error))}, status_code=422)
    return JSONResponse({"birth_date": said.birth_date.isoformat(), "sex": said.sex})


@router.get("/orders/{order_id}")
def show_order(visit: Looking, order_id: int) -> Response:
    return _order(visit, order_id)


@router.post("/orders/{order_id}/recognition", dependencies=orderers)
def decide_recognition(
    visit: Acting,
    order_id: int,
    candidate: Annotated[str, Form(max_length=64)],
    decision: Annotated[str, Form(max_length=16)],
    reason: Annotated[str, Form(max_length=64)] = "",
    patient_informed: Annotated[bool, Form()] = False,
) -> Response:
    order = find_order(visit.session, visit.who, order_id)
    try:
        decide(
            visit.session,
            order,
            candidate=candidate,
            decision=decision,
            reason=reason or None,
            patient_informed=patient_informed,
            by=visit.who,
            now=visit.now,
        )
    except Unacceptable as error:
        visit.undo()
        return _order(visit, order_id, problem=visit.words.problem(str(error)), status=422)
    return visit.go(f"/orders/{order_id}?said=recognition-{decision}")


@router.post("/orders/{order_id}/cancel", dependencies=orderers)
def cancel(visit: Acting, order_id: int, reason: Annotated[str, Form(max_length=400)]) -> Response:
    order = find_order(visit.session, visit.who, order_id)
    cancel_order(visit.session, order, reason=reason, by=visit.who, now=visit.now)
    return visit.go(f"/orders/{order_id}?said=order-cancelled")


@router.post("/orders/{order_id}/unmatch")
def unmatch(visit: Acting, order_id: int) -> Response:
    order = find_order(visit.session, visit.who, order_id)
    if order.study is None:
        raise Missing("the study is not matched to an order")
    unmatch_study(visit.session, order.study, by=visit.who, now=visit.now)
    return visit.go("/unmatched?said=unmatched")


def _order(visit: Visit, order_id: int, *, problem: str = "", status: int = 200) -> Response:
    order = find_order(visit.session, visit.who, order_id)
    decided = decisions(visit.session, order)
    is_open = order.state == OrderState.ORDERED
    seen = {one.study_instance_uid for one in decided}
    candidates = find_equivalent(visit.session, order, now=visit.now) if is_open else []
    return visit.page(
        "order.html",
        status=status,
        order=order,
        problem=problem,
        candidates=[one for one in candidates if one.candidate not in seen],
        decided=decided,
        item=items_by_code(visit.session).get(order.item or ""),
        reasons=list(DECLINE_REASONS),
        history=_history(visit, order),
        report=(report := _report(visit, order)),
        has_later_images=report is not None and has_later_images(visit.session, [report])[report.id],
        people=names(visit.session),
        may_order=visit.who.has(Role.TECHNICIAN, Role.CLINICIAN),
        may_match=visit.who.has(Role.TECHNICIAN, Role.DIRECTOR) and order.state == OrderState.ACQUIRED,
    )


def _history(visit: Visit, order: ServiceRequest) -> list[dict[str, Any]]:
    """What happened, oldest first: by a person, a device (its AE title) or the centre itself."""
    people = names(visit.session) | {"center": visit.words.gettext("the centre")}
    return [
        {
            "at": event.at,
            "verb": event.verb,
            "version": event.detail.get("version"),
            "actor": people.get(event.actor, event.actor.removeprefix("ae:")),
        }
        for event in audit.history(visit.session, order.subject)
        # An accepted exam leaves two traces, the decision and the order's end: one line says it.
        if event.act != Act.VIEW and event.verb != "recognise"
    ]


def _report(visit: Visit, order: ServiceRequest) -> DiagnosticReport | None:
    """The report that came of it, for those who may see it."""
    return visit.session.scalar(
        select(DiagnosticReport)
        .where(
            DiagnosticReport.service_request_id == order.id,
            DiagnosticReport.current_version.is_not(None),
            visible_to(visit.session, visit.who, DiagnosticReport),
        )
        .order_by(DiagnosticReport.id.desc())
        .limit(1)
    )


def _form(visit: Visit, form: OrderForm, *, problem: str = "", status: int = 200) -> Response:
    return visit.page(
        "order_new.html",
        status=status,
        form=form,
        problem=problem,
        body_parts=BODY_PARTS,
        paired=PAIRED,
        sides=SIDES,
        priorities=list(reversed(Priority)),
        pathways=list(Pathway),
    )


def _prefilled(visit: Visit, patient_pk: int | None, study_uid: str) -> OrderForm:
    """The form for a patient who is known here, or for a study that came without an order."""
    study = _study(visit.session, visit, study_uid) if study_uid else None
    patient = study.patient if study else None
    if patient_pk is not None:
        patient = visit.session.get(Patient, patient_pk)
    if patient is None or patient.issuer != visit.who.institution_code:
        return OrderForm()
    known: dict[str, Any] = {
        "patient_id": patient.patient_id,
        "name": patient.name.split("=")[1].replace("^", "")
        if "=" in patient.name
        else patient.name.replace("^", " ").strip(),
        "name_phonetic": patient.name.split("=")[0].replace("^", " ") if "=" in patient.name else "",
        "sex": patient.sex,
        "birth_date": patient.birth_date.isoformat() if patient.birth_date else "",
        "national_id": patient.national_id or "",
        "phone": patient.phone or "",
    }
    if study is not None:
        known |= {"modality": study.modality, "body_part": study.body_part_examined, "study": study_uid}
    return OrderForm(**known)


def _new_order(visit: Visit, form: OrderForm) -> NewOrder:
    try:
        birth_date = date.fromisoformat(form.birth_date) if form.birth_date else None
    except ValueError:
        raise Unacceptable("the birth date is not a date") from None
    return NewOrder(
        institution=visit.who.institution_code,
        patient=NewPatient(
            patient_id=form.patient_id,
            name=form.name,
            name_phonetic=form.name_phonetic,
            sex=form.sex,
            birth_date=birth_date,
            national_id=form.national_id.strip().upper() or None,
            phone=form.phone.strip() or None,
        ),
        modality=form.modality,
        body_part=form.body_part,
        laterality=form.laterality if form.body_part in PAIRED else "",
        priority=form.priority,
        pathway=form.pathway or None,
        clinical_information=form.clinical_information.strip(),
        question=form.question.strip(),
    )


def _study(session: Session, visit: Visit, study_instance_uid: str) -> Study:
    study = session.scalar(
        select(Study).where(
            Study.study_instance_uid == study_instance_uid, visible_to(session, visit.who, Study)
        )
    )
    if study is None:
        raise Missing("no such study")
    return study
