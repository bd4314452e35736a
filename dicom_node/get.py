"""C-GET: what is asked for comes back on the same association, byte for byte where the peer allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicom_node.exchange import Exchange
from dicom_node.line import Line
from dicom_node.retrieval import wanted_by
from dicom_node.storage_user import StorageUser
from dicom_node.sub_operations import SubOperations, perform
from storage.database import utc_now
from storage.institutions import Service
from worklist.people import visible_to_device

if TYPE_CHECKING:
    from dicom_node.node import Node


def get(node: Node, exchange: Exchange) -> None:
    exchange.require(Service.GET)
    with node.database.reading() as session:
        wanted = wanted_by(session, exchange, visible_to_device(session, exchange.device, now=utc_now()))
    association = exchange.association

    def work(operations: SubOperations, requester: Line) -> None:
        user = StorageUser(
            requester,
            association.storage_contexts,
            maximum_length=association.requestor.maximum_length or 0,
            buffers=node.buffers,
        )
        try:
            operations.send(user)
        finally:
            user.close()

    perform(exchange, wanted, node.sound, work)
