"""Modality Performed Procedure Step (PS3.4 F.7): N-CREATE and N-SET, at any time and across our restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dicom_node.exchange import Exchange
from dicom_node.statuses import Status, WrongRequest
from storage.database import utc_now
from storage.institutions import Service
from storage.uids import is_uid, new_uid
from worklist.performed_steps import create_step, set_step

if TYPE_CHECKING:
    from dicom_node.node import Node


def create(node: Node, exchange: Exchange) -> None:
    exchange.require(Service.MPPS)
    # PS3.7 10.1.5.1.4: a device may leave the naming of the instance to us.
    named = exchange.request.AffectedSOPInstanceUID
    sop_instance_uid = _uid(named) if named else new_uid()
    attributes = exchange.dataset()
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
    attributes = exchange.dataset()
    node.database.in_transaction(
        lambda session: set_step(session, sop_instance_uid, attributes, entity=exchange.device, now=utc_now())
    )
    exchange.answer(Status.SUCCESS)


def _uid(text: Any) -> str:
    if not is_uid(str(text)):
        raise WrongRequest("the SOP Instance UID is not a UID", status=Status.INVALID_ATTRIBUTE)
    return str(text)


def _note(exchange: Exchange, attributes: dict[str, Any]) -> None:
    for item in attributes.get("00400270", {}).get("Value", []):
        for uid in item.get("0020000D", {}).get("Value", []):
            exchange.association.note_study(str(uid))
