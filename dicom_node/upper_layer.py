"""pynetdicom's upper layer with the bounds that it lacks: lengths, deadlines, memory; and woken, not polling.

Read on 3.0.4: it reads whatever length a PDU claims, in pieces of 4 kB, keeps whole objects in memory, and
runs two threads per association that wake a thousand times a second.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import queue
import select
import socket
import ssl
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any, BinaryIO

from pynetdicom import dimse, dul, transport
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import C_CANCEL, C_STORE
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.pdu_primitives import P_DATA

log = logging.getLogger("reading_center.dicom")

MAXIMUM_PDU = 131_072  # as much as DCMTK ever sends; announced to peers
PDU_SECONDS = 60.0  # for one PDU to arrive whole: 128 kB over a rural line of 20 kbit/s
MAXIMUM_COMMAND = 16 << 10
MAXIMUM_OBJECT = 8 << 30
IN_MEMORY = 4 << 20
IDLE_LOOK = 1.0


class PeerSocket(transport.AssociationSocket):  # type: ignore[misc]
    """A connected socket whose first PDU was already read, with a bound on every later one."""

    def __init__(self, assoc: Any, client_socket: socket.socket, first: bytes) -> None:
        super().__init__(assoc, client_socket=client_socket)
        self._first = memoryview(first)

    @property
    def ready(self) -> bool:
        if self.socket is None or not self._is_connected:
            return False
        if self._first:
            return True
        if isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            return True
        try:
            poller = select.poll()
            poller.register(self.socket, select.POLLIN)
            return bool(poller.poll(0))
        except (OSError, ValueError):
            self.event_queue.put("Evt17")
            return False

    def recv(self, nr_bytes: int) -> bytearray:
        """Exactly `nr_bytes`, or fewer where the peer closed. Raises OSError beyond the bounds."""
        if self._first:
            taken, self._first = bytearray(self._first[:nr_bytes]), self._first[nr_bytes:]
            return taken
        if nr_bytes > MAXIMUM_PDU + 6:
            raise OSError("a PDU longer than agreed")
        assert self.socket is not None
        whole = bytearray(nr_bytes)
        view, got, end = memoryview(whole), 0, time.monotonic() + PDU_SECONDS
        while got < nr_bytes:
            left = end - time.monotonic()
            if left <= 0:
                raise OSError("a PDU took too long")
            self.socket.settimeout(left)
            arrived = self.socket.recv_into(view[got:])
            if not arrived:
                return whole[:got]
            got += arrived
            # Re-armed while a PDU is incomplete: DCMTK's senders wait for each acknowledgement.
            if isinstance(self.socket, ssl.SSLSocket):
                continue
            with contextlib.suppress(OSError):
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return whole

    def send(self, bytestream: bytes) -> None:
        try:
            assert self.socket is not None
            self.socket.settimeout(PDU_SECONDS)
            self.socket.sendall(bytestream)
        except (OSError, AssertionError):
            self.event_queue.put("Evt17")


class Reactor(dul.DULServiceProvider):  # type: ignore[misc]
    """The state machine's thread: sleeps until the socket or the association has something."""

    def __init__(self, assoc: Any, news: threading.Event) -> None:
        super().__init__(assoc)
        self.daemon = True
        self._news = news
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._bell_lock = threading.Lock()

    def wake(self) -> None:
        with self._bell_lock:
            if self._bell >= 0:
                os.eventfd_write(self._bell, 1)

    def send_pdu(self, primitive: Any) -> None:
        super().send_pdu(primitive)
        self.wake()

    def kill_dul(self) -> None:
        super().kill_dul()
        self.wake()

    def stop_dul(self) -> bool:
        if self.state_machine.current_state == "Sta1":
            self._kill_thread = True
            self.wake()
        return bool(super().stop_dul())

    def run_reactor(self) -> None:
        self._idle_timer.start()
        self.assoc._dul_ready.set()
        try:
            while not self._kill_thread:
                self._turn()
        finally:
            self._news.set()
            with self._bell_lock:
                os.close(self._bell)
                self._bell = -1

    def _turn(self) -> None:
        if self.artim_timer.expired:
            self.event_queue.put("Evt18")
        try:
            if not self._process_recv_primitive() and self._is_transport_event():
                self._idle_timer.restart()
            try:
                event = self.event_queue.get(block=False)
            except queue.Empty:
                self._sleep()
                return
            self.state_machine.do_action(event)
        except Exception as error:
            # ValueError and OSError are the peer's fault. No message: it may quote what was sent.
            if not isinstance(error, ValueError | OSError):
                frames = "".join(traceback.format_tb(error.__traceback__)[-2:])
                log.info("association aborted: %s\n%s", type(error).__name__, frames)
            self._give_up()
        self._news.set()

    def _give_up(self) -> None:
        """An A-ABORT past the state machine, which can no longer be trusted to send one."""
        abort = A_ABORT_RQ()
        abort.source, abort.reason_diagnostic = 2, 0
        if self.socket is not None and self.socket.socket is not None:
            self.socket.send(abort.encode())
            self.socket.close()
        self.assoc.is_aborted, self.assoc.is_established = True, False
        self.assoc._kill = self._kill_thread = True

    def _sleep(self) -> None:
        poller = select.poll()
        poller.register(self._bell, select.POLLIN)
        connection = self.socket.socket if self.socket is not None else None
        try:
            if connection is not None:
                poller.register(connection, select.POLLIN)
            poller.poll(IDLE_LOOK * 1000)
        except (OSError, ValueError):
            return
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._bell)


class Received(io.RawIOBase, BinaryIO):  # type: ignore[misc]
    """A dataset while and after it arrives: in memory while small, in the spool folder when large."""

    def __init__(self, spool: Path) -> None:
        self._file: Any = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY, dir=spool)  # noqa: SIM115
        self.length = 0
        self.is_lost = False  # there was no room; the rest was read and dropped

    def write(self, piece: Any) -> int:
        self.length += len(piece)
        if self.length > MAXIMUM_OBJECT:
            self.is_lost = True
        if not self.is_lost:
            try:
                self._file.write(piece)
            except OSError:
                self.is_lost = True
        return len(piece)

    def whole(self) -> bytes | BinaryIO:
        """The bytes when they are in memory, otherwise the file, at its start."""
        self._file.seek(0)
        if self.length <= IN_MEMORY:
            return bytes(self._file.read())
        stream: BinaryIO = self._file
        return stream

    def close(self) -> None:
        self._file.close()
        super().close()


class Messages(dimse.DIMSEServiceProvider):  # type: ignore[misc]
    """Puts DIMSE messages together from their fragments, within bounds."""

    def __init__(self, assoc: Any, spool: Path) -> None:
        super().__init__(assoc)
        self._spool = spool
        self._command = bytearray()
        self._arriving: DIMSEMessage | None = None
        self._received: Received | None = None

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Raises ValueError for fragments that make no message; the association is then aborted."""
        for context_id, fragment in primitive.presentation_data_value_list:
            control, piece = fragment[0], memoryview(fragment)[1:]
            if control & 1:
                self._take_command(context_id, control, bytes(piece))
            else:
                self._take_dataset(context_id, control, piece)

    def _take_command(self, context_id: int, control: int, piece: bytes) -> None:
        if self._arriving is not None:
            raise ValueError("a second command before the dataset of the first")
        self._command += piece
        if len(self._command) > MAXIMUM_COMMAND:
            raise ValueError("a command set longer than any real one")
        if not control & 2:
            return
        whole = P_DATA()
        whole.presentation_data_value_list.append([context_id, b"\x03" + bytes(self._command)])
        self._command.clear()
        message = DIMSEMessage()
        if message.decode_msg(whole, self.assoc):
            self._deliver(message, None)
        else:
            self._arriving, self._received = message, Received(self._spool)

    def _take_dataset(self, context_id: int, control: int, piece: memoryview) -> None:
        message, received = self._arriving, self._received
        if message is None or received is None or message.context_id != context_id:
            raise ValueError("a dataset without its command")
        received.write(piece)
        if control & 2:
            self._arriving = self._received = None
            self._deliver(message, received)

    def _deliver(self, message: DIMSEMessage, received: Received | None) -> None:
        request: Any = message.message_to_primitive()
        if isinstance(request, C_CANCEL):
            if len(self.cancel_req) < 10 and request.MessageIDBeingRespondedTo is not None:
                self.cancel_req[request.MessageIDBeingRespondedTo] = request
            return
        if received is not None and not isinstance(request, C_STORE):
            # Identifiers and attribute lists are small; what is not is refused by whoever reads it.
            whole = received.whole() if not received.is_lost else b""
            request._dataset = io.BytesIO(whole if isinstance(whole, bytes) else b"")
            received.close()
            received = None
        request.received = received
        self.msg_queue.put((message.context_id, request))

    def discard(self) -> None:
        """Forget what was half received when the association ended."""
        if self._received is not None:
            self._received.close()
        self._arriving = self._received = None
        while True:
            try:
                _, request = self.msg_queue.get(block=False)
            except queue.Empty:
                return
            if getattr(request, "received", None) is not None:
                request.received.close()
