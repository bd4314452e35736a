"""Modality Performed Procedure Step (PS3.4 F.7): N-CREATE and N-SET, at any time and across our restarts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from dicom_node.answering import charset_for, shown_in
from dicom_node.contexts import PERFORMED_PROCEDURE_STEP_RETRIEVE
from dicom_node.exchange import MAXIMUM_LIST, Exchange
from dicom_node.statuses import Status, WrongRequest
from storage.database import utc_now
from storage.institutions import Service
from storage.uids import is_uid, new_uid
from worklist.completeness import recount
from worklist.performed_steps import create_step, find_step, set_step

if TYPE_CHECKING:
    from dicom_node.node import Node


def create(node: Node, exchange: Exchange) -> None:
    exchange.require(Service.MPPS)
    # PS3.7 10.1.5.1.4: a device may leave the naming of the instance to us.
    named = exchange.request.AffectedSOPInstanceUID
    sop_instance_uid = _uid(named) if named else new_uid()
    attributes = exchange.dataset(most=MAXIMUM_LIST)
    node.database.in_transaction(
        lambda session: create_step(
            session, sop_instance_uid, attributes, entity=exchange.device, now=utc_now()
        )
    )
    _note(exchange, attributes)
    exchange.answer(Status.SUCCESS, AffectedSOPInstanceUID=sop_instance_uid)


def update(node: Node, exchange: Exchange) -> None:
    exchange.require(Service.MPPS)
    sop_instance_uid = _uid(exchange.request.RequestedSOPInstanceUID)
    attributes = exchange.dataset(most=MAXIMUM_LIST)

    def change(session: Session) -> None:
        step = set_step(session, sop_instance_uid, attributes, entity=exchange.device, now=utc_now())
        session.flush()
        recount(session, step.study_instance_uid, now=utc_now())

    node.database.in_transaction(change)
    exchange.answer(Status.SUCCESS)


def show(node: Node, exchange: Exchange) -> None:
    """N-GET, of the Retrieve SOP class (PS3.4 F.8): the step as it stands, or what was asked for of it."""
    exchange.require(Service.MPPS)
    sop_instance_uid = _uid(exchange.request.RequestedSOPInstanceUID)
    if exchange.abstract_syntax != PERFORMED_PROCEDURE_STEP_RETRIEVE:
        raise WrongRequest("this SOP class is not read", status=Status.UNRECOGNISED_OPERATION)
    with node.database.reading() as session:
        step = find_step(session, sop_instance_uid, entity=exchange.device)
        held = dict(step.attributes)
    asked = exchange.request.AttributeIdentifierList or []
    wanted = [f"{int(tag):08X}" for tag in (asked if isinstance(asked, Iterable) else [asked])]
    found = {tag: held[tag] for tag in wanted if tag in held} if wanted else held
    charset = charset_for(exchange.device, {})
    status = Status.SUCCESS if set(wanted) <= set(held) else Status.OPTIONAL_ATTRIBUTES_NOT_HELD
    exchange.answer(status, dataset=shown_in(found, charset), charset=charset)


def _uid(text: Any) -> str:
    if not is_uid(str(text)):
        raise WrongRequest("the SOP Instance UID is not a UID", status=Status.INVALID_INSTANCE)
    return str(text)


def _note(exchange: Exchange, attributes: dict[str, Any]) -> None:
    for item in attributes.get("00400270", {}).get("Value", []):
        for uid in item.get("0020000D", {}).get("Value", []):
            exchange.association.note_study(str(uid))
