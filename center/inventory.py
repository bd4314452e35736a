"""Every stored object against its row: what is missing, what has changed, what nobody points at.

The scrub (storage.scrub) does the same all the time and slowly; here it is done at once and printed, with the
same consequences: what is damaged is marked, and what is whole again is given out again.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TextIO

from storage.database import Database, utc_now
from storage.faults import Fault, count_open, marked_among
from storage.holdings import Held, Holding, walk
from storage.objects import ObjectStore
from storage.scrub import fault_of, settle
from worklist.holdings import HOLDINGS

READERS = 4  # an object store answers several questions at once; a disk does not mind
WORDS = {Fault.MISSING: "missing ", Fault.CHANGED: "corrupt ", Fault.UNREADABLE: "corrupt "}


def report(database: Database, objects: ObjectStore, *, out: TextIO) -> int:
    """Print a line for each finding and a last line with the counts; 1 if any object is missing or corrupt.

    Safe while the centre runs: the store is listed before the rows are read, so an object whose row was
    being written meanwhile is not called an orphan.
    """
    unclaimed = set(objects.keys())
    seen = missing = corrupt = 0
    for holding in HOLDINGS:
        for one, fault, marked in _looked_at(database, objects, holding):
            seen += 1
            unclaimed.discard(one.key)
            if fault is not None or one.key in marked:
                settle(database, objects, one, fault, now=utc_now())
            if fault is not None:
                missing += fault is Fault.MISSING
                corrupt += fault is not Fault.MISSING
                print(f"{WORDS[fault]}  {holding.title} {one.name} {one.key}", file=out)
    for key in sorted(unclaimed):
        print(f"orphaned  {key}", file=out)
    with database.reading() as session:
        left = count_open(session)
    if left:
        print(f"{left} objects are marked and given to nobody until they are mended", file=out)
    print(
        f"{seen} objects checked: {missing} missing, {corrupt} corrupt; "
        f"{len(unclaimed)} orphaned (bytes without a row)",
        file=out,
    )
    return 1 if missing or corrupt else 0


def _looked_at(
    database: Database, objects: ObjectStore, holding: Holding
) -> Iterator[tuple[Held, Fault | None, set[str]]]:
    """Each row, what is wrong with its object, and what is marked already."""
    with ThreadPoolExecutor(READERS) as readers:
        for rows in walk(database, holding):
            with database.reading() as session:
                marked = marked_among(session, [one.key for one in rows])
            faults = readers.map(lambda one: fault_of(objects, one), rows)
            yield from ((one, fault, marked) for one, fault in zip(rows, faults, strict=True))
