"""An association that only stores: our own upper layer, one thread, one socket, no needless copies.

pynetdicom serves every service; where images come in, its general state machine costs more than all the
rest. This is the acceptor's side of PS3.8 9.2 for an association that is established, and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto

from dicom_node.command_set import (
    C_CANCEL_RQ,
    C_ECHO_RQ,
    C_STORE_RQ,
    LONGEST_COMMAND,
    Command,
    read_command,
    response,
)
from dicom_node.gatekeeper import Admitted
from dicom_node.incoming import Incoming
from dicom_node.pace import Pace, TooSlow
from dicom_node.proposal import ACCEPTED, Agreed, Proposal, acceptance, agree
from dicom_node.upper_layer import MAXIMUM_PDU, PDU_SECONDS

log = logging.getLogger("reading_center.dicom")

IDLE_SECONDS = 120.0
STUDIES_NOTED = 50
READ_AHEAD = 4096  # at least a command and the headers after it, in one call
MOST_UNHEARD = 2 * MAXIMUM_PDU  # of what a peer still says after it was told that we end

_header = struct.Struct(">BxL")
_pdv = struct.Struct(">LBB")


class Action(Enum):
    """What PS3.8 table 9-10 asks for in state Sta6, association established."""

    DT_2 = auto()  # take the data
    AR_2_AR_4 = auto()  # the peer releases: confirm, then await its closing
    AA_3 = auto()  # the peer aborts: close
    AA_4 = auto()  # the peer has closed
    AA_8 = auto()  # anything else: abort, then await its closing


ESTABLISHED = {
    0x01: Action.AA_8,  # A-ASSOCIATE-RQ
    0x02: Action.AA_8,  # A-ASSOCIATE-AC
    0x03: Action.AA_8,  # A-ASSOCIATE-RJ
    0x04: Action.DT_2,  # P-DATA-TF
    0x05: Action.AR_2_AR_4,  # A-RELEASE-RQ
    0x06: Action.AA_8,  # A-RELEASE-RP
    0x07: Action.AA_3,  # A-ABORT
}
_LENGTHS = {0x05: 4, 0x07: 4}

RELEASED = b"\x06\0\0\0\0\x04\0\0\0\0"
# Source 2 is the service provider; reasons of PS3.8 table 9-26.
NO_REASON, UNRECOGNISED_PDU, UNEXPECTED_PDU, INVALID_PARAMETER = 0, 1, 2, 6


class Broken(Exception):
    """The peer does not speak the protocol; `reason` says how, in an A-ABORT."""

    def __init__(self, reason: int = INVALID_PARAMETER) -> None:
        super().__init__()
        self.reason = reason


class Gone(Exception):
    """The peer has closed, or said nothing for too long."""


_harmless = contextlib.suppress(OSError)  # made once: it stands before every fragment

Serve = Callable[["StorageAssociation", Command, Agreed, Incoming | None], tuple[int, str]]


class StorageAssociation:
    """Runs in the thread that calls `run`. `serve` answers one request with a status and a comment."""

    def __init__(
        self,
        admitted: Admitted,
        proposal: Proposal,
        *,
        serve: Serve,
        begin: Callable[[StorageAssociation, Command, Agreed], Incoming],
        is_repeating: bool = True,
    ) -> None:
        self.admitted = admitted
        self.counts: Counter[str] = Counter()
        self.studies: dict[str, None] = {}
        self.is_aborted = False
        # What was kept already is sent again, as far as the last image tells.
        self.is_repeating = is_repeating
        self._proposal = proposal
        self._serve, self._begin = serve, begin
        self._socket = admitted.connection
        self._is_plain = not isinstance(self._socket, ssl.SSLSocket)
        self._contexts: dict[int, Agreed] = {}
        self._command = bytearray()
        self._request: tuple[Command, int] | None = None  # whose dataset is arriving
        self._incoming: Incoming | None = None
        self._pace = Pace()
        self._held = memoryview(bytearray(READ_AHEAD))
        self._at = self._end = 0  # what was read and not taken stands in `_held` between them
        self._sending = threading.Lock()
        self._is_over = threading.Event()

    def note_study(self, study_instance_uid: str) -> None:
        if len(self.studies) < STUDIES_NOTED:
            self.studies[study_instance_uid] = None

    def run(self) -> None:
        """Accept, serve until the peer releases or fails, and close."""
        try:
            self._prepare()
            agreed = agree(self._proposal, self.admitted.device.may)
            self._contexts = {one.context_id: one for one in agreed if one.result == ACCEPTED}
            self._send(acceptance(self._proposal, agreed, maximum_length=MAXIMUM_PDU))
            self._listen()
        except Broken as broken:
            self._abort(broken.reason)
        except TooSlow:
            self._abort(NO_REASON)
        except (Gone, OSError):
            self.is_aborted = True
        finally:
            if self._incoming is not None:
                self._incoming.close()
            with contextlib.suppress(OSError):
                self._socket.close()
            self._is_over.set()

    def abort(self, *, block: bool = False) -> None:
        """Tell the peer that we stop; from any thread."""
        self.is_aborted = True
        if self._sending.acquire(timeout=0.1):
            try:
                self._socket.sendall(abort_pdu(0))
            finally:
                self._sending.release()

    def join(self, timeout: float) -> None:
        self._is_over.wait(timeout)

    def _prepare(self) -> None:
        if self._is_plain:
            # Blocking, with the kernel's own clock: every wait of Python's would cost a poll beforehand.
            self._socket.settimeout(None)
            limit = struct.pack("ll", int(PDU_SECONDS), 0)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        else:
            self._socket.settimeout(PDU_SECONDS)

    def _listen(self) -> None:
        while True:
            if self._end - self._at < 6:
                self._await_header()
            kind, length = _header.unpack_from(self._held, self._at)
            self._at += 6
            action = ESTABLISHED.get(kind)
            if action is None:
                raise Broken(UNRECOGNISED_PDU)
            if action is Action.AA_8:
                raise Broken(UNEXPECTED_PDU)
            if length > MAXIMUM_PDU or length != _LENGTHS.get(kind, length):
                raise Broken
            if action is Action.DT_2:
                self._take_data(length)
                continue
            self._take_into(memoryview(bytearray(length)))
            if action is Action.AR_2_AR_4:
                if self._request is not None:
                    raise Broken(UNEXPECTED_PDU)
                self._send(RELEASED)
                self._await_closing()
            else:
                self.is_aborted = True
            return

    def _take_data(self, left: int) -> None:
        """The presentation data values of one P-DATA-TF (PS3.8 9.3.5, annex E.2)."""
        while left:
            if left < 6:
                raise Broken
            self._hold(6)
            length, context_id, control = _pdv.unpack_from(self._held, self._at)
            self._at += 6
            size = length - 2
            left -= length + 4
            if size < 0 or left < 0 or context_id not in self._contexts:
                raise Broken
            self._pace.arrived(size)
            if control & 1:
                self._take_command(context_id, size, is_last=bool(control & 2))
            else:
                self._take_dataset(context_id, size, is_last=bool(control & 2), is_alone=not left)

    def _take_command(self, context_id: int, size: int, *, is_last: bool) -> None:
        if self._request is not None or len(self._command) + size > LONGEST_COMMAND:
            raise Broken
        piece = bytearray(size)
        self._take_into(memoryview(piece))
        self._command += piece
        if not is_last:
            return
        whole = bytes(self._command)
        self._command.clear()
        try:
            command = read_command(whole)
        except ValueError:
            raise Broken from None
        if command.has_dataset:
            self._request = (command, context_id)
            self._incoming = self._begin(self, command, self._contexts[context_id])
        else:
            self._answer(command, context_id, None)

    def _take_dataset(self, context_id: int, size: int, *, is_last: bool, is_alone: bool) -> None:
        if self._request is None or self._incoming is None or self._request[1] != context_id:
            raise Broken
        incoming = self._incoming
        while size:
            room = incoming.room(size)
            rest = self._take_held(room)
            if rest and is_alone and not is_last and len(room) == size and self._is_plain:
                self._receive_and_look_ahead(rest)
            elif rest:
                self._receive(rest)
            incoming.filled(len(room))
            size -= len(room)
        if not is_last:
            return
        command, _ = self._request
        self._request = self._incoming = None
        self._answer(command, context_id, incoming)

    def _answer(self, command: Command, context_id: int, incoming: Incoming | None) -> None:
        self._pace.is_whole()
        if command.is_response or command.field == C_CANCEL_RQ:
            if incoming is not None:
                incoming.close()
            return
        try:
            status, comment = self._serve(self, command, self._contexts[context_id], incoming)
        finally:
            if incoming is not None:
                incoming.close()
        name = {C_STORE_RQ: "C-STORE", C_ECHO_RQ: "C-ECHO"}.get(command.field, f"{command.field:04X}")
        self.counts[f"{name} {status:04X}"] += 1
        self._send(response(command, context_id, status, comment))

    def _await_header(self) -> None:
        """The next PDU's header, for which a quiet peer has longer than for the rest of it."""
        # Re-armed each time: DCMTK's senders wait for the acknowledgement of what they have sent.
        self._acknowledge_at_once()
        until = time.monotonic() + IDLE_SECONDS
        while True:
            try:
                self._hold(6)
                return
            except Gone as gone:
                if gone.args != ("quiet",) or time.monotonic() >= until:
                    raise

    def _hold(self, size: int) -> None:
        """Read on until `size` bytes are held, and whatever has come with them."""
        held = self._end - self._at
        if held >= size:
            return
        self._held[:held] = self._held[self._at : self._end]
        self._at, self._end = 0, held
        until = 0.0
        while self._end < size:
            try:
                arrived = self._socket.recv_into(self._held[self._end :])
            except (BlockingIOError, TimeoutError):
                raise Gone("late" if self._end else "quiet") from None
            if not arrived:
                raise Gone("closed")
            self._end += arrived
            if self._end < size:
                now = time.monotonic()
                until = until or now + PDU_SECONDS
                if now > until:
                    raise Gone("late")

    def _take_into(self, view: memoryview) -> None:
        if rest := self._take_held(view):
            self._receive(rest)

    def _take_held(self, view: memoryview) -> memoryview:
        """Fill the view with what is held; what of it is still empty then."""
        count = min(len(view), self._end - self._at)
        if not count:
            return view
        view[:count] = self._held[self._at : self._at + count]
        self._at += count
        return view[count:]

    def _receive(self, view: memoryview) -> None:
        """Fill the view. Raises Gone("quiet") where not a byte came, Gone where it broke off."""
        got, size = 0, len(view)
        flags = socket.MSG_WAITALL if self._is_plain else 0
        end = time.monotonic() + PDU_SECONDS if not self._is_plain else 0.0
        while got < size:
            try:
                arrived = self._socket.recv_into(view[got:], 0, flags)
            except (BlockingIOError, TimeoutError):
                raise Gone("quiet" if not got else "late") from None
            if not arrived:
                raise Gone("closed")
            got += arrived
            if got == size:
                return
            if self._is_plain:
                # The kernel's clock has run out, or a signal came: what is late by a whole minute is lost.
                flags = socket.MSG_WAITALL
                if end and time.monotonic() > end:
                    raise Gone("late")
                end = end or time.monotonic() + PDU_SECONDS
            elif time.monotonic() > end:
                raise Gone("late")

    def _receive_and_look_ahead(self, room: memoryview) -> None:
        """A fragment and the headers of the one that must follow, in one call: most of a dataset is this."""
        self._acknowledge_at_once()
        try:
            got = self._socket.recvmsg_into([room, self._held[:12]], 0, socket.MSG_WAITALL)[0]
        except (BlockingIOError, TimeoutError):
            raise Gone("late") from None
        if not got:
            raise Gone("closed")
        if got < len(room):
            self._receive(room[got:])
            got = len(room)
        self._at, self._end = 0, got - len(room)
        self._hold(12)

    def _acknowledge_at_once(self) -> None:
        if self._is_plain:
            # One that was closed meanwhile says so at the next read.
            with _harmless:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _send(self, pdu: bytes) -> None:
        with self._sending:
            self._socket.sendall(pdu)

    def _abort(self, reason: int) -> None:
        self.is_aborted = True
        with contextlib.suppress(OSError):
            self._send(abort_pdu(reason))
            self._await_closing()

    def _await_closing(self) -> None:
        """Sta13: the peer closes first, or our reset would take the last words along."""
        with contextlib.suppress(OSError, Gone):
            if self._is_plain:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 2, 0))
            else:
                self._socket.settimeout(2)
            until, left = time.monotonic() + 2, MOST_UNHEARD
            while left > 0 and time.monotonic() < until and (said := self._socket.recv(65536)):
                left -= len(said)


def abort_pdu(reason: int) -> bytes:
    return b"\x07\0\0\0\0\x04\0\0\x02" + bytes([reason])
