"""C-MOVE: what is asked for goes to a declared device that may see it too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicom_node import outgoing, sub_operations
from dicom_node.exchange import Exchange
from dicom_node.retrieval import Wanted, wanted_by
from dicom_node.statuses import Status, WrongRequest
from storage.database import utc_now
from storage.institutions import Service, find_application_entity
from worklist.people import visible_to_device

if TYPE_CHECKING:
    from dicom_node.node import Node


def move(node: Node, exchange: Exchange) -> None:
    exchange.require(Service.MOVE)
    title = str(exchange.request.MoveDestination or "").strip()
    with node.database.reading() as session:
        destination = find_application_entity(session, title)
        if destination is None or not outgoing.is_reachable(destination):
            raise WrongRequest("the move destination is unknown", status=Status.MOVE_DESTINATION_UNKNOWN)
        # Both must be allowed to have it: a move is no way past a neighbour's door.
        visible = (
            visible_to_device(session, exchange.device, now=utc_now()),
            visible_to_device(session, destination, now=utc_now()),
        )
        wanted = wanted_by(session, exchange, *visible)
        session.expunge_all()
    if not wanted:
        sub_operations.run(exchange, [], lambda instance: None)
        return
    proposals = outgoing.proposals_for((one.sop_class_uid, one.transfer_syntax_uid) for one in wanted)
    originator = (exchange.device.ae_title, int(exchange.request.MessageID))
    try:
        with outgoing.associated(node.settings, destination, proposals) as association:
            sent = iter(range(1, len(wanted) + 1))

            def send(instance: Wanted) -> int | None:
                if not association.is_established:
                    return None
                try:
                    return sub_operations.send_one(
                        association,
                        node.objects,
                        instance,
                        message_id=next(sent),
                        originator=originator,
                    )
                except sub_operations.PeerGone:
                    return None

            sub_operations.run(exchange, wanted, send)
    except outgoing.PeerUnreachable:
        if not exchange.is_answered:
            sub_operations.run(exchange, wanted, lambda instance: None)
