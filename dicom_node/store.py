"""C-STORE: the bytes as they were sent, kept before they are acknowledged."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, BinaryIO

from dicom_node.exchange import Exchange
from dicom_node.statuses import OutOfResources, Status, WrongRequest, status_of
from storage.headers import Header, read_header
from storage.indexing import Kept, Outcome, Sender
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
    sender = Sender(exchange.device.ae_title, exchange.device.institution_code, exchange.source)
    kept = _kept(node, header, whole, sender)
    exchange.association.note_study(kept.study_instance_uid)
    if kept.outcome is Outcome.QUARANTINED:
        log.warning(
            "quarantined %s from %s: %s", kept.sop_instance_uid, exchange.device.ae_title, kept.reason
        )
    exchange.answer(*status_of(kept))


def _kept(node: Node, header: Header, dataset: bytes | BinaryIO, sender: Sender) -> Kept:
    if isinstance(dataset, bytes):
        return node.ingest.keep(header, dataset, sender=sender)
    large = node.ingest.begin(
        header.sop_class_uid, header.sop_instance_uid, header.transfer_syntax_uid, sender=sender
    )
    try:
        dataset.seek(0)
        while piece := dataset.read(1 << 20):
            large.write(piece)
        return node.ingest.finish(large, header)
    finally:
        large.abandon()
