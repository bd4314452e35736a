"""The scrub: every stored object is read again and hashed, slowly and for ever.

It walks the rows in the order of their objects' keys, so that what comes next was always checked longest ago,
and keeps nothing but its place: a row for each object and look would cost more than the looking.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from storage import faults, rounds
from storage.database import Database, utc_now
from storage.faults import Fault, Mended, ObjectFault
from storage.healing import index_found, read_found
from storage.holdings import IMAGES, Held, Holding, held, walk
from storage.instance_headers import LONGEST_WAY
from storage.instances import hashing
from storage.objects import FolderStore, ObjectMissing, ObjectStore, StoreAway, new_key
from storage.rounds import Turn
from storage.spool import SpoolFirst
from storage.unclaimed import copies_of

log = logging.getLogger("reading_center.storage")

ROUND = "scrub"
LEAST = timedelta(days=1)  # between the beginnings of two rounds: a small centre is not read all day
TURN = 0.25  # seconds that one turn may take, beyond the piece that is being read
SAVE_EVERY = 30.0
AFTER_FAILURE = 60.0
LOOK_AGAIN = timedelta(hours=1)  # at what is marked: somebody may have restored it
LOOK_EVERY = 60.0
AT_ONCE = 20


def fault_of(objects: ObjectStore, one: Held) -> Fault | None:
    """What is wrong with an object now; None where it matches its row. Raises StoreAway."""
    look = Look(objects, one)
    for _ in look:
        pass
    return look.fault


class Look:
    """Hash an object piece by piece: iterate, with the number of bytes of each piece, then ask `fault`."""

    def __init__(self, objects: ObjectStore, one: Held) -> None:
        self._objects, self._one = objects, one
        self.fault: Fault | None = None

    def __iter__(self) -> Iterator[int]:
        one = self._one
        try:
            found = yield from hashing(self._objects, one.key, one.offset, is_from_disk=True)
        except ObjectMissing:
            self.fault = Fault.MISSING
        except StoreAway:
            raise
        except OSError:
            self.fault = Fault.UNREADABLE
        else:
            self.fault = None if found == one.digest else Fault.CHANGED


def examine(
    database: Database,
    objects: ObjectStore,
    key: str,
    *,
    holdings: Sequence[Holding] = IMAGES,
    now: datetime | None = None,
) -> Fault | None:
    """Look at one object that somebody doubts; mark it where the doubt was right."""
    with database.reading() as session:
        one = next((found for each in holdings if (found := held(session, each, key))), None)
    if one is None:
        return None
    fault = fault_of(objects, one)
    settle(database, objects, one, fault, now=now or utc_now())
    return fault


def settle(
    database: Database, objects: ObjectStore, one: Held, fault: Fault | None, *, now: datetime
) -> bool:
    """What follows from a look: a mark, a repair where there is a good copy, the end of a mark.

    True where the object was found damaged. A single bad reading is no proof: it is read once more.
    """
    if fault is None:
        _unmark(database, one.key, now=now)
        return False
    if fault is Fault.MISSING and _may_be_on_its_way(objects, one, now=now):
        return False
    if (fault := fault_of(objects, one)) is None:
        log.warning("an object was read wrongly once and rightly the second time: %s", one.key)
        return False
    found = fault

    is_marked, is_new = database.in_transaction(lambda session: _mark(session, one, found, now))
    if not is_marked:
        return False
    if is_new:
        log.error("%s: %s of %s %s", found.value, one.key, one.holding.title, one.name)
    repair(database, objects, one, now=now)
    return True


def repair(database: Database, objects: ObjectStore, one: Held, *, now: datetime) -> bool:
    """Find a second good copy of a marked object: in the store under one in the spool, a resend's, or where
    else its holder knows of one."""
    if isinstance(objects, SpoolFirst) and fault_of(objects.store, one) is None:
        # It was copied before it changed here; the copy that is looked at first is in the way.
        objects.spool.discard(one.key)
        _unmark(database, one.key, now=now, by=Mended.COPY)
        return True
    with database.reading() as session:
        keys = copies_of(session, one.name)
    for key in keys:
        try:
            found = read_found(objects, key)
        except ObjectMissing:
            continue
        if found is None:
            continue
        index_found(database, found)
        with database.reading() as session:
            is_mended = held(session, one.holding, one.key) is None
        if is_mended:
            database.in_transaction(lambda session: _say_copy(session, one.key))
            return True
    return _put_again(database, objects, one, now=now)


def _put_again(database: Database, objects: ObjectStore, one: Held, *, now: datetime) -> bool:
    """The same bytes under a new key, where they lie elsewhere too: the row points there from now on."""
    holding = one.holding
    for content in holding.elsewhere(database, objects, one.key) if holding.elsewhere is not None else ():
        kind = one.key.partition("/")[0]
        again = replace(one, key=new_key(kind, now))
        objects.put(again.key, io.BytesIO(content), len(content))
        if fault_of(objects, again) is None:

            def point(session: Session, key: str = again.key) -> None:
                moved = update(holding.table).where(holding.key == one.key).values({holding.key: key})
                session.execute(moved.execution_options(synchronize_session=False))
                faults.mend(session, one.key, Mended.COPY, now=now)

            database.in_transaction(point)
            return True
    return False


def _say_copy(session: Session, key: str) -> None:
    changed = update(ObjectFault).where(ObjectFault.object_key == key, ObjectFault.is_told.is_(False))
    session.execute(changed.values(mended_by=Mended.COPY.value).execution_options(synchronize_session=False))


def _unmark(database: Database, key: str, *, now: datetime, by: Mended = Mended.RESTORED) -> None:
    with database.reading() as session:
        is_marked = session.scalar(
            select(ObjectFault.id).where(ObjectFault.object_key == key, ObjectFault.mended_at.is_(None))
        )
    if is_marked is not None:
        database.in_transaction(lambda session: faults.mend(session, key, by, now=now))


def _may_be_on_its_way(objects: ObjectStore, one: Held, *, now: datetime) -> bool:
    """What waits in another machine's spool is not in the store yet; a folder has it or has lost it."""
    return not isinstance(objects, FolderStore) and one.since > now - LONGEST_WAY


def look_again(
    database: Database, objects: ObjectStore, holdings: Sequence[Holding], *, now: datetime
) -> int:
    """At marked objects, and say in the trace what was mended; return how many were looked at."""
    due = (
        select(ObjectFault)
        .where(ObjectFault.mended_at.is_(None), ObjectFault.checked_at < now - LOOK_AGAIN)
        .order_by(ObjectFault.checked_at)
        .limit(AT_ONCE)
    )
    with database.reading() as session:
        marked = list(session.scalars(due))
    for mark in marked:
        with database.reading() as session:
            one = next((found for each in holdings if (found := held(session, each, mark.object_key))), None)
        if one is None:
            # No row points at it any more: it is garbage, and nobody misses it.
            _unmark(database, mark.object_key, now=now, by=Mended.COPY)
        elif (fault := fault_of(objects, one)) is None:
            _unmark(database, one.key, now=now)
        elif not repair(database, objects, one, now=now):
            database.in_transaction(partial(_mark, one=one, fault=fault, now=now))
    with database.reading() as session:
        is_untold = session.scalar(
            select(ObjectFault.id)
            .where(ObjectFault.is_told.is_(False), ObjectFault.mended_at.is_not(None))
            .limit(1)
        )
    if is_untold is not None:
        database.in_transaction(lambda session: faults.tell_mended(session, now=now))
    return len(marked)


def _mark(session: Session, one: Held, fault: Fault, now: datetime) -> tuple[bool, bool]:
    """Whether the object is marked, and whether it is so only now."""
    # The row may have got other bytes meanwhile: then this object is nobody's any more.
    if held(session, one.holding, one.key) is None:
        return False, False
    title = one.holding.title
    return True, faults.mark(session, key=one.key, holding=title, name=one.name, fault=fault, now=now)


class Scrub:
    """A worker's duty: a turn reads no more than `rate` bytes a second allow, and never for long.

    One worker of a centre scrubs at a time; where it dies, another goes on from its place.
    """

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        holdings: Sequence[Holding],
        *,
        rate: float,
        least: timedelta = LEAST,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database, self._objects, self._holdings = database, objects, holdings
        self._rate, self._least, self._clock = rate, least, clock
        self._turn: Turn | None = None
        self._steps: Iterator[int] = iter(())
        self._allowed, self._asked_at = 0.0, time.monotonic()
        self._not_before = self._look_again_at = 0.0
        self._save_at = 0.0

    def __call__(self) -> bool:
        """False always: there is no hurry, and other work need not wait for the next turn."""
        now = time.monotonic()
        if now < self._not_before or not self._rate:
            return False
        try:
            self._work(now)
        except BaseException:
            self._stop(AFTER_FAILURE)
            raise
        return False

    def _work(self, now: float) -> None:
        if now >= self._look_again_at:
            self._look_again_at = now + LOOK_EVERY
            look_again(self._database, self._objects, self._holdings, now=self._clock())
        # What was not used is not saved up for more than a second: an idle hour is not made good at once.
        self._allowed = min(self._allowed + self._rate * (now - self._asked_at), self._rate)
        self._asked_at = now
        if self._turn is None and not self._begin():
            self._not_before = now + LOOK_EVERY
            return
        until = now + TURN
        while self._allowed > 0 and time.monotonic() < until:
            read = next(self._steps, None)
            if read is None:
                self._end()
                return
            self._allowed -= read
        if time.monotonic() > self._save_at:
            self._save()

    def _begin(self) -> bool:
        taken = self._database.in_transaction(
            lambda session: rounds.take(session, ROUND, every=self._least, now=self._clock())
        )
        if taken is None:
            return False
        self._turn, self._save_at = taken, time.monotonic() + SAVE_EVERY
        self._steps = self._walk(taken)
        return True

    def _walk(self, turn: Turn) -> Iterator[int]:
        """Yield the bytes of each piece read. `turn` says at any time how far it has come."""
        title, _, after = turn.position.partition(" ")
        counts: dict[str, int] = {}
        for name in ("checked", "damaged", "bytes"):
            counts[name] = int(turn.counts.get(name, 0))
        place = next((i for i, one in enumerate(self._holdings) if one.title == title), 0)
        for holding in self._holdings[place:]:
            for batch in walk(self._database, holding, after=after if holding.title == title else ""):
                with self._database.reading() as session:
                    marked = faults.marked_among(session, [one.key for one in batch])
                for one in batch:
                    look = Look(self._objects, one)
                    for read in look:
                        counts["bytes"] += read
                        yield read
                    counts["checked"] += 1
                    if look.fault is not None or one.key in marked:
                        now = self._clock()
                        counts["damaged"] += settle(self._database, self._objects, one, look.fault, now=now)
                    self._turn = Turn(turn.number, f"{holding.title} {one.key}", dict(counts))
                    yield 0

    def _save(self) -> None:
        turn = self._turn
        assert turn is not None
        self._save_at = time.monotonic() + SAVE_EVERY
        if not self._database.in_transaction(
            lambda session: rounds.save(session, ROUND, turn, now=self._clock())
        ):
            self._stop(LOOK_EVERY)

    def _end(self) -> None:
        turn = self._turn
        assert turn is not None
        self._database.in_transaction(lambda session: rounds.finish(session, ROUND, turn, now=self._clock()))
        self._stop(0.0)

    def _stop(self, pause: float) -> None:
        self._turn, self._steps = None, iter(())
        self._not_before = time.monotonic() + pause
