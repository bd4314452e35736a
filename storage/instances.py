"""keep_instance, open_instance, is_kept: an acknowledged image is never lost and never replaced.

Bytes first, row second, answer last. The receiving path deletes nothing: an object whose row never came
is swept later by retention.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import BinaryIO

from blake3 import blake3
from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database import Database, utc_now
from storage.headers import Header
from storage.imaging import Instance, Origin
from storage.indexing import Arrived, Kept, Outcome, Sender, Stored, index_instances, is_identical
from storage.objects import ObjectMissing, ObjectStore, new_key

__all__ = ["Kept", "Outcome", "Sender"]

CHUNK = 1 << 20


def keep_instance(
    database: Database,
    objects: ObjectStore,
    *,
    header: Header,
    meta: bytes,
    dataset: BinaryIO,
    sender: Sender,
    origin: Origin = Origin.RECEIVED,
    now: datetime | None = None,
) -> Kept:
    """Keep one instance: `meta` (preamble and file meta) and then `dataset`, byte for byte as it was sent.

    Durable, object and rows, when this returns. The first content of a SOP Instance UID stays; the same
    bytes again are IDENTICAL; other bytes are kept aside as QUARANTINED. Raises what the store and the
    database raise; then nothing is visible and the sender must send again. Devices send through `Ingest`.
    """
    now = now or utc_now()
    digest, length = _hash(dataset)
    with database.reading() as session:
        if is_identical(session.connection(), header, digest.hexdigest()):
            return Kept(Outcome.IDENTICAL, header.sop_instance_uid, header.study_instance_uid)
    dataset.seek(0)
    key = new_key("instances", now)
    objects.put(key, _Joined(meta, dataset), len(meta) + length)
    stored = Stored(key, len(meta) + length, len(meta), digest.hexdigest(), seal(meta, digest.digest()))
    arrived = Arrived(header, stored, sender, origin, now)
    return database.in_transaction(lambda session: index_instances(session.connection(), [arrived])[0])


def find_instance(session: Session, sop_instance_uid: str) -> Instance | None:
    return session.scalar(select(Instance).where(Instance.sop_instance_uid == sop_instance_uid))


@contextmanager
def open_instance(objects: ObjectStore, instance: Instance) -> Iterator[BinaryIO]:
    """The Part 10 object of this instance, byte for byte as kept."""
    stream = objects.open_range(instance.object_key)
    try:
        yield stream
    finally:
        stream.close()


def is_kept(session: Session, objects: ObjectStore, *, sop_class_uid: str, sop_instance_uid: str) -> bool:
    """Whether the instance is here: its row, and its object re-read and matching its hash."""
    instance = find_instance(session, sop_instance_uid)
    if instance is None or instance.sop_class_uid != sop_class_uid:
        return False
    return object_seal(objects, instance.object_key, instance.dataset_offset) == instance.seal


def seal(meta: bytes, digest: bytes) -> str:
    """The hash of a whole object, made of its dataset's: nothing is hashed twice."""
    return blake3(meta + digest).hexdigest()


def object_seal(objects: ObjectStore, key: str, dataset_offset: int) -> str | None:
    """The seal of the stored object as it is now, or None when it is missing."""
    steps = hashing(objects, key, dataset_offset)
    try:
        while True:
            next(steps)
    except StopIteration as end:
        return str(end.value)
    except ObjectMissing:
        return None


def hashing(
    objects: ObjectStore, key: str, dataset_offset: int | None, *, is_from_disk: bool = False
) -> Generator[int, None, str]:
    """Read a stored object piece by piece, yield the length of each, and return its seal.

    Without an offset, for what is not an instance, the SHA-256 of its bytes. Raises ObjectMissing, OSError.
    """
    digest = blake3() if dataset_offset is not None else hashlib.sha256()
    with objects.open_range(key) as stream:
        if is_from_disk:
            # What lies in memory says nothing about the disk; a stream from elsewhere has no descriptor.
            with suppress(OSError):
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        meta = _exactly(stream, dataset_offset or 0)
        yield len(meta)
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            yield len(chunk)
    return digest.hexdigest() if dataset_offset is None else seal(meta, digest.digest())


def _exactly(stream: BinaryIO, length: int) -> bytes:
    pieces = []
    while length and (piece := stream.read(length)):
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def _hash(dataset: BinaryIO) -> tuple[blake3, int]:
    digest, length = blake3(), 0
    dataset.seek(0)
    while chunk := dataset.read(CHUNK):
        digest.update(chunk)
        length += len(chunk)
    return digest, length


class _Joined(io.RawIOBase, BinaryIO):
    """`head` and then `body` as one stream."""

    def __init__(self, head: bytes, body: BinaryIO) -> None:
        self._head = io.BytesIO(head)
        self._body = body

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        chunk = self._head.read(size)
        if not chunk or size < 0:
            chunk += self._body.read(size)
        return chunk
