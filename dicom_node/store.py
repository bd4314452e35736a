"""C-STORE: the bytes as they were sent, kept before they are acknowledged."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, BinaryIO

from dicom_node.command_set import Command
from dicom_node.exchange import Exchange
from dicom_node.incoming import Incoming
from dicom_node.proposal import Agreed
from dicom_node.statuses import OutOfResources, Status, WrongRequest, status_of
from storage.headers import Header, read_header, scan_header
from storage.indexing import Kept, Outcome, Sender
from storage.ingest import Writing
from storage.institutions import ApplicationEntity, Service

if TYPE_CHECKING:
    from dicom_node.node import Node

log = logging.getLogger("reading_center.dicom")


def store(node: Node, exchange: Exchange) -> None:
    """On an association that does other things too. Raises for `statuses.status_for` what hinders it."""
    request = exchange.request
    exchange.require(Service.STORE)
    _check_class(str(request.AffectedSOPClassUID), exchange.abstract_syntax)
    received = request.received
    if received is None:
        raise WrongRequest("there is no dataset", status=Status.CANNOT_UNDERSTAND)
    if received.is_lost:
        raise OutOfResources("there was no room for the dataset")
    whole = received.whole()
    read = scan_header if isinstance(whole, bytes) else read_header
    header = read(whole, exchange.transfer_syntax)
    _check_names(header, str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID))
    sender = Sender(exchange.device.ae_title, exchange.device.institution_code, exchange.source)
    kept = _kept(node, header, whole, sender)
    exchange.association.note_study(kept.study_instance_uid)
    tell(kept, exchange.device)
    exchange.answer(*status_of(kept))


def begin(node: Node, command: Command, context: Agreed, sender: Sender) -> Writing:
    """Where a dataset goes: begun before it is here, or before its header is read, so that the disk works."""
    return node.ingest.begin(
        command.sop_class_uid, command.sop_instance_uid, context.transfer_syntax, sender=sender
    )


def store_incoming(
    node: Node,
    command: Command,
    context: Agreed,
    incoming: Incoming | None,
    sender: Sender,
    *,
    is_likely_known: bool,
) -> Kept:
    """On an association that only stores. Raises for `statuses.status_for` what hinders it."""
    _check_class(command.sop_class_uid, context.abstract_syntax)
    if incoming is None:
        raise WrongRequest("there is no dataset", status=Status.CANNOT_UNDERSTAND)
    large = incoming.finish()
    if incoming.lost is not None:
        raise incoming.lost
    if large is not None:
        with large.reading() as written:
            header = read_header(written, context.transfer_syntax)
        _check_names(header, command.sop_class_uid, command.sop_instance_uid)
        return node.ingest.finish(large, header)
    if is_likely_known:
        header = scan_header(incoming.whole, context.transfer_syntax)
        _check_names(header, command.sop_class_uid, command.sop_instance_uid)
        return node.ingest.keep(header, incoming.whole, sender=sender)
    with incoming.writing or begin(node, command, context, sender) as writing:
        with node.ingest.turn():
            writing.write_whole(incoming.whole)
            header = scan_header(incoming.whole, context.transfer_syntax)
            _check_names(header, command.sop_class_uid, command.sop_instance_uid)
        return node.ingest.finish(writing, header, is_likely_known=False)


def _check_class(sop_class_uid: str, abstract_syntax: str) -> None:
    if sop_class_uid != abstract_syntax:
        raise WrongRequest("the SOP class is not the negotiated one", status=Status.SOP_CLASS_NOT_SUPPORTED)


def _check_names(header: Header, sop_class_uid: str, sop_instance_uid: str) -> None:
    if header.sop_class_uid != sop_class_uid:
        raise WrongRequest("the dataset is of another SOP class than the command")
    if header.sop_instance_uid != sop_instance_uid:
        raise WrongRequest("the dataset is another instance than the command")


def tell(kept: Kept, device: ApplicationEntity) -> None:
    if kept.outcome is Outcome.QUARANTINED:
        log.warning("quarantined %s from %s: %s", kept.sop_instance_uid, device.ae_title, kept.reason)


def _kept(node: Node, header: Header, dataset: bytes | BinaryIO, sender: Sender) -> Kept:
    if isinstance(dataset, bytes):
        return node.ingest.keep(header, dataset, sender=sender)
    names = header.sop_class_uid, header.sop_instance_uid, header.transfer_syntax_uid
    with node.ingest.begin(*names, sender=sender) as writing:
        dataset.seek(0)
        while piece := dataset.read(1 << 20):
            writing.write(piece)
        return node.ingest.finish(writing, header)
