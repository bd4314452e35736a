"""What the doors read from: the object store without what is known to be damaged."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import BinaryIO

from blake3 import blake3
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from storage.database import Database
from storage.faults import ObjectFault, marked_among
from storage.holdings import Holding
from storage.instances import seal
from storage.objects import CHUNK, Draft, ObjectMissing, ObjectStore
from storage.scrub import examine

FRESH_FOR = 1.0  # seconds that a look at the marks is good for
MOST = 10_000  # marks held in memory; where there are more, each read asks
# Hashing costs as much as all the rest of sending an image: what was whole a moment ago is not hashed again.
SOUND_FOR = 600.0
MOST_SOUND = 50_000


class ObjectDamaged(ObjectMissing):
    """The object is not what its row says; nobody is given it."""


class SoundObjects:
    """An ObjectStore that gives nothing out which is marked as damaged (storage.faults)."""

    def __init__(self, database: Database, store: ObjectStore, holdings: Sequence[Holding]) -> None:
        self._database, self._store, self._holdings = database, store, holdings
        self._marked: frozenset[str] | None = frozenset()  # None: too many to hold
        self._fresh_until = 0.0
        self._sound: dict[str, float] = {}  # what was hashed, the oldest first, and how long that holds
        self._lock = threading.Lock()

    def require(self, key: str) -> None:
        """Raises ObjectDamaged where the object is marked."""
        if self.is_marked(key):
            raise ObjectDamaged(key)

    def is_marked(self, key: str) -> bool:
        if time.monotonic() > self._fresh_until:
            self._look()
        if self._marked is not None:
            return key in self._marked
        with self._database.reading() as session:
            return bool(marked_among(session, [key]))

    def was_sound(self, key: str) -> bool:
        """Whether these bytes were hashed here so short a time ago that they need not be again."""
        return time.monotonic() < self._sound.get(key, 0.0)

    def note_sound(self, key: str) -> None:
        with self._lock:
            self._sound.pop(key, None)
            self._sound[key] = time.monotonic() + SOUND_FOR
            if len(self._sound) > MOST_SOUND:
                del self._sound[next(iter(self._sound))]

    def assure(self, key: str, offset: int, digest: str) -> None:
        """Read and hash a dataset of which only parts will be given. Raises ObjectDamaged, ObjectMissing."""
        found = blake3()
        with self.open_range(key, offset) as stream:
            while piece := stream.read(CHUNK):
                found.update(piece)
        if found.hexdigest() != digest:
            self.doubt(key)
            raise ObjectDamaged(key)

    def document(self, key: str, sha256: str) -> bytes:
        """A whole object that is no instance: a signed report. Raises ObjectDamaged, ObjectMissing."""
        content = self.get(key)
        if hashlib.sha256(content).hexdigest() != sha256:
            self.doubt(key)
            raise ObjectDamaged(key)
        return content

    def pieces(self, key: str, offset: int, expected: str) -> Iterator[bytes]:
        """A whole instance in pieces. The last is given only when all of them together are what they
        should be; else ObjectDamaged, and whoever counts bytes knows that he has not got it.
        """
        digest = blake3()
        with self.open_range(key) as stream:
            meta = b""
            while len(meta) < offset and (piece := stream.read(offset - len(meta))):
                meta += piece
            last = meta
            while piece := stream.read(CHUNK):
                yield last
                digest.update(piece)
                last = piece
        if seal(meta, digest.digest()) != expected:
            self.doubt(key)
            raise ObjectDamaged(key)
        yield last

    def doubt(self, key: str) -> None:
        """Somebody read bytes that were wrong: look, and mark the object where it is so."""
        if self.is_marked(key):
            return
        examine(self._database, self._store, key, holdings=self._holdings)
        self._fresh_until = 0.0

    def _look(self) -> None:
        with self._lock:
            if time.monotonic() <= self._fresh_until:
                return
            asked = select(ObjectFault.object_key).where(ObjectFault.mended_at.is_(None)).limit(MOST + 1)
            # A database that is away is somebody else's trouble: what was known is still so.
            with suppress(SQLAlchemyError), self._database.reading() as session:
                found = frozenset(session.scalars(asked))
                self._marked = found if len(found) <= MOST else None
            self._fresh_until = time.monotonic() + FRESH_FOR

    # --- an object store like any other ------------------------------------------------------------------

    def get(self, key: str) -> bytes:
        self.require(key)
        return self._store.get(key)

    def open_range(self, key: str, start: int = 0, length: int | None = None) -> BinaryIO:
        self.require(key)
        return self._store.open_range(key, start, length)

    def read_into(self, key: str, start: int, pieces: Sequence[memoryview]) -> int:
        self.require(key)
        return self._store.read_into(key, start, pieces)

    def size(self, key: str) -> int:
        self.require(key)
        return self._store.size(key)

    def draft(self, key: str) -> Draft:
        return self._store.draft(key)

    def put(self, key: str, content: BinaryIO, length: int) -> None:
        self._store.put(key, content, length)

    def keys(self, prefix: str = "") -> Iterator[str]:
        return self._store.keys(prefix)

    def folders(self, prefix: str) -> list[str]:
        return self._store.folders(prefix)

    def discard(self, key: str) -> None:
        self._store.discard(key)
