"""PerformedProcedureStep (MPPS): what the device says it did; before, between and after the images."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage import audit
from storage.audit import Act, Actor
from storage.database import Base
from storage.institutions import ApplicationEntity
from worklist.orders import OPEN, OrderState, ServiceRequest, find_by_accession, move_order

Attributes = dict[str, Any]  # DICOM JSON


class StepState(StrEnum):
    """Performed Procedure Step Status (0040,0252)."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


class StepExists(ValueError):
    """N-CREATE of a SOP Instance UID that is there already."""


class StepUnknown(LookupError):
    """N-SET of a SOP Instance UID that nobody created."""


class StepEnded(ValueError):
    """A step that is COMPLETED or DISCONTINUED may no longer be changed (PS3.4 F.7.2.2.2)."""


class StepUnacceptable(ValueError):
    """The attributes break the service's rules; the message says which."""


class StepWithoutStatus(ValueError):
    """N-CREATE without a Performed Procedure Step Status, which is type 1 (PS3.4 table F.7.2-1)."""


# What PS3.4 table F.7.2-1 lets no N-SET change: who, where, when begun, and for which order.
FIXED = {
    "00081120", "00100010", "00100020", "00100030", "00100040", "00400270", "00400253", "00400241",
    "00400242", "00400243", "00400244", "00400245", "00080060", "00200010",
}  # fmt: skip


class PerformedProcedureStep(Base):
    __tablename__ = "performed_procedure_steps"
    id: Mapped[int] = mapped_column(primary_key=True)
    sop_instance_uid: Mapped[str] = mapped_column(unique=True)
    ae_title: Mapped[str]
    institution_code: Mapped[str]
    state: Mapped[str]
    study_instance_uid: Mapped[str] = mapped_column(default="", index=True)
    accession_number: Mapped[str] = mapped_column(default="", index=True)
    attributes: Mapped[dict[str, Any]]
    instance_uids: Mapped[list[str]]  # what the device says it made, from its Performed Series Sequence
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


def create_step(
    session: Session,
    sop_instance_uid: str,
    attributes: Attributes,
    *,
    entity: ApplicationEntity,
    now: datetime,
) -> PerformedProcedureStep:
    """N-CREATE (PS3.4 F.7.2.1.2). Raises StepExists, StepWithoutStatus, and StepUnacceptable unless it begins
    IN PROGRESS."""
    if session.scalar(
        select(PerformedProcedureStep.id).where(PerformedProcedureStep.sop_instance_uid == sop_instance_uid)
    ):
        raise StepExists(sop_instance_uid)
    if not _text(attributes, "00400252"):
        raise StepWithoutStatus(sop_instance_uid)
    if _text(attributes, "00400252") != StepState.IN_PROGRESS:
        raise StepUnacceptable("a performed procedure step begins IN PROGRESS")
    scheduled = next(_items(attributes, "00400270"), {})
    step = PerformedProcedureStep(
        sop_instance_uid=sop_instance_uid,
        ae_title=entity.ae_title,
        institution_code=entity.institution_code,
        state=StepState.IN_PROGRESS,
        study_instance_uid=_text(scheduled, "0020000D"),
        accession_number=_text(scheduled, "00080050"),
        attributes=attributes,
        instance_uids=_instance_uids(attributes),
        started_at=now,
    )
    session.add(step)
    order = _order_of(session, step)
    if order is not None and order.state == OrderState.ORDERED:
        move_order(session, order, "begin", by=_actor(entity), now=now)
    audit.record(session, Act.STUDY, "begin-step", f"step:{sop_instance_uid}", by=_actor(entity), at=now)
    return step


def set_step(
    session: Session,
    sop_instance_uid: str,
    attributes: Attributes,
    *,
    entity: ApplicationEntity,
    now: datetime,
) -> PerformedProcedureStep:
    """N-SET. Raises StepUnknown, StepEnded; a neighbour's step is unknown."""
    step = find_step(session, sop_instance_uid, entity=entity, is_changed=True)
    if step.state != StepState.IN_PROGRESS:
        raise StepEnded(sop_instance_uid)
    step.attributes = step.attributes | {tag: one for tag, one in attributes.items() if tag not in FIXED}
    step.instance_uids = _instance_uids(step.attributes)
    said = _text(attributes, "00400252")
    if said and said not in set(StepState):
        raise StepUnacceptable("the status is IN PROGRESS, COMPLETED or DISCONTINUED")
    if said in (StepState.COMPLETED, StepState.DISCONTINUED):
        step.state, step.ended_at = said, now
        order = _order_of(session, step)
        if said == StepState.DISCONTINUED and order is not None and order.state == OrderState.IN_PROGRESS:
            move_order(session, order, "discontinue", by=_actor(entity), now=now)
        audit.record(
            session,
            Act.STUDY,
            "end-step",
            f"step:{sop_instance_uid}",
            by=_actor(entity),
            at=now,
            state=said,
            instances=len(step.instance_uids),
        )
    return step


def find_step(
    session: Session, sop_instance_uid: str, *, entity: ApplicationEntity, is_changed: bool = False
) -> PerformedProcedureStep:
    """Raises StepUnknown, also for a neighbour's step."""
    query = select(PerformedProcedureStep).where(
        PerformedProcedureStep.sop_instance_uid == sop_instance_uid,
        PerformedProcedureStep.institution_code == entity.institution_code,
    )
    step = session.scalar(query.with_for_update() if is_changed else query)
    if step is None:
        raise StepUnknown(sop_instance_uid)
    return step


def steps_of(session: Session, study_instance_uid: str) -> list[PerformedProcedureStep]:
    return list(
        session.scalars(
            select(PerformedProcedureStep)
            .where(PerformedProcedureStep.study_instance_uid == study_instance_uid)
            .order_by(PerformedProcedureStep.id)
        )
    )


def _order_of(session: Session, step: PerformedProcedureStep) -> ServiceRequest | None:
    order = None
    if step.accession_number:
        order = find_by_accession(
            session, issuer=step.institution_code, accession_number=step.accession_number
        )
    if order is None and step.study_instance_uid:
        order = session.scalar(
            select(ServiceRequest).where(
                ServiceRequest.study_instance_uid == step.study_instance_uid,
                ServiceRequest.institution_code == step.institution_code,
            )
        )
    return order if order is not None and order.state in OPEN else None


def _instance_uids(attributes: Attributes) -> list[str]:
    found = []
    for series in _items(attributes, "00400340"):  # Performed Series Sequence
        for sequence in (
            "00081140",
            "00400220",
        ):  # Referenced Image, Referenced Non-Image Composite SOP Instance
            found += [_text(item, "00081155") for item in _items(series, sequence)]
    return sorted({uid for uid in found if uid})


def _items(attributes: Attributes, tag: str) -> Iterator[Attributes]:
    yield from attributes.get(tag, {}).get("Value", [])


def _text(attributes: Attributes, tag: str) -> str:
    values = attributes.get(tag, {}).get("Value") or [""]
    return str(values[0] or "").strip()


def _actor(entity: ApplicationEntity) -> Actor:
    return Actor(f"ae:{entity.ae_title}", entity.institution_code)
