"""pynetdicom's upper layer with the bounds that it lacks: lengths and deadlines; and woken, not polling.

Read on 3.0.4: it reads whatever length a PDU claims, in pieces of 4 kB, and runs two threads per
association that wake a thousand times a second.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import select
import socket
import ssl
import threading
import time
import traceback
from typing import Any

from pynetdicom import dul, transport
from pynetdicom.fsm import InvalidEventError
from pynetdicom.pdu import A_ABORT_RQ

log = logging.getLogger("reading_center.dicom")

MAXIMUM_PDU = 131_072  # as much as DCMTK ever sends; announced to peers
PDU_SECONDS = 60.0  # for one PDU to arrive whole: 128 kB over a rural line of 20 kbit/s
IDLE_LOOK = 1.0


class PeerSocket(transport.AssociationSocket):
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

    def taken_back(self) -> bytes:
        """What was given back and not read again."""
        taken, self._first = bytes(self._first), memoryview(b"")
        return taken

    def give_back(self, unread: bytes) -> None:
        self._first = memoryview(unread)

    def keep_unsent(self, most: int) -> None:
        """Let `send` wait while the kernel still has more than this to send; 0 leaves that to the kernel."""
        if (connection := self.socket) is not None:  # another thread may be closing it
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, most)

    def send(self, bytestream: bytes) -> None:
        try:
            assert self.socket is not None
            self.socket.settimeout(PDU_SECONDS)
            self.socket.sendall(bytestream)
        except (OSError, AssertionError):
            self.event_queue.put("Evt17")


class Written:
    """P-DATA-TF PDUs that are written already; `is_over` once they were sent, or never will be."""

    def __init__(self, pdus: bytes) -> None:
        self.pdus = pdus
        self.is_over = threading.Event()


class Reactor(dul.DULServiceProvider):
    """The state machine's thread: sleeps until the socket or the association has something."""

    def __init__(self, assoc: Any, news: threading.Event) -> None:
        super().__init__(assoc)
        self.daemon = True
        self._news = news
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._bell_lock = threading.Lock()
        self._is_lent = False  # the socket is, or shall be, another thread's
        self._stands_still, self._goes_on = threading.Event(), threading.Event()

    def lend(self) -> bool:
        """Stand still once everything was said and heard, so that another thread may use the socket.

        False where the association is over. `take_back` ends it.
        """
        self._stands_still.clear()
        self._goes_on.clear()
        self._is_lent = True
        self.wake()
        while not self._stands_still.wait(IDLE_LOOK):
            if not self.is_alive():
                break
        if self._kill_thread or self.state_machine.current_state != "Sta6":
            self.take_back()
            return False
        return True

    def take_back(self) -> None:
        self._is_lent = False
        self._idle_timer.restart()
        self._goes_on.set()

    def wake(self) -> None:
        with self._bell_lock:
            if self._bell >= 0:
                os.eventfd_write(self._bell, 1)

    def send_pdu(self, primitive: Any) -> None:
        super().send_pdu(primitive)
        self.wake()

    def send_written(self, pdus: bytes) -> None:
        """Send P-DATA-TF PDUs that the association's thread has written; return when the line has taken them.

        Whoever writes faster than the peer reads waits here, and the peer is heard between two pieces.
        """
        written, queued = Written(pdus), self.to_provider_queue
        queued.put(written)  # type: ignore[arg-type]
        self.wake()
        while not written.is_over.wait(IDLE_LOOK) and self.is_alive():
            pass

    def keep_unsent(self, most: int) -> None:
        """How much of it waits in the kernel at most for a slow peer; 0 leaves that to the kernel."""
        if isinstance(connection := self.socket, PeerSocket):
            connection.keep_unsent(most)

    def _send_what_is_written(self) -> None:
        """DT-1 and AR-7 of PS3.8 table 9-10, for what needs no encoding."""
        queued: Any = self.to_provider_queue
        if not queued.queue or not isinstance(queued.queue[0], Written):
            return
        written = queued.get(block=False)
        if self.state_machine.current_state in ("Sta6", "Sta8") and self.socket is not None:
            self.socket.send(written.pdus)
            self._idle_timer.restart()
        written.is_over.set()

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
            self.to_user_queue.put(None)  # nobody waits for what cannot come any more
            self._news.set()
            self._stands_still.set()
            with self._bell_lock:
                os.close(self._bell)
                self._bell = -1

    def _turn(self) -> None:
        if self.artim_timer.expired:
            self.event_queue.put("Evt18")
        try:
            self._send_what_is_written()
            if not self._process_recv_primitive() and self._is_transport_event():
                self._idle_timer.restart()
            try:
                event = self.event_queue.get(block=False)
            except queue.Empty:
                if self._is_lent:
                    self._stand_still()
                else:
                    self._sleep()
                return
            self.state_machine.do_action(event)
        except Exception as error:
            # ValueError and OSError are the peer's fault, and so is an answer of ours that comes when the
            # association has been broken off: the table has no place for it. No message: it may quote what
            # was sent.
            self.give_up(None if isinstance(error, ValueError | OSError | InvalidEventError) else error)
        self._news.set()

    def _stand_still(self) -> None:
        self._stands_still.set()
        while self._is_lent and not self._kill_thread:
            self._goes_on.wait(IDLE_LOOK)

    def give_up(self, unforeseen: Exception | None) -> None:
        """An A-ABORT past the state machine, which can no longer be trusted to send one."""
        if unforeseen is not None:
            frames = "".join(traceback.format_tb(unforeseen.__traceback__)[-2:])
            log.info("association aborted: %s\n%s", type(unforeseen).__name__, frames)
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
