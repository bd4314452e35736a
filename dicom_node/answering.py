"""In which characters a device is answered: those that it can show (PS3.3 C.12.1.1.2)."""

from __future__ import annotations

from typing import Any

from storage.attributes import values_of
from storage.charsets import CODECS, plain_term, writing_codec
from storage.elements import TEXT
from storage.institutions import ApplicationEntity
from storage.romanisation import romanised, romanised_name

SPECIFIC_CHARACTER_SET = "00080005"
UNICODE = "ISO_IR 192"

# What a device asked in → what it is answered in. Devices that declare nothing are mostly Chinese ones that
# show GBK. Any other set is answered in itself, and what that cannot hold in Latin letters.
ANSWERED_IN = {
    "": "GB18030",
    "ISO_IR 6": "GB18030",
    "GB18030": "GB18030",
    "GBK": "GBK",
    "GB2312": "GB18030",
    "ISO_IR 58": "ISO 2022 IR 58",
    UNICODE: UNICODE,
    "ISO_IR 87": "ISO 2022 IR 87",
    "ISO_IR 149": "ISO 2022 IR 149",
}
# Of several terms in one request the first of these: what holds the most of a Chinese name.
_PREFERRED = (UNICODE, "GB18030", "GBK", "ISO_IR 58", "GB2312")
# These hold Chinese; of a name with a character too rare for one of them that character is a question mark.
_CHINESE = {UNICODE, "GB18030", "GBK", "ISO 2022 IR 58"}


def charset_for(device: ApplicationEntity, asked: dict[str, Any]) -> str:
    """The set that this device is answered in: the declared one, or else what its request stands for."""
    if device.character_set:
        return device.character_set
    terms = [plain_term(str(term or "")) for term in values_of(asked, SPECIFIC_CHARACTER_SET)]
    first = next((term for term in terms if term not in ("", "ISO_IR 6")), "")
    term = next((one for one in _PREFERRED if one in terms), first)
    return ANSWERED_IN.get(term) or (term if term in CODECS else UNICODE)


def shown_in(row: dict[str, Any], charset: str) -> dict[str, Any]:
    """The attributes in what this set can hold: Chinese becomes pinyin where the device shows none."""
    if charset in _CHINESE:
        return row
    return {tag: _shown(element, charset) for tag, element in row.items()}


def _shown(element: dict[str, Any], charset: str) -> dict[str, Any]:
    vr, values = element["vr"], element.get("Value")
    if not values:
        return element
    if vr == "SQ":
        return {**element, "Value": [shown_in(item, charset) for item in values]}
    if vr == "PN":
        return {**element, "Value": [_name(value, charset) for value in values]}
    if vr not in TEXT:
        return element
    return {
        **element,
        "Value": [
            value if not isinstance(value, str) or _holds(charset, value) else romanised(value)
            for value in values
        ],
    }


def _name(value: Any, charset: str) -> Any:
    groups = value if isinstance(value, dict) else {"Alphabetic": str(value or "")}
    kept = {name: group for name, group in groups.items() if _holds(charset, group)}
    if len(kept) == len(groups) and kept.get("Alphabetic"):
        return value
    whole = "=".join(str(groups.get(name, "")) for name in ("Alphabetic", "Ideographic"))
    return kept | {"Alphabetic": kept.get("Alphabetic") or romanised_name(whole)}


def _holds(charset: str, text: str) -> bool:
    try:
        text.encode(writing_codec(charset))
    except UnicodeEncodeError:
        return False
    return True
