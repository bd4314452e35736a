"""A dataset in memory, explicit little endian, looked through as fast as Python can: a device is waiting.

The same answer as `storage.elements.walk` about everything that an index is made of, and far sooner.
Nested values are passed over, their structure is not: nothing is accepted here that the walk refuses.
Whatever is unusual is left to the walk: there is one place that says what is wrong with a dataset.
"""

from __future__ import annotations

import struct
from collections.abc import Set
from functools import lru_cache

from storage.elements import (
    EXPLICIT_BIG,
    IMPLICIT_LITTLE,
    ITEM,
    ITEM_END,
    MAX_DEPTH,
    PIXELS,
    SEQUENCE_END,
    UNDEFINED,
    Element,
    Walked,
)
from storage.windows import DEFLATED

MOST_ELEMENTS = 20_000
_LONGEST = 64 << 10
# Bytes are read twice as quickly as a view. A small dataset is taken whole, of a larger one the beginning.
_SMALL, _BEGINNING = 256 << 10, 64 << 10
# Sequences that were passed before, byte for byte: a cart says the same of its twelve leads in every ECG.
_MOST_PASSED, _SHORTEST_PASSED, _LONGEST_PASSED = 512, 64, 16 << 10

_FIRST = {b"UI", b"CS", b"UL", b"OB", b"DA", b"SH", b"LO"}  # what datasets begin with


def _numbers(vrs: bytes) -> dict[int, str]:
    return {vr[0] | vr[1] << 8: vr.decode() for vr in vrs.split()}


# PS3.5 tables 7.1-1 and 7.1-2, a value representation as the little endian number of its two letters.
_SHORT = _numbers(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US")
_LONG = _numbers(b"OB OD OF OL OV OW SV UC UN UR UT UV")
_TEXT = frozenset(_numbers(b"PN LO SH ST LT UT UC"))
(_SQ,) = _numbers(b"SQ")


def _as_read(tag: int) -> int:
    """A tag as its four bytes read as one little endian number, and back."""
    return (tag & 0xFFFF) << 16 | tag >> 16


_ITEM, _ITEM_END, _SEQUENCE_END = _as_read(ITEM), _as_read(ITEM_END), _as_read(SEQUENCE_END)
_ITEM_GROUP = ITEM >> 16
_PIXELS = {_as_read(tag): tag for tag in PIXELS}
_PIXEL_DATA = _as_read(0x7FE00010)
_CHARACTER_SET = _as_read(0x00080005)

_head = struct.Struct("<LHH").unpack_from
_long = struct.Struct("<L").unpack_from
_item = struct.Struct("<LL").unpack_from

_passed: dict[bytes, tuple[int, int]] = {}  # content → its elements, and the depth at which it was passed


class _Unusual(Exception):
    """The walk shall decide."""


def scan(data: bytes | memoryview, transfer_syntax_uid: str, wanted: frozenset[int]) -> Walked | None:
    """The `wanted` tags of the top level, and what the pixels are; None where the dataset must be walked."""
    if transfer_syntax_uid in (IMPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED):
        return None
    size = len(data)
    head = bytes(data if size <= _SMALL else data[:_BEGINNING])
    if head[4:6] not in _FIRST:
        return None
    while True:
        found = Walked({}, "<", True, is_abridged=True)
        try:
            _scan(head, data, found, _read_as(wanted))
        except _Unusual:
            return None
        except struct.error:
            if len(head) == size:
                return None
            head = bytes(data)  # a long header, or something behind the pixels
        else:
            return found


@lru_cache(maxsize=8)
def _read_as(tags: Set[int]) -> dict[int, int]:
    return {_as_read(tag): tag for tag in tags}


def _scan(head: bytes, data: bytes | memoryview, found: Walked, wanted: dict[int, int]) -> None:
    """`head` is the beginning of `data`; struct.error where more of it is needed."""
    at, end, ahead, count = 0, len(data), len(head), 0
    elements, texts = found.elements, found.texts
    while at + 8 <= end:
        tag, vr, length = _head(head, at)
        count += 1
        if tag & 0xFFFF == _ITEM_GROUP:
            raise _Unusual
        if vr in _SHORT:
            at += 8
        elif vr == _SQ:
            at, nested = _pass_nested(head, at + 12, _long(head, at + 8)[0], texts, 1)
            count += nested
            continue
        elif vr in _LONG:
            length = _long(head, at + 8)[0]
            at += 12
            if length == UNDEFINED:
                if tag != _PIXEL_DATA or found.pixel_tag is not None:
                    raise _Unusual
                found.pixel_tag = 0x7FE00010
                at, found.fragments = _pass_fragments(data, at)
                found.has_whole_pixels, texts = True, []
                continue
        else:
            raise _Unusual
        begin, at = at, at + length
        if at > end or count > MOST_ELEMENTS:
            raise _Unusual
        if tag in _PIXELS:
            if found.pixel_tag is not None:
                raise _Unusual
            found.pixel_tag, found.pixel_length, found.has_whole_pixels = _PIXELS[tag], length, True
            texts = []  # What follows the pixels says nothing any more: identifiers stand before them.
        elif found.pixel_tag is not None:
            continue
        elif tag in wanted:
            tag = wanted[tag]
            if length > _LONGEST or tag in elements:
                raise _Unusual
            if at > ahead:
                raise struct.error
            elements[tag] = Element(tag, _SHORT.get(vr) or _LONG[vr], head[begin:at])
        elif vr in _TEXT and length <= _LONGEST:  # the walk passes over longer ones and hears nothing
            if at > ahead:
                raise struct.error
            _listen(head, begin, at, texts)
    if at < end and bytes(data[at:]).strip(b"\0"):
        raise _Unusual


def _pass_nested(head: bytes, at: int, length: int, texts: list[bytes], depth: int) -> tuple[int, int]:
    """Where the sequence ends, and how many elements it holds."""
    if not _SHORTEST_PASSED <= length <= _LONGEST_PASSED:
        return _pass_sequence(head, at, length, texts, depth)
    if at + length > len(head):
        raise struct.error
    content = head[at : at + length]
    count, deepest = _passed.get(content, (0, 0))
    if depth <= deepest:
        return at + length, count
    heard = len(texts)
    end, count = _pass_sequence(head, at, length, texts, depth)
    if len(texts) == heard:
        if len(_passed) >= _MOST_PASSED:
            _passed.clear()
        _passed[content] = count, depth
    return end, count


def _pass_sequence(head: bytes, at: int, length: int, texts: list[bytes], depth: int) -> tuple[int, int]:
    stop = None if length == UNDEFINED else at + length
    count = 0
    while at != stop:
        tag, length = _item(head, at)
        at += 8
        if tag == _ITEM and depth <= MAX_DEPTH:
            at, inner = _pass_item(head, at, _stop(at, length, stop), texts, depth)
            count += inner
        elif tag == _SEQUENCE_END and stop is None:
            break
        else:
            raise _Unusual
        if count > MOST_ELEMENTS or (stop is not None and at > stop):
            raise _Unusual
    return at, count


def _pass_item(head: bytes, at: int, stop: int | None, texts: list[bytes], depth: int) -> tuple[int, int]:
    count, end = 0, len(head)
    while at != stop:
        tag, vr, length = _head(head, at)
        count += 1
        if tag & 0xFFFF == _ITEM_GROUP:
            if tag == _ITEM_END and stop is None:
                return at + 8, count
            raise _Unusual
        if vr in _SHORT:
            at += 8
        elif vr == _SQ:
            at, length = at + 12, _long(head, at + 8)[0]
            _stop(at, length, stop)
            at, inner = _pass_nested(head, at, length, texts, depth + 1)
            count += inner
            continue
        elif vr in _LONG:
            at, length = at + 12, _long(head, at + 8)[0]
        else:
            raise _Unusual
        if tag == _CHARACTER_SET:
            raise _Unusual  # an item in a character set of its own
        begin, at = at, at + length
        if at > end:
            raise struct.error
        if stop is not None and at > stop:
            raise _Unusual
        if vr in _TEXT:
            if length > _LONGEST:
                raise _Unusual
            _listen(head, begin, at, texts)
    return at, count


def _stop(at: int, length: int, around: int | None) -> int | None:
    """Where what begins here ends; None where a delimiter closes it."""
    if length == UNDEFINED:
        return None
    if around is not None and at + length > around:
        raise _Unusual
    return at + length


def _pass_fragments(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """Where encapsulated pixel data (PS3.5 A.4) ends, and its fragments, the offset table not counted."""
    end, fragments = len(data), -1
    while at + 8 <= end:
        tag, length = _item(data, at)
        at += 8
        if tag == _SEQUENCE_END:
            return at, max(fragments, 0)
        at += length
        fragments += 1
        if tag != _ITEM or length == UNDEFINED:
            raise _Unusual
    raise _Unusual


def _listen(head: bytes, begin: int, end: int, texts: list[bytes]) -> None:
    """Remember what is not plain ASCII: all text of a dataset together shows its character set."""
    value = head[begin:end]
    if not value.isascii() or b"\x1b" in value:
        texts.append(value)
