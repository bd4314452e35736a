"""A dataset in memory, explicit little endian, looked through as fast as Python can: a device is waiting.

The same answer as `storage.elements.walk` about everything that an index is made of, in a third of its time.
Nested values are passed over, their structure is not: nothing is accepted here that the walk refuses.
Whatever is unusual is left to the walk: there is one place that says what is wrong with a dataset.
"""

from __future__ import annotations

import struct
from collections.abc import Container

from storage.elements import EXPLICIT_BIG, IMPLICIT_LITTLE, MAX_DEPTH, PIXELS, UNDEFINED, Element, Walked
from storage.windows import DEFLATED

MOST_ELEMENTS = 20_000
_FIRST = {b"UI", b"CS", b"UL", b"OB", b"DA", b"SH", b"LO"}  # what datasets begin with
# PS3.5 tables 7.1-1 and 7.1-2
_SHORT = {vr: vr.decode() for vr in b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split()}
_LONG = {vr: vr.decode() for vr in b"OB OD OF OL OV OW SV UC UN UR UT UV".split()}
_TEXT = set(b"PN LO SH ST LT UT UC".split())
_LONGEST = 64 << 10

# Item, and the end of a sequence, as two little endian words of sixteen bits read as one.
_ITEM, _SEQUENCE_END = 0xE000FFFE, 0xE0DDFFFE

_head = struct.Struct("<HH2sH").unpack_from
_long = struct.Struct("<L").unpack_from
_item = struct.Struct("<LL").unpack_from


class _Unusual(Exception):
    """The walk shall decide."""


def scan(data: bytes | memoryview, transfer_syntax_uid: str, wanted: Container[int]) -> Walked | None:
    """The `wanted` tags of the top level, and what the pixels are; None where the dataset must be walked."""
    if transfer_syntax_uid in (IMPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED) or bytes(data[4:6]) not in _FIRST:
        return None
    found = Walked({}, "<", True, is_abridged=True)
    try:
        _scan(data, found, wanted)
    except (_Unusual, struct.error):
        return None
    return found


def _scan(data: bytes | memoryview, found: Walked, wanted: Container[int]) -> None:
    at, end, count = 0, len(data), 0
    elements, texts = found.elements, found.texts
    while at + 8 <= end:
        group, number, vr, length = _head(data, at)
        count += 1
        if vr in _SHORT:
            at += 8
        elif vr == b"SQ":
            at, nested = _pass_sequence(data, at + 12, _long(data, at + 8)[0], texts)
            count += nested
            continue
        elif vr in _LONG:
            length = _long(data, at + 8)[0]
            at += 12
            if length == UNDEFINED:
                if group != 0x7FE0 or number != 0x0010 or found.pixel_tag is not None:
                    raise _Unusual
                found.pixel_tag = 0x7FE00010
                at, found.fragments = _pass_fragments(data, at)
                found.has_whole_pixels = True
                continue
        else:
            raise _Unusual
        begin, at = at, at + length
        if at > end or count > MOST_ELEMENTS:
            raise _Unusual
        tag = group << 16 | number
        if group == 0x7FE0 and tag in PIXELS:
            if found.pixel_tag is not None:
                raise _Unusual
            found.pixel_tag, found.pixel_length, found.has_whole_pixels = tag, length, True
        elif found.pixel_tag is not None:
            # What follows the pixels says nothing any more: identifiers stand before them.
            continue
        elif tag in wanted:
            if length > _LONGEST:
                raise _Unusual
            elements[tag] = Element(tag, _SHORT.get(vr) or _LONG[vr], bytes(data[begin:at]))
        elif vr in _TEXT:
            _listen(bytes(data[begin:at]), texts)
    if bytes(data[at:]).strip(b"\0"):
        raise _Unusual


def _pass_sequence(data: bytes | memoryview, at: int, length: int, texts: list[bytes]) -> tuple[int, int]:
    """Where the sequence ends, and how many elements it holds."""
    end = len(data)
    # Where each open level ends, a sequence and an item in turn; None where a delimiter closes it.
    levels: list[int | None] = [None if length == UNDEFINED else at + length]
    in_item, count = False, 0
    while levels:
        stop = levels[-1]
        if stop is not None and at >= stop:
            if at > stop:
                raise _Unusual
            levels.pop()
            in_item = not in_item
            continue
        if in_item:
            group, number, vr, length = _head(data, at)
            count += 1
            if vr in _SHORT:
                at += 8
            elif vr == b"SQ":
                length = _long(data, at + 8)[0]
                at += 12
                levels.append(_level(at, length, stop))
                in_item = False
                continue
            elif vr in _LONG:
                length = _long(data, at + 8)[0]
                at += 12
            elif group == 0xFFFE and number == 0xE00D and stop is None:
                at += 8
                levels.pop()
                in_item = False
                continue
            else:
                raise _Unusual
            if group == 0x0008 and number == 0x0005:
                raise _Unusual  # an item in a character set of its own
            begin, at = at, at + length
            if at > end or (length > _LONGEST and vr in _TEXT):
                raise _Unusual
            if vr in _TEXT:
                _listen(bytes(data[begin:at]), texts)
        else:
            tag, length = _item(data, at)
            at += 8
            if tag == _ITEM and len(levels) < 2 * MAX_DEPTH:
                levels.append(_level(at, length, stop))
                in_item = True
            elif tag == _SEQUENCE_END and stop is None:
                levels.pop()
                in_item = True
            else:
                raise _Unusual
        if count > MOST_ELEMENTS:
            raise _Unusual
    return at, count


def _level(at: int, length: int, stop: int | None) -> int | None:
    if length == UNDEFINED:
        return None
    if stop is not None and at + length > stop:
        raise _Unusual
    return at + length


def _pass_fragments(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """Where encapsulated pixel data (PS3.5 A.4) ends, and its fragments, the offset table not counted."""
    end, fragments = len(data), -1
    while True:
        tag, length = _item(data, at)
        at += 8
        if tag == _SEQUENCE_END:
            return at, max(fragments, 0)
        at += length
        fragments += 1
        if tag != _ITEM or length == UNDEFINED or at > end:
            raise _Unusual


def _listen(value: bytes, texts: list[bytes]) -> None:
    """Remember what is not plain ASCII: all text of a dataset together shows its character set."""
    if not value.isascii() or b"\x1b" in value:
        texts.append(value)
