"""C-FIND, patient and study root: what matches and may be seen, in the character set that was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydicom.datadict import keyword_for_tag

from dicom_node.answering import SPECIFIC_CHARACTER_SET, charset_for, shown_in
from dicom_node.contexts import PATIENT_ROOT
from dicom_node.exchange import Exchange
from dicom_node.pending import Pending
from dicom_node.statuses import Status, WrongRequest
from storage import answers
from storage.attributes import values_of
from storage.database import utc_now
from storage.institutions import Service
from storage.matching import MATCHED, Level
from worklist.people import visible_to_device

if TYPE_CHECKING:
    from dicom_node.node import Node

MOST_MATCHES = 20_000
LONGEST_KEY = 1024
LONGEST_WILDCARD_KEY = 128

TIMEZONE_OFFSET = "00080201"
QUERY_RETRIEVE_LEVEL, RETRIEVE_AE_TITLE, INSTANCE_AVAILABILITY = "00080052", "00080054", "00080056"
ALWAYS_ANSWERED = {RETRIEVE_AE_TITLE, INSTANCE_AVAILABILITY}
# Whose items hold keys too: Scheduled Procedure Step, Issuer of Accession Number.
SEQUENCES = ("00400100", "00080051")
# What the worklist matches besides (worklist.scheduling).
WORKLIST_KEYS = {
    "RequestedProcedureID",
    "ScheduledProcedureStepID",
    "ScheduledStationAETitle",
    "ScheduledProcedureStepStartDate",
    "ScheduledProcedureStepStartTime",
}
NO_KEYS = {SPECIFIC_CHARACTER_SET, TIMEZONE_OFFSET, QUERY_RETRIEVE_LEVEL}

# PS3.4 C.6: level of the query → level of the matching, and the key that every answer carries.
LEVELS = {
    "PATIENT": (Level.PATIENT, "00100020"),
    "STUDY": (Level.STUDY, "0020000D"),
    "SERIES": (Level.SERIES, "0020000E"),
    "IMAGE": (Level.INSTANCE, "00080018"),
}


def find(node: Node, exchange: Exchange) -> None:
    exchange.require(Service.FIND)
    asked = exchange.dataset()
    level = str(next(iter(values_of(asked, QUERY_RETRIEVE_LEVEL)), "")).strip()
    if level not in LEVELS or (level == "PATIENT" and exchange.abstract_syntax not in PATIENT_ROOT):
        raise WrongRequest("the query/retrieve level is unknown")
    charset = charset_for(exchange.device, asked)
    keys = keys_of(asked)
    options = exchange.options
    row_level, unique_key = LEVELS[level]
    with node.database.reading() as session:
        visible = visible_to_device(session, exchange.device, now=utc_now())
        rows = answers.matches(
            session,
            row_level,
            keys,
            visible=visible,
            limit=MOST_MATCHES + 1,
            fuzzy=options.fuzzy,
            relational=options.relational,
            combined=options.combined,
            empty=options.empty,
        )
        is_all, rows = len(rows) <= MOST_MATCHES, rows[:MOST_MATCHES]
        page = answers.describe(session, row_level, rows[: answers.PAGE], visible=visible, wanted=asked)
    always = {
        QUERY_RETRIEVE_LEVEL: {"vr": "CS", "Value": [level]},
        RETRIEVE_AE_TITLE: {"vr": "AE", "Value": [node.settings.ae_title]},
        INSTANCE_AVAILABILITY: {"vr": "CS", "Value": ["ONLINE"]},
    }
    pending = Pending(exchange, pending_status(asked, page, keys), charset)
    for start in range(0, len(rows), answers.PAGE):
        if start:
            # No look is open while a peer on a slow line reads what it has been told.
            with node.database.reading() as session:
                some = rows[start : start + answers.PAGE]
                page = answers.describe(session, row_level, some, visible=visible, wanted=asked)
        for row in page:
            answer = {**only_asked(row, asked), unique_key: row[unique_key], **always}
            if not pending.add(shown_in(answer, charset)):
                return
    pending.finish(is_all=is_all)


def pending_status(asked: dict[str, Any], rows: list[dict[str, Any]], keys: dict[str, str]) -> Status:
    """0xFF01 where an optional key is not supported for existence or for matching (PS3.4 C.4.1.1.4)."""
    known = rows[0] if rows else {}
    is_supported = all(_is_known(asked, known)) and all(
        keyword in MATCHED or keyword in WORKLIST_KEYS for keyword in keys
    )
    return Status.PENDING if is_supported else Status.PENDING_WITHOUT_SOME_KEYS


def _is_known(asked: dict[str, Any], known: dict[str, Any]) -> Iterator[bool]:
    for tag, element in asked.items():
        if tag in NO_KEYS or tag in ALWAYS_ANSWERED:
            continue
        yield tag in known
        inner, held = (element.get("Value") or [{}])[0], (known.get(tag, {}).get("Value") or [{}])[0]
        if element["vr"] == "SQ" and isinstance(inner, dict) and isinstance(held, dict) and held:
            yield from _is_known(inner, held)


def keys_of(asked: dict[str, Any]) -> dict[str, str]:
    """Matching keys, flat: those inside sequences beside those of the top (PS3.4 C.2.2.2.6)."""
    keys = matching_keys(asked)
    for tag in SEQUENCES:
        for item in values_of(asked, tag)[:1]:
            keys |= matching_keys(item)
    return keys


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
    """The attributes that were asked for: with their value, empty where there is none, absent where we do
    not hold such an attribute (PS3.4 C.2.2.1.3)."""
    answer: dict[str, Any] = {}
    for tag, element in asked.items():
        if tag in NO_KEYS:
            continue
        found = row.get(tag)
        if found is None:
            continue
        inner = element.get("Value") or [{}]
        if element["vr"] == "SQ" and isinstance(inner[0], dict) and inner[0]:
            nested = [only_asked(item, inner[0]) for item in found.get("Value", [])]
            answer[tag] = {"vr": "SQ", "Value": nested}
        else:
            answer[tag] = found
    return answer


def _text(value: Any) -> str:
    if isinstance(value, dict):
        groups = [str(value.get(name, "")) for name in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    return "" if value is None else str(value)
