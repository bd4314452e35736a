"""multipart/related (RFC 2387), written and read as a stream: lengths known up front, nothing held whole."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

CHUNK = 256 << 10
LONGEST_HEADERS = 16 << 10
MAX_PARTS = 100_000
LONGEST_BOUNDARY = 256  # RFC 2046 says 70, and Orthanc's are two UUIDs: 73


class BadMultipart(ValueError):
    """The body is not what its boundary promised; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class OutgoingPart:
    """A part to send: `chunks` gives exactly `length` bytes; None where only reading it tells."""

    media_type: str
    length: int | None
    chunks: Iterable[bytes]
    location: str | None = None


@dataclass(frozen=True, slots=True)
class IncomingPart:
    """A part that came: its headers, names in lower case, and where its body stands in the spool."""

    headers: dict[str, str] = field(hash=False)
    begin: int
    end: int


class MultipartWriter:
    """Parts as one body; `length` is exact before the first byte is read, or None where a part's is."""

    def __init__(self, parts: Sequence[OutgoingPart], *, boundary: str | None = None) -> None:
        self.parts = parts
        self.boundary = boundary or f"part-{secrets.token_hex(12)}"
        self._heads = [self._head(part) for part in parts]
        self._tail = f"\r\n--{self.boundary}--\r\n".encode()

    @property
    def length(self) -> int | None:
        total = sum(map(len, self._heads)) + len(self._tail)
        for part in self.parts:
            if part.length is None:
                return None
            total += part.length
        return total

    def content_type(self, part_type: str) -> str:
        return f'multipart/related; type="{part_type.split(";")[0]}"; boundary={self.boundary}'

    def __iter__(self) -> Iterator[bytes]:
        for head, part in zip(self._heads, self.parts, strict=True):
            yield head
            yield from part.chunks
        yield self._tail

    def _head(self, part: OutgoingPart) -> bytes:
        lines = [
            f"\r\n--{self.boundary}",
            f"Content-Type: {part.media_type}",
            f"Content-Length: {part.length}",
        ]
        if part.location is not None:
            lines.append(f"Content-Location: {part.location}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_parts(spool: BinaryIO, boundary: str) -> Iterator[IncomingPart]:
    """The parts of a body that lies in a seekable file, in order; bodies are left where they are.

    Raises BadMultipart where the boundary never comes or a part does not end.
    """
    if not 0 < len(boundary) <= LONGEST_BOUNDARY:
        raise BadMultipart(f"the boundary has 1 to {LONGEST_BOUNDARY} characters")
    mark = b"--" + boundary.encode("latin_1", "replace")
    at = _find(spool, mark, 0)
    # A preamble may stand before the first boundary, on lines of its own.
    while at > 0 and not _follows_a_line_end(spool, at):
        at = _find(spool, mark, at + 1)
    for _ in range(MAX_PARTS):
        if at < 0:
            raise BadMultipart("the body does not contain the boundary that its header names")
        at += len(mark)
        spool.seek(at)
        head = spool.read(LONGEST_HEADERS)
        if head.startswith(b"--"):
            return
        head_begin = head.find(b"\n") + 1
        if head_begin == 0 or head[: head_begin - 1].strip(b" \t\r"):
            raise BadMultipart("a boundary is not alone on its line")
        headers, body_at = _headers(head, head_begin)
        begin = at + body_at
        at = _find(spool, b"\r\n" + mark, begin - 2 if body_at == head_begin + 2 else begin)
        if at < 0:
            raise BadMultipart("the last part does not end with the boundary")
        yield IncomingPart(headers, begin, max(begin, at))
        at += 2
    raise BadMultipart(f"a request has at most {MAX_PARTS} parts")


def _headers(head: bytes, at: int) -> tuple[dict[str, str], int]:
    found: dict[str, str] = {}
    while True:
        end = head.find(b"\n", at)
        if end < 0:
            raise BadMultipart("the headers of a part are longer than any real ones")
        line = head[at:end].rstrip(b"\r")
        at = end + 1
        if not line:
            return found, at
        name, _, value = line.decode("latin_1").partition(":")
        found[name.strip().lower()] = value.strip()


def _find(spool: BinaryIO, wanted: bytes, start: int) -> int:
    """Position of `wanted` at or after `start`, or -1; reads in pieces that overlap by its length."""
    start = max(0, start)
    spool.seek(start)
    window, window_at = b"", start
    while chunk := spool.read(1 << 20):
        window += chunk
        found = window.find(wanted)
        if found >= 0:
            return window_at + found
        kept = min(len(window), len(wanted) - 1)
        window_at += len(window) - kept
        window = window[len(window) - kept :] if kept else b""
    return -1


def _follows_a_line_end(spool: BinaryIO, at: int) -> bool:
    spool.seek(at - 1)
    return spool.read(1) == b"\n"
