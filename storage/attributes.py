"""Data elements as DICOM JSON (PS3.18 F), text decoded as it was meant, bulk left out."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from typing import Any

from pydicom._dicom_dict import DicomDictionary

from storage.charsets import UTF_8, decode_as, judge_charset, plain_term
from storage.elements import BINARY, TEXT, Element, Items, Walked

SPECIFIC_CHARACTER_SET = 0x00080005
PIXEL_REPRESENTATION = 0x00280103

NUMBERS = {"FL": "f", "FD": "d", "SL": "l", "SS": "h", "SV": "q", "UL": "L", "US": "H", "UV": "Q"}
SINGLE = {"ST", "LT", "UT", "UR"}  # PS3.5 6.4: in these a backslash is text
GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


@dataclass(frozen=True)
class Encoding:
    """How the values of one level of a dataset are to be read."""

    byte_order: str
    declared: tuple[str, ...]
    used: str
    is_guess: bool
    is_signed: bool = False  # for the implicit elements that the dictionary calls "US or SS"


def encoding_of(walked: Walked) -> Encoding:
    """What wrote this dataset's text: declared, or else what all its text values together show."""
    declared = declared_charset(walked.elements)
    said = (walked.elements, *walked.repeated)
    used, is_guess = judge_charset(chain(*map(text_values, said), walked.texts), declared)
    sign = walked.elements.get(PIXEL_REPRESENTATION)
    is_signed = not walked.is_explicit and sign is not None and bool((sign.value or b"").strip(b"\0"))
    return Encoding(walked.byte_order, declared, used, is_guess, is_signed)


def read_as(encoding: Encoding, found: str | None) -> Encoding:
    """The same, its text read as a person found its study's to be written; None: nobody has."""
    if found is None or found == encoding.used:
        return encoding
    if encoding.used == UTF_8 and not encoding.is_guess:
        return encoding  # declared and true, as no other text would be by chance
    is_guess = plain_term(found) not in {plain_term(term) for term in encoding.declared}
    return replace(encoding, used=found, is_guess=is_guess)


def declared_charset(items: Items) -> tuple[str, ...]:
    element = items.get(SPECIFIC_CHARACTER_SET)
    raw = (element.value or b"") if element is not None else b""
    terms = tuple(term.strip(" \0") for term in raw.decode("ascii", "replace").split("\\"))
    return terms if any(terms) else ()


def text_of(element: Element | None, encoding: Encoding) -> str:
    """The whole value as one string, padding removed; empty where absent."""
    if element is None or not element.value:
        return ""
    return _text(element.value, element.vr, encoding.used, encoding.declared)


@lru_cache(maxsize=2048)  # the images of a series say the same, but for a few values
def _text(value: bytes, vr: str, used: str, declared: tuple[str, ...]) -> str:
    if vr in TEXT or vr == "UN":
        return decode_as(value, used, declared).strip()
    return value.decode("latin_1").replace("\0", "").strip()


def number_of(element: Element | None, encoding: Encoding) -> int | None:
    """The first value as an integer of 32 bits, written in binary or in digits; None where it is none."""
    if element is None or not element.value:
        return None
    try:
        if (code := NUMBERS.get(element.vr)) and len(element.value) >= struct.calcsize("=" + code):
            number = int(struct.unpack_from(encoding.byte_order + code, element.value)[0])
        else:
            number = int(float(text_of(element, encoding).split("\\")[0]))
    except (ValueError, OverflowError):
        return None
    # PS3.5 6.2 bounds IS so; a database column would refuse what lies beyond, and the device try for ever.
    return number if -(2**31) <= number < 2**31 else None


def to_dicom_json(items: Items, encoding: Encoding) -> dict[str, Any]:
    """Tag in eight hexadecimal digits → {"vr", "Value"}; long values and group lengths are left out.

    Fit for any JSON column: no NUL, no NaN. Nesting was limited when the elements were walked.
    """
    if (own := declared_charset(items)) and own != encoding.declared:
        used, is_guess = judge_charset(text_values(items), own)
        encoding = Encoding(encoding.byte_order, own, used, is_guess, encoding.is_signed)
    found = {}
    for tag, element in sorted(items.items()):
        if tag & 0xFFFF and (element.value is not None or element.items is not None):
            found[f"{tag:08X}"] = _one(tag, element, encoding)
    return found


def _one(tag: int, element: Element, encoding: Encoding) -> dict[str, Any]:
    vr = element.vr
    if element.items is not None:
        nested = [to_dicom_json(item, encoding) for item in element.items]
        return {"vr": "SQ", "Value": nested} if nested else {"vr": "SQ"}
    value = element.value or b""
    if vr == "US" and encoding.is_signed and DicomDictionary.get(tag, ("",))[0] == "US or SS":
        vr = "SS"
    if not value:
        return {"vr": vr}
    if vr in BINARY:
        return {"vr": vr, "InlineBinary": base64.b64encode(value).decode("ascii")}
    if vr == "AT":
        pairs = struct.iter_unpack(encoding.byte_order + "HH", value[: len(value) // 4 * 4])
        values: list[Any] = [f"{group:04X}{number:04X}" for group, number in pairs]
    elif vr in NUMBERS:
        code = encoding.byte_order + NUMBERS[vr]
        whole = len(value) // struct.calcsize(code) * struct.calcsize(code)
        values = [_finite(number) for (number,) in struct.iter_unpack(code, value[:whole])]
    else:
        text = text_of(element, encoding)
        parts = [text] if vr in SINGLE else [part.strip() for part in text.split("\\")]
        values = [_from_text(vr, part) for part in parts] if any(parts) else []
    return {"vr": vr, "Value": values} if values else {"vr": vr}


def _from_text(vr: str, part: str) -> Any:
    if not part:
        return None
    if vr == "PN":
        groups = [group.strip() for group in part.split("=")]
        return {name: group for name, group in zip(GROUPS, groups, strict=False) if group}
    if vr in ("DS", "IS"):
        try:
            return int(part) if vr == "IS" else _finite(float(part))
        except ValueError:
            return part
    return part


def _finite(number: float) -> Any:
    return number if isinstance(number, int) or math.isfinite(number) else str(number)


def text_values(items: Items) -> Iterator[bytes]:
    for element in items.values():
        if element.value and element.vr in TEXT:
            yield element.value
        for item in element.items or ():
            if SPECIFIC_CHARACTER_SET not in item:
                yield from text_values(item)


def values_of(attributes: dict[str, Any], tag: str) -> Sequence[Any]:
    """The values of one tag of a DICOM JSON dataset; empty where absent."""
    values: Sequence[Any] = attributes.get(tag, {}).get("Value", ())
    return values
