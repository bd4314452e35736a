"""PerformedProcedureStep (MPPS): what the device says it did; before, between and after the images."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage import audit, changes
from storage.audit import CENTER, Act, Actor
from storage.changes import Topic
from storage.database import Base
from storage.imaging import ArrivalState, Instance, Origin, Series, Study
from storage.institutions import ApplicationEntity
from worklist.orders import OPEN, OrderState, ServiceRequest, find_by_accession, move_order

Attributes = dict[str, Any]  # DICOM JSON

# What a study settles by when its steps have counted: all images are here, or not.
BY_STEPS, INCOMPLETE = "mpps", "quiet-incomplete"


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
    """N-CREATE (PS3.4 F.7.2.1.2). Raises StepExists, and StepUnacceptable unless it begins IN PROGRESS."""
    if session.scalar(
        select(PerformedProcedureStep.id).where(PerformedProcedureStep.sop_instance_uid == sop_instance_uid)
    ):
        raise StepExists(sop_instance_uid)
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
    step = session.scalar(
        select(PerformedProcedureStep)
        .where(
            PerformedProcedureStep.sop_instance_uid == sop_instance_uid,
            PerformedProcedureStep.institution_code == entity.institution_code,
        )
        .with_for_update()
    )
    if step is None:
        raise StepUnknown(sop_instance_uid)
    if step.state != StepState.IN_PROGRESS:
        raise StepEnded(sop_instance_uid)
    step.attributes = step.attributes | attributes
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
        session.flush()
        _judge(session, step, now)
    return step


def steps_of(session: Session, study_instance_uid: str) -> list[PerformedProcedureStep]:
    return list(
        session.scalars(
            select(PerformedProcedureStep)
            .where(PerformedProcedureStep.study_instance_uid == study_instance_uid)
            .order_by(PerformedProcedureStep.id)
        )
    )


def kept_of(session: Session, study_instance_uid: str, instance_uids: Collection[str]) -> int:
    """How many of these instances were received into this study."""
    wanted, kept = sorted(instance_uids), 0
    for start in range(0, len(wanted), 500):
        kept += (
            session.scalar(
                select(func.count())
                .select_from(Instance)
                .join(Series, Series.id == Instance.series_pk)
                .join(Study, Study.id == Series.study_pk)
                .where(
                    Study.study_instance_uid == study_instance_uid,
                    Instance.origin == Origin.RECEIVED,
                    Instance.sop_instance_uid.in_(wanted[start : start + 500]),
                )
            )
            or 0
        )
    return kept


def _judge(session: Session, step: PerformedProcedureStep, now: datetime) -> None:
    """A count that comes after the study has settled says whether it settled too early."""
    study = session.scalar(select(Study).where(Study.study_instance_uid == step.study_instance_uid))
    if study is None or study.arrival_state != ArrivalState.SETTLED or not step.instance_uids:
        return
    steps = [one for one in steps_of(session, step.study_instance_uid) if one.instance_uids]
    said = {uid for one in steps for uid in one.instance_uids}
    proof = BY_STEPS if kept_of(session, step.study_instance_uid, said) == len(said) else INCOMPLETE
    if proof == study.settled_by:
        return
    study.settled_by = proof
    audit.record(
        session, Act.STUDY, "recount", f"study:{study.study_instance_uid}", by=CENTER, at=now, proof=proof
    )
    changes.publish(
        session, Topic.STUDY, f"study:{study.study_instance_uid}", "recounted",
        institution_code=study.institution_code, modality=study.modality,
    )  # fmt: skip


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
