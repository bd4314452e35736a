"""One accepted association: its requests are served one after the other, and its end is noted once."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pynetdicom import AE, evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.transport import AddressInformation

from dicom_node.contexts import supported_contexts
from dicom_node.gatekeeper import Admitted
from dicom_node.messages import Messages
from dicom_node.upper_layer import IDLE_LOOK, MAXIMUM_PDU, PeerSocket, Reactor

IDLE_SECONDS = 120.0
ANSWER_SECONDS = 60.0  # for a peer to answer a sub-operation of ours
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
        self._serve = serve
        self._ended = ended
        self._news = threading.Event()
        self.dul = Reactor(self, self._news)
        self._messages = self.dimse = Messages(self, spool)
        self.acse_timeout, self.dimse_timeout, self.network_timeout = 10.0, ANSWER_SECONDS, IDLE_SECONDS

    @classmethod
    def accept(cls, ae: AE, admitted: Admitted, **how: Any) -> PeerAssociation:
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
        acceptor.supported_contexts = supported_contexts(admitted.device.may)
        association.requestor.address_info = AddressInformation.from_tuple(admitted.connection.getpeername())
        return association

    def note_study(self, study_instance_uid: str) -> None:
        if len(self.studies) < STUDIES_NOTED:
            self.studies[study_instance_uid] = None

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
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
                context_id, request = self.dimse.get_msg(block=False)
                if request is None or context_id is None:
                    break
                self._serve_request(request, context_id)
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
