"""DIMSE messages put together from their fragments (PS3.7 6.3.1, PS3.8 E), within bounds.

pynetdicom 3.0.4 has none: a command set without end, or an object larger than memory, is its own end.
"""

from __future__ import annotations

import io
import queue
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from pynetdicom import dimse
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import C_CANCEL, C_STORE
from pynetdicom.pdu_primitives import P_DATA

from dicom_node.pace import Pace

MAXIMUM_COMMAND = 16 << 10
MAXIMUM_OBJECT = 8 << 30
IN_MEMORY = 4 << 20


class Received(io.RawIOBase, BinaryIO):
    """A dataset while and after it arrives: in memory while small, in the spool folder when large."""

    def __init__(self, spool: Path) -> None:
        self._file: Any = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY, dir=str(spool))  # noqa: SIM115
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


class Messages(dimse.DIMSEServiceProvider):
    """Puts DIMSE messages together from their fragments, within bounds."""

    def __init__(self, assoc: Any, spool: Path) -> None:
        super().__init__(assoc)
        self._spool = spool
        self._command = bytearray()
        self._arriving: DIMSEMessage | None = None
        self._received: Received | None = None
        self._pace = Pace()

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Raises ValueError for fragments that make no message; the association is then aborted."""
        for context_id, fragment in primitive.presentation_data_value_list:
            self.take(context_id, fragment[0], memoryview(fragment)[1:])

    def take(self, context_id: int, control: int, piece: memoryview | bytes) -> None:
        """One fragment. Raises ValueError."""
        self._pace.arrived(len(piece))
        if control & 1:
            self._take_command(context_id, control, bytes(piece))
        else:
            self._take_dataset(context_id, control, piece)

    def _take_command(self, context_id: int, control: int, piece: bytes) -> None:
        if context_id not in self.assoc._accepted_cx:
            raise ValueError("a presentation context that was not agreed")
        if self._arriving is not None:
            raise ValueError("a second command before the dataset of the first")
        self._command += piece
        if len(self._command) > MAXIMUM_COMMAND:
            raise ValueError("a command set longer than any real one")
        if not control & 2:
            return
        whole = P_DATA()
        whole.presentation_data_value_list.append((context_id, b"\x03" + bytes(self._command)))
        self._command.clear()
        message = DIMSEMessage()
        try:
            is_complete = message.decode_msg(whole, self.assoc)
        except Exception as error:
            # pydicom and pynetdicom raise whatever the bytes lead them to.
            raise ValueError(f"the command set cannot be read: {type(error).__name__}") from None
        if is_complete:
            self._deliver(message, None)
        else:
            self._arriving, self._received = message, Received(self._spool)

    def _take_dataset(self, context_id: int, control: int, piece: memoryview | bytes) -> None:
        message, received = self._arriving, self._received
        if message is None or received is None or message.context_id != context_id:
            raise ValueError("a dataset without its command")
        received.write(piece)
        if control & 2:
            self._arriving = self._received = None
            self._deliver(message, received)

    def _deliver(self, message: DIMSEMessage, received: Received | None) -> None:
        self._pace.is_whole()
        try:
            request: Any = message.message_to_primitive()
        except Exception as error:
            # Values are read only here, and by whatever code the bytes lead to.
            raise ValueError(f"the command set cannot be read: {type(error).__name__}") from None
        if isinstance(request, C_CANCEL):
            if len(self.cancel_req) < 10 and request.MessageIDBeingRespondedTo is not None:
                self.cancel_req[request.MessageIDBeingRespondedTo] = request
            return
        if received is not None and not isinstance(request, C_STORE):
            # Identifiers and attribute lists are small; what is not is refused by whoever reads it.
            whole = received.whole() if not received.is_lost else b""
            request.is_cut = not isinstance(whole, bytes) or received.is_lost
            request._dataset = io.BytesIO(whole if isinstance(whole, bytes) else b"")
            received.close()
            received = None
        request.received = received
        self.msg_queue.put((message.context_id or 0, request))

    def discard(self) -> None:
        """Forget what was half received when the association ended."""
        if self._received is not None:
            self._received.close()
        self._arriving = self._received = None
        while True:
            try:
                received = getattr(self.msg_queue.get(block=False)[1], "received", None)
            except queue.Empty:
                return
            if received is not None:
                received.close()
