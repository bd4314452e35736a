"""Modality worklist (PS3.4 K): the scheduled steps of the asking device's own institution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dicom_node.exchange import Exchange
from dicom_node.find import answer_charset, matching_keys, only_asked, requested_charset
from dicom_node.statuses import Status
from storage.institutions import Service
from worklist.scheduling import worklist_items

if TYPE_CHECKING:
    from dicom_node.node import Node

SCHEDULED_PROCEDURE_STEP_SEQUENCE = "00400100"


def find(node: Node, exchange: Exchange) -> None:
    exchange.require(Service.WORKLIST)
    asked = exchange.dataset()
    requested = requested_charset(asked)
    with node.database.reading() as session:
        items = worklist_items(session, exchange.device, keys_of(asked), fuzzy=exchange.options.fuzzy)
    for item in items:
        if exchange.is_cancelled:
            exchange.answer(Status.CANCEL)
            return
        if not exchange.is_alive:
            return
        row = only_asked(item, asked)
        exchange.answer(Status.PENDING, dataset=row, charset=answer_charset(requested, row))
    exchange.answer(Status.SUCCESS)


def keys_of(asked: dict[str, Any]) -> dict[str, str]:
    """Matching keys, flat: those of the scheduled step beside those of the request (PS3.4 K.6.1.2)."""
    keys = matching_keys(asked)
    for step in asked.get(SCHEDULED_PROCEDURE_STEP_SEQUENCE, {}).get("Value", [])[:1]:
        keys |= matching_keys(step)
    return keys
