"""The pending answers of one query, and its last: written by ourselves, sent many at a time.

pynetdicom spends a millisecond on each; a list of today's studies has a hundred.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from dicom_node.command_set import C_FIND_RQ, Command, dataset_pdus, response
from dicom_node.contexts import EXPLICIT_BIG, IMPLICIT_LITTLE
from dicom_node.exchange import Exchange
from dicom_node.statuses import Status
from dicom_node.upper_layer import MAXIMUM_PDU
from storage.encoding import encode

# A piece is sent when it is this long or its first answer this old.
PIECE_BYTES, PIECE_SECONDS = 64 << 10, 0.02
# Whoever reads slowly and cancels has to read what is under way; the kernel alone would take 4 MB.
MOST_UNSENT_BYTES = 64 << 10


class Pending:
    """`add` each answer, then `finish`; both may wait for the peer to read."""

    def __init__(self, exchange: Exchange, status: Status, charset: str) -> None:
        """`status` is what the answers carry, `charset` what they are written in."""
        self._exchange = exchange
        self._charset = charset
        request = exchange.request
        self._command = Command(
            C_FIND_RQ, request.MessageID, True, exchange.abstract_syntax, "", is_response=False
        )
        self._head = response(self._command, exchange.context_id, status, has_dataset=True)
        self._most = exchange.association.requestor.maximum_length or MAXIMUM_PDU
        self._is_implicit = exchange.transfer_syntax == IMPLICIT_LITTLE
        self._is_big_endian = exchange.transfer_syntax == EXPLICIT_BIG
        self._pieces: list[bytes] = []
        self._length = 0
        self._since = 0.0
        exchange.association.keep_unsent(MOST_UNSENT_BYTES)

    def add(self, identifier: Mapping[str, Any]) -> bool:
        """Whether the peer still wants answers. One that has cancelled has been told so."""
        exchange = self._exchange
        if exchange.is_cancelled:
            self._end(Status.CANCEL)
            return False
        raw = encode(
            identifier,
            charset=self._charset,
            is_implicit=self._is_implicit,
            is_big_endian=self._is_big_endian,
        )
        pdus = self._head + dataset_pdus(raw, exchange.context_id, self._most)
        now = time.monotonic()
        self._since = self._since if self._pieces else now
        self._pieces.append(pdus)
        self._length += len(pdus)
        if self._length >= PIECE_BYTES or now - self._since > PIECE_SECONDS:
            self._flush()
            return exchange.is_alive
        return True

    def finish(self, *, is_all: bool) -> None:
        """Success promises every match (PS3.4 C.4.1.3): an answer that was cut off is none."""
        if is_all:
            self._end(Status.SUCCESS)
        else:
            self._end(Status.OUT_OF_RESOURCES, "more match than are answered; narrow the query")

    def _end(self, status: Status, comment: str = "") -> None:
        self._pieces.append(response(self._command, self._exchange.context_id, status, comment))
        self._flush()
        self._exchange.association.keep_unsent(0)
        self._exchange.note(status)

    def _flush(self) -> None:
        self._exchange.association.send_written(b"".join(self._pieces))
        self._pieces.clear()
        self._length = 0
