"""Modality worklist (PS3.4 K): the scheduled steps of the asking device's own institution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicom_node.answering import charset_for, shown_in
from dicom_node.exchange import Exchange
from dicom_node.find import keys_of, only_asked, pending_status
from dicom_node.pending import Pending
from storage.institutions import Service
from worklist.scheduling import MOST_ITEMS, worklist_items

if TYPE_CHECKING:
    from dicom_node.node import Node


def find(node: Node, exchange: Exchange) -> None:
    exchange.require(Service.WORKLIST)
    asked = exchange.dataset()
    charset = charset_for(exchange.device, asked)
    keys = keys_of(asked)
    with node.database.reading() as session:
        items = worklist_items(session, exchange.device, keys)
    pending = Pending(exchange, pending_status(asked, items, keys), charset)
    for item in items[:MOST_ITEMS]:
        if not pending.add(shown_in(only_asked(item, asked), charset)):
            return
    pending.finish(is_all=len(items) <= MOST_ITEMS)
