"""C-MOVE: what is asked for goes to a declared device that may see it too."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from dicom_node import outgoing
from dicom_node.exchange import Exchange
from dicom_node.line import Line, NotWanted, PeerGone, PeerSilent
from dicom_node.own_proposal import Plan, plans_for
from dicom_node.retrieval import Wanted, wanted_by
from dicom_node.statuses import Status, WrongRequest
from dicom_node.storage_user import CannotRead
from dicom_node.sub_operations import SubOperations, anything, perform
from storage.database import utc_now
from storage.institutions import ApplicationEntity, Service, find_application_entity
from worklist.people import visible_to_device

if TYPE_CHECKING:
    from dicom_node.node import Node

MOST_ASSOCIATIONS = 3  # in a row, with a destination that ends them half way


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
    perform(exchange, wanted, node.sound, partial(_send, node, exchange, destination))


def _send(
    node: Node,
    exchange: Exchange,
    destination: ApplicationEntity,
    operations: SubOperations,
    requester: Line,
) -> None:
    plans = plans_for((one.sop_class_uid, one.transfer_syntax_uid) for one in operations.waiting)
    for plan in plans:
        if operations.is_cancelled:
            return
        only = anything if len(plans) == 1 else partial(_is_of, plan)
        operations.bring_forward(only)
        _send_kinds(node, exchange, destination, operations, plan, only)


def _send_kinds(
    node: Node,
    exchange: Exchange,
    destination: ApplicationEntity,
    operations: SubOperations,
    plan: Plan,
    only: Callable[[Wanted], bool],
) -> None:
    """Everything of these kinds, on a new association where the destination ended the last one half way."""
    originator = (exchange.device.ae_title, int(exchange.request.MessageID))
    for _ in range(MOST_ASSOCIATIONS):
        try:
            with outgoing.storing(
                node.settings,
                destination,
                plan.contexts,
                buffers=node.buffers,
                originator=originator,
                is_wanted=operations.is_wanted,
            ) as user:
                operations.send(user, only=only)
            return
        except (outgoing.PeerUnreachable, PeerSilent):
            break
        except NotWanted:
            return
        except (PeerGone, CannotRead):
            # Many archives abort at an object that they dislike, and take the others.
            continue
    operations.fail(only=only)


def _is_of(plan: Plan, instance: Wanted) -> bool:
    return (instance.sop_class_uid, instance.transfer_syntax_uid) in plan.kinds
