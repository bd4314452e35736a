"""DICOM JSON → the bytes of a dataset, in the encoding and character set that whoever gets it can read."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from functools import lru_cache
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
    return encode_elements(attributes, charset, is_implicit, ">" if is_big_endian else "<")


def encode_elements(attributes: Mapping[str, Any], charset: str, is_implicit: bool, order: str) -> bytes:
    """Elements in order, of a dataset that says elsewhere what its text is written in; `order` for struct."""
    pieces: list[bytes] = []
    for tag, element in sorted(attributes.items()):
        vr = element["vr"]
        value = _value(vr, element, charset, is_implicit, order)
        if len(value) % 2:
            value += b" " if vr in PADDED_WITH_SPACE else b"\0"
        head, length = _head(tag, vr, is_implicit, order)
        if length.size == 2:
            value = value[:65534]
        pieces += (head, length.pack(len(value)), value)
    return b"".join(pieces)


@lru_cache(maxsize=4096)
def _head(tag: str, vr: str, is_implicit: bool, order: str) -> tuple[bytes, struct.Struct]:
    """An element up to its length, and how that is written (PS3.5 7.1)."""
    head = struct.pack(order + "HH", int(tag[:4], 16), int(tag[4:], 16))
    if is_implicit:
        return head, struct.Struct(order + "L")
    if vr in LONG_LENGTH:
        return head + vr.encode() + bytes(2), struct.Struct(order + "L")
    return head + vr.encode(), struct.Struct(order + "H")


def _value(vr: str, element: Mapping[str, Any], charset: str, is_implicit: bool, order: str) -> bytes:
    values = element.get("Value")
    if not values and vr not in BINARY:
        return b""
    values = values or []
    if vr == "SQ":
        items = []
        for item in values:
            raw = encode_elements(item, charset, is_implicit, order)
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
    text = _text(vr, values[0]) if len(values) == 1 else "\\".join(_text(vr, value) for value in values)
    if vr not in TEXT or text.isascii():
        return text.encode("ascii", "replace")
    return encode_for(text, charset)


def _text(vr: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if vr == "PN" and isinstance(value, Mapping):
        return "=".join(str(value.get(group, "")) for group in GROUPS).rstrip("=")
    if vr == "DS" and isinstance(value, float):
        return f"{value:.10g}"
    return str(value)


def _needs_charset(element: Mapping[str, Any]) -> bool:
    if element["vr"] == "SQ":
        return any(_needs_charset(nested) for item in element.get("Value") or [] for nested in item.values())
    values = element.get("Value")
    if not values or element["vr"] not in TEXT:
        return False
    return not all(_text(element["vr"], value).isascii() for value in values)
