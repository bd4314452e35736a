"""ServiceRequest: an exam that somebody asked for. Place, find, move on, revoke."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from storage import audit, changes
from storage.audit import CENTER, Act, Actor
from storage.changes import Topic
from storage.database import Base
from storage.identity import BadNationalId, keep_patient, name_matches, read_national_id
from storage.imaging import Patient, Study
from storage.institutions import ApplicationEntity, Institution
from storage.uids import new_uid
from worklist.people import Role, Who, must_have, visible_to
from worklist.problems import Missing, Refused, Unacceptable, WrongState
from worklist.recognition_items import item_for
from worklist.turnaround import Pathway, Priority


class OrderState(StrEnum):
    ORDERED = "ordered"
    IN_PROGRESS = "in-progress"  # MPPS began
    ACQUIRED = "acquired"  # the study settled and was matched
    REPORTED = "reported"
    CLOSED = "closed"  # the ordering side has acknowledged
    RECOGNISED = "recognised"  # an equivalent result was accepted instead
    CANCELLED = "cancelled"


S = OrderState
TRANSITIONS: dict[tuple[OrderState, str], OrderState] = {
    (S.ORDERED, "begin"): S.IN_PROGRESS,
    (S.ORDERED, "acquire"): S.ACQUIRED,
    (S.IN_PROGRESS, "acquire"): S.ACQUIRED,
    (S.IN_PROGRESS, "discontinue"): S.ORDERED,
    (S.ACQUIRED, "lose-study"): S.ORDERED,  # the inverse of a match
    (S.ACQUIRED, "report"): S.REPORTED,
    (S.REPORTED, "report"): S.REPORTED,
    (S.CLOSED, "report"): S.REPORTED,  # a new version waits for its own acknowledgement
    (S.REPORTED, "lose-study"): S.ORDERED,  # its report was withdrawn: it is another patient's study
    (S.CLOSED, "lose-study"): S.ORDERED,
    (S.REPORTED, "acknowledge"): S.CLOSED,
    (S.CLOSED, "acknowledge"): S.CLOSED,
    (S.ORDERED, "recognise"): S.RECOGNISED,
    (S.RECOGNISED, "order-anew"): S.ORDERED,
    (S.ORDERED, "cancel"): S.CANCELLED,
    (S.IN_PROGRESS, "cancel"): S.CANCELLED,
    (S.CANCELLED, "order-anew"): S.ORDERED,
}
OPEN = (S.ORDERED, S.IN_PROGRESS)


class ServiceRequest(Base):
    """FHIR ServiceRequest; DICOM's requested procedure. One order, one study."""

    __tablename__ = "service_requests"
    __table_args__ = (
        UniqueConstraint("issuer", "accession_number"),
        Index(None, "institution_code", "placed_at"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    accession_number: Mapped[str] = mapped_column(index=True)
    issuer: Mapped[str]  # of the accession number: the institution that ordered
    institution_code: Mapped[str] = mapped_column(ForeignKey("institutions.code"))
    patient_pk: Mapped[int] = mapped_column(ForeignKey("patients.id"), index=True)
    study_instance_uid: Mapped[str] = mapped_column(unique=True)
    study_pk: Mapped[int | None] = mapped_column(ForeignKey("studies.id"), unique=True)
    modality: Mapped[str]
    body_part: Mapped[str] = mapped_column(default="")
    laterality: Mapped[str] = mapped_column(default="")
    item: Mapped[str | None]
    priority: Mapped[str]
    pathway: Mapped[str | None]
    clinical_information: Mapped[str] = mapped_column(default="")
    question: Mapped[str] = mapped_column(default="")
    scheduled_at: Mapped[datetime] = mapped_column(index=True)
    station_ae: Mapped[str | None]
    state: Mapped[str] = mapped_column(default=OrderState.ORDERED, index=True)
    cancel_reason: Mapped[str | None]
    requester: Mapped[str]  # username
    placed_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(default=1)
    patient: Mapped[Patient] = relationship()
    study: Mapped[Study | None] = relationship()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy reads it from the class

    @property
    def subject(self) -> str:
        return f"order:{self.id}"


@dataclass(frozen=True, kw_only=True)
class NewPatient:
    patient_id: str
    name: str
    sex: str
    birth_date: date | None = None
    name_phonetic: str = ""
    national_id: str | None = None
    phone: str | None = None


@dataclass(frozen=True, kw_only=True)
class NewOrder:
    institution: str
    patient: NewPatient
    modality: str
    body_part: str = ""
    laterality: str = ""
    item: str | None = None
    priority: str = Priority.ROUTINE
    pathway: str | None = None
    clinical_information: str = ""
    question: str = ""
    scheduled_at: datetime | None = None
    station_ae: str | None = None
    accession_number: str | None = None  # the hospital system's own, where it sends one


def place_order(session: Session, new: NewOrder, *, by: Who, now: datetime) -> ServiceRequest:
    """Place an order and put it on the modality worklist. Raises Refused, Unacceptable."""
    must_have(by, Role.TECHNICIAN, Role.CLINICIAN, Role.INTEGRATION)
    if new.institution != by.institution_code and not by.has(Role.INTEGRATION):
        raise Refused("an order is placed for one's own institution")
    _check(session, new)
    patient = keep_patient(
        session,
        issuer=new.institution,
        patient_id=new.patient.patient_id.strip(),
        name=person_name(new.patient.name, new.patient.name_phonetic),
        sex=new.patient.sex,
        birth_date=new.patient.birth_date,
        now=now,
        national_id=new.patient.national_id or None,
        phone=new.patient.phone or None,
    )
    order = ServiceRequest(
        accession_number=new.accession_number or _new_accession_number(session, new.institution, now),
        issuer=new.institution,
        institution_code=new.institution,
        patient_pk=patient.id,
        patient=patient,
        study_instance_uid=new_uid(),
        modality=new.modality,
        body_part=new.body_part.upper(),
        laterality=new.laterality,
        item=new.item or item_for(session, modality=new.modality, body_part=new.body_part),
        priority=new.priority,
        pathway=new.pathway,
        clinical_information=new.clinical_information,
        question=new.question,
        scheduled_at=new.scheduled_at or now,
        station_ae=new.station_ae,
        state=OrderState.ORDERED,
        requester=by.username,
        placed_at=now,
    )
    session.add(order)
    session.flush()
    _tell(session, order, "place", by.actor, now)
    return order


def move_order(
    session: Session,
    order: ServiceRequest,
    action: str,
    *,
    by: Actor = CENTER,
    now: datetime,
    **detail: Any,
) -> None:
    """One step of the state table, told to everyone who watches. Raises WrongState."""
    to = TRANSITIONS.get((OrderState(order.state), action))
    if to is None:
        raise WrongState(f"an order that is {order.state} cannot {action}")
    order.state = to
    _tell(session, order, action, by, now, **detail)


def cancel_order(session: Session, order: ServiceRequest, *, reason: str, by: Who, now: datetime) -> None:
    must_have(by, Role.TECHNICIAN, Role.CLINICIAN, Role.INTEGRATION)
    if not reason.strip():
        raise Unacceptable("an order is cancelled with a reason")
    order.cancel_reason = reason.strip()
    move_order(session, order, "cancel", by=by.actor, now=now, reason=reason.strip())


def find_order(session: Session, person: Who, order_id: int) -> ServiceRequest:
    """Raises Missing for an order that is not there or not the person's to see."""
    order = session.scalar(
        select(ServiceRequest).where(
            ServiceRequest.id == order_id, visible_to(session, person, ServiceRequest)
        )
    )
    if order is None:
        raise Missing("no such order")
    return order


def find_by_accession(session: Session, *, issuer: str, accession_number: str) -> ServiceRequest | None:
    return session.scalar(
        select(ServiceRequest).where(
            ServiceRequest.issuer == issuer, ServiceRequest.accession_number == accession_number
        )
    )


def orders_for(
    session: Session,
    person: Who,
    *,
    states: list[str] | None = None,
    accession_number: str | None = None,
    patient: str | None = None,
    limit: int = 100,
    before_id: int | None = None,
) -> list[ServiceRequest]:
    """Newest first; `patient` searches names by characters, pinyin or initials, and IDs exactly."""
    query = select(ServiceRequest).where(visible_to(session, person, ServiceRequest))
    if states:
        query = query.where(ServiceRequest.state.in_(states))
    if accession_number:
        query = query.where(ServiceRequest.accession_number == accession_number)
    if patient:
        query = query.join(Patient, Patient.id == ServiceRequest.patient_pk).where(
            or_(name_matches(patient), Patient.patient_id == patient.strip())
        )
    if before_id is not None:
        query = query.where(ServiceRequest.id < before_id)
    return list(session.scalars(query.order_by(ServiceRequest.id.desc()).limit(limit)))


def likely_orders(
    session: Session, study: Study, *, limit: int = 5
) -> list[tuple[ServiceRequest, list[str]]]:
    """Open orders that this study may belong to, the likeliest first, each with what speaks for it."""
    patient = study.patient
    found = []
    for order in session.scalars(
        select(ServiceRequest)
        .where(
            ServiceRequest.institution_code == study.institution_code,
            ServiceRequest.study_pk.is_(None),
            ServiceRequest.state.in_(OPEN),
        )
        .order_by(ServiceRequest.id.desc())
        .limit(500)
    ):
        reasons = [
            reason
            for reason, speaks in (
                ("study-uid", order.study_instance_uid == study.study_instance_uid),
                (
                    "accession-number",
                    bool(study.accession_number) and order.accession_number == study.accession_number,
                ),
                ("patient-id", order.patient_pk == study.patient_pk),
                ("name", same_name(order.patient.name, patient.name)),
                ("birth-date", bool(patient.birth_date) and order.patient.birth_date == patient.birth_date),
                ("sex", bool(patient.sex) and order.patient.sex == patient.sex),
                ("modality", order.modality == study.modality),
            )
            if speaks
        ]
        if set(reasons) - {"sex", "modality"}:
            found.append((order, reasons))
    return sorted(found, key=lambda pair: -len(pair[1]))[:limit]


def person_name(name: str, phonetic: str = "") -> str:
    """A PN value of up to three groups from what a person typed: `张三` + `Zhang San` → `Zhang^San=张三`.

    The ideographic group stands second and the alphabetic first (PS3.5 6.2.1.2); a name without
    ideographs is alphabetic.
    """
    name, phonetic = name.strip(), phonetic.strip()
    if "=" in name:
        return name
    alphabetic = re.sub(r"[\s,]+", "^", phonetic, count=1)
    if name.isascii():
        return re.sub(r"[\s,]+", "^", name, count=1)
    return f"{alphabetic}={name}"


def shown_name(name: str) -> str:
    """A PN value as people read it: the ideographic group where there is one, without delimiters."""
    groups = name.split("=")
    best = groups[1] if len(groups) > 1 and groups[1].strip("^ ") else groups[0]
    joiner = " " if best.isascii() else ""
    return joiner.join(part.strip() for part in best.split("^") if part.strip())


def _check(session: Session, new: NewOrder) -> None:
    institution = session.get(Institution, new.institution)
    if institution is None or not institution.is_active:
        raise Unacceptable("no such institution")
    if not new.patient.patient_id.strip() or not new.patient.name.strip():
        raise Unacceptable("an order needs the patient's ID and name")
    if len(new.patient.patient_id.strip()) > 64 or "\\" in new.patient.patient_id + new.patient.name:
        raise Unacceptable("a patient ID has at most 64 characters, and no backslash")
    if new.patient.sex not in ("M", "F", "O"):
        raise Unacceptable("sex is M, F or O")
    if not re.fullmatch(r"[A-Z]{2,4}", new.modality):
        raise Unacceptable("a modality is a DICOM code such as CT, DX, US or ECG")
    if new.priority not in set(Priority):
        raise Unacceptable(f"priority is one of {', '.join(Priority)}")
    if new.pathway is not None and new.pathway not in set(Pathway):
        raise Unacceptable(f"pathway is one of {', '.join(Pathway)}")
    if new.accession_number is not None and not re.fullmatch(
        r"[\x21-\x5b\x5d-\x7e]{1,16}", new.accession_number
    ):
        raise Unacceptable("an accession number has 1 to 16 printable characters")
    if new.station_ae is not None:
        device = session.get(ApplicationEntity, new.station_ae)
        if device is None or device.institution_code != new.institution:
            raise Unacceptable("no such device at this institution")
    if new.patient.national_id:
        try:
            said = read_national_id(new.patient.national_id)
        except BadNationalId as error:
            raise Unacceptable(str(error)) from None
        if new.patient.birth_date is not None and said.birth_date != new.patient.birth_date:
            raise Unacceptable("the resident ID says another birth date")
        if new.patient.sex in ("M", "F") and said.sex != new.patient.sex:
            raise Unacceptable("the resident ID says another sex")


def _new_accession_number(session: Session, issuer: str, now: datetime) -> str:
    while True:
        number = f"{now:%y%m%d}{secrets.randbelow(10**6):06d}"
        if find_by_accession(session, issuer=issuer, accession_number=number) is None:
            return number


def same_name(one: str, other: str) -> bool:
    ours = {group.replace("^", "").lower() for group in one.split("=") if group.strip("^ ")}
    theirs = {group.replace("^", "").lower() for group in other.split("=") if group.strip("^ ")}
    return bool(ours & theirs)


def _tell(
    session: Session, order: ServiceRequest, verb: str, by: Actor, now: datetime, **detail: Any
) -> None:
    audit.record(session, Act.ORDER, verb, order.subject, by=by, at=now, state=order.state, **detail)
    changes.publish(
        session,
        Topic.ORDER,
        order.subject,
        verb,
        institution_code=order.institution_code,
        modality=order.modality,
    )
