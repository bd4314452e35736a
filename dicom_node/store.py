"""C-STORE: the bytes as they were sent, kept before they are acknowledged."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

from dicom_node.exchange import Exchange
from dicom_node.statuses import OutOfResources, Status, WrongRequest, status_of
from storage.headers import meta_bytes, read_header
from storage.instances import Outcome, Sender, keep_instance
from storage.institutions import Service

if TYPE_CHECKING:
    from dicom_node.node import Node

log = logging.getLogger("reading_center.dicom")


def store(node: Node, exchange: Exchange) -> None:
    """Object first, rows second, answer last. Raises for `statuses.status_for` what hinders it."""
    request = exchange.request
    exchange.require(Service.STORE)
    if str(request.AffectedSOPClassUID) != exchange.abstract_syntax:
        raise WrongRequest("the SOP class is not the negotiated one", status=Status.SOP_CLASS_NOT_SUPPORTED)
    received = request.received
    if received is None:
        raise WrongRequest("there is no dataset", status=Status.CANNOT_UNDERSTAND)
    if received.is_lost:
        raise OutOfResources("there was no room for the dataset")
    whole = received.whole()
    header = read_header(whole, exchange.transfer_syntax)
    if header.sop_class_uid != str(request.AffectedSOPClassUID):
        raise WrongRequest("the dataset is of another SOP class than the command")
    if header.sop_instance_uid != str(request.AffectedSOPInstanceUID):
        raise WrongRequest("the dataset is another instance than the command")
    kept = keep_instance(
        node.database,
        node.objects,
        header=header,
        meta=meta_bytes(
            header.sop_class_uid,
            header.sop_instance_uid,
            exchange.transfer_syntax,
            exchange.device.ae_title,
        ),
        dataset=io.BytesIO(whole) if isinstance(whole, bytes) else whole,
        sender=Sender(exchange.device.ae_title, exchange.device.institution_code, exchange.source),
    )
    exchange.association.note_study(kept.study_instance_uid)
    if kept.outcome is Outcome.QUARANTINED:
        log.warning(
            "quarantined %s from %s: %s", kept.sop_instance_uid, exchange.device.ae_title, kept.reason
        )
    exchange.answer(*status_of(kept))
