"""P-DATA on an established association of either side, straight from and to the socket.

The sending counterpart of `storage_association`: no queue and no thread between whoever has something to say
and the connection. Every wait is short and looks around, so that nobody hangs on a peer that does.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable

from dicom_node.command_set import C_CANCEL_RQ, LONGEST_COMMAND, Command, read_command
from dicom_node.storage_association import (
    ESTABLISHED,
    INVALID_PARAMETER,
    RELEASED,
    UNEXPECTED_PDU,
    UNRECOGNISED_PDU,
    Action,
    abort_pdu,
)
from dicom_node.upper_layer import MAXIMUM_PDU, PDU_SECONDS

LOOK_AROUND = 0.25  # seconds that a wait lasts before it is asked whether anybody still wants it
_AT_ONCE = 65_536  # of what a peer says
_MOST_CANCELLED = 10
_MOST_UNASKED = 8  # answers of which at most one can be due

RELEASE_RQ = b"\x05\0\0\0\0\x04\0\0\0\0"

_header = struct.Struct(">BxL")
_pdv = struct.Struct(">LBB")


class PeerGone(ConnectionError):
    """The association ended, or has to."""


class PeerSilent(PeerGone):
    """The peer takes or says nothing for too long."""


class NotWanted(PeerGone):
    """Nobody waits for the outcome any more."""


class PeerBroken(PeerGone):
    """The peer does not speak the protocol; `reason` says how, in an A-ABORT (PS3.8 table 9-26)."""

    def __init__(self, reason: int = INVALID_PARAMETER) -> None:
        super().__init__("the peer does not speak the protocol")
        self.reason = reason


class Line:
    """Runs in one thread. `is_wanted` is asked during every wait; `stray` takes what is no answer of ours.

    `stray(context_id, control, piece)` is given each fragment of a message that is neither a response nor a
    C-CANCEL; without it such a message breaks the association.
    """

    def __init__(
        self,
        connection: socket.socket,
        *,
        first: bytes = b"",
        is_wanted: Callable[[], bool] = lambda: True,
        stray: Callable[[int, int, bytes], None] | None = None,
    ) -> None:
        self.cancelled: set[int] = set()
        self._socket = connection
        self._is_wanted = is_wanted
        self._stray = stray
        self._is_astray = False  # the dataset of such a message is arriving
        self._held = first  # what was read and not understood yet
        self._command = b""
        self._heard: deque[tuple[int, Command]] = deque()
        self._is_plain = not isinstance(connection, ssl.SSLSocket)
        if self._is_plain:
            # The kernel's own clock: with Python's, every call would cost a poll beforehand.
            connection.settimeout(None)
            self._limit(LOOK_AROUND)
        else:
            connection.settimeout(LOOK_AROUND)

    def leave(self) -> bytes:
        """Hand the socket back: what was read of it and not understood here."""
        with contextlib.suppress(OSError):
            if self._is_plain:
                self._limit(0)
        return self._held

    def send(self, view: memoryview | bytes) -> None:
        """All of it. Raises PeerGone; then a part of it may have been sent."""
        view, left = memoryview(view), len(view)
        until, mark, looked_at = 0.0, 0, 0.0
        while left:
            try:
                sent = self._socket.send(view[-left:])
            except (BlockingIOError, TimeoutError, ssl.SSLWantWriteError):
                sent = 0
            except OSError:
                raise PeerGone("the peer has closed the connection") from None
            left -= sent
            if not left:
                return
            # A part: the peer is slow. It has its time for each PDU's worth.
            now = time.monotonic()
            if not until or mark - left >= MAXIMUM_PDU:
                until, mark = now + PDU_SECONDS, left
            if now > until:
                raise PeerSilent("the peer takes nothing")
            if now - looked_at >= LOOK_AROUND:
                self._look_around()
                looked_at = now

    def hear(self, *, patience: float) -> tuple[int, Command]:
        """The next response and its presentation context. Raises PeerGone."""
        until = time.monotonic() + patience
        while not self._heard:
            if not self._understand():
                self._receive(until)
            if time.monotonic() > until and not self._heard:
                raise PeerSilent("the peer says everything but what it is asked")
        return self._heard.popleft()

    def look(self) -> None:
        """Take what the peer has said already, such as a C-CANCEL. Raises PeerGone."""
        try:
            if self._is_plain:
                piece = self._socket.recv(_AT_ONCE, socket.MSG_DONTWAIT)
            else:
                self._socket.settimeout(0)
                try:
                    piece = self._socket.recv(_AT_ONCE)
                finally:
                    self._socket.settimeout(LOOK_AROUND)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            raise PeerGone("the connection is lost") from None
        self._take(piece)
        while self._understand():
            pass

    def release(self, *, patience: float) -> None:
        """End the association in order, if the peer lets us (PS3.8 table 9-10, Sta7)."""
        until = time.monotonic() + patience
        try:
            self.send(RELEASE_RQ)
            while self._held[:1] != RELEASED[:1] and time.monotonic() < until:
                if not self._held or not self._understand():
                    self._receive(until)
        except PeerGone:
            return

    def abort(self, reason: int = 0) -> None:
        """The last words on a connection that is closed then."""
        with contextlib.suppress(OSError):
            self._socket.settimeout(LOOK_AROUND)
            self._socket.sendall(abort_pdu(reason))

    def _receive(self, until: float) -> None:
        while True:
            try:
                piece = self._socket.recv(_AT_ONCE)
            except (BlockingIOError, TimeoutError, ssl.SSLWantReadError):
                if time.monotonic() > until:
                    raise PeerSilent("the peer did not answer") from None
                self._look_around()
                continue
            except OSError:
                raise PeerGone("the connection is lost") from None
            self._take(piece)
            return

    def _take(self, piece: bytes) -> None:
        if not piece:
            raise PeerGone("the peer has closed the connection")
        self._held = self._held + piece if self._held else piece

    def _look_around(self) -> None:
        if not self._is_wanted():
            raise NotWanted("nobody waits any more")

    def _understand(self) -> bool:
        """Whether a PDU was whole; what it said was taken in. Other PDUs than P-DATA stay and end it."""
        held = self._held
        if len(held) < 6:
            return False
        kind, length = _header.unpack_from(held)
        action = ESTABLISHED.get(kind)
        if action is None:
            raise PeerBroken(UNRECOGNISED_PDU)
        if action is Action.AA_8:
            raise PeerBroken(UNEXPECTED_PDU)
        if action is not Action.DT_2:
            raise PeerGone("the peer has released or aborted the association")
        if length > MAXIMUM_PDU:
            raise PeerBroken
        if len(held) < 6 + length:
            return False
        at, end = 6, 6 + length
        while at < end:
            if at + 6 > end:
                raise PeerBroken
            size, context_id, control = _pdv.unpack_from(held, at)
            at += 6
            if size < 2 or at + size - 2 > end:
                raise PeerBroken
            self._fragment(context_id, control, held[at : at + size - 2])
            at += size - 2
        self._held = held[end:]
        return True

    def _fragment(self, context_id: int, control: int, piece: bytes) -> None:
        if not control & 1:
            if not self._is_astray:
                raise PeerBroken
            self._hand_on(context_id, control, piece)
            self._is_astray = not control & 2
            return
        if self._is_astray or len(self._command) + len(piece) > LONGEST_COMMAND:
            raise PeerBroken
        whole = self._command + piece
        self._command = b"" if control & 2 else whole
        if not control & 2:
            return
        try:
            command = read_command(whole)
        except ValueError:
            raise PeerBroken from None
        if command.field == C_CANCEL_RQ:
            if len(self.cancelled) < _MOST_CANCELLED:
                self.cancelled.add(command.message_id)
        elif command.is_response and not command.has_dataset:
            if len(self._heard) == _MOST_UNASKED:
                raise PeerBroken
            self._heard.append((context_id, command))
        else:
            self._hand_on(context_id, control, whole)
            self._is_astray = command.has_dataset

    def _hand_on(self, context_id: int, control: int, piece: bytes) -> None:
        try:
            if self._stray is None:
                raise PeerBroken
            self._stray(context_id, control, piece)
        except ValueError:
            raise PeerBroken from None

    def _limit(self, seconds: float) -> None:
        limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
