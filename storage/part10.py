"""Preamble and file meta information (PS3.10 7.1): what stands before a dataset in every object that we keep.

Our own private information (0002,0102) makes an object describe itself: how long its dataset is, its hash,
whose it is and since when. An index that lost its last rows at a power cut is healed from it.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from datetime import datetime

# A random UUID under 2.25 (PS3.5 B.2), fixed for this implementation.
IMPLEMENTATION_CLASS_UID = "2.25.190146893826480637145193742067350421513"
IMPLEMENTATION_VERSION_NAME = "READINGCENTER01"
_CREATOR = IMPLEMENTATION_CLASS_UID + ".1"

LONGEST_META = 4096
DESCRIPTION_LENGTH = (
    256  # bytes that a description takes, padded: it may be written when the dataset has passed by
)
_BEFORE_GROUP = 128 + 4 + 12


@dataclass(frozen=True)
class Description:
    """What an object says about itself."""

    length: int  # bytes of the dataset
    digest: str  # BLAKE3 of the dataset, in hexadecimal
    institution_code: str
    received_at: datetime


@dataclass(frozen=True)
class Meta:
    """The meta information of a stored object, as far as we need it again."""

    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae: str
    dataset_offset: int
    description: Description | None


def meta_bytes(
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str,
    calling_ae: str,
    description: Description | None = None,
) -> bytes:
    """Before a dataset, these bytes make a Part 10 file; their length does not depend on the description."""
    elements = [
        b"\x02\0\x01\0OB\0\0\x02\0\0\0\0\x01",
        _element(0x0002, b"UI", sop_class_uid, b"\0"),
        _element(0x0003, b"UI", sop_instance_uid, b"\0"),
        _element(0x0010, b"UI", transfer_syntax_uid, b"\0"),
        _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID, b"\0"),
        _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME, b" "),
        _element(0x0016, b"AE", calling_ae, b" "),
    ]
    if description is not None:
        elements.append(_element(0x0100, b"UI", _CREATOR, b"\0"))
        elements.append(
            struct.pack("<HH2sHL", 2, 0x0102, b"OB", 0, DESCRIPTION_LENGTH) + _described(description)
        )
    group = b"".join(elements)
    return bytes(128) + b"DICM" + b"\x02\0\0\0UL\x04\0" + struct.pack("<L", len(group)) + group


def filled_in(meta: bytes, description: Description) -> bytes:
    """The same meta information with another description, which stands last."""
    return meta[:-DESCRIPTION_LENGTH] + _described(description)


def read_meta(head: bytes) -> Meta | None:
    """The meta information at the beginning of an object of ours; None where there is none."""
    if head[128:132] != b"DICM" or len(head) < _BEFORE_GROUP:
        return None
    end = _BEFORE_GROUP + int.from_bytes(head[_BEFORE_GROUP - 4 : _BEFORE_GROUP], "little")
    if end > len(head):
        return None
    found, at = {}, _BEFORE_GROUP
    while at + 8 <= end:
        number, vr, length = struct.unpack_from("<xxH2sH", head, at)
        at += 8
        if vr == b"OB":
            length = int.from_bytes(head[at : at + 4], "little")
            at += 4
        found[number] = head[at : at + length]
        at += length

    def text(number: int) -> str:
        return found.get(number, b"").decode("ascii", "replace").strip(" \0")

    described = found.get(0x0102, b"") if text(0x0100) == _CREATOR else b""
    return Meta(text(0x0003), text(0x0010), text(0x0016), end, _read_description(described))


def _described(description: Description) -> bytes:
    # JSON, written by hand: a device is waiting, and only the institution's code could need escaping.
    text = (
        f'{{"length":{description.length},"blake3":"{description.digest}",'
        f'"institution":{json.dumps(description.institution_code)},"at":"{description.received_at.isoformat()}"}}'
    ).encode("ascii")
    if len(text) > DESCRIPTION_LENGTH:
        raise ValueError("the code of an institution is too long for an object's description")
    return text.ljust(DESCRIPTION_LENGTH)


def _read_description(value: bytes) -> Description | None:
    try:
        said = json.loads(value)
        return Description(
            int(said["length"]),
            str(said["blake3"]),
            str(said["institution"]),
            datetime.fromisoformat(said["at"]),
        )
    except (ValueError, KeyError, TypeError):
        return None


def _element(number: int, vr: bytes, text: str, padding: bytes) -> bytes:
    value = text.encode("ascii", "replace")
    value += padding * (len(value) % 2)
    return struct.pack("<HH2sH", 0x0002, number, vr, len(value)) + value
