"""Bytes: written once under keys that we make, read whole or in part; a folder or S3.

`put` returns only when the object would survive a power cut. Nothing here is ever overwritten.
"""

from __future__ import annotations

import ctypes
import io
import itertools
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

CHUNK = 1 << 20
MOST_FOLDERS = 4096
IN_MEMORY = 4 << 20
BUFFERED = 8192
MOST_PIECES = 1024  # IOV_MAX: what one call reads into


class ObjectMissing(LookupError):
    """A row points at an object that the store does not have."""


class StoreAway(OSError):
    """The object store does not answer, or says that it cannot now."""


class ObjectExists(ValueError):
    """An object is written once; its key was already taken."""


class Draft(Protocol):
    """An object while it is written. It does not exist before `keep` returns."""

    def write(self, *pieces: bytes | bytearray | memoryview) -> None:
        """Append these pieces."""

    def hasten(self) -> None:
        """Have the disk begin with what was written, and do not wait: `keep` will have less to wait for."""

    def patch(self, at: int, piece: bytes) -> None:
        """Write over what stands at `at`."""

    def reading(self, at: int) -> AbstractContextManager[BinaryIO]:
        """What was written so far, from `at` on, to read and seek in."""

    def keep(self) -> None:
        """Make the object durable under its key."""

    def abandon(self) -> None:
        """Forget what was written; harmless after `keep`."""


class ObjectStore(Protocol):
    def draft(self, key: str) -> Draft:
        """Begin an object that is written in pieces. Raises ObjectExists."""

    def put(self, key: str, content: BinaryIO, length: int) -> None:
        """Keep `length` bytes of `content` under `key`, durably. Raises ObjectExists."""

    def get(self, key: str) -> bytes:
        """The whole object. Raises ObjectMissing."""

    def open_range(self, key: str, start: int = 0, length: int | None = None) -> BinaryIO:
        """A stream over `length` bytes from `start` (None: to the end). Close it. Raises ObjectMissing."""

    def read_into(self, key: str, start: int, pieces: Sequence[memoryview]) -> int:
        """Fill one piece after the other with what stands from `start` on; how many bytes that were.

        Raises ObjectMissing.
        """

    def size(self, key: str) -> int:
        """Length in bytes. Raises ObjectMissing."""

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Every key under `prefix`, in no promised order."""

    def folders(self, prefix: str) -> list[str]:
        """What divides the keys next after `prefix`, which ends in "/": "a/b/", "a/c/", … in order."""

    def discard(self, key: str) -> None:
        """Forget an object; only retention and the sweep of orphans may call this."""


def new_key(kind: str, now: datetime | None = None) -> str:
    """A fresh key such as `instances/2026/11/22/14/5f3a…`: an hour to list by, nothing that a sender wrote.

    A new folder costs a flush of its own, so there are few: 24 in a day.
    """
    return f"{kind}/{(now or datetime.now(UTC)):%Y/%m/%d/%H}/{_process()}{next(_number):08x}"


_number = itertools.count()


@lru_cache(maxsize=1)
def _process_name(_pid: int) -> str:
    return uuid.uuid4().hex


def _process() -> str:
    """A name that no other process has or had, nor this one after a fork."""
    return _process_name(os.getpid())


def open_store(url: str) -> ObjectStore:
    """`file:///folder` or `s3://KEY:SECRET@host:port/bucket?secure=0`."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return FolderStore(Path(unquote(parts.path)))
    from storage.s3 import S3Store  # a folder needs none of what it imports

    query = parse_qs(parts.query)
    return S3Store(
        f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname),
        access_key=unquote(parts.username or ""),
        secret_key=unquote(parts.password or ""),
        bucket=parts.path.strip("/"),
        secure=query.get("secure", ["1"])[0] not in {"0", "false"},
        region=query.get("region", ["us-east-1"])[0],
    )


class FolderStore:
    """Objects as files: written to their final, never reused name, then flushed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: set[str] = set()  # that exist and are durable
        self.root.mkdir(parents=True, exist_ok=True)

    def put(self, key: str, content: BinaryIO, length: int) -> None:
        draft = self.draft(key)
        try:
            left = length
            while left:
                chunk = content.read(min(CHUNK, left))
                if not chunk:
                    raise ValueError(f"content ended {left} bytes early")
                draft.write(chunk)
                left -= len(chunk)
            draft.keep()
        finally:
            draft.abandon()

    def draft(self, key: str) -> _FileDraft:
        # Text, not Path: a device waits, and a Path costs as much as the file.
        path = f"{self.root}/{_ours(key)}"
        folder = path[: path.rindex("/")]
        if folder not in self._folders:
            self._make_folder(Path(folder))
        return _FileDraft(path, key)

    def get(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            raise ObjectMissing(key) from None

    def open_range(self, key: str, start: int = 0, length: int | None = None) -> BinaryIO:
        try:
            # Text, not Path, and a stated buffer: a device waits, for thousands of them.
            file = open(f"{self.root}/{_ours(key)}", "rb", buffering=BUFFERED)  # noqa: PTH123, SIM115
        except FileNotFoundError:
            raise ObjectMissing(key) from None
        file.seek(start)
        return file if length is None else _Bounded(file, length)

    def read_into(self, key: str, start: int, pieces: Sequence[memoryview]) -> int:
        try:
            descriptor = os.open(f"{self.root}/{_ours(key)}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise ObjectMissing(key) from None
        try:
            got = 0
            for first in range(0, len(pieces), MOST_PIECES):
                got += os.preadv(descriptor, pieces[first : first + MOST_PIECES], start + got)
            return got
        finally:
            os.close(descriptor)

    def size(self, key: str) -> int:
        try:
            return self._path(key).stat().st_size
        except FileNotFoundError:
            raise ObjectMissing(key) from None

    def keys(self, prefix: str = "") -> Iterator[str]:
        for folder, _folders, files in os.walk(self.root / prefix if prefix else self.root):
            for name in files:
                yield str((Path(folder) / name).relative_to(self.root))

    def folders(self, prefix: str) -> list[str]:
        try:
            with os.scandir(self.root / prefix) as found:
                return sorted(f"{prefix}{one.name}/" for one in found if one.is_dir())
        except FileNotFoundError:
            return []

    def discard(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.root / _ours(key)

    def _make_folder(self, folder: Path) -> None:
        """Make the folder, and flush whatever holds it: an unflushed folder takes its files along.

        Folders that are there already are flushed as well, once: whoever made them may have died before.
        """
        below = [folder]
        while below[-1] != self.root and below[-1].parent != self.root:
            below.append(below[-1].parent)
        for made in reversed(below):
            made.mkdir(exist_ok=True)
            _flush_folder(made.parent)
        if len(self._folders) > MOST_FOLDERS:
            self._folders.clear()
        self._folders.add(str(folder))


def filled(pieces: Sequence[memoryview], stream: BinaryIO) -> int:
    """Fill one piece after the other from the stream; how many bytes there were."""
    got = 0
    for piece in pieces:
        while piece:
            read = stream.readinto(piece)  # type: ignore[attr-defined]
            if not read:
                return got
            got += read
            piece = piece[read:]
    return got


def _ours(key: str) -> str:
    if ".." in key.split("/") or key.startswith("/") or "\\" in key or "\0" in key:
        raise ValueError("an object key is made by us and stays inside the store")
    return key


# Linux has it and Python does not. It is a hint: `fsync` is what makes an object durable and hears of errors.
_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_PAGE, _SYNC_FILE_RANGE_WRITE = 4096, 2


class _FileDraft:
    """Written under its final, never reused name; nobody knows the name before the draft is kept."""

    def __init__(self, path: str, key: str) -> None:
        self._path = path
        try:
            self._descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o640)
        except FileExistsError:
            raise ObjectExists(key) from None
        self._is_kept = False

    def write(self, *pieces: bytes | bytearray | memoryview) -> None:
        written = os.writev(self._descriptor, pieces)
        for piece in pieces:
            left = memoryview(piece)[written:]
            written = max(0, written - len(piece))
            while left:
                left = left[os.write(self._descriptor, left) :]

    def hasten(self) -> None:
        # Not the first page: it is patched before the flush, and a page on its way to the disk is waited for.
        if _sync_file_range is not None:
            _sync_file_range(self._descriptor, _PAGE, 0, _SYNC_FILE_RANGE_WRITE)

    def patch(self, at: int, piece: bytes) -> None:
        if os.pwrite(self._descriptor, piece, at) != len(piece):
            raise OSError("a piece was written in part")

    @contextmanager
    def reading(self, at: int) -> Iterator[BinaryIO]:
        with Path(self._path).open("rb") as file:
            file.seek(at)
            yield file

    def keep(self) -> None:
        # One flush: journalling file systems (ext4, XFS, btrfs) make a new file's name durable along with
        # its contents. The power-cut harness is the judge of that.
        os.fsync(self._descriptor)
        self._is_kept = True

    def abandon(self) -> None:
        if self._descriptor < 0:
            return
        os.close(self._descriptor)
        self._descriptor = -1
        if not self._is_kept:
            Path(self._path).unlink(missing_ok=True)


class _Bounded(io.RawIOBase, BinaryIO):
    """A window of a file that ends after `length` bytes."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file = file
        self._left = length

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        size = self._left if size is None or size < 0 else min(size, self._left)
        chunk = self._file.read(size)
        self._left -= len(chunk)
        return chunk

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        chunk = self.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        self._file.close()
        super().close()


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
