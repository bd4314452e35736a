"""Command sets (PS3.7 6.3.1, E): read and written without a dataset, for the receiving path."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from storage.uids import is_uid

C_STORE_RQ, C_ECHO_RQ, C_CANCEL_RQ = 0x0001, 0x0030, 0x0FFF
RESPONSE = 0x8000
NO_DATASET = 0x0101
LONGEST_COMMAND = 16 << 10

_GROUP_LENGTH, _CLASS, _FIELD, _MESSAGE_ID, _RESPONDED_TO = 0x0000, 0x0002, 0x0100, 0x0110, 0x0120
_DATASET_TYPE, _STATUS, _COMMENT, _INSTANCE = 0x0800, 0x0900, 0x0902, 0x1000
_head = struct.Struct("<HHL")
_pdv = struct.Struct(">BBLLBB")


@dataclass(frozen=True)
class Command:
    """A request: what is wanted, of which class and instance, and whether a dataset follows."""

    field: int
    message_id: int
    has_dataset: bool
    sop_class_uid: str
    sop_instance_uid: str
    is_response: bool


def read_command(data: bytes) -> Command:
    """Raises ValueError for what is no command set."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            raise ValueError("the command set ends inside an element")
        group, number, length = _head.unpack_from(data, at)
        at += 8
        if group != 0 or at + length > len(data):
            raise ValueError("the command set holds something that is no command element")
        found[number] = data[at : at + length]
        at += length
    try:
        field = _number(found[_FIELD])
        return Command(
            field,
            _number(found[_MESSAGE_ID]) if _MESSAGE_ID in found else _number(found[_RESPONDED_TO]),
            _number(found[_DATASET_TYPE]) != NO_DATASET,
            _text(found.get(_CLASS, b"")),
            _text(found.get(_INSTANCE, b"")),
            bool(field & RESPONSE) or _MESSAGE_ID not in found,
        )
    except KeyError:
        raise ValueError("the command set lacks an element that every one has") from None


def response(command: Command, context_id: int, status: int, comment: str = "") -> bytes:
    """The P-DATA-TF that answers this command."""
    elements = []
    if command.sop_class_uid:
        elements.append(_uid(_CLASS, command.sop_class_uid))
    elements.append(_short(_FIELD, command.field | RESPONSE))
    elements.append(_short(_RESPONDED_TO, command.message_id))
    elements.append(_short(_DATASET_TYPE, NO_DATASET))
    elements.append(_short(_STATUS, status))
    if comment:
        elements.append(_padded(_COMMENT, comment.encode("ascii", "replace"), b" "))
    if command.sop_instance_uid:
        elements.append(_uid(_INSTANCE, command.sop_instance_uid))
    body = b"".join(elements)
    body = _head.pack(0, _GROUP_LENGTH, 4) + struct.pack("<L", len(body)) + body
    return _pdv.pack(4, 0, len(body) + 6, len(body) + 2, context_id, 3) + body


def _number(value: bytes) -> int:
    if len(value) != 2:
        raise ValueError("a number of the command set has not two bytes")
    return value[0] | value[1] << 8


def _text(value: bytes) -> str:
    """A UID, or nothing where it is none: it is answered, compared and logged."""
    text = value.rstrip(b"\0 ").decode("ascii", "replace")
    return text if is_uid(text) else ""


def _short(number: int, value: int) -> bytes:
    return _head.pack(0, number, 2) + struct.pack("<H", value)


def _uid(number: int, text: str) -> bytes:
    return _padded(number, text.encode("ascii"), b"\0")


def _padded(number: int, value: bytes, padding: bytes) -> bytes:
    value += padding * (len(value) % 2)
    return _head.pack(0, number, len(value)) + value
