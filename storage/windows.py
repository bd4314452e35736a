"""Bytes at a position, whatever they come from: memory, a file that is skipped through, a deflated stream."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import BinaryIO

from storage.rejections import InstanceRejected, Unacceptable, malformed, truncated

DEFLATED = "1.2.840.10008.1.2.1.99"
MAX_INFLATED_BYTES = 64 << 20
MAX_RATIO = 100
MAX_INFLATED = 512 << 20  # a whole dataset: what is larger is unfolded by no reader of ours


class Window(ABC):
    """Bytes at a position, whatever they come from."""

    is_deflated = False

    @abstractmethod
    def take(self, at: int, length: int) -> bytes:
        """Up to `length` bytes from `at`; fewer where the source ends."""

    @abstractmethod
    def pass_over(self, at: int, length: int) -> None:
        """Make sure that `length` bytes follow, without keeping them. Raises InstanceRejected."""


class BytesWindow(Window):
    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, at: int, length: int) -> bytes:
        return self.data[at : at + length]

    def pass_over(self, at: int, length: int) -> None:
        if at + length > len(self.data):
            raise truncated("a value is shorter than its length says")


class FileWindow(Window):
    STEP = 64 << 10

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.start = file.tell()
        self.size = file.seek(0, 2) - self.start
        self.buffer, self.buffer_at = b"", 0

    def take(self, at: int, length: int) -> bytes:
        offset = at - self.buffer_at
        if offset < 0 or offset + length > len(self.buffer):
            self.file.seek(self.start + at)
            self.buffer, self.buffer_at, offset = self.file.read(max(self.STEP, length)), at, 0
        return self.buffer[offset : offset + length]

    def pass_over(self, at: int, length: int) -> None:
        if at + length > self.size:
            raise truncated("a value is shorter than its length says")


class InflatingWindow(Window):
    """Raw deflate (PS3.5 A.5), forward only; a bomb is recognised by its ratio before it unfolds."""

    STEP = 64 << 10
    is_deflated = True

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks = chunks
        self.inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self.buffer, self.buffer_at = bytearray(), 0
        self.taken_in = self.given_out = 0
        self.is_at_end = False

    def take(self, at: int, length: int) -> bytes:
        while self.buffer_at + len(self.buffer) < at + length and not self.is_at_end:
            self._inflate()
        offset = at - self.buffer_at
        value = bytes(self.buffer[offset : offset + length])
        if offset > 4 * self.STEP:
            del self.buffer[:offset]
            self.buffer_at = at
        return value

    def pass_over(self, at: int, length: int) -> None:
        """Skip inside the header; the pixels that end it are left unopened."""
        if length > MAX_INFLATED_BYTES:
            return
        end = at + length
        while self.buffer_at + len(self.buffer) < end and not self.is_at_end:
            cut = max(0, min(len(self.buffer), end - self.buffer_at) - 16)
            del self.buffer[:cut]
            self.buffer_at += cut
            self._inflate()
        if self.buffer_at + len(self.buffer) < end:
            raise truncated("a value is shorter than its length says")

    def _inflate(self) -> None:
        try:
            pending = self.inflater.unconsumed_tail or next(self.chunks, b"")
            if not self.inflater.unconsumed_tail:
                self.taken_in += len(pending)
            piece = self.inflater.decompress(pending, self.STEP)
        except zlib.error:
            raise malformed("the deflated dataset cannot be inflated") from None
        self.buffer += piece
        self.given_out += len(piece)
        self.is_at_end = self.inflater.eof or (not pending and not piece)
        if self.given_out > max(1 << 20, self.taken_in * MAX_RATIO) or self.given_out > MAX_INFLATED_BYTES:
            sentence = "the deflated dataset unfolds beyond every measure"
            raise InstanceRejected(sentence, kind=Unacceptable.TOO_LARGE)


def open_window(source: bytes | bytearray | memoryview | BinaryIO, transfer_syntax_uid: str) -> Window:
    is_bytes = isinstance(source, bytes | bytearray | memoryview)
    if transfer_syntax_uid == DEFLATED:
        if is_bytes:
            view = memoryview(source)  # type: ignore[arg-type]
            step = InflatingWindow.STEP
            return InflatingWindow(bytes(view[at : at + step]) for at in range(0, len(view), step))
        return InflatingWindow(iter(lambda: source.read(InflatingWindow.STEP), b""))  # type: ignore[union-attr]
    if is_bytes:
        return BytesWindow(source if isinstance(source, bytes) else bytes(source))  # type: ignore[arg-type]
    return FileWindow(source)  # type: ignore[arg-type]
