"""A dataset while it arrives: in a reused buffer while it is small, in the object's own file when large."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from storage.ingest import Writing

IN_MEMORY = 1 << 20
MAXIMUM_OBJECT = 8 << 30
_POOLED = 64


class Buffers:
    """Buffers that were used before: to touch a megabyte for the first time costs as much as to fill it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[memoryview] = []

    def take(self) -> memoryview:
        with self._lock:
            if self._free:
                return self._free.pop()
        return memoryview(bytearray(IN_MEMORY))

    def give_back(self, buffer: memoryview) -> None:
        with self._lock:
            if len(self._free) < _POOLED:
                self._free.append(buffer)


class Incoming:
    """`room(n)` is where up to n bytes go, `filled(n)` says that they are there."""

    def __init__(self, buffers: Buffers, begin: Callable[[], Writing]) -> None:
        self._buffers = buffers
        self._begin = begin
        self._buffer = buffers.take()
        self._used = 0
        self.length = 0
        self.writing: Writing | None = None  # where it goes, as soon as that is begun
        self.is_large = False
        self.lost: Exception | None = None  # why it could not be kept; the rest was read and dropped

    def begin(self) -> None:
        """Have its file ready before it is here: the peer is sending meanwhile."""
        with contextlib.suppress(Exception):  # what hinders it is told when it is needed
            self.writing = self._begin()

    def room(self, size: int) -> memoryview:
        if self._used == IN_MEMORY:
            self._spill()
        return self._buffer[self._used : self._used + size]

    def filled(self, size: int) -> None:
        self._used += size
        self.length += size
        if self.length > MAXIMUM_OBJECT and self.lost is None:
            self.lost = OSError("the object is larger than any that is kept")

    @property
    def whole(self) -> memoryview:
        """The dataset, where it is in memory. Valid until `close`."""
        return self._buffer[: self._used]

    def finish(self) -> Writing | None:
        """The large dataset with its last piece; None where it is in memory."""
        if not self.is_large:
            return None
        self._spill()
        return self.writing

    def close(self) -> None:
        """Forget what was not kept; harmless afterwards."""
        if self.writing is not None:
            self.writing.abandon()
            self.writing = None
        if self._buffer is not None:
            self._buffers.give_back(self._buffer)
            self._buffer = None  # type: ignore[assignment]

    def _spill(self) -> None:
        piece, self._used = self._buffer[: self._used], 0
        self.is_large = True
        if self.lost is not None:
            return
        try:
            if self.writing is None:
                self.writing = self._begin()
            self.writing.write(piece)
        except Exception as error:
            # The peer must be heard to the end before it can be told.
            self.lost = error
