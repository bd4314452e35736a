"""DICOM JSON → the bytes of a dataset, in the encoding and character set that the asking device can read."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from typing import Any

from storage.attributes import NUMBERS
from storage.charsets import encode_for
from storage.elements import ASCII_TEXT, BINARY, ITEM, LONG_LENGTH, TEXT

GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
SPECIFIC_CHARACTER_SET = "00080005"
PADDED_WITH_SPACE = TEXT | (ASCII_TEXT - {"UI"})


def encode(
    attributes: Mapping[str, Any], *, charset: str, is_implicit: bool = False, is_big_endian: bool = False
) -> bytes:
    """A dataset without pixels, elements in order; Specific Character Set says what the text is written in.

    `charset` is one defined term, or "ISO 2022 IR 58"; what it cannot hold becomes a question mark.
    """
    if any(_needs_charset(element) for element in attributes.values()):
        terms = ["", charset] if charset.startswith("ISO 2022") else [charset]
        attributes = {**attributes, SPECIFIC_CHARACTER_SET: {"vr": "CS", "Value": terms}}
    return _encode(attributes, charset, is_implicit, ">" if is_big_endian else "<")


def _encode(attributes: Mapping[str, Any], charset: str, is_implicit: bool, order: str) -> bytes:
    pieces = []
    for tag, element in sorted(attributes.items()):
        vr = element["vr"]
        value = _value(vr, element, charset, is_implicit, order)
        if len(value) % 2:
            value += b" " if vr in PADDED_WITH_SPACE else b"\0"
        head = struct.pack(order + "HH", int(tag[:4], 16), int(tag[4:], 16))
        if is_implicit:
            head += struct.pack(order + "L", len(value))
        elif vr in LONG_LENGTH:
            head += vr.encode() + bytes(2) + struct.pack(order + "L", len(value))
        else:
            value = value[:65534]
            head += vr.encode() + struct.pack(order + "H", len(value))
        pieces.append(head + value)
    return b"".join(pieces)


def _value(vr: str, element: Mapping[str, Any], charset: str, is_implicit: bool, order: str) -> bytes:
    values = element.get("Value") or []
    if vr == "SQ":
        items = []
        for item in values:
            raw = _encode(item, charset, is_implicit, order)
            items.append(struct.pack(order + "HHL", ITEM >> 16, ITEM % 65536, len(raw)) + raw)
        return b"".join(items)
    if vr in BINARY:
        return base64.b64decode(element.get("InlineBinary", ""))
    if vr == "AT":
        return b"".join(struct.pack(order + "HH", int(tag[:4], 16), int(tag[4:], 16)) for tag in values)
    if vr in NUMBERS:
        # What is no number travels through JSON as a word.
        read = float if vr in ("FD", "FL") else int
        return b"".join(struct.pack(order + NUMBERS[vr], read(value)) for value in values)
    text = "\\".join(_text(vr, value) for value in values)
    return encode_for(text, charset) if vr in TEXT else text.encode("ascii", "replace")


def _text(vr: str, value: Any) -> str:
    if value is None:
        return ""
    if vr == "PN" and isinstance(value, Mapping):
        return "=".join(str(value.get(group, "")) for group in GROUPS).rstrip("=")
    if vr == "DS" and isinstance(value, float):
        return f"{value:.10g}"
    return str(value)


def _needs_charset(element: Mapping[str, Any]) -> bool:
    if element["vr"] == "SQ":
        return any(_needs_charset(nested) for item in element.get("Value") or [] for nested in item.values())
    if element["vr"] not in TEXT:
        return False
    return not all(_text(element["vr"], value).isascii() for value in element.get("Value") or [])
