"""Where a value stands in a stored dataset: found by stepping over lengths, never by reading the values."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from storage.elements import EXPLICIT_BIG, IMPLICIT_LITTLE, LONG_LENGTH, SHORT_LENGTH
from storage.objects import ObjectStore
from storage.windows import DEFLATED, MAX_INFLATED

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
MAX_DEPTH = 32
MAX_STEPS = 1_000_000
_LONG = {vr.encode() for vr in LONG_LENGTH}
_SHORT = {vr.encode() for vr in SHORT_LENGTH}


class Unreadable(ValueError):
    """The stored dataset does not hold together; the message is one sentence without patient data."""


class Dataset(Protocol):
    """Random access to the bytes of one dataset; position 0 is its first element."""

    length: int

    def read(self, at: int, length: int) -> bytes:
        """Up to `length` bytes; fewer where the dataset ends."""


class OpenDataset(Dataset, Protocol):
    """One that somebody closes."""

    def close(self) -> None:
        """No more is read."""


@dataclass(frozen=True, slots=True)
class Place:
    """A value: where it begins, how long it is (None when it is encapsulated), and how it is written."""

    at: int
    length: int | None
    vr: str
    is_big_endian: bool


@dataclass(frozen=True, slots=True)
class Span:
    """A data element: where it begins, where its value, and where what follows it; `length` as it is said."""

    tag: int
    vr: str  # empty in implicit encodings
    begin: int
    value_at: int
    length: int
    end: int


class StoredDataset:
    """The dataset inside a Part 10 object of the store, read by ranges through one small window."""

    WINDOW = 16 << 10
    NEAR = 1 << 20

    def __init__(self, objects: ObjectStore, key: str, size: int, offset: int) -> None:
        self._objects, self._key, self._offset = objects, key, offset
        self.length = size - offset
        self._window, self._window_at = b"", 0
        self._stream: BinaryIO | None = None
        self._stream_at = 0

    def read(self, at: int, length: int) -> bytes:
        start = at - self._window_at
        if start >= 0 and start + length <= len(self._window):
            return self._window[start : start + length]
        wanted = max(0, min(max(length, self.WINDOW), self.length - at))
        data = self._take(at, wanted)
        if length <= self.WINDOW:
            self._window, self._window_at = data, at
        return data[:length]

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _take(self, at: int, length: int) -> bytes:
        # Over the network a short gap is cheaper read than asked for anew; a file just moves.
        if self._stream is not None and 0 <= at - self._stream_at <= self.NEAR:
            _read_exactly(self._stream, at - self._stream_at)
        else:
            self.close()
            self._stream = self._objects.open_range(self._key, self._offset + at)
        data = _read_exactly(self._stream, length)
        self._stream_at = at + len(data)
        return data


class BytesDataset:
    """A dataset in memory."""

    def __init__(self, data: bytes) -> None:
        self._data, self.length = data, len(data)

    def read(self, at: int, length: int) -> bytes:
        return self._data[at : at + length]

    def close(self) -> None:
        """Nothing is open."""


class InflatedDataset(BytesDataset):
    """A deflated dataset (PS3.5 A.5), unfolded once under a limit."""

    def __init__(self, raw: bytes) -> None:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            super().__init__(inflater.decompress(raw, MAX_INFLATED))
        except zlib.error:
            raise Unreadable("the deflated dataset cannot be inflated") from None
        if inflater.unconsumed_tail:
            raise Unreadable("the deflated dataset unfolds beyond every measure")


def open_dataset(
    objects: ObjectStore, key: str, *, size: int, offset: int, transfer_syntax_uid: str
) -> StoredDataset | InflatedDataset:
    """The dataset of a stored object. Close it. Raises ObjectMissing, Unreadable."""
    if transfer_syntax_uid != DEFLATED:
        return StoredDataset(objects, key, size, offset)
    with objects.open_range(key, offset) as stream:
        return InflatedDataset(_read_exactly(stream, size - offset))


def locate(dataset: Dataset, transfer_syntax_uid: str, path: tuple[int, ...]) -> Place | None:
    """The place of the value at `path`: tag, or tag, item (from 0), tag, …; None where it is absent.

    Raises Unreadable where lengths do not fit.
    """
    walk = Walk(dataset, transfer_syntax_uid)
    at, end, explicit = 0, dataset.length, walk.is_explicit
    for depth in range(0, len(path), 2):
        found = walk.find(at, end, explicit, path[depth])
        if found is None:
            return None
        vr, at, length = found
        if depth == len(path) - 1:
            return Place(at, None if length == UNDEFINED else length, vr, walk.order == ">")
        explicit = explicit and vr != "UN"
        item = walk.item(at, end if length == UNDEFINED else at + length, explicit, path[depth + 1])
        if item is None:
            return None
        at, end = item
    return None


class Walk:
    """Stepping through one dataset; counts its steps, so that a hostile one ends."""

    def __init__(self, dataset: Dataset, transfer_syntax_uid: str) -> None:
        self._dataset = dataset
        self.order = ">" if transfer_syntax_uid == EXPLICIT_BIG else "<"
        self._head = struct.Struct(self.order + "HHL").unpack
        self._short = struct.Struct(self.order + "H").unpack
        self._long = struct.Struct(self.order + "L").unpack
        self._steps = 0
        # Some senders agree on implicit and send explicit, or the reverse: the first element tells.
        first = dataset.read(0, 6)[4:6]
        said_explicit = transfer_syntax_uid != IMPLICIT_LITTLE
        self.is_explicit = first in _LONG | _SHORT or (said_explicit and first.isalpha())

    def elements(self, at: int, end: int, explicit: bool) -> Iterator[Span]:
        """The elements of one level, in the order in which they stand, up to a delimiter."""
        while at + 8 <= end:
            tag, vr, value_at, length = self._element(at, explicit)
            if tag in (ITEM_END, SEQUENCE_END):
                return
            after = self._after(value_at, length, explicit and vr != "UN", end, vr, 0)
            yield Span(tag, vr, at, value_at, length, after)
            at = after

    def items(self, span: Span, explicit: bool) -> Iterator[tuple[int, int]]:
        """Begin and end of what each item of a sequence holds; a delimiter may stand at the end."""
        at = span.value_at
        while at + 8 <= span.end:
            tag, _, value_at, length = self._element(at, explicit)
            if tag != ITEM:
                return
            at = self._after_item(value_at, length, explicit, span.end, 0)
            yield value_at, at

    def find(self, at: int, end: int, explicit: bool, wanted: int) -> tuple[str, int, int] | None:
        """VR, position and length of the value of `wanted` among the elements from `at`."""
        while at + 8 <= end:
            tag, vr, at, length = self._element(at, explicit)
            if tag == wanted:
                return vr, at, length
            if tag in (ITEM_END, SEQUENCE_END) or (tag > wanted and tag < 0xFFFE0000):
                return None
            at = self._after(at, length, explicit and vr != "UN", end, vr, 0)
        return None

    def item(self, at: int, end: int, explicit: bool, index: int) -> tuple[int, int] | None:
        """Begin and end of the dataset of item `index` of the sequence whose items begin at `at`."""
        number = 0
        while at + 8 <= end:
            tag, _, value_at, length = self._element(at, explicit)
            if tag != ITEM:
                return None
            if number == index:
                return value_at, (end if length == UNDEFINED else value_at + length)
            at = self._after_item(value_at, length, explicit, end, 0)
            number += 1
        return None

    def _element(self, at: int, explicit: bool) -> tuple[int, str, int, int]:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise Unreadable("the dataset has more elements than any real one")
        head = self._dataset.read(at, 8)
        if len(head) < 8:
            raise Unreadable("the dataset ends inside a data element")
        group, number, length = self._head(head)
        tag = group << 16 | number
        if group == 0xFFFE or not explicit:
            return tag, "", at + 8, length
        raw = head[4:6]
        if raw in _SHORT:
            return tag, raw.decode(), at + 8, self._short(head[6:8])[0]
        if raw in _LONG or raw.isalpha():
            long = self._dataset.read(at + 8, 4)
            if len(long) < 4:
                raise Unreadable("the dataset ends inside a data element")
            return tag, raw.decode(), at + 12, self._long(long)[0]
        if raw == b"  ":
            # GE's screen saves write a VR of two spaces before a length of two bytes.
            return tag, "", at + 8, self._short(head[6:8])[0]
        return tag, "", at + 8, length

    def _after(self, at: int, length: int, explicit: bool, end: int, vr: str, depth: int) -> int:
        if length != UNDEFINED:
            return at + length
        if depth > MAX_DEPTH:
            raise Unreadable(f"sequences are nested more than {MAX_DEPTH} deep")
        while at + 8 <= end:
            tag, _, at, length = self._element(at, explicit)
            if tag == SEQUENCE_END:
                return at
            if tag != ITEM:
                raise Unreadable("a sequence holds something that is not an item")
            # The icon of a compressed image is compressed too: its items are fragments, not datasets.
            at = at + length if vr in ("OB", "OW") else self._after_item(at, length, explicit, end, depth)
        return end

    def _after_item(self, at: int, length: int, explicit: bool, end: int, depth: int) -> int:
        if length != UNDEFINED:
            return at + length
        while at + 8 <= end:
            tag, vr, at, length = self._element(at, explicit)
            if tag == ITEM_END:
                return at
            if tag == SEQUENCE_END:
                # Some writers leave the item delimiter out before the end of the sequence.
                return at - 8
            at = self._after(at, length, explicit and vr != "UN", end, vr, depth + 1)
        return end


def _read_exactly(stream: BinaryIO, length: int) -> bytes:
    """`length` bytes, or all that are left: a network stream may give less at a time."""
    data = stream.read(length) if length else b""
    if len(data) == length or not data:
        return data
    parts = [data]
    left = length - len(data)
    while left and (part := stream.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
