"""Command sets (PS3.7 6.3.1, E): read and written without pynetdicom, for what is in a hurry."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from storage.uids import is_uid

C_STORE_RQ, C_GET_RQ, C_FIND_RQ, C_MOVE_RQ = 0x0001, 0x0010, 0x0020, 0x0021
C_ECHO_RQ, C_CANCEL_RQ = 0x0030, 0x0FFF
RESPONSE = 0x8000
NO_DATASET, SOME_DATASET = 0x0101, 0x0001
LONGEST_COMMAND = 16 << 10

_GROUP_LENGTH, _CLASS, _FIELD, _MESSAGE_ID, _RESPONDED_TO = 0x0000, 0x0002, 0x0100, 0x0110, 0x0120
_PRIORITY, _DATASET_TYPE, _STATUS, _COMMENT, _INSTANCE = 0x0700, 0x0800, 0x0900, 0x0902, 0x1000
_ORIGINATOR, _ORIGINATOR_MESSAGE = 0x1030, 0x1031
_REMAINING, _COMPLETED, _FAILED, _WARNING = 0x1020, 0x1021, 0x1022, 0x1023
_WITH_DATASET, _MEDIUM = 0, 0
_head = struct.Struct("<HHL")
_group = struct.Struct("<HHLL")
_number_of = struct.Struct("<HHLH")
_pdv = struct.Struct(">BBLLBB")


class Command(NamedTuple):
    """A request: what is wanted, of which class and instance, and whether a dataset follows.

    Of a response `message_id` is the one responded to, and `status` what came of it; it names nothing.
    """

    field: int
    message_id: int
    has_dataset: bool
    sop_class_uid: str
    sop_instance_uid: str
    is_response: bool
    status: int | None = None


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
        is_response = bool(field & RESPONSE) or _MESSAGE_ID not in found
        return Command(
            field,
            _number(found[_MESSAGE_ID]) if _MESSAGE_ID in found else _number(found[_RESPONDED_TO]),
            _number(found[_DATASET_TYPE]) != NO_DATASET,
            "" if is_response else _text(found.get(_CLASS, b"")),
            "" if is_response else _text(found.get(_INSTANCE, b"")),
            is_response,
            _number(found[_STATUS]) if _STATUS in found else None,
        )
    except KeyError:
        raise ValueError("the command set lacks an element that every one has") from None


def response(
    command: Command, context_id: int, status: int, comment: str = "", *, has_dataset: bool = False
) -> bytes:
    """The P-DATA-TF that answers this command; a dataset may follow it."""
    elements = []
    if command.sop_class_uid:
        elements.append(_uid(_CLASS, command.sop_class_uid))
    elements.append(_short(_FIELD, command.field | RESPONSE))
    elements.append(_short(_RESPONDED_TO, command.message_id))
    elements.append(_short(_DATASET_TYPE, SOME_DATASET if has_dataset else NO_DATASET))
    elements.append(_short(_STATUS, status))
    if comment:
        elements.append(_padded(_COMMENT, comment.encode("ascii", "replace"), b" "))
    if command.sop_instance_uid:
        elements.append(_uid(_INSTANCE, command.sop_instance_uid))
    return _framed(context_id, elements)


class StoreRequests:
    """C-STORE requests (PS3.7 9.3.1.1) of a class in a context; `originator` is the C-MOVE behind them."""

    def __init__(self, context_id: int, sop_class_uid: str, originator: tuple[str, int] | None) -> None:
        self._context_id = context_id
        self._before = _uid(_CLASS, sop_class_uid) + _short(_FIELD, C_STORE_RQ)
        self._between = _short(_PRIORITY, _MEDIUM) + _short(_DATASET_TYPE, _WITH_DATASET)
        self._after = b""
        if originator is not None:
            title, message_id = originator
            self._after = _padded(_ORIGINATOR, title.encode("ascii"), b" ")
            self._after += _short(_ORIGINATOR_MESSAGE, message_id)

    def request(self, message_id: int, sop_instance_uid: str) -> bytes:
        """One P-DATA-TF."""
        return _framed(
            self._context_id,
            [
                self._before,
                _short(_MESSAGE_ID, message_id),
                self._between,
                _uid(_INSTANCE, sop_instance_uid),
                self._after,
            ],
        )


@dataclass(frozen=True)
class SubOperationCounts:
    """PS3.7 9.1.3.1; `remaining` is None in final answers other than "cancelled"."""

    remaining: int | None
    completed: int
    failed: int
    warning: int


def retrieve_response(
    field: int,
    context_id: int,
    message_id: int,
    sop_class_uid: str,
    status: int,
    counts: SubOperationCounts,
) -> bytes:
    """The P-DATA-TF that answers a C-MOVE or C-GET request, `field`, without an identifier."""
    elements = [
        _uid(_CLASS, sop_class_uid),
        _short(_FIELD, field | RESPONSE),
        _short(_RESPONDED_TO, message_id),
        _short(_DATASET_TYPE, NO_DATASET),
        _short(_STATUS, status),
    ]
    if counts.remaining is not None:
        elements.append(_short(_REMAINING, counts.remaining))
    elements.append(_short(_COMPLETED, counts.completed))
    elements.append(_short(_FAILED, counts.failed))
    elements.append(_short(_WARNING, counts.warning))
    return _framed(context_id, elements)


def _framed(context_id: int, elements: list[bytes]) -> bytes:
    body = b"".join(elements)
    size = len(body) + 12
    return (
        _pdv.pack(4, 0, size + 6, size + 2, context_id, 3)
        + _group.pack(0, _GROUP_LENGTH, 4, len(body))
        + body
    )


def dataset_pdus(raw: bytes, context_id: int, most: int) -> bytes:
    """A dataset as P-DATA-TF PDUs of one value each, none longer than `most`; 0 is as long as one likes."""
    room = max(2, (most - 6) & ~1) if most else len(raw)
    if len(raw) <= room:
        return _pdv.pack(4, 0, len(raw) + 6, len(raw) + 2, context_id, 2) + raw
    pieces = []
    for at in range(0, len(raw), room):
        piece = raw[at : at + room]
        control = 2 if at + room >= len(raw) else 0
        pieces.append(_pdv.pack(4, 0, len(piece) + 6, len(piece) + 2, context_id, control) + piece)
    return b"".join(pieces)


def _number(value: bytes) -> int:
    if len(value) != 2:
        raise ValueError("a number of the command set has not two bytes")
    return value[0] | value[1] << 8


def _text(value: bytes) -> str:
    """A UID, or nothing where it is none: it is answered, compared and logged."""
    text = value.rstrip(b"\0 ").decode("ascii", "replace")
    return text if is_uid(text) else ""


def _short(number: int, value: int) -> bytes:
    return _number_of.pack(0, number, 2, value)


def _uid(number: int, text: str) -> bytes:
    return _padded(number, text.encode("ascii"), b"\0")


def _padded(number: int, value: bytes, padding: bytes) -> bytes:
    if len(value) % 2:
        value += padding
    return _head.pack(0, number, len(value)) + value
