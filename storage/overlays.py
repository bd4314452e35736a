"""What a correction says instead of what a device sent: laid over a header, which itself stays as it is.

The header that leaves says what was replaced and why (Original Attributes Sequence, PS3.3 C.12.1.1.9).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from storage.attributes import values_of

Header = dict[str, Any]  # DICOM JSON

MODIFYING_SYSTEM = "READING CENTER"
SPECIFIC_CHARACTER_SET = "00080005"
LATERALITY, IMAGE_LATERALITY = "00200060", "00200062"
ORIGINAL_ATTRIBUTES, MODIFIED_ATTRIBUTES = "04000561", "04000550"


@dataclass(frozen=True)
class Overlay:
    """What is said instead, from when on, and who had said it otherwise (an AE title)."""

    values: Mapping[str, dict[str, Any]]  # tag → element, as DICOM JSON
    at: datetime
    source: str
    removed: frozenset[str] = field(default_factory=frozenset)  # what speaks of somebody or something else
    charset: str | None = None  # by which a person found the text to be written

    @cached_property
    def key(self) -> str:
        """Stands for the overlay in an ETag or a cache."""
        said = (sorted(self.values.items()), sorted(self.removed), self.at.isoformat(), self.charset)
        return hashlib.sha256(repr(said).encode()).hexdigest()[:12]


def replaced(header: Mapping[str, Any], overlay: Overlay) -> dict[str, dict[str, Any] | None]:
    """The attributes of this header that leave otherwise, each with its new element; None: it is removed."""
    new: dict[str, dict[str, Any] | None] = {
        tag: element
        for tag, element in _fitting(overlay.values, header).items()
        if _said(header.get(tag)) != _said(element)
    }
    return new | {tag: None for tag in overlay.removed if _said(header.get(tag))}


def overlaid(header: Header, overlay: Overlay | None) -> Header:
    """The header as it leaves; the same one where nothing in it was wrong."""
    new = replaced(header, overlay) if overlay is not None else {}
    if overlay is None or not new:
        return header
    before = {tag: header.get(tag) or {"vr": _vr(element)} for tag, element in new.items()}
    change = {MODIFIED_ATTRIBUTES: {"vr": "SQ", "Value": [dict(sorted(before.items()))]}}
    told = header | {tag: element for tag, element in new.items() if element is not None}
    for tag, element in new.items():
        if element is None:
            told.pop(tag)
    items = [*values_of(header, ORIGINAL_ATTRIBUTES), change | circumstances(overlay)]
    told[ORIGINAL_ATTRIBUTES] = {"vr": "SQ", "Value": items}
    return dict(sorted(told.items()))


def circumstances(overlay: Overlay) -> dict[str, Any]:
    """When, by whom and why, as an item of the Original Attributes Sequence says it."""
    moment = overlay.at.astimezone(UTC).strftime("%Y%m%d%H%M%S.%f+0000")
    return {
        "04000562": {"vr": "DT", "Value": [moment]},
        "04000563": {"vr": "LO", "Value": [MODIFYING_SYSTEM]},
        "04000564": {"vr": "LO", "Value": [overlay.source]},
        # PS3.3 C.12.1.1.9: CORRECT is a wrong worklist item or an operator's error, COERCE an import.
        "04000565": {"vr": "CS", "Value": ["CORRECT"]},
    }


def _fitting(values: Mapping[str, dict[str, Any]], header: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A side stands where this kind of object has it: projections say Image Laterality (PS3.3 C.8.11.2)."""
    fitting = dict(values)
    side = fitting.pop(LATERALITY, None)
    if side is not None:
        places = [tag for tag in (LATERALITY, IMAGE_LATERALITY) if tag in header]
        fitting |= dict.fromkeys(places or [LATERALITY], side)
    return fitting


def _said(element: dict[str, Any] | None) -> list[Any]:
    """What an element says; nothing where it is absent or empty, which to a reader is the same."""
    if element is None:
        return []
    if "InlineBinary" in element:
        return [element["InlineBinary"]]
    return [value for value in element.get("Value", ()) if value not in (None, "", {})]


def _vr(element: dict[str, Any] | None) -> str:
    return str(element["vr"]) if element is not None else "UN"
