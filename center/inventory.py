"""Every stored object against its row: what is missing, what has changed, what nobody points at."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TextIO

from sqlalchemy import Select, null, select
from sqlalchemy.orm import InstrumentedAttribute

from storage.database import Base, Database
from storage.imaging import Instance, QuarantinedInstance
from storage.instances import object_hash, object_seal
from storage.objects import ObjectStore
from worklist.reports import ReportVersion

BATCH = 500
READERS = 4  # an object store answers several questions at once; a disk does not mind


@dataclass(frozen=True)
class Holding:
    """A table whose rows point at objects: the name of the thing, its key and the hash of its bytes.

    `offset` is where an instance's dataset begins: its hash is a seal over meta information and dataset.
    """

    table: type[Base]
    name: InstrumentedAttribute[Any]
    key: InstrumentedAttribute[Any]
    digest: InstrumentedAttribute[Any]
    offset: InstrumentedAttribute[Any] | None = None


HOLDINGS = (
    Holding(
        Instance,
        Instance.sop_instance_uid,
        Instance.object_key,
        Instance.seal,
        Instance.dataset_offset,
    ),
    Holding(
        QuarantinedInstance,
        QuarantinedInstance.sop_instance_uid,
        QuarantinedInstance.object_key,
        QuarantinedInstance.seal,
        QuarantinedInstance.dataset_offset,
    ),
    Holding(ReportVersion, ReportVersion.verify_token, ReportVersion.pdf_key, ReportVersion.pdf_sha256),
)


def report(database: Database, objects: ObjectStore, *, out: TextIO) -> int:
    """Print a line for each finding and a last line with the counts; 1 if any object is missing or corrupt.

    Safe while the centre runs: the store is listed before the rows are read, so an object whose row was
    being written meanwhile is not called an orphan.
    """
    unclaimed = set(objects.keys())
    seen = missing = corrupt = 0
    for holding in HOLDINGS:
        for name, key, expected, found in _hashed(database, objects, holding):
            seen += 1
            unclaimed.discard(key)
            if found is None:
                missing += 1
                print(f"missing   {holding.table.__tablename__} {name} {key}", file=out)
            elif found != expected:
                corrupt += 1
                print(f"corrupt   {holding.table.__tablename__} {name} {key}", file=out)
    for key in sorted(unclaimed):
        print(f"orphaned  {key}", file=out)
    print(
        f"{seen} objects checked: {missing} missing, {corrupt} corrupt; "
        f"{len(unclaimed)} orphaned (bytes without a row)",
        file=out,
    )
    return 1 if missing or corrupt else 0


def _hashed(
    database: Database, objects: ObjectStore, holding: Holding
) -> Iterator[tuple[str, str, str, str | None]]:
    with ThreadPoolExecutor(READERS) as readers:
        for rows in _batches(database, holding):
            hashes = readers.map(lambda row: _hash(objects, row[1], row[3]), rows)
            for (name, key, expected, _), found in zip(rows, hashes, strict=True):
                yield name, key, expected, found


def _hash(objects: ObjectStore, key: str, offset: int | None) -> str | None:
    return object_hash(objects, key) if offset is None else object_seal(objects, key, offset)


def _batches(database: Database, holding: Holding) -> Iterator[list[tuple[str, str, str, int | None]]]:
    """The rows in the order of their keys, a short look at a time; none is open while bytes are read."""
    after = ""
    while True:
        question: Select[tuple[Any, Any, Any, Any]] = (
            select(
                holding.name,
                holding.key,
                holding.digest,
                null() if holding.offset is None else holding.offset,
            )
            .where(holding.key > after)
            .order_by(holding.key)
            .limit(BATCH)
        )
        with database.reading() as session:
            found = session.execute(question)
            rows = [(str(name), str(key), str(digest), offset) for name, key, digest, offset in found]
        if not rows:
            return
        yield rows
        after = rows[-1][1]
