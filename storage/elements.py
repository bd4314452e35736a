"""The data elements of a dataset (PS3.5 7) up to the pixels: walked in a loop, within limits.

Three sources look alike: bytes, a file that is skipped through, and a deflated stream that is inflated as
far as the header goes and no further.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary
from pydicom.datadict import mask_match

from storage.rejections import InstanceRejected, Unacceptable, malformed, truncated
from storage.windows import MAX_INFLATED, Window, open_window

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
STANDARD = "1.2.840.10008."  # the root of the standard's own UIDs

MAX_DEPTH = 32
MAX_ELEMENTS = 500_000
MAX_COLLECTED = 20_000  # beyond it nested and private elements are only walked: per-frame groups, bombs
MAX_HEADER_BYTES = 16 << 20
SHORT = 1024  # longer binary values are passed over
LONGEST_TEXT = 64 << 10

ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXELS = {0x7FE00008, 0x7FE00009, 0x7FE00010}
UNDEFINED = 0xFFFFFFFF

TEXT = {"PN", "LO", "SH", "ST", "LT", "UT", "UC"}
ASCII_TEXT = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"}
SHORT_LENGTH = (TEXT - {"UT", "UC"}) | (ASCII_TEXT - {"UR"}) | {"AT", "FL", "FD", "SL", "SS", "UL", "US"}
LONG_LENGTH = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
BINARY = {"OB", "OD", "OF", "OL", "OV", "OW", "UN"}
_VR_BYTES = {vr.encode(): vr for vr in SHORT_LENGTH | LONG_LENGTH}


@dataclass(slots=True)
class Element:
    """One data element: its value as sent, or items; neither where the value was too long to remember."""

    tag: int
    vr: str
    value: bytes | None = None
    items: list[Items] | None = None


Items = dict[int, Element]
_Unpack = Callable[[bytes], tuple[Any, ...]]


@dataclass(slots=True)
class Walked:
    """What one walk over a dataset found."""

    elements: Items
    byte_order: str  # "<" or ">", for struct
    is_explicit: bool
    pixel_tag: int | None = None
    pixel_length: int | None = None  # bytes of a native Pixel Data value; None when encapsulated or absent
    fragments: int | None = None  # of an encapsulated Pixel Data, the offset table not counted
    has_whole_pixels: bool = False
    is_end_missing: bool = False  # of an encapsulated Pixel Data
    is_mislabelled: bool = False  # explicit where implicit was agreed, or the reverse
    trailing: str | None = None  # what follows the pixel data was cut off
    is_abridged: bool = False  # nested elements were left out
    texts: list[bytes] = field(default_factory=list)  # values that are no elements here, but show a charset
    repeated: list[Items] = field(default_factory=list)  # a later one of the same tag took their place


@dataclass(slots=True)
class _Level:
    """An open sequence or item; `end` is None where a delimiter closes it."""

    end: int | None
    is_explicit: bool
    sequence: list[Items] | None  # None: this level is an item
    elements: Items | None


def walk(
    source: bytes | bytearray | memoryview | BinaryIO,
    transfer_syntax_uid: str,
    *,
    collected: int = MAX_COLLECTED,
) -> Walked:
    """Read a dataset as it stands in the PDV stream (no preamble, no meta information) up to its pixels.

    Checks that lengths fit and that encapsulated pixel data has its fragments, without reading them. Nested
    elements beyond the first `collected` are left out, and the result says so. Raises InstanceRejected.
    """
    window = open_window(source, transfer_syntax_uid)
    big = transfer_syntax_uid == EXPLICIT_BIG
    found = Walked({}, ">" if big else "<", transfer_syntax_uid != IMPLICIT_LITTLE)
    _notice_a_wrong_encoding(window, found, transfer_syntax_uid)
    try:
        _walk(window, found, collected)
    except InstanceRejected as rejected:
        if not found.has_whole_pixels or rejected.kind in (Unacceptable.NESTING, Unacceptable.TOO_LARGE):
            raise
        # Some writers leave a stray delimiter behind the pixels; only what was cut off is a damage.
        if rejected.kind is Unacceptable.TRUNCATED:
            found.trailing = str(rejected)
    return found


def _walk(window: Window, found: Walked, collected: int) -> None:
    read_short = struct.Struct(found.byte_order + "H").unpack
    read_long = struct.Struct(found.byte_order + "L").unpack
    read_head = struct.Struct(found.byte_order + "HHL").unpack
    item_mark = struct.pack(found.byte_order + "HH", ITEM >> 16, ITEM & 0xFFFF)
    take = window.take

    levels = [_Level(None, found.is_explicit, None, found.elements)]
    at, counted, skipped = 0, 0, 0
    while True:
        level = levels[-1]
        if level.end is not None and at >= level.end:
            if at > level.end:
                raise malformed("an element reaches beyond the item that holds it")
            levels.pop()
            continue
        head = take(at, 8)
        if len(head) < 8:
            if len(levels) == 1 and not head.strip(b"\0"):
                return
            raise truncated("the dataset ends inside a data element")
        counted += 1
        if counted > MAX_ELEMENTS or at - skipped > MAX_HEADER_BYTES:
            raise InstanceRejected("the header is larger than any real one", kind=Unacceptable.TOO_LARGE)
        group, number, length = read_head(head)
        tag = group << 16 | number
        at += 8

        if group == 0xFFFE:
            at = _item(levels, tag, length, at)
            continue
        if level.sequence is not None:
            raise malformed("a sequence holds something that is not an item")

        if level.is_explicit:
            vr = _VR_BYTES.get(bytes(head[4:6]), "")
            if vr in SHORT_LENGTH:
                length = read_short(head[6:8])[0]
            elif vr or head[4:6].isalpha():
                # PS3.5 6.2: an unknown VR has the long form.
                vr = vr or "UN"
                length = read_long(_exactly(take, at, 4))[0]
                at += 4
            elif head[4:6] == b"  ":
                # GE's screen saves write a VR of two spaces before a length of two bytes.
                vr, length = dictionary_vr(tag), read_short(head[6:8])[0]
                vr = "UN" if vr == "SQ" else vr
            else:
                vr = dictionary_vr(tag)
        else:
            vr = dictionary_vr(tag)
            if vr == "SQ" and 0 < length != UNDEFINED and take(at, 4) != item_mark:
                # The dictionary of today is not that of then: (0040,A170) was a code string once.
                vr = "UN"

        if tag in PIXELS and len(levels) == 1:
            end = _read_pixels(window, found, tag, length, at, read_head)
            if window.is_deflated:
                return
            skipped += end - at
            at = end
            # What follows is looked at but says nothing any more: identifiers stand before the pixels.
            level.elements = {}
            continue
        if vr == "SQ" or length == UNDEFINED:
            if vr in ("OB", "OW") and level.is_explicit:
                # The icon of a compressed image is compressed too (PS3.5 A.4).
                at, _, _ = _pass_fragments(window, at, read_head)
                continue
            if vr not in ("SQ", "UN") and level.is_explicit:
                raise malformed("a value of undefined length is not a sequence")
            if len(levels) >= 2 * MAX_DEPTH:
                sentence = f"sequences are nested more than {MAX_DEPTH} deep"
                raise InstanceRejected(sentence, kind=Unacceptable.NESTING)
            items: list[Items] = []
            if _may_collect(found, level, tag, counted <= collected):
                _put(found, level, Element(tag, "SQ", None, items))
            # CP-246: an unknown VR of undefined length is a sequence in implicit little endian.
            explicit = level.is_explicit and vr == "SQ"
            levels.append(_Level(None if length == UNDEFINED else at + length, explicit, items, None))
            continue

        if level.end is not None and at + length > level.end:
            raise malformed("an element reaches beyond the item that holds it")
        if length <= (SHORT if vr in BINARY else LONGEST_TEXT):
            value = _exactly(take, at, length)
            if _may_collect(found, level, tag, counted <= collected):
                _put(found, level, Element(tag, vr, value))
        else:
            window.pass_over(at, length)
            skipped += length
            if _may_collect(found, level, tag, counted <= collected):
                _put(found, level, Element(tag, vr))
        at += length


def _item(levels: list[_Level], tag: int, length: int, at: int) -> int:
    level = levels[-1]
    if tag == ITEM and level.sequence is not None:
        elements: Items = {}
        level.sequence.append(elements)
        levels.append(_Level(None if length == UNDEFINED else at + length, level.is_explicit, None, elements))
    elif tag == (ITEM_END if level.sequence is None else SEQUENCE_END) and len(levels) > 1:
        levels.pop()
    elif tag == SEQUENCE_END and len(levels) > 1 and level.end is None:
        # Some writers leave the item delimiter out before the end of the sequence.
        del levels[-2:]
    else:
        raise malformed("an item stands where no sequence is open")
    return at


def _may_collect(found: Walked, level: _Level, tag: int, is_within: bool) -> bool:
    if level.elements is None:
        return False
    if not is_within and (tag & 0x10000 or level.elements is not found.elements):
        found.is_abridged = True
        return False
    return True


def _put(found: Walked, level: _Level, element: Element) -> None:
    assert level.elements is not None
    former = level.elements.get(element.tag)
    if former is not None and found.pixel_tag is None:
        # Its text is evidence of the character set still, which the scanner hears too.
        found.repeated.append({former.tag: former})
    level.elements[element.tag] = element


def _read_pixels(window: Window, found: Walked, tag: int, length: int, at: int, unpack: _Unpack) -> int:
    """Where the pixel data ends."""
    found.pixel_tag = tag
    if length != UNDEFINED:
        if window.is_deflated and length > MAX_INFLATED:
            sentence = "the deflated dataset unfolds beyond every measure"
            raise InstanceRejected(sentence, kind=Unacceptable.TOO_LARGE)
        found.pixel_length = length
        if not window.is_deflated:
            window.pass_over(at, length)
        end = at + length
    else:
        end, fragments, is_closed = _pass_fragments(window, at, unpack)
        found.fragments = max(fragments - 1, 0)
        found.is_end_missing = not is_closed
    found.has_whole_pixels = True
    return end


def _pass_fragments(window: Window, at: int, unpack: _Unpack) -> tuple[int, int, bool]:
    """Pass over encapsulated pixel data (PS3.5 A.4): where it ends, how many fragments, is its end marked."""
    fragments = 0
    while True:
        head = window.take(at, 8)
        if not head and fragments:
            return at, fragments, False
        if len(head) < 8:
            raise truncated("the pixel data ends inside a fragment")
        group, number, length = unpack(head)
        at += 8
        if (group << 16 | number) == SEQUENCE_END:
            return at, fragments, True
        if (group << 16 | number) != ITEM or length == UNDEFINED:
            raise malformed("the pixel data holds something that is not a fragment")
        window.pass_over(at, length)
        at += length
        fragments += 1


def _exactly(take: Callable[[int, int], bytes], at: int, length: int) -> bytes:
    value = take(at, length)
    if len(value) < length:
        raise truncated("the dataset ends inside a data element")
    return value


def _notice_a_wrong_encoding(window: Window, found: Walked, transfer_syntax_uid: str) -> None:
    """Some senders negotiate implicit and send explicit, or the reverse: the first element tells."""
    head = window.take(0, 12)
    if len(head) < 8:
        if head:
            raise truncated("the dataset ends inside a data element")
        raise InstanceRejected("the dataset is empty", kind=Unacceptable.EMPTY)
    looks_explicit = bytes(head[4:6]) in _VR_BYTES
    if looks_explicit and not found.is_explicit:
        # As an implicit length the two letters and the short length would reach far beyond any first element.
        if struct.unpack("<L", head[4:8])[0] > SHORT:
            found.is_explicit = found.is_mislabelled = True
    elif (
        found.is_explicit
        and found.byte_order == "<"
        and not head[4:6].isalpha()
        and struct.unpack("<L", head[4:8])[0] <= LONGEST_TEXT
    ):
        # Of a vendor's own transfer syntax nobody has said how it is encoded: GE's is implicit.
        found.is_explicit, found.is_mislabelled = False, transfer_syntax_uid.startswith(STANDARD)


def dictionary_vr(tag: int) -> str:
    """The value representation of a tag in an implicit encoding."""
    entry = DicomDictionary.get(tag)
    if entry is None:
        if tag & 0x10000:
            # PS3.5 7.8.1: private creators; every other private element is unknown here.
            return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else "UN"
        if not tag & 0xFFFF:
            return "UL"
        mask = mask_match(tag)
        return _one_vr(RepeatersDictionary[mask][0]) if mask else "UN"
    return _one_vr(entry[0])


def _one_vr(vr: str) -> str:
    if vr in _VR_BYTES.values():
        return vr
    return {"US or SS": "US", "US or SS or OW": "OW", "US or OW": "OW", "OB or OW": "OW"}.get(vr, "UN")
