"""C-STORE as SCU over a line, whichever side opened the association: framed once, sent in one go.

A request and its dataset, or as much of it as fits a megabyte, lie in one stretch of memory as the PDUs that
they travel in: the file is read into the gaps between the headers, and the stretch is given to the socket.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from dicom_node.command_set import C_STORE_RQ, RESPONSE, StoreRequests
from dicom_node.fitting import CannotFit, Dataset, Departing, best_context, fit
from dicom_node.incoming import IN_MEMORY, Buffers
from dicom_node.line import Line, PeerBroken
from dicom_node.proposal import Agreed
from dicom_node.upper_layer import MAXIMUM_PDU

ANSWER_SECONDS = 60.0  # for a peer to answer a C-STORE
SHORTEST_PDU = 1024  # a request goes in one; no peer is known that takes less than 4096
LONGEST_PDU = IN_MEMORY // 4  # whatever the peer takes
LAST = 2  # the message control header of a dataset's last fragment (PS3.8 E.2)
_HEAD = 12  # of a P-DATA-TF with one presentation data value
_FIRST = 512  # where datasets begin in the buffer; the request ends there

_pdv = struct.Struct(">BxLLBB")


class CannotRead(OSError):
    """An object is shorter than its row says, or its store failed half way."""


@dataclass
class Parcel:
    """A request, and the beginning of its dataset, that stand in the user's buffer, ready to be sent."""

    message_id: int
    context_id: int
    dataset: Dataset
    begin: int  # of what stands in the buffer
    end: int
    left: int  # bytes of the dataset that do not


class StorageUser:
    """One at a time: `load`, `send`, and while the peer works the next `load`, then `answer`. Close it."""

    def __init__(
        self,
        line: Line,
        contexts: Sequence[Agreed],
        *,
        maximum_length: int,
        buffers: Buffers,
        originator: tuple[str, int] | None = None,
    ) -> None:
        """`maximum_length` is the longest PDU that the peer takes, 0 any. Raises PeerBroken below 1024."""
        if 0 < maximum_length < SHORTEST_PDU:
            raise PeerBroken
        self._contexts = contexts
        # By SOP class and transfer syntax.
        self._ways: dict[tuple[str, str], tuple[Agreed, StoreRequests] | None] = {}
        self._line = line
        self._originator = originator
        self._fragment = (min(maximum_length or MAXIMUM_PDU, LONGEST_PDU) - 6) & ~1
        self._buffers = buffers
        self._buffer = buffers.take()
        self._slots = [
            self._buffer[at + _HEAD : at + _HEAD + self._fragment]
            for at in range(_FIRST, IN_MEMORY - _HEAD - self._fragment, _HEAD + self._fragment)
        ]
        self._framed_for: int | None = None  # the context whose headers stand before them
        self._short_slot: int | None = None  # where the last dataset's last fragment was
        self._number = 0
        self._awaited: int | None = None

    def close(self) -> None:
        if self._buffer is not None:
            self._buffers.give_back(self._buffer)
            self._buffer = None  # type: ignore[assignment]

    def store(self, departing: Departing) -> int:
        """Send one dataset and return the status of its answer. Raises CannotFit, CannotRead, PeerGone."""
        self.send(self.load(departing))
        return self.answer()

    def load(self, departing: Departing) -> Parcel:
        """Read the beginning, re-encoded where the peer takes it only so; what was loaded before was sent.

        Raises CannotFit, CannotRead.
        """
        try:
            context, requests = self._way_of(departing)
            if departing.dataset.length <= 0:
                raise CannotRead("the object has no dataset")
            if context.transfer_syntax != departing.transfer_syntax_uid:
                departing = fit(departing, accepted=context.transfer_syntax)
            number = self._number % 65_535 + 1
            request = requests.request(number, departing.sop_instance_uid)
            begin = _FIRST - len(request)
            self._buffer[begin:_FIRST] = request
            dataset = departing.dataset
            parcel = Parcel(number, context.context_id, dataset, begin, begin, dataset.length)
            self._fill(parcel)
        except BaseException:
            departing.dataset.close()
            raise
        self._number = number
        return parcel

    def _way_of(self, departing: Departing) -> tuple[Agreed, StoreRequests]:
        kind = departing.sop_class_uid, departing.transfer_syntax_uid
        if kind not in self._ways:
            best = best_context(self._contexts, sop_class_uid=kind[0], transfer_syntax_uid=kind[1])
            requests = best and StoreRequests(best.context_id, kind[0], self._originator)
            self._ways[kind] = (best, requests) if best and requests else None
        way = self._ways[kind]
        if way is None:
            raise CannotFit("no presentation context fits")
        return way

    def send(self, parcel: Parcel) -> None:
        """All of it, a large one piece by piece. Raises PeerGone, CannotRead: the association is over."""
        self._awaited = parcel.message_id
        try:
            self._line.send(self._buffer[parcel.begin : parcel.end])
            while parcel.left:
                self._fill_again(parcel)
                self._line.send(self._buffer[_FIRST : parcel.end])
        finally:
            parcel.dataset.close()

    def answer(self) -> int:
        """The status of what was sent. Raises PeerGone."""
        _, response = self._line.hear(patience=ANSWER_SECONDS)
        is_ours = response.field == C_STORE_RQ | RESPONSE and response.message_id == self._awaited
        if not is_ours or response.status is None:
            raise PeerBroken
        return response.status

    def _fill_again(self, parcel: Parcel) -> None:
        try:
            self._fill(parcel)
        except Exception as error:
            # A message that was begun cannot be taken back, whatever the store says.
            raise CannotRead("the object could be read in part only") from error

    def _fill(self, parcel: Parcel) -> None:
        """Read as much of the dataset as there is room for, and write the headers that are not there yet."""
        if self._framed_for != parcel.context_id:
            for slot in range(len(self._slots)):
                self._write_header(slot, self._fragment, parcel.context_id, 0)
            self._framed_for = parcel.context_id
        elif self._short_slot is not None:
            self._write_header(self._short_slot, self._fragment, parcel.context_id, 0)
        self._short_slot = None
        full, rest = divmod(parcel.left - 1, self._fragment)
        if full < len(self._slots):
            pieces = [*self._slots[:full], self._slots[full][: rest + 1]]
            self._write_header(full, rest + 1, parcel.context_id, LAST)
            self._short_slot = full
            parcel.end = _FIRST + full * (_HEAD + self._fragment) + _HEAD + rest + 1
            wanted, parcel.left = parcel.left, 0
        else:
            pieces = self._slots
            parcel.end = _FIRST + len(pieces) * (_HEAD + self._fragment)
            wanted = len(pieces) * self._fragment
            parcel.left -= wanted
        if parcel.dataset.read_into(pieces) != wanted:
            raise CannotRead("the object is shorter than it should be")

    def _write_header(self, slot: int, size: int, context_id: int, control: int) -> None:
        at = _FIRST + slot * (_HEAD + self._fragment)
        _pdv.pack_into(self._buffer, at, 4, size + 6, size + 2, context_id, control)
