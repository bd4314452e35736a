"""One accepted association: its requests are served one after the other, and its end is noted once."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pynetdicom import AE, evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.transport import AddressInformation

from dicom_node.contexts import Offer, supported_contexts
from dicom_node.gatekeeper import Admitted
from dicom_node.line import Line, PeerGone
from dicom_node.messages import Messages
from dicom_node.negotiation import grant
from dicom_node.proposal import Agreed, abstract_syntaxes
from dicom_node.upper_layer import IDLE_LOOK, MAXIMUM_PDU, PeerSocket, Reactor

IDLE_SECONDS = 120.0
ANSWER_SECONDS = 60.0  # for a peer to answer a request of ours
STUDIES_NOTED = 50


class PeerAssociation(Association):
    """pynetdicom's association on our upper layer; `serve(association, request, context)` does the work."""

    def __init__(
        self,
        ae: AE,
        admitted: Admitted,
        *,
        serve: Callable[[PeerAssociation, Any, Any], None],
        ended: Callable[[PeerAssociation], None],
        spool: Path,
    ) -> None:
        super().__init__(ae, MODE_ACCEPTOR)
        self.admitted = admitted
        self.counts: Counter[str] = Counter()
        self.studies: dict[str, None] = {}
        self.granted: dict[str, bytes] = {}  # extended negotiation, by SOP class
        self._serve = serve
        self._ended = ended
        self._news = threading.Event()
        self._errands: deque[Callable[[], None]] = deque()
        self._early: deque[tuple[int, Any]] = deque()  # requests that came while we awaited an answer
        self._reactor = self.dul = Reactor(self, self._news)
        self._messages = self.dimse = Messages(self, spool)
        self.acse_timeout, self.dimse_timeout, self.network_timeout = 10.0, ANSWER_SECONDS, IDLE_SECONDS

    @classmethod
    def accept(cls, ae: AE, admitted: Admitted, *, offer: Offer, **how: Any) -> PeerAssociation:
        """Take over the connection of an admitted device, whose A-ASSOCIATE-RQ was read already."""
        association = cls(ae, admitted, **how)
        association.set_socket(PeerSocket(association, admitted.connection, admitted.first))
        association.name = f"association-{admitted.device.ae_title}"
        acceptor = association.acceptor
        acceptor.maximum_length = MAXIMUM_PDU
        acceptor.ae_title = ae.ae_title
        acceptor.address_info = AddressInformation.from_tuple(admitted.connection.getsockname())
        acceptor.implementation_class_uid = ae.implementation_class_uid
        acceptor.implementation_version_name = ae.implementation_version_name
        proposed = abstract_syntaxes(admitted.first) if offer.takes_unknown else ()
        acceptor.supported_contexts = supported_contexts(admitted.device.may, offer, proposed=proposed)
        association.requestor.address_info = AddressInformation.from_tuple(admitted.connection.getpeername())
        association.bind(evt.EVT_SOP_EXTENDED, association._grant)
        return association

    def _grant(self, event: Any) -> dict[str, bytes]:
        self.granted = grant(
            {str(uid): bytes(asked) for uid, asked in event.app_info.items()}, self.admitted.device.may
        )
        return self.granted

    def note_study(self, study_instance_uid: str) -> None:
        if len(self.studies) < STUDIES_NOTED:
            self.studies[study_instance_uid] = None

    def later(self, errand: Callable[[], None]) -> None:
        """Do this between two requests, in the association's own thread; from any thread. An errand that
        the association does not live to see is never begun."""
        self._errands.append(errand)
        self._news.set()

    def send_written(self, pdus: bytes) -> None:
        """Send P-DATA-TF PDUs of ours as they are; may wait for the peer to read."""
        self._reactor.send_written(pdus)

    def keep_unsent(self, most: int) -> None:
        """How much of what is sent waits at most for a slow peer; 0 leaves that to the kernel."""
        self._reactor.keep_unsent(most)

    def ask(self, request: Any, context_id: int, *, patience: float) -> Any:
        """Send a request of ours and return its answer, in the association's own thread.

        None where the peer says nothing for `patience` seconds, or goes. Its own requests wait meanwhile.
        """
        self.dimse.send_msg(request, context_id)
        until = time.monotonic() + patience
        while self.is_established and self.dul.is_alive() and (left := until - time.monotonic()) > 0:
            came_on, message = self.dimse.get_msg(block=False)
            if message is None or came_on is None:
                if self.dul.peek_next_pdu() is not None:  # the peer releases or aborts
                    return None
                self._news.wait(min(left, IDLE_LOOK))
                self._news.clear()
            elif message.MessageIDBeingRespondedTo == request.MessageID:
                return message
            elif message.MessageIDBeingRespondedTo is None:
                self._early.append((came_on, message))
        return None

    @contextlib.contextmanager
    def line(self) -> Iterator[Line]:
        """The socket itself while a request is served, in the association's own thread. Raises PeerGone.

        Whatever the peer says meanwhile that is no answer to us is served afterwards.
        """
        if not self._reactor.lend():
            raise PeerGone("the association has ended")
        connection = self.dul.socket
        assert isinstance(connection, PeerSocket)
        try:
            if connection.socket is None or self.dul.peek_next_pdu() is not None:
                raise PeerGone("the association has ended")
            line = Line(
                connection.socket,
                first=connection.taken_back(),
                is_wanted=lambda: not (self._sent_abort or self._kill),
                stray=self._messages.take,
            )
            try:
                yield line
            finally:
                connection.give_back(line.leave())
        finally:
            self._reactor.take_back()

    @property
    def storage_contexts(self) -> list[Agreed]:
        """In which we may send to the peer: it is the SCP of these."""
        return [
            Agreed(context.context_id or 0, str(context.abstract_syntax), str(context.transfer_syntax[0]), 0)
            for context in self.accepted_contexts
            if context.as_scu
        ]

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
        except Exception as error:
            # pynetdicom breaks on a proposal that lacks what every one has, such as an abstract syntax.
            self._reactor.give_up(error)
        finally:
            self._messages.discard()
            with contextlib.suppress(OSError):
                self.admitted.connection.close()
            self._ended(self)

    def _run_reactor(self) -> None:
        """pynetdicom's loop, woken by news instead of looking every millisecond."""
        self._is_paused = False
        while not self._kill:
            self._news.wait(IDLE_LOOK)
            self._news.clear()
            while not self._kill and self.is_established:
                context_id, request = (
                    self._early.popleft() if self._early else self.dimse.get_msg(block=False)
                )
                if request is not None and context_id is not None:
                    self._serve_request(request, context_id)
                elif self._errands and self.dul.peek_next_pdu() is None:
                    self._errands.popleft()()
                else:
                    break
            if self._kill or self._is_over():
                self.kill()
                return

    def _serve_request(self, msg: Any, context_id: int) -> None:
        context = self._accepted_cx.get(context_id)
        if context is None:
            self.abort()
            return
        self.dimse.cancel_req = {}
        self._is_paused = True
        self._serve(self, msg, context)
        self._is_paused = False
        self.dimse.cancel_req = {}
        self.dul._idle_timer.restart()

    def _is_over(self) -> bool:
        if self.is_established and self.acse.is_release_requested():
            self.acse.send_release(is_response=True)
            self.is_released, self.is_established = True, False
            evt.trigger(self, evt.EVT_RELEASED, {})
            return True
        if self.acse.is_aborted():
            self.dul.receive_pdu(wait=False)
            self.is_aborted, self.is_established = True, False
            return True
        if not self.dul.is_alive():
            self.is_established = False
            return True
        if self.dul.idle_timer_expired():
            self.abort()
            return True
        return False
