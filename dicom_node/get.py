"""C-GET: what is asked for comes back on the same association, byte for byte where the peer allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicom_node import sub_operations
from dicom_node.exchange import Exchange
from dicom_node.retrieval import Wanted, wanted_by
from storage.database import utc_now
from storage.institutions import Service
from worklist.people import visible_to_device

if TYPE_CHECKING:
    from dicom_node.node import Node


def get(node: Node, exchange: Exchange) -> None:
    exchange.require(Service.GET)
    with node.database.reading() as session:
        wanted = wanted_by(session, exchange, visible_to_device(session, exchange.device, now=utc_now()))
    sent = iter(range(1, len(wanted) + 1))

    def send(instance: Wanted) -> int | None:
        return sub_operations.send_one(
            exchange.association,
            node.objects,
            instance,
            message_id=int(exchange.request.MessageID) + next(sent),
        )

    sub_operations.run(exchange, wanted, send)
