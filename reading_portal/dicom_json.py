"""Headers as DICOM JSON metadata (PS3.18 F): what was left out for its length becomes a BulkDataURI. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from storage.attributes import values_of

Attributes = dict[str, Any]
MEDIA_TYPE = "application/dicom+json"
UTF_8 = {"vr": "CS", "Value": ["ISO_IR 192"]}

# An attribute that is here says that a long one belongs beside it, which the header leaves out.
COMPANIONS = {
    "00281101": ("00281201", "OW"),  # palettes
    "00281102": ("00281202", "OW"),
    "00281103": ("00281203", "OW"),
    "00283002": ("00283006", "OW"),  # LUT Data beside its descriptor
    "003A0010": ("54001010", "OW"),  # Waveform Data beside Number of Waveform Samples
    "00420012": ("00420011", "OB"),  # Encapsulated Document beside its MIME type
}
PIXEL_DATA = "7FE00010"
SEGMENTED = {"00281201": "00281221", "00281202": "00281222", "00281203": "00281223"}


def metadata(
    header: Attributes,
    *,
    uri: str,
    has_pixels: bool,
    transfer_syntax_uid: str | None = None,
    has_bulk: Callable[[tuple[int, ...]], bool] = lambda _: True,
) -> Attributes:
    """The header of one instance as WADO-RS tells it. `uri` is the address of the instance.

    `transfer_syntax_uid` names what frames are served in (Available Transfer Syntax UID); `has_bulk` says
    whether the object holds the value at a path, where its header leaves that open.
    """
    told = _with_bulk(header, f"{uri}/bulkdata")
    if "00281101" in header and "00281201" not in header and not has_bulk((0x00281201,)):
        # Segmented palettes stand in attributes of their own, and are announced by the same descriptors.
        for plain, segmented in SEGMENTED.items():
            del told[plain]
            if segmented not in header:
                told[segmented] = {"vr": "OW", "BulkDataURI": f"{uri}/bulkdata/{segmented}"}
    # The text was decoded; whoever reads JSON reads UTF-8.
    told["00080005"] = UTF_8
    if has_pixels:
        told[PIXEL_DATA] = {"vr": "OW", "BulkDataURI": f"{uri}/bulkdata/{PIXEL_DATA}"}
    if transfer_syntax_uid is not None:
        told["00083002"] = {"vr": "UI", "Value": [transfer_syntax_uid]}
    return told


def dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def bulk_path(text: str) -> tuple[int, ...]:
    """`7FE00010` or `54000100/0/54001010` → tag, item, tag, …  Raises ValueError."""
    steps = [step for step in text.split("/") if step]
    if len(steps) % 2 == 0 or len(steps) > 31:
        raise ValueError("a bulk data path is tag/item/tag in hexadecimal and decimal")
    return tuple(_tag(step) if index % 2 == 0 else _item(step) for index, step in enumerate(steps))


def keyword_of(name: str) -> str | None:
    """A query parameter's name, keyword or eight hexadecimal digits, as keyword; None where it is neither."""
    if len(name) == 8:
        try:
            return keyword_for_tag(int(name, 16)) or None
        except ValueError:
            pass
    return name if tag_for_keyword(name) is not None else None


def tag_of(keyword: str) -> str:
    return f"{tag_for_keyword(keyword) or 0:08X}"


def vr_of(tag: str) -> str:
    try:
        return dictionary_VR(int(tag, 16)).split(" ")[0]
    except KeyError:
        return "UN"


def without_bulk(header: Attributes) -> Iterator[tuple[str, Any]]:
    """The attributes of a header but for nested sequences of whole frames, which no list needs."""
    for tag, element in header.items():
        if tag not in ("52009230",):
            yield tag, element


def first(attributes: Attributes, tag: str) -> Any:
    """The first value, or None."""
    values = values_of(attributes, tag)
    return values[0] if values else None


def text(attributes: Attributes, tag: str) -> str:
    """The first value as text; a person name keeps all its groups (`ZHANG^SAN=张^三`)."""
    value = first(attributes, tag)
    if isinstance(value, dict):
        groups = [value.get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    return "" if value is None else str(value)


def _with_bulk(level: Attributes, uri: str) -> Attributes:
    told: Attributes = {}
    for tag, element in level.items():
        if element.get("vr") == "SQ" and "Value" in element:
            items = [
                _with_bulk(item or {}, f"{uri}/{tag}/{index}") for index, item in enumerate(element["Value"])
            ]
            told[tag] = {"vr": "SQ", "Value": items}
        else:
            told[tag] = element
        beside = COMPANIONS.get(tag) or (_overlay_data(tag) if tag.startswith("60") else None)
        if beside is not None and beside[0] not in level:
            told[beside[0]] = {"vr": beside[1], "BulkDataURI": f"{uri}/{beside[0]}"}
    return dict(sorted(told.items()))


def _overlay_data(tag: str) -> tuple[str, str] | None:
    # Overlay Bit Position 0 beside Overlay Data of its own (PS3.5 8.1.2).
    return (f"{tag[:4]}3000", "OW") if tag.endswith("0102") else None


def _tag(step: str) -> int:
    if len(step) != 8:
        raise ValueError("a tag has eight hexadecimal digits")
    return int(step, 16)


def _item(step: str) -> int:
    if not step.isdigit() or len(step) > 6:
        raise ValueError("an item is counted from 0")
    return int(step)
