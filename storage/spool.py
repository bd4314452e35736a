"""Objects that this machine keeps until the object store has them: no answer waits for another machine.

The folder is the queue. What a node receives is durable here before it is acknowledged; `drain` copies it,
reads it back from the store, and forgets it only when the hashes agree. No row says where an object is:
whoever reads on this machine looks here first, and whoever reads elsewhere finds it once it was copied.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

from storage.instances import object_seal, seal
from storage.objects import CHUNK, Draft, FolderStore, ObjectMissing, ObjectStore
from storage.part10 import LONGEST_META, read_meta

log = logging.getLogger("reading_center.storage")

COPIERS = 4
LOOK_EVERY = 1.0
LONGEST_PAUSE = 30.0
REMIND_EVERY = 60.0
EMPTY_FOR = 24 * 3600.0  # seconds after which an empty folder goes; nobody writes into its hour any more


@dataclass(frozen=True)
class Waiting:
    """What the store does not have yet."""

    count: int
    oldest: float  # seconds since the oldest came


class Copied(Enum):
    YES = auto()
    GONE = auto()  # given up by its sender meanwhile
    TORN = auto()  # being written, now or when a machine failed: nobody was told that it is kept
    CHANGED = auto()  # the store gave back other bytes


class SpoolFirst:
    """Reads from this machine's spool, then from the store; writes into the store."""

    def __init__(self, spool: FolderStore, store: ObjectStore) -> None:
        self.spool = spool
        self.store = store
        self._torn: dict[str, int] = {}  # and the moment of its last change

    def draft(self, key: str) -> Draft:
        return self.store.draft(key)

    def put(self, key: str, content: BinaryIO, length: int) -> None:
        self.store.put(key, content, length)

    # An object is in the store before it leaves the spool: who looks in this order cannot miss it.

    def get(self, key: str) -> bytes:
        try:
            return self.spool.get(key)
        except ObjectMissing:
            return self.store.get(key)

    def open_range(self, key: str, start: int = 0, length: int | None = None) -> BinaryIO:
        try:
            return self.spool.open_range(key, start, length)
        except ObjectMissing:
            return self.store.open_range(key, start, length)

    def read_into(self, key: str, start: int, pieces: Sequence[memoryview]) -> int:
        try:
            return self.spool.read_into(key, start, pieces)
        except ObjectMissing:
            return self.store.read_into(key, start, pieces)

    def size(self, key: str) -> int:
        try:
            return self.spool.size(key)
        except ObjectMissing:
            return self.store.size(key)

    def keys(self, prefix: str = "") -> Iterator[str]:
        near = set(self.spool.keys(prefix))
        yield from near
        yield from (key for key in self.store.keys(prefix) if key not in near)

    def folders(self, prefix: str) -> list[str]:
        return sorted({*self.spool.folders(prefix), *self.store.folders(prefix)})

    def discard(self, key: str) -> None:
        self.store.discard(key)
        self.spool.discard(key)

    def waiting(self) -> Waiting:
        """How many objects wait here and since when."""
        moments = [moment for _, moment in self._changes()]
        oldest = (time.time_ns() - min(moments)) / 1e9 if moments else 0.0
        return Waiting(len(moments), max(0.0, oldest))

    def drain(self) -> int:
        """One pass: copy whatever is whole, with or without a row, the oldest hour first; return how many.

        One process does it at a time, another's pass is empty. Raises what the store raises; what was not
        copied stays. What is not as it says about itself is never copied and stays too.
        """
        with _alone(f"{self.spool.root}.lock") as is_ours:
            if not is_ours:
                return 0
            changes = dict(self._changes())
            self._torn = {key: at for key, at in self._torn.items() if changes.get(key) == at}
            keys = sorted(changes.keys() - self._torn.keys())
            copied = 0
            with ThreadPoolExecutor(COPIERS, thread_name_prefix="spool") as copiers:
                copies = [copiers.submit(self._copy, key) for key in keys]
                try:
                    for key, copy in zip(keys, copies, strict=True):
                        copied += self._note(key, changes[key], copy.result())
                except BaseException:
                    copiers.shutdown(wait=False, cancel_futures=True)
                    raise
            self._remove_empty_folders()
            return copied

    def _note(self, key: str, changed: int, result: Copied) -> bool:
        if result is Copied.CHANGED:
            log.error("the object store gave back other bytes than it was given: %s stays in the spool", key)
        if result is Copied.TORN and time.time_ns() - changed > 60e9:
            log.error("not what it says about itself, never copied: %s stays in the spool", key)
            self._torn[key] = changed
        return result is Copied.YES

    def _copy(self, key: str) -> Copied:
        try:
            whole = self._whole(key)
            if whole is None:
                return Copied.TORN
            with self.spool.open_range(key) as content:
                self.store.put(key, content, self.spool.size(key))
        except ObjectMissing:
            return Copied.GONE
        offset, sealed = whole
        if object_seal(self.store, key, offset) != sealed:
            return Copied.CHANGED
        self.spool.discard(key)
        return Copied.YES

    def _whole(self, key: str) -> tuple[int, str] | None:
        """Where the dataset begins, and the seal of an object that is what it says about itself."""
        size = self.spool.size(key)
        with self.spool.open_range(key) as stream:
            head = stream.read(min(size, LONGEST_META))
            meta = read_meta(head)
            said = meta.description if meta is not None else None
            if meta is None or said is None or size != meta.dataset_offset + said.length:
                return None
            digest = blake3(head[meta.dataset_offset :])
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
        if digest.hexdigest() != said.digest:
            return None
        return meta.dataset_offset, seal(head[: meta.dataset_offset], digest.digest())

    def _changes(self) -> Iterator[tuple[str, int]]:
        """Each key in the spool and when it was last written to, in nanoseconds."""
        for key in self.spool.keys("instances"):
            with contextlib.suppress(FileNotFoundError):
                yield key, (self.spool.root / key).stat().st_mtime_ns

    def _remove_empty_folders(self) -> None:
        before = time.time() - EMPTY_FOR
        for folder, folders, files in os.walk(self.spool.root / "instances", topdown=False):
            if not files and not folders and Path(folder).stat().st_mtime < before:
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()


class SpooledStore(SpoolFirst):
    """As a node writes: durable in the spool when `put` returns, in the store a little later."""

    def draft(self, key: str) -> Draft:
        return self.spool.draft(key)

    def put(self, key: str, content: BinaryIO, length: int) -> None:
        self.spool.put(key, content, length)


@contextmanager
def draining(objects: SpoolFirst, *, prepare: Callable[[], object]) -> Iterator[None]:
    """Drain while the block runs. `prepare` is called first, and again whenever the store was away."""
    stop = threading.Event()
    thread = threading.Thread(target=_drain_until, args=(objects, prepare, stop), name="spool", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(5)


def _drain_until(objects: SpoolFirst, prepare: Callable[[], object], stop: threading.Event) -> None:
    is_prepared, pause, reminded_at, away_since = False, 0.0, 0.0, 0.0
    while not stop.wait(pause):
        try:
            if not is_prepared:
                prepare()
                is_prepared = True
            objects.drain()
        except Exception as error:
            now = time.monotonic()
            away_since = away_since or now
            if now - reminded_at > REMIND_EVERY or not reminded_at:
                reminded_at = now
                left = objects.waiting()
                log.warning(
                    "the object store takes no objects (%s): %d wait in the spool, the oldest for %.0f s",
                    type(error).__name__,
                    left.count,
                    left.oldest,
                )
            is_prepared, pause = False, min(max(LOOK_EVERY, 2 * pause), LONGEST_PAUSE)
            continue
        if away_since:
            log.warning("the object store is back after %.0f s", time.monotonic() - away_since)
        pause, reminded_at, away_since = LOOK_EVERY, 0.0, 0.0


@contextmanager
def _alone(path: str) -> Iterator[bool]:
    """Whether no other process is in this block; the kernel forgets the lock when its holder dies."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        is_ours = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            is_ours = False
        yield is_ours
    finally:
        os.close(descriptor)
