"""One frame of a stored instance, by ranges: native ones by arithmetic, encapsulated ones by their offset
table or by scanning (PS3.5 8, A.4). What was implicit, big endian or deflated leaves as Explicit VR Little
Endian with the same pixel values, as PS3.18 8.7.3.3 wants.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from reading_portal.image_format import number_in
from storage.attributes import values_of
from storage.elements import EXPLICIT_BIG, IMPLICIT_LITTLE
from storage.objects import ObjectStore
from storage.places import (
    ITEM,
    SEQUENCE_END,
    UNDEFINED,
    Dataset,
    Place,
    Unreadable,
    locate,
    open_dataset,
)
from storage.windows import DEFLATED

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
NATIVE = {IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED}

PIXEL_DATA, FLOAT_PIXELS, DOUBLE_PIXELS = 0x7FE00010, 0x7FE00008, 0x7FE00009
EXTENDED_OFFSETS, EXTENDED_LENGTHS = 0x7FE00001, 0x7FE00002
MAX_FRAGMENTS = 200_000
MAX_FRAME = 1 << 30
# Subsampled chrominance: bytes per pixel of all three samples together (PS3.3 C.7.6.3.1.2).
SUBSAMPLED = {"YBR_FULL_422": 2, "YBR_PARTIAL_422": 2}
# How every JPEG (1, LS) and JPEG 2000 codestream, JP2 box and JPEG XL codestream begins.
CODESTREAM_STARTS = (b"\xff\xd8", b"\xff\x4f", b"\0\0\0\x0cjP", b"\xff\x0a")


class NoSuchFrame(LookupError):
    """The instance has no frame of this number, or no pixels at all."""


@dataclass(frozen=True, slots=True)
class StoredPixels:
    """What is needed to find frames: the object, and what its header says about them."""

    key: str
    size: int
    offset: int  # of the dataset in the object
    transfer_syntax_uid: str
    number_of_frames: int
    bits_per_frame: int  # of a native frame; 0 where the header does not describe an image
    bits_allocated: int

    @property
    def is_native(self) -> bool:
        return self.transfer_syntax_uid in NATIVE

    @property
    def served_transfer_syntax_uid(self) -> str:
        """How a frame leaves when nobody asks for another encoding."""
        return EXPLICIT_LITTLE if self.is_native else self.transfer_syntax_uid


@dataclass(frozen=True, slots=True)
class FrameTable:
    """Where the frames of one object stand: the native value, or begin and end of each frame's fragments."""

    place: Place
    regions: tuple[tuple[int, int], ...] | None


def describe_pixels(
    attributes: dict[str, Any],
    *,
    key: str,
    size: int,
    offset: int,
    transfer_syntax_uid: str,
    number_of_frames: int,
) -> StoredPixels:
    """Read from the header (DICOM JSON) what finding frames takes."""
    bits = max(0, number_in(attributes, "00280100", 0))
    samples = max(1, number_in(attributes, "00280002", 1))
    rows, columns = (max(0, number_in(attributes, tag, 0)) for tag in ("00280010", "00280011"))
    per_pixel = bits * samples
    if samples == 3 and (whole := SUBSAMPLED.get(str(_first(attributes, "00280004")))):
        per_pixel = bits * whole
    return StoredPixels(
        key, size, offset, transfer_syntax_uid, number_of_frames, rows * columns * per_pixel, bits
    )


def find_frames(objects: ObjectStore, pixels: StoredPixels) -> FrameTable:
    """The table of an object's frames; keep it, objects never change. Raises NoSuchFrame, Unreadable."""
    dataset = _open(objects, pixels)
    try:
        place = _pixel_place(dataset, pixels)
        if place.length is not None:
            return FrameTable(place, None)
        offsets = _extended_offsets(dataset, pixels)
        return FrameTable(place, offsets or tuple(_regions(dataset, place.at, pixels.number_of_frames)))
    finally:
        dataset.close()


def read_frame(objects: ObjectStore, pixels: StoredPixels, table: FrameTable, number: int) -> bytes:
    """Frame `number` (from 1) in `served_transfer_syntax_uid`. Raises NoSuchFrame, Unreadable."""
    if not 1 <= number <= pixels.number_of_frames:
        raise NoSuchFrame(f"the instance has {pixels.number_of_frames} frames")
    dataset = _open(objects, pixels)
    try:
        if table.regions is None:
            return _native_frame(dataset, pixels, table.place, number)
        if number > len(table.regions):
            raise NoSuchFrame(f"only {len(table.regions)} frames of {pixels.number_of_frames} arrived")
        begin, end = table.regions[number - 1]
        if end - begin > MAX_FRAME:
            raise Unreadable("the frame is larger than any real one")
        return _joined_fragments(dataset.read(begin, end - begin))
    finally:
        dataset.close()


def _open(objects: ObjectStore, pixels: StoredPixels) -> Any:
    return open_dataset(
        objects,
        pixels.key,
        size=pixels.size,
        offset=pixels.offset,
        transfer_syntax_uid=pixels.transfer_syntax_uid,
    )


def _pixel_place(dataset: Dataset, pixels: StoredPixels) -> Place:
    for tag in (PIXEL_DATA, FLOAT_PIXELS, DOUBLE_PIXELS):
        if (place := locate(dataset, pixels.transfer_syntax_uid, (tag,))) is not None:
            return place
    raise NoSuchFrame("the instance has no pixels")


def _native_frame(dataset: Dataset, pixels: StoredPixels, place: Place, number: int) -> bytes:
    if not pixels.bits_per_frame or place.length is None:
        raise NoSuchFrame("the instance does not describe an image")
    first_bit = (number - 1) * pixels.bits_per_frame
    last_bit = first_bit + pixels.bits_per_frame
    swap = max(pixels.bits_allocated // 8, 2 if place.vr == "OW" else 1) if place.is_big_endian else 1
    begin = first_bit // 8 // swap * swap
    end = -(-last_bit // 8 // swap) * swap if swap > 1 else -(-last_bit // 8)
    if last_bit > place.length * 8 or last_bit > (dataset.length - place.at) * 8:
        raise NoSuchFrame("the pixel data ends before this frame")
    if end - begin > MAX_FRAME:
        raise Unreadable("the frame is larger than any real one")
    data = dataset.read(place.at + begin, end - begin)
    if swap > 1:
        data = np.frombuffer(data[: len(data) // swap * swap], f">u{swap}").astype(f"<u{swap}").tobytes()
    skipped = first_bit - begin * 8
    if skipped % 8 == 0 and pixels.bits_per_frame % 8 == 0:
        return data[skipped // 8 : (skipped + pixels.bits_per_frame) // 8]
    # Frames of single bits are packed without padding between them (PS3.5 8.1.1): shift to the first bit.
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    return np.packbits(bits[skipped : skipped + pixels.bits_per_frame], bitorder="little").tobytes()


def _extended_offsets(dataset: Dataset, pixels: StoredPixels) -> tuple[tuple[int, int], ...] | None:
    """Frames by the Extended Offset Table (PS3.3 C.7.6.3.1.8): one fragment each, 64-bit offsets."""
    found = [
        locate(dataset, pixels.transfer_syntax_uid, (tag,)) for tag in (EXTENDED_OFFSETS, EXTENDED_LENGTHS)
    ]
    pixel_place = _pixel_place(dataset, pixels)
    if any(place is None or place.length != 8 * pixels.number_of_frames for place in found):
        return None
    starts, lengths = (
        struct.unpack(f"<{pixels.number_of_frames}Q", dataset.read(place.at, place.length or 0))
        for place in found
        if place is not None
    )
    first = _after_offset_table(dataset, pixel_place.at)[0]
    regions = tuple((first + a, first + a + 8 + n) for a, n in zip(starts, lengths, strict=True))
    return (
        regions
        if all(_begins_item(dataset, begin) and end <= dataset.length for begin, end in regions)
        else None
    )


def _after_offset_table(dataset: Dataset, at: int) -> tuple[int, tuple[int, ...]]:
    """Where the first fragment stands, and the entries of the Basic Offset Table (PS3.5 A.4)."""
    group, number, length = struct.unpack("<HHL", _exactly(dataset, at, 8))
    if group << 16 | number != ITEM or length == UNDEFINED:
        raise Unreadable("the pixel data does not begin with an offset table")
    entries = min(length // 4, MAX_FRAGMENTS)
    return at + 8 + length, struct.unpack(f"<{entries}L", _exactly(dataset, at + 8, entries * 4))


def _regions(dataset: Dataset, at: int, number_of_frames: int) -> list[tuple[int, int]]:
    first, entries = _after_offset_table(dataset, at)
    if number_of_frames > 1 and len(entries) == number_of_frames:
        starts = [first + entry for entry in entries]
        if starts == sorted(starts) and all(_begins_item(dataset, start) for start in starts):
            return list(zip(starts, [*starts[1:], _end_of_fragments(dataset, starts[-1])], strict=True))
    fragments = _scan(dataset, first)
    if not fragments:
        raise NoSuchFrame("the pixel data holds no fragment")
    spans = [(begin, end) for begin, end, _ in fragments]
    if number_of_frames == 1:
        return [(spans[0][0], spans[-1][1])]
    if len(fragments) <= number_of_frames:
        return spans
    # More fragments than frames and no table: a frame begins where a codestream does.
    starts_at = [index for index, (_, _, is_start) in enumerate(fragments) if is_start]
    if len(starts_at) != number_of_frames:
        raise Unreadable(f"{len(fragments)} fragments cannot be told apart into {number_of_frames} frames")
    bounds = [*starts_at, len(fragments)]
    return [(spans[a][0], spans[b - 1][1]) for a, b in pairwise(bounds)]


def _scan(dataset: Dataset, at: int) -> list[tuple[int, int, bool]]:
    """Begin and end of every fragment with its header, and whether a codestream begins in it."""
    found: list[tuple[int, int, bool]] = []
    while len(head := dataset.read(at, 16)) >= 8:
        group, number, length = struct.unpack("<HHL", head[:8])
        tag = group << 16 | number
        if tag == SEQUENCE_END:
            break
        if tag != ITEM or length == UNDEFINED:
            raise Unreadable("the pixel data holds something that is not a fragment")
        end = min(at + 8 + length, dataset.length)
        found.append((at, end, head[8:].startswith(CODESTREAM_STARTS)))
        if len(found) > MAX_FRAGMENTS:
            raise Unreadable("the pixel data has more fragments than any real one")
        at = end
    return found


def _end_of_fragments(dataset: Dataset, at: int) -> int:
    fragments = _scan(dataset, at)
    return fragments[-1][1] if fragments else at


def _joined_fragments(region: bytes) -> bytes:
    view, parts, at = memoryview(region), [], 0
    while at + 8 <= len(view):
        group, number, length = struct.unpack_from("<HHL", view, at)
        if group << 16 | number != ITEM:
            break
        parts.append(view[at + 8 : at + 8 + length])
        at += 8 + length
    return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)


def _begins_item(dataset: Dataset, at: int) -> bool:
    return dataset.read(at, 4) == b"\xfe\xff\x00\xe0"


def _exactly(dataset: Dataset, at: int, length: int) -> bytes:
    data = dataset.read(at, length)
    if len(data) < length:
        raise Unreadable("the pixel data ends early")
    return data


def _first(attributes: dict[str, Any], tag: str) -> Any:
    values = values_of(attributes, tag)
    return values[0] if values else None
