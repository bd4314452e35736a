"""The DICOM node: listeners, the door-keeper, and the table from what is asked to who answers."""

from __future__ import annotations

import contextlib
import gc
import logging
import socket
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pydicom.config
import pynetdicom._config
from pynetdicom import AE
from pynetdicom.dimse_primitives import (
    C_ECHO,
    C_FIND,
    C_GET,
    C_MOVE,
    C_STORE,
    N_ACTION,
    N_CREATE,
    N_GET,
    N_SET,
)
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.pdu_primitives import A_ASSOCIATE
from sqlalchemy.exc import SQLAlchemyError

from dicom_node import (
    commitment,
    find,
    get,
    metrics,
    modality_worklist,
    move,
    performed_step,
    store,
    verification,
)
from dicom_node.association import PeerAssociation
from dicom_node.association_log import AssociationLog, Entry
from dicom_node.command_set import C_ECHO_RQ, C_STORE_RQ, Command
from dicom_node.contexts import MODALITY_WORKLIST_FIND, offer_of
from dicom_node.exchange import Exchange
from dicom_node.figures_log import FiguresLog
from dicom_node.gatekeeper import Admitted, AssociationRefused, KnownAddresses, Places, admit
from dicom_node.incoming import Buffers, Incoming
from dicom_node.listener import Arrival, Listener
from dicom_node.proposal import Agreed, Proposal, read_storage_proposal
from dicom_node.statuses import Status, fields_for, status_for, status_of
from dicom_node.storage_association import StorageAssociation
from dicom_node.tls import accepting_context
from dicom_node.upper_layer import MAXIMUM_PDU
from storage import answers
from storage.audit import Actor
from storage.database import Database
from storage.healing import heal
from storage.indexing import Outcome, Sender
from storage.ingest import Ingest
from storage.institutions import Devices, Service
from storage.objects import ObjectStore
from storage.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from storage.settings import Settings
from storage.sound import SoundObjects
from worklist.holdings import HOLDINGS

log = logging.getLogger("reading_center.dicom")

STOP_SECONDS = 2.0
MOST_REFUSALS_AWAITED = 64

Handler = Callable[["Node", Exchange], None]

HANDLERS: dict[type, Handler] = {
    C_ECHO: verification.echo,
    C_STORE: store.store,
    C_FIND: find.find,
    C_MOVE: move.move,
    C_GET: get.get,
    N_CREATE: performed_step.create,
    N_SET: performed_step.update,
    N_GET: performed_step.show,
    N_ACTION: commitment.request,
}


class Node:
    """Serves DICOM on a plain and, where certificates are set, on a TLS port, until it is stopped."""

    def __init__(self, settings: Settings, database: Database, objects: ObjectStore) -> None:
        self.settings = settings
        self.database = database
        self.objects = objects
        self.sound = SoundObjects(database, objects, HOLDINGS)  # what is given out
        self.offer = offer_of(settings)
        self.ingest = Ingest(database, objects)
        self.devices = Devices(database)
        self.buffers = Buffers()
        self.places = Places()
        self.known = KnownAddresses(database)
        self.counts = metrics.Counts()
        self.figures = FiguresLog(self)
        self._metrics: Any = None
        # How many of the refused we await the closing of; beyond it they are told and closed at once.
        self._refusing = threading.BoundedSemaphore(MOST_REFUSALS_AWAITED)
        self.reports_here = threading.BoundedSemaphore(commitment.MOST_HERE)
        self.log = AssociationLog(database)
        self.spool = Path(settings.data) / "spool"
        self.application_entity = AE(settings.ae_title)
        self.application_entity.maximum_pdu_size = MAXIMUM_PDU
        self.application_entity.maximum_associations = 1 << 20  # Places counts
        self.application_entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        self.application_entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        self._plain: Listener | None = None
        self._secure: Listener | None = None
        self._open: set[PeerAssociation | StorageAssociation] = set()
        # Devices that released their last association after a new image: they go on with new ones.
        self._going_on: set[str] = set()
        # A device proposes the same, to the byte, every time.
        self._proposal = lru_cache(maxsize=100)(partial(read_storage_proposal, offer=self.offer))

    @property
    def port(self) -> int | None:
        return self._plain.port if self._plain else None

    @property
    def waiting(self) -> int:
        """Connections that have not said yet who they are."""
        return sum(listener.waiting for listener in (self._plain, self._secure) if listener is not None)

    @property
    def metrics_port(self) -> int | None:
        return int(self._metrics.server_port) if self._metrics is not None else None

    @property
    def tls_port(self) -> int | None:
        return self._secure.port if self._secure else None

    def start(self) -> None:
        """Open the ports. Raises OSError where one is taken."""
        # Both print what they send, receive and cannot read, names included; what a device sends we judge.
        pynetdicom._config.LOG_HANDLER_LEVEL = "none"
        for library in ("pynetdicom", "pydicom"):
            logging.getLogger(library).setLevel(logging.CRITICAL + 1)
            warnings.filterwarnings("ignore", module=rf"{library}\.")
        pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
        self.spool.mkdir(parents=True, exist_ok=True)
        heal(self.database, self.objects)  # before anybody asks for what a power cut has hidden
        settings = self.settings
        if settings.dicom_port:
            self._plain = Listener(
                settings.dicom_host, settings.dicom_port, welcome=self._welcome, known=self.known
            )
        tls = accepting_context(settings)
        if settings.dicom_tls_port and tls is not None:
            self._secure = Listener(
                settings.dicom_host,
                settings.dicom_tls_port,
                welcome=self._welcome,
                tls=tls,
                known=self.known,
            )
        elif settings.dicom_tls_port:
            log.info("the DICOM TLS port stays closed: certificate, key or authority is not set")
        if settings.metrics_port:
            self._metrics, _ = metrics.serve(self, settings.metrics_host, settings.metrics_port)
        self.known.start()
        self.log.start()
        self.figures.start()
        threading.Thread(target=self._warm_up, name="warm-up", daemon=True).start()
        for listener in (self._plain, self._secure):
            if listener is not None:
                listener.start()

    def _warm_up(self) -> None:
        """Do beforehand what the first image and the first query of the day would otherwise wait for."""
        try:
            self.ingest.warm_up()
            with self.database.reading() as session:
                answers.prepare(session.connection())
        except SQLAlchemyError as error:
            # The node opens its ports all the same; the first image and the first query wait a little longer.
            log.info(
                "nothing was prepared beforehand, the database does not answer: %s", type(error).__name__
            )
        # What was made so far stays: to search it for garbage stops every answer for a quarter of a second.
        gc.collect()
        gc.freeze()

    def stop(self) -> None:
        """Close the ports, end the open associations, write the last audit rows."""
        for listener in (self._plain, self._secure):
            if listener is not None:
                listener.stop()
        self.known.stop()
        if self._metrics is not None:
            self._metrics.shutdown()
            self._metrics.server_close()
            self._metrics = None
        self._end_associations()
        self.ingest.close()
        self.devices.close()
        self.figures.stop()
        self.log.stop()

    def _end_associations(self) -> None:
        """Tell each peer by A-ABORT, then close what still waits for one; two seconds in all."""
        until = time.monotonic() + STOP_SECONDS
        for association in list(self._open):
            with contextlib.suppress(Exception):
                association.abort(block=False)
        if self._open:
            time.sleep(STOP_SECONDS / 10)
        for association in list(self._open):
            # Wakes whoever reads from a peer that has stopped in the middle of a PDU.
            with contextlib.suppress(OSError):
                association.admitted.connection.shutdown(socket.SHUT_RDWR)
        for association in list(self._open):
            association.join(max(0.0, until - time.monotonic()))

    def _welcome(self, arrival: Arrival) -> None:
        try:
            admitted = admit(self.devices, arrival, our_title=self.settings.ae_title, places=self.places)
        except AssociationRefused as refused:
            self._refuse(arrival, refused)
            return
        self.counts.see(admitted.device.ae_title)
        proposal = self._proposal(admitted.first)
        if proposal is not None:
            self._receive(admitted, proposal)
            return
        try:
            association = PeerAssociation.accept(
                self.application_entity,
                admitted,
                offer=self.offer,
                serve=self._serve,
                ended=self._ended,
                spool=self.spool,
            )
        except Exception:
            self.places.leave(arrival.address, admitted.device)
            raise
        self._open.add(association)
        association.start()

    def _receive(self, admitted: Admitted, proposal: Proposal) -> None:
        """An association that only stores is served here and now, by our own upper layer."""
        title = admitted.device.ae_title
        association = StorageAssociation(
            admitted,
            proposal,
            serve=self._keep,
            begin=self._begin,
            is_repeating=title not in self._going_on,
        )
        self._open.add(association)
        try:
            association.run()
        finally:
            if association.is_aborted or association.is_repeating:
                self._going_on.discard(title)
            else:
                self._going_on.add(title)
            self._ended(association)

    def _begin(self, association: StorageAssociation, command: Command, context: Agreed) -> Incoming:
        sender = _sender(association)
        incoming = Incoming(self.buffers, lambda: store.begin(self, command, context, sender))
        if not association.is_repeating and command.field == C_STORE_RQ:
            incoming.begin()
        return incoming

    def _keep(
        self, association: StorageAssociation, command: Command, context: Agreed, incoming: Incoming | None
    ) -> tuple[int, str]:
        if command.field == C_ECHO_RQ:
            return Status.SUCCESS, ""
        if command.field != C_STORE_RQ:
            return Status.UNRECOGNISED_OPERATION, ""
        begun = time.monotonic()
        answer = self._keep_it(association, command, context, incoming)
        self.counts.store(association.admitted.device.ae_title, answer[0], time.monotonic() - begun)
        return answer

    def _keep_it(
        self, association: StorageAssociation, command: Command, context: Agreed, incoming: Incoming | None
    ) -> tuple[int, str]:
        try:
            if Service.STORE not in association.admitted.device.may:
                return Status.NOT_AUTHORISED, "this device may not store"
            kept = store.store_incoming(
                self,
                command,
                context,
                incoming,
                _sender(association),
                is_likely_known=association.is_repeating,
            )
        except Exception as error:
            return _answer_to(error, "C-STORE")
        association.note_study(kept.study_instance_uid)
        association.is_repeating = kept.outcome is Outcome.IDENTICAL
        store.tell(kept, association.admitted.device)
        return status_of(kept)

    def _refuse(self, arrival: Arrival, refused: AssociationRefused) -> None:
        rejection = A_ASSOCIATE()
        rejection.result, rejection.result_source, rejection.diagnostic = refused.rejection
        pdu = A_ASSOCIATE_RJ()
        pdu.from_primitive(rejection)
        is_awaited = self._refusing.acquire(blocking=False)
        try:
            with contextlib.suppress(OSError):
                arrival.connection.settimeout(2 if is_awaited else 0.1)
                arrival.connection.sendall(pdu.encode())
                # The peer closes first (PS3.8 table 9-10, Sta13), or its reset would take the answer along.
                if is_awaited:
                    arrival.connection.recv(1)
        finally:
            if is_awaited:
                self._refusing.release()
        self.counts.refuse(refused.device, refused.kind)
        with contextlib.suppress(OSError):
            arrival.connection.close()
        log.info("association refused: %s from %s: %s", refused.calling, arrival.address, refused)
        self.log.note(
            Entry(
                "refuse",
                Actor(f"ae:{refused.calling}", None, arrival.address),
                "failure",
                {"reason": str(refused), "called": refused.called},
            )
        )

    def _serve(self, association: PeerAssociation, request: Any, context: Any) -> None:
        """Answer one request; whatever goes wrong is answered too, and the node lives."""
        if request.MessageID is None or request.MessageIDBeingRespondedTo is not None:
            return
        exchange = Exchange(association, request, context)
        handler = HANDLERS.get(type(request))
        begun = time.monotonic()
        if exchange.abstract_syntax == MODALITY_WORKLIST_FIND and handler is find.find:
            handler = modality_worklist.find
        try:
            if handler is None:
                exchange.answer(Status.UNRECOGNISED_OPERATION)
            else:
                handler(self, exchange)
        except Exception as error:
            status, comment = _answer_to(error, type(request).__name__)
            if not exchange.is_answered:
                exchange.answer(status, comment, **fields_for(error))
        finally:
            if getattr(request, "received", None) is not None:
                request.received.close()
        if handler is store.store and exchange.status is not None:
            self.counts.store(exchange.device.ae_title, exchange.status, time.monotonic() - begun)

    def _ended(self, association: PeerAssociation | StorageAssociation) -> None:
        device, address = association.admitted.device, association.admitted.address
        self.places.leave(address, device)
        self._open.discard(association)
        detail: dict[str, Any] = {"counts": dict(association.counts)}
        if association.studies:
            detail["studies"] = list(association.studies)
        if association.is_aborted:
            detail["aborted"] = True
        self.log.note(
            Entry(
                "serve",
                Actor(f"ae:{device.ae_title}", device.institution_code, address),
                "failure" if association.is_aborted else "success",
                detail,
            )
        )


def _sender(association: StorageAssociation) -> Sender:
    admitted = association.admitted
    return Sender(admitted.device.ae_title, admitted.device.institution_code, admitted.address)


def _answer_to(error: Exception, what: str) -> tuple[Status, str]:
    status, comment = status_for(error)
    if status in (Status.PROCESSING_FAILURE, Status.OUT_OF_RESOURCES):
        # Without the message: it may quote what was sent.
        frames = "".join(traceback.format_tb(error.__traceback__)[-3:])
        log.error("%s failed: %s\n%s", what, type(error).__name__, frames)
    return status, comment


def build_node(settings: Settings, database: Database, objects: ObjectStore) -> Node:
    """The node of these settings; nothing is opened before `start()`."""
    return Node(settings, database, objects)
