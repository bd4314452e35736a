"""C-FIND, patient and study root: what matches and may be seen, in the character set that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydicom.datadict import keyword_for_tag

from dicom_node.contexts import PATIENT_ROOT
from dicom_node.exchange import Exchange
from dicom_node.statuses import Status, WrongRequest
from storage import matching
from storage.attributes import values_of
from storage.charsets import CODECS
from storage.database import utc_now
from storage.institutions import Service
from worklist.people import visible_to_device

if TYPE_CHECKING:
    from dicom_node.node import Node

MOST_MATCHES = 20_000
LONGEST_KEY = 1024
LONGEST_WILDCARD_KEY = 128

SPECIFIC_CHARACTER_SET, TIMEZONE_OFFSET = "00080005", "00080201"
QUERY_RETRIEVE_LEVEL, RETRIEVE_AE_TITLE, INSTANCE_AVAILABILITY = "00080052", "00080054", "00080056"
NO_KEYS = {SPECIFIC_CHARACTER_SET, TIMEZONE_OFFSET, QUERY_RETRIEVE_LEVEL}

# PS3.4 C.6: level of the query → level of the matching, and the key that every answer carries.
LEVELS = {
    "PATIENT": (matching.Level.PATIENT, "00100020"),
    "STUDY": (matching.Level.STUDY, "0020000D"),
    "SERIES": (matching.Level.SERIES, "0020000E"),
    "IMAGE": (matching.Level.INSTANCE, "00080018"),
}

# What a device asked in → what it is answered in. Devices that declare nothing are mostly Chinese ones that
# show GBK; a European set cannot hold a Chinese name, and Unicode can.
ANSWERED_IN = {
    "": "GB18030",
    "ISO_IR 6": "GB18030",
    "GB18030": "GB18030",
    "GBK": "GBK",
    "GB2312": "GB18030",
    "ISO 2022 IR 58": "ISO 2022 IR 58",
    "ISO_IR 192": "ISO_IR 192",
}


def find(node: Node, exchange: Exchange) -> None:
    exchange.require(Service.FIND)
    asked = exchange.dataset()
    level = str(next(iter(values_of(asked, QUERY_RETRIEVE_LEVEL)), "")).strip()
    if level not in LEVELS or (level == "PATIENT" and exchange.abstract_syntax not in PATIENT_ROOT):
        raise WrongRequest("the query/retrieve level is unknown")
    requested = requested_charset(asked)
    keys = matching_keys(asked)
    options = exchange.options
    with node.database.reading() as session:
        rows = matching.find(
            session,
            LEVELS[level][0],
            keys,
            visible=visible_to_device(session, exchange.device, now=utc_now()),
            limit=MOST_MATCHES,
            fuzzy=options.fuzzy,
            relational=options.relational,
            combined=options.combined,
        )
    for row in rows:
        if exchange.is_cancelled:
            exchange.answer(Status.CANCEL)
            return
        if not exchange.is_alive:
            return
        answer = only_asked(row, asked)
        answer[LEVELS[level][1]] = row.get(LEVELS[level][1], {"vr": "UI"})
        answer[QUERY_RETRIEVE_LEVEL] = {"vr": "CS", "Value": [level]}
        answer[RETRIEVE_AE_TITLE] = {"vr": "AE", "Value": [node.settings.ae_title]}
        answer[INSTANCE_AVAILABILITY] = {"vr": "CS", "Value": ["ONLINE"]}
        exchange.answer(Status.PENDING, dataset=answer, charset=answer_charset(requested, answer))
    exchange.answer(Status.SUCCESS)


def matching_keys(asked: dict[str, Any]) -> dict[str, str]:
    """Keyword → matching string, for every attribute with a value. Raises WrongRequest for a monster."""
    keys = {}
    for tag, element in asked.items():
        keyword = keyword_for_tag(tag)
        if tag in NO_KEYS or element["vr"] == "SQ" or not keyword:
            continue
        value = "\\".join(_text(part) for part in element.get("Value", []))
        has_wildcard = "*" in value or "?" in value
        longest = LONGEST_WILDCARD_KEY if has_wildcard else LONGEST_KEY if element["vr"] != "UI" else 65_536
        if len(value) > longest:
            raise WrongRequest(f"the key {keyword} is too long")
        if value.strip("*"):
            keys[keyword] = value
    return keys


def only_asked(row: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """The attributes that were asked for: with their value, empty where unknown (PS3.4 C.2.2.1.1)."""
    answer: dict[str, Any] = {}
    for tag, element in asked.items():
        if tag in NO_KEYS:
            continue
        found = row.get(tag)
        inner = element.get("Value") or [{}]
        if element["vr"] == "SQ" and found is not None and isinstance(inner[0], dict) and inner[0]:
            nested = [only_asked(item, inner[0]) for item in found.get("Value", [])]
            answer[tag] = {"vr": "SQ", "Value": nested}
        else:
            answer[tag] = found if found is not None else {"vr": element["vr"]}
    return answer


def requested_charset(asked: dict[str, Any]) -> str:
    terms = [str(term or "") for term in values_of(asked, SPECIFIC_CHARACTER_SET)]
    known = [term for term in terms if term in ANSWERED_IN and ANSWERED_IN[term] != "GB18030"]
    return (known or terms or [""])[0]


def answer_charset(requested: str, row: dict[str, Any]) -> str:
    """The requested set where it can hold the text; otherwise one that can."""
    if requested in ANSWERED_IN:
        return ANSWERED_IN[requested]
    try:
        str(row).encode(CODECS[requested])
    except (KeyError, UnicodeEncodeError):
        return "ISO_IR 192"
    return requested


def _text(value: Any) -> str:
    if isinstance(value, dict):
        groups = [str(value.get(name, "")) for name in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    return "" if value is None else str(value)
