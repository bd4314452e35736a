"""Two contents of one UID for a person's eyes: their headers, their pictures, whether the pixels are alike.

The second has no row of an instance, only its object and header; the first is drawn the same way, for people
who may decide on it without reading the study.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from reading_portal.ecg_paper import ecg_svg
from reading_portal.frames import NoSuchFrame, describe_pixels, find_frames, read_frame
from reading_portal.image_format import NATIVE, number_in
from reading_portal.rendering import JPEG, CannotRender, Viewport, render_frame
from reading_portal.retrieval import Recent, StoredInstance, bulk_of, dataset_of
from reading_portal.waveforms import read_ecg
from storage.conflicts import Difference, differences
from storage.imaging import Instance, QuarantinedInstance
from storage.instance_headers import HeaderPlace, attributes_of
from storage.objects import ObjectMissing, ObjectStore
from storage.places import InflatedDataset, StoredDataset, Unreadable, locate
from worklist.conflicts import Conflict

SVG = "image/svg+xml"
WAVEFORM_SEQUENCE = "54000100"
PIECE = 1 << 20
Stored = StoredDataset | InflatedDataset
# Where an object's content stands: pixels, pixels as floats and doubles, the traces of an ECG, a document.
CONTENTS: tuple[tuple[int, ...], ...] = (
    (0x7FE00010,),
    (0x7FE00008,),
    (0x7FE00009,),
    (0x54000100, 0, 0x54001010),
    (0x54000100, 1, 0x54001010),
    (0x00420011,),
)


class Pixels(StrEnum):
    """How the contents of two objects compare, byte by byte."""

    SAME = "same"
    OTHER = "other"
    OTHER_ENCODING = "other-encoding"  # compressed differently: only a person's eyes can tell
    NONE = "none"


@dataclass(frozen=True)
class Content:
    """One of the two: where it is stored, and its header as DICOM JSON."""

    stored: StoredInstance
    header: dict[str, Any]


@dataclass(frozen=True)
class Compared:
    """Both side by side; where nothing stands in the second's place, `first` is None."""

    first: Content | None
    second: Content
    differences: list[Difference]
    pixels: Pixels


_compared: Recent[Pixels] = Recent(256)


def compare(objects: ObjectStore, conflict: Conflict) -> Compared:
    """What a person decides by. Of another image of the study only what a study shares is compared."""
    second = second_of(conflict.second)
    if conflict.first is None:
        return Compared(None, second, [], Pixels.NONE)
    first = first_of(objects, conflict.first)
    is_same_uid = first.stored.sop_instance_uid == second.stored.sop_instance_uid
    found = differences(first.header, second.header, of_study_only=not is_same_uid)
    key = (first.stored.object_key, second.stored.object_key)
    pixels = _compared.get(key, lambda: _compare(objects, first.stored, second.stored))
    return Compared(first, second, found, pixels if is_same_uid else Pixels.NONE)


def first_of(objects: ObjectStore, one: Instance) -> Content:
    header = one.header
    if header is None:
        place = HeaderPlace(one.object_key, one.size, one.dataset_offset, one.transfer_syntax_uid)
        header = attributes_of(objects, place)
    return Content(_stored(one, header, one.series.study.study_instance_uid), header)


def second_of(one: QuarantinedInstance) -> Content:
    return Content(_stored(one, one.header, one.study_instance_uid), one.header)


def studies_of(found: Conflict) -> set[str]:
    """The studies that somebody looks at who looks at both."""
    first = {found.first.series.study.study_instance_uid} if found.first is not None else set()
    return first | {found.second.study_instance_uid}


def draw(objects: ObjectStore, content: Content, viewport: Viewport) -> tuple[bytes, str]:
    """A picture of its middle frame, or the trace of an ECG, and the media type. Raises CannotRender."""
    one, header = content.stored, content.header

    def bulk(path: tuple[int, ...]) -> bytes | None:
        return bulk_of(objects, one, path)

    try:
        if WAVEFORM_SEQUENCE in header:
            return ecg_svg(read_ecg(header, bulk)).encode(), SVG
        if one.rows is None:
            raise CannotRender("This object holds no image.")
        pixels = describe_pixels(
            header,
            key=one.object_key,
            size=one.size,
            offset=one.dataset_offset,
            transfer_syntax_uid=one.transfer_syntax_uid,
            number_of_frames=one.number_of_frames,
        )
        frame = (one.number_of_frames + 1) // 2
        data = read_frame(objects, pixels, find_frames(objects, pixels), frame)
        syntax = pixels.served_transfer_syntax_uid
        picture = render_frame(data, syntax, header, frame=frame, bulk=bulk, viewport=viewport)
    except (Unreadable, NoSuchFrame) as error:
        raise CannotRender(str(error)) from error
    except ObjectMissing as error:
        raise CannotRender("The object is missing from the store.") from error
    return picture.data, JPEG


def _stored(one: Instance | QuarantinedInstance, header: dict[str, Any], study: str) -> StoredInstance:
    def text(tag: str) -> str:
        values = header.get(tag, {}).get("Value") or [""]
        return str(values[0])

    return StoredInstance(
        id=0,
        study_pk=0,
        study_instance_uid=study,
        series_instance_uid=text("0020000E"),
        sop_instance_uid=one.sop_instance_uid,
        sop_class_uid=text("00080016"),
        transfer_syntax_uid=one.transfer_syntax_uid,
        modality=text("00080060"),
        series_number=None,
        instance_number=None,
        number_of_frames=max(1, number_in(header, "00280008", 1)),
        rows=number_in(header, "00280010", 0) or None,
        object_key=one.object_key,
        size=one.size,
        dataset_offset=one.dataset_offset,
        digest=one.digest,
        seal=one.seal,
        damage=None,
    )


def _compare(objects: ObjectStore, first: StoredInstance, second: StoredInstance) -> Pixels:
    try:
        with closing(dataset_of(objects, first)) as one, closing(dataset_of(objects, second)) as other:
            return _compare_contents(one, first.transfer_syntax_uid, other, second.transfer_syntax_uid)
    except (Unreadable, ObjectMissing):
        return Pixels.OTHER_ENCODING


def _compare_contents(
    one: StoredDataset | InflatedDataset,
    syntax: str,
    other: StoredDataset | InflatedDataset,
    other_syntax: str,
) -> Pixels:
    found = False
    for path in CONTENTS:
        left, right = locate(one, syntax, path), locate(other, other_syntax, path)
        if left is None and right is None:
            continue
        found = True
        if left is None or right is None:
            return Pixels.OTHER
        is_encoded_alike = syntax == other_syntax or (
            syntax in NATIVE and other_syntax in NATIVE and left.is_big_endian == right.is_big_endian
        )
        if not is_encoded_alike:
            return Pixels.OTHER_ENCODING
        # An encapsulated value ends with its dataset.
        lengths = [
            place.length if place.length is not None else dataset.length - place.at
            for place, dataset in ((left, one), (right, other))
        ]
        if lengths[0] != lengths[1]:
            return Pixels.OTHER
        if _digest(one, left.at, lengths[0]) != _digest(other, right.at, lengths[1]):
            return Pixels.OTHER
    return Pixels.SAME if found else Pixels.NONE


def _digest(dataset: Stored, at: int, length: int) -> bytes:
    digest = hashlib.sha256()
    for piece in _pieces(dataset, at, length):
        digest.update(piece)
    return digest.digest()


def _pieces(dataset: Stored, at: int, length: int) -> Iterator[bytes]:
    end = at + length
    while at < end and (piece := dataset.read(at, min(PIECE, end - at))):
        yield piece
        at += len(piece)
