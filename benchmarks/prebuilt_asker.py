"""A C-FIND and C-ECHO peer that costs next to nothing: its messages are built before the clock starts.

    python -m benchmarks.prebuilt_asker PORT CALLED CALLING [--fuzzy] [--each] < questions

The first line of its input is a JSON list of identifiers (DICOM JSON), in the order in which they are
asked; null is a C-ECHO. It prints `ready`, waits for another line, asks, and prints JSON: the milliseconds
to the first and to the last answer of each question, how many answers there were, and the last status.
`--fuzzy` negotiates fuzzy matching of names; `--each` opens an association for every question and counts it.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.prebuilt_sender import RELEASE, associate, association_request
from storage.encoding import encode

STUDY_ROOT_FIND, VERIFICATION = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.1.1"
IMPLICIT = "1.2.840.10008.1.2"
FIND_CONTEXT, ECHO_CONTEXT = 1, 3
PENDING = {0xFF00, 0xFF01}
FUZZY = struct.pack(">BxHH", 0x56, 2 + len(STUDY_ROOT_FIND) + 3, len(STUDY_ROOT_FIND))
FUZZY += STUDY_ROOT_FIND.encode() + b"\0\0\1"


def request(called: str, calling: str, contexts: dict[tuple[str, str], int], *, fuzzy: bool) -> bytes:
    """An A-ASSOCIATE-RQ for these contexts."""
    plain = association_request(called, calling, contexts)
    if not fuzzy:
        return plain
    # The user information is the last item; what is negotiated beyond the contexts stands inside it.
    at = plain.rindex(b"\x50\0\0")
    user = plain[at + 4 :] + FUZZY
    body = plain[6:at] + struct.pack(">BxH", 0x50, len(user)) + user
    return struct.pack(">BxL", 1, len(body)) + body


def question(number: int, identifier: dict[str, Any] | None) -> bytes:
    """C-FIND-RQ with its identifier, or C-ECHO-RQ, as PDUs."""
    field, uid = (0x0020, STUDY_ROOT_FIND) if identifier is not None else (0x0030, VERIFICATION)
    elements = _element(0x0002, uid.encode() + b"\0" * (len(uid) % 2)) + _short(0x0100, field)
    elements += _short(0x0110, number) + (_short(0x0700, 0) if identifier is not None else b"")
    elements += _short(0x0800, 0x0001 if identifier is not None else 0x0101)
    command = _element(0x0000, struct.pack("<L", len(elements))) + elements
    context = FIND_CONTEXT if identifier is not None else ECHO_CONTEXT
    whole = _value(context, 3, command)
    if identifier is not None:
        whole += _value(context, 2, encode(identifier, charset="ISO_IR 192", is_implicit=True))
    return whole


class Answers:
    """The statuses that come on one association, as they come."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()
        self._command = bytearray()

    def __iter__(self) -> Iterator[int]:
        while True:
            kind, pdu = self._pdu()
            if kind != 4:
                raise SystemExit(f"the node sent a PDU of kind {kind}")
            at = 0
            while at < len(pdu):
                (length,) = struct.unpack_from(">L", pdu, at)
                control = pdu[at + 5]
                if control & 1:
                    self._command += pdu[at + 6 : at + 4 + length]
                    if control & 2:
                        command, self._command = bytes(self._command), bytearray()
                        found = command.index(b"\0\0\0\x09\x02\0\0\0")
                        yield command[found + 8] | command[found + 9] << 8
                at += 4 + length

    def _pdu(self) -> tuple[int, bytes]:
        self._fill(6)
        length = int.from_bytes(self._buffer[2:6], "big")
        self._fill(6 + length)
        kind, pdu = self._buffer[0], bytes(self._buffer[6 : 6 + length])
        del self._buffer[: 6 + length]
        return kind, pdu

    def _fill(self, length: int) -> None:
        while len(self._buffer) < length:
            piece = self._connection.recv(1 << 18)
            if not piece:
                raise SystemExit("the node closed the connection")
            self._buffer += piece


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("called")
    parser.add_argument("calling")
    parser.add_argument("--fuzzy", action="store_true")
    parser.add_argument("--each", action="store_true")
    arguments = parser.parse_args()
    identifiers = json.loads(sys.stdin.readline())
    messages = [question(at % 65_535 + 1, one) for at, one in enumerate(identifiers)]
    contexts = {(STUDY_ROOT_FIND, IMPLICIT): FIND_CONTEXT, (VERIFICATION, IMPLICIT): ECHO_CONTEXT}
    if None in identifiers:
        contexts = {(VERIFICATION, IMPLICIT): ECHO_CONTEXT}
    asking = request(arguments.called, arguments.calling, contexts, fuzzy=arguments.fuzzy)
    connection: socket.socket | None = None
    if not arguments.each:
        connection, _ = associate(arguments.port, asking)
        answers = iter(Answers(connection))
    print("ready", flush=True)
    sys.stdin.readline()
    told = []
    for message in messages:
        at = time.perf_counter()
        if arguments.each:
            connection, _ = associate(arguments.port, asking)
            answers = iter(Answers(connection))
        assert connection is not None
        connection.sendall(message)
        number, first, status = 0, 0.0, PENDING
        for status in answers:
            first = first or time.perf_counter()
            if status not in PENDING:
                break
            number += 1
        if arguments.each:
            _release(connection)
        last = time.perf_counter()
        told.append({"first": (first - at) * 1000, "last": (last - at) * 1000, "n": number, "status": status})
    if connection is not None and not arguments.each:
        _release(connection)
    print(json.dumps(told))


def _release(connection: socket.socket) -> None:
    connection.sendall(RELEASE)
    connection.recv(10)
    connection.close()


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHL", 0, number, len(value)) + value


def _short(number: int, value: int) -> bytes:
    return _element(number, struct.pack("<H", value))


def _value(context: int, control: int, piece: bytes) -> bytes:
    return struct.pack(">BxLLBB", 4, len(piece) + 6, len(piece) + 2, context, control) + piece


if __name__ == "__main__":
    main()
