"""A C-MOVE or C-GET requester, and the C-STORE receiver of either, that cost next to nothing.

    python -m benchmarks.prebuilt_receiver move PORT CALLED CALLING STUDY DESTINATION ITS_PORT
    python -m benchmarks.prebuilt_receiver get PORT CALLED CALLING STUDY

What arrives is counted and thrown away; every C-STORE is answered at once. Prints `ready`, and then for
each line that it reads one retrieval of the study as JSON: when it began and ended on the machine's clock,
how many objects and bytes of datasets came, how many answers were pending, and the last answer's status.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.prebuilt_sender import MOST, RELEASE, _element, _even, _item, _items, _value

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
RETRIEVE = {"move": "1.2.840.10008.5.1.4.1.2.2.2", "get": "1.2.840.10008.5.1.4.1.2.2.3"}
REQUEST_FIELD = {"move": 0x0021, "get": 0x0010}
C_STORE_RQ, PENDING = 0x0001, 0xFF00
BUFFER = 1 << 20


@dataclass
class Taken:
    """What arrived on C-STORE so far."""

    objects: int = 0
    bytes: int = 0


def messages(connection: socket.socket, taken: Taken) -> Iterator[tuple[int, bytes]]:
    """Context and command set of each message, once its dataset has passed by; ends with the release."""
    buffer = memoryview(bytearray(BUFFER))
    held, command, context = 0, b"", 0
    skip = 0  # bytes of a dataset's fragment that are still to come
    ends = False  # and whether the message ends with them
    while True:
        got = connection.recv_into(buffer[held:])
        if not got:
            return
        end, at = held + got, 0
        while True:
            if skip:
                step = min(skip, end - at)
                at, skip = at + step, skip - step
                if skip:
                    break
                if ends:
                    ends = False
                    yield context, command
            if end - at < 12:
                if end - at >= 6 and buffer[at] != 4:
                    if buffer[at] == 5:
                        connection.sendall(b"\x06" + RELEASE[1:])
                    return
                break
            if buffer[at] != 4:
                return
            _, length, context, control = struct.unpack_from(">xxLLBB", buffer, at)
            size = length - 2
            if control & 1:
                if end - at < 12 + size:
                    break
                command = bytes(buffer[at + 12 : at + 12 + size])
                at += 12 + size
                if control & 2 and _number(command, 0x0800) == 0x0101:
                    yield context, command
            else:
                taken.bytes += size
                at, skip, ends = at + 12, size, bool(control & 2)
        held = end - at
        if held:
            buffer[:held] = bytes(buffer[at:end])


def answer(connection: socket.socket, context: int, command: bytes, taken: Taken) -> None:
    """Success to a C-STORE."""
    taken.objects += 1
    elements = _element(0x0002, _value_of(command, 0x0002)) + _element(0x0100, struct.pack("<H", 0x8001))
    elements += _element(0x0120, _value_of(command, 0x0110)) + _element(0x0800, struct.pack("<H", 0x0101))
    elements += _element(0x0900, bytes(2)) + _element(0x1000, _value_of(command, 0x1000))
    group = _element(0x0000, struct.pack("<L", len(elements)))
    connection.sendall(_value(context, 3, group + elements))


def receive(listener: socket.socket, taken: Taken) -> None:
    """The destination: one association after the other, whatever it proposes is accepted."""
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection:
            connection.sendall(acceptance(_pdu(connection)))
            for context, command in messages(connection, taken):
                answer(connection, context, command, taken)


def acceptance(request: bytes) -> bytes:
    items = _item(0x10, b"1.2.840.10008.3.1.1.1")
    for kind, value in _items(request, 74):
        if kind == 0x20:
            syntax = next(one for inner, one in _items(value, 4) if inner == 0x40)
            items += _item(0x21, bytes([value[0], 0, 0, 0]) + _item(0x40, syntax))
    items += _item(0x50, _item(0x51, struct.pack(">L", MOST)) + _item(0x52, b"2.25.1"))
    body = request[6:74] + items
    return struct.pack(">BxL", 2, len(body)) + body


def associate(kind: str, port: int, called: str, calling: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(300)
    items = _item(0x10, b"1.2.840.10008.3.1.1.1")
    contexts = [(1, RETRIEVE[kind], IMPLICIT)] + ([(3, CT, EXPLICIT)] if kind == "get" else [])
    for number, abstract, transfer in contexts:
        inner = _item(0x30, abstract.encode()) + _item(0x40, transfer.encode())
        items += _item(0x20, bytes([number, 0, 0, 0]) + inner)
    user = _item(0x51, struct.pack(">L", MOST)) + _item(0x52, b"2.25.1")
    if kind == "get":
        user += _item(0x54, struct.pack(">H", len(CT)) + CT.encode() + b"\0\1")
    items += _item(0x50, user)
    titles = called.encode().ljust(16) + calling.encode().ljust(16) + bytes(32)
    body = struct.pack(">HH", 1, 0) + titles + items
    connection.sendall(struct.pack(">BxL", 1, len(body)) + body)
    answered = _pdu(connection)
    if answered[0] != 2 or any(item == 0x21 and value[2] for item, value in _items(answered, 74)):
        raise SystemExit("the association or a presentation context was not accepted")
    return connection


def request(kind: str, study: str, destination: str, number: int) -> bytes:
    elements = _element(0x0002, _even(RETRIEVE[kind]))
    elements += _element(0x0100, struct.pack("<H", REQUEST_FIELD[kind]))
    elements += _element(0x0110, struct.pack("<H", number))
    if kind == "move":
        elements += _element(0x0600, destination.encode() + b" " * (len(destination) % 2))
    elements += _element(0x0700, bytes(2)) + _element(0x0800, bytes(2))
    group = _element(0x0000, struct.pack("<L", len(elements)))
    identifier = struct.pack("<HHL", 8, 0x52, 6) + b"STUDY "
    identifier += struct.pack("<HHL", 0x20, 0x0D, len(_even(study))) + _even(study)
    return _value(1, 3, group + elements) + _value(1, 2, identifier)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=list(RETRIEVE))
    parser.add_argument("port", type=int)
    for word in ("called", "calling", "study"):
        parser.add_argument(word)
    parser.add_argument("destination", nargs="?", default="")
    parser.add_argument("its_port", nargs="?", type=int)
    arguments = parser.parse_args()
    taken = Taken()
    if arguments.its_port:
        listener = socket.create_server(("127.0.0.1", arguments.its_port))
        threading.Thread(target=receive, args=(listener, taken), daemon=True).start()
    print("ready", flush=True)
    for number, _ in enumerate(sys.stdin, start=1):
        taken.objects = taken.bytes = 0
        began = time.monotonic()
        connection = associate(arguments.kind, arguments.port, arguments.called, arguments.calling)
        connection.sendall(request(arguments.kind, arguments.study, arguments.destination, number))
        status, pending = -1, 0
        for context, command in messages(connection, taken):
            if _number(command, 0x0100) == C_STORE_RQ:
                answer(connection, context, command, taken)
                continue
            status = _number(command, 0x0900)
            if status != PENDING:
                break
            pending += 1
        ended = time.monotonic()
        connection.sendall(RELEASE)
        _pdu(connection)
        connection.close()
        told = {"began": began, "ended": ended, "status": status, "pending": pending}
        print(json.dumps({**told, "objects": taken.objects, "bytes": taken.bytes}), flush=True)


def _number(command: bytes, number: int) -> int:
    return int.from_bytes(_value_of(command, number), "little")


def _value_of(command: bytes, number: int) -> bytes:
    at = 0
    while at + 8 <= len(command):
        _, element, length = struct.unpack_from("<HHL", command, at)
        if element == number:
            return command[at + 8 : at + 8 + length]
        at += 8 + length
    return b""


def _pdu(connection: socket.socket) -> bytes:
    head = connection.recv(6, socket.MSG_WAITALL)
    return head + connection.recv(int.from_bytes(head[2:6], "big"), socket.MSG_WAITALL)


if __name__ == "__main__":
    main()
