"""A C-STORE sender that costs next to nothing: its messages are built before the clock starts.

    python -m benchmarks.prebuilt_sender PORT CALLED CALLING [--one-each] FILE…

DCMTK's storescu takes as long for an object as a fast node does, so it measures itself. This one prints
`ready`, waits for a line, sends each message with one call, and prints JSON: when it began and ended on the
machine's clock, the time of each answer in milliseconds, and the answers that were not Success.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

MOST = 131_072  # as much of a PDU as DCMTK ever fills
RELEASE = b"\x05\0\0\0\0\x04\0\0\0\0"


@dataclass(frozen=True)
class Told:
    """One object: what it is, and its dataset as it stands in the file."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    dataset: bytes


def read(path: Path) -> Told:
    whole = path.read_bytes()
    meta = dcmread(path, stop_before_pixels=True, specific_tags=[]).file_meta
    return Told(
        str(meta.MediaStorageSOPClassUID),
        str(meta.MediaStorageSOPInstanceUID),
        str(meta.TransferSyntaxUID),
        whole[144 + meta.FileMetaInformationGroupLength :],
    )


def association_request(called: str, calling: str, contexts: dict[tuple[str, str], int]) -> bytes:
    items = _item(0x10, b"1.2.840.10008.3.1.1.1")
    for (abstract, transfer), number in contexts.items():
        inner = _item(0x30, abstract.encode()) + _item(0x40, transfer.encode())
        items += _item(0x20, bytes([number, 0, 0, 0]) + inner)
    items += _item(0x50, _item(0x51, struct.pack(">L", 16_384)) + _item(0x52, b"2.25.1"))
    titles = called.encode().ljust(16) + calling.encode().ljust(16) + bytes(32)
    body = struct.pack(">HH", 1, 0) + titles + items
    return struct.pack(">BxL", 1, len(body)) + body


def message(told: Told, context: int, number: int, most: int) -> bytes:
    """C-STORE-RQ and dataset as P-DATA-TF PDUs that the peer takes."""
    elements = _element(0x0002, _even(told.sop_class_uid)) + _element(0x0100, struct.pack("<H", 1))
    elements += _element(0x0110, struct.pack("<H", number)) + _element(0x0700, bytes(2))
    elements += _element(0x0800, bytes(2)) + _element(0x1000, _even(told.sop_instance_uid))
    command = _element(0x0000, struct.pack("<L", len(elements))) + elements
    pieces = [_value(context, 3, command)]
    room = (most - 6) & ~1
    for at in range(0, len(told.dataset), room):
        is_last = at + room >= len(told.dataset)
        pieces.append(_value(context, 2 if is_last else 0, told.dataset[at : at + room]))
    return b"".join(pieces)


def associate(port: int, request: bytes) -> tuple[socket.socket, int]:
    """A connection whose association was accepted, and the longest PDU that the peer takes."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(120)
    connection.sendall(request)
    answer = _pdu(connection)
    if answer[0] != 2:
        raise SystemExit("the association was not accepted")
    at, most = 74, MOST
    for kind, value in _items(answer, at):
        if kind == 0x21 and value[2]:
            raise SystemExit("a presentation context was not accepted")
        if kind == 0x50:
            lengths = [struct.unpack(">L", one)[0] for inner, one in _items(value, 0) if inner == 0x51]
            most = min([length for length in lengths if length] + [MOST])
    return connection, most


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("called")
    parser.add_argument("calling")
    parser.add_argument("--one-each", action="store_true", help="an association for every object")
    parser.add_argument("files", nargs="+", type=Path)
    arguments = parser.parse_args()
    objects = [read(path) for path in arguments.files]
    kinds = dict.fromkeys((one.sop_class_uid, one.transfer_syntax_uid) for one in objects)
    contexts = {kind: 2 * at + 1 for at, kind in enumerate(kinds)}
    request = association_request(arguments.called, arguments.calling, contexts)
    connection, most = associate(arguments.port, request)
    messages = [
        message(one, contexts[one.sop_class_uid, one.transfer_syntax_uid], at % 65_535 + 1, most)
        for at, one in enumerate(objects)
    ]
    print("ready", flush=True)
    sys.stdin.readline()
    latencies: list[float] = []
    refused: list[int] = []
    began = time.monotonic()
    for one in messages:
        at = time.perf_counter()
        if arguments.one_each and latencies:
            connection, _ = associate(arguments.port, request)
        connection.sendall(one)
        status = _status(_pdu(connection))
        if arguments.one_each:
            _release(connection)
        latencies.append((time.perf_counter() - at) * 1000)
        if status:
            refused.append(status)
    ended = time.monotonic()
    if not arguments.one_each:
        _release(connection)
    print(json.dumps({"began": began, "ended": ended, "ms": latencies, "refused": refused}))


def _release(connection: socket.socket) -> None:
    connection.sendall(RELEASE)
    _pdu(connection)
    connection.close()


def _status(answer: bytes) -> int:
    at = answer.index(b"\0\0\0\x09\x02\0\0\0")
    return int.from_bytes(answer[at + 8 : at + 10], "little")


def _pdu(connection: socket.socket) -> bytes:
    head = _exactly(connection, 6)
    return head + _exactly(connection, int.from_bytes(head[2:6], "big"))


def _exactly(connection: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length:
        piece = connection.recv(length - len(found))
        if not piece:
            raise SystemExit("the node closed the connection")
        found += piece
    return found


def _items(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at + 4 <= len(data):
        kind, length = struct.unpack_from(">BxH", data, at)
        yield kind, data[at + 4 : at + 4 + length]
        at += 4 + length


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHL", 0, number, len(value)) + value


def _even(uid: str) -> bytes:
    return uid.encode() + b"\0" * (len(uid) % 2)


def _value(context: int, control: int, piece: bytes) -> bytes:
    return struct.pack(">BxLLBB", 4, len(piece) + 6, len(piece) + 2, context, control) + piece


if __name__ == "__main__":
    main()
