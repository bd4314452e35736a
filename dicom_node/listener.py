"""The socket: one thread takes connections, shakes hands and reads the first PDU of all of them at once.

A connection costs a thread only after it has sent a whole A-ASSOCIATE-RQ. Whoever says nothing, drips, or
speaks another protocol is dropped here, and nobody waits for him.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import selectors
import socket
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Container
from dataclasses import dataclass, field

from dicom_node.crew import Crew

log = logging.getLogger("reading_center.dicom")

BACKLOG = 1024
FIRST_PDU_SECONDS = 8.0  # ARTIM (PS3.8 9.1.5): from the connection to the whole A-ASSOCIATE-RQ
FIRST_PDU_BYTES = 64 << 10
MOST_WAITING = 2000
RESERVED_FOR_KNOWN = 500  # of these, for addresses that a device is declared at
MOST_WAITING_PER_ADDRESS = 1000
A_ASSOCIATE_RQ = 1
DEAD_LINE_SECONDS = 120


@dataclass
class Arrival:
    """A connection that has not said yet who it is; `first` becomes its A-ASSOCIATE-RQ."""

    connection: socket.socket
    address: str
    until: float
    is_shaking_hands: bool
    is_known: bool = False  # a device is declared at this address
    is_watched: bool = False  # by the selector, for what was not there at once
    received: bytearray = field(default_factory=bytearray)

    @property
    def first(self) -> bytes:
        return bytes(self.received)


class Listener:
    """Accepts on one port; `welcome(arrival)` runs in a thread of its own once the first PDU is whole."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        welcome: Callable[[Arrival], None],
        tls: ssl.SSLContext | None = None,
        known: Container[str] = (),
    ) -> None:
        self._welcome = welcome
        self._tls = tls
        self._known = known
        # By descriptor, in the order in which they came: all, those that nobody knows, those of an address.
        self._waiting: dict[int, Arrival] = {}
        self._strangers: dict[int, Arrival] = {}
        self._per_address: defaultdict[str, dict[int, Arrival]] = defaultdict(dict)
        self._selector = selectors.DefaultSelector()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        self._socket.listen(BACKLOG)
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_stopping = False
        self._crew = Crew(f"association-{self.port}", self._hand_over)
        self._thread = threading.Thread(target=self._run, name=f"listener-{self.port}", daemon=True)

    @property
    def waiting(self) -> int:
        """Connections that have not said yet who they are."""
        return len(self._waiting)

    def start(self) -> None:
        _allow_many_files()
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections; those that were admitted go on."""
        if self._is_stopping:
            return
        self._is_stopping = True
        os.eventfd_write(self._bell, 1)
        if self._thread.is_alive():
            self._thread.join(5)
        self._socket.close()
        self._selector.close()
        os.close(self._bell)

    def _run(self) -> None:
        self._selector.register(self._socket, selectors.EVENT_READ)
        self._selector.register(self._bell, selectors.EVENT_READ)
        while not self._is_stopping:
            for key, _ in self._selector.select(0.5):
                if key.fileobj is self._socket:
                    self._accept()
                elif key.data is not None:
                    self._hear(key.data)
            self._drop_the_late()
        for arrival in list(self._waiting.values()):
            self._drop(arrival)

    def _accept(self) -> None:
        for _ in range(64):
            try:
                connection, peer = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                # Out of descriptors: the connection stays in the backlog until some are free.
                log.warning("no connection can be accepted: %s", error.strerror)
                time.sleep(0.05)
                return
            self._greet(connection, str(peer[0]))

    def _greet(self, connection: socket.socket, address: str) -> None:
        is_known = address in self._known
        self._make_room(address, is_known=is_known)
        try:
            connection.setblocking(False)
            tune(connection)
            if self._tls is not None:
                connection = self._tls.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
        except OSError:
            connection.close()
            return
        until = time.monotonic() + FIRST_PDU_SECONDS
        arrival = Arrival(connection, address, until, self._tls is not None, is_known)
        number = connection.fileno()
        self._waiting[number] = self._per_address[address][number] = arrival
        if not is_known:
            self._strangers[number] = arrival
        # A device speaks at once; a handshake takes several turns.
        if arrival.is_shaking_hands or self._hear(arrival):
            arrival.is_watched = True
            self._selector.register(connection, selectors.EVENT_READ, arrival)

    def _make_room(self, address: str, *, is_known: bool) -> None:
        """Whoever has been silent longest goes, from where it is full: a device speaks at once.

        A refusal of the newcomer instead would let those who say nothing shut the door on those who do.
        """
        here = self._per_address.get(address, {})
        if len(here) >= MOST_WAITING_PER_ADDRESS:
            self._drop(next(iter(here.values())))
        if not is_known and len(self._strangers) >= MOST_WAITING - RESERVED_FOR_KNOWN:
            self._drop(next(iter(self._strangers.values())))
        if len(self._waiting) >= MOST_WAITING:
            self._drop(next(iter((self._strangers or self._waiting).values())))

    def _hear(self, arrival: Arrival) -> bool:
        """Whether there is more to come before anybody can be welcomed."""
        try:
            if arrival.is_shaking_hands:
                assert isinstance(arrival.connection, ssl.SSLSocket)
                arrival.connection.do_handshake()
                arrival.is_shaking_hands = False
                self._selector.modify(arrival.connection, selectors.EVENT_READ, arrival)
            is_whole = self._read(arrival)
        except ssl.SSLWantReadError:
            self._selector.modify(arrival.connection, selectors.EVENT_READ, arrival)
            return True
        except ssl.SSLWantWriteError:
            self._selector.modify(arrival.connection, selectors.EVENT_WRITE, arrival)
            return True
        except BlockingIOError:
            return True
        except (OSError, ValueError):
            self._drop(arrival)
            return False
        if is_whole:
            self._forget(arrival)
            arrival.connection.setblocking(True)
            self._crew.take(arrival)
            return False
        return True

    def _read(self, arrival: Arrival) -> bool:
        """Whether the first PDU is whole; never reads beyond it. Raises ValueError for what is none."""
        received = arrival.received
        while True:
            wanted = 6 if len(received) < 6 else 6 + int.from_bytes(received[2:6], "big")
            if received and received[0] != A_ASSOCIATE_RQ:
                raise ValueError("the first PDU is no A-ASSOCIATE-RQ")
            if wanted > FIRST_PDU_BYTES:
                raise ValueError("the A-ASSOCIATE-RQ is longer than any real one")
            if len(received) == wanted and wanted > 6:
                return True
            if wanted == 6 and len(received) == 6:
                raise ValueError("the A-ASSOCIATE-RQ is empty")
            piece = arrival.connection.recv(wanted - len(received))
            if not piece:
                raise ValueError("the peer went away")
            received += piece

    def _hand_over(self, arrival: Arrival) -> None:
        try:
            self._welcome(arrival)
        except Exception as error:
            log.error("an association could not be begun: %s", type(error).__name__)
            with contextlib.suppress(OSError):
                arrival.connection.close()

    def _drop_the_late(self) -> None:
        now = time.monotonic()
        while self._waiting:
            oldest = next(iter(self._waiting.values()))
            if oldest.until > now:
                return
            self._drop(oldest)

    def _drop(self, arrival: Arrival) -> None:
        self._forget(arrival)
        with contextlib.suppress(OSError):
            arrival.connection.close()

    def _forget(self, arrival: Arrival) -> None:
        if arrival.is_watched:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(arrival.connection)
        number = arrival.connection.fileno()
        here = self._per_address[arrival.address]
        for waiting in (self._waiting, self._strangers, here):
            waiting.pop(number, None)
        if not here:
            del self._per_address[arrival.address]


def tune(connection: socket.socket) -> None:
    """For a connection of either direction: no delay, and an end to dead lines."""
    # Without NODELAY every answer waits 40 ms for the peer's delayed acknowledgement.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_LINE_SECONDS * 1000)


def _allow_many_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16_384 if hard == resource.RLIM_INFINITY else min(hard, 16_384)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
