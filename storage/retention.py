"""The sweep of objects without rows: what nobody was ever told to be kept, and what is here a second time.

The receiving path deletes nothing, so bytes stay whose row never came: a sender broke off, a node died
between bytes and row, the same content came on two associations at once. Found and marked first; discarded
after days, when a second look says the same. What was acknowledged is never swept: a whole object of ours
without a row is indexed again (storage.healing), and what cannot be explained stays and is counted.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice

from sqlalchemy import and_, or_, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from storage import audit, rounds
from storage.audit import Act
from storage.database import Database, is_away, utc_now
from storage.healing import index_found, read_found
from storage.holdings import INSTANCES, QUARANTINED, Held, Holding, held, unclaimed
from storage.imaging import Instance, QuarantinedInstance
from storage.indexing import Arrived
from storage.objects import ObjectMissing, ObjectStore
from storage.part10 import LONGEST_META, Meta, read_meta
from storage.rounds import Turn
from storage.scrub import examine
from storage.spool import SpoolFirst
from storage.unclaimed import UnclaimedObject, Why

log = logging.getLogger("reading_center.storage")

ROUND = "sweep"
# A line of 256 kbit/s takes 18 hours for 2 GB, and all the while it is a file under its final name.
OLD_ENOUGH = timedelta(hours=24)
KEPT_FOR = timedelta(days=7)
LOOK_AGAIN = timedelta(days=1)  # at what was not explained
EVERY = timedelta(hours=6)
BATCH, AT_ONCE = 200, 20
BETWEEN_TURNS, AT_REST = 1.0, 60.0
_NOUNS: tuple[tuple[Holding, type[Instance] | type[QuarantinedInstance]], ...] = (
    (INSTANCES, Instance),
    (QUARANTINED, QuarantinedInstance),
)


class Sweep:
    """A worker's duty. A turn looks at no more than BATCH objects, and there is a pause between turns."""

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        holdings: Sequence[Holding],
        *,
        old_enough: timedelta = OLD_ENOUGH,
        kept_for: timedelta = KEPT_FOR,
        every: timedelta = EVERY,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database, self._objects, self._holdings = database, objects, holdings
        self._old_enough, self._kept_for, self._every = old_enough, kept_for, every
        self._clock = clock
        self._turn: Turn | None = None
        self._batches: Iterator[tuple[str, list[str]]] = iter(())
        self._not_before = 0.0

    def __call__(self) -> bool:
        """False always: there is no hurry, and other work need not wait for the next turn."""
        if time.monotonic() < self._not_before:
            return False
        self._not_before = time.monotonic() + AT_REST
        if self.turn():
            self._not_before = time.monotonic() + BETWEEN_TURNS
        return False

    def turn(self) -> bool:
        """Look at the next batch; False when there is none, or another worker walks."""
        try:
            return self._walk_on()
        except BaseException:
            self._turn = None
            raise

    def _walk_on(self) -> bool:
        now = self._clock()
        if self._turn is None:
            self._turn = self._database.in_transaction(
                lambda session: rounds.take(session, ROUND, every=self._every, now=now)
            )
            if self._turn is None:
                return False
            self._batches = self._hours(after=self._turn.position, until=now - self._old_enough)
            self._discard_due(now)
        turn = self._turn
        batch = next(self._batches, None)
        counts = Counter(turn.counts)
        if batch is not None:
            counts["looked_at"] += len(batch[1])
            counts.update(self._look_at(batch[1], now))
        counts.update(self._discard_due(now))
        walked = Turn(turn.number, batch[0] if batch is not None else "", dict(counts))
        note = rounds.finish if batch is None else rounds.save
        is_ours = self._database.in_transaction(lambda session: note(session, ROUND, walked, now=now))
        self._turn = walked if is_ours and batch is not None else None
        return batch is not None

    def _hours(self, *, after: str, until: datetime) -> Iterator[tuple[str, list[str]]]:
        """Folders of an hour, from `after` on, in order, and their keys in batches."""

        def below(prefix: str, depth: int) -> Iterator[str]:
            for folder in self._objects.folders(prefix):
                if folder >= after[: len(folder)]:
                    yield from below(folder, depth - 1) if depth else (folder,)

        for hour in below("instances/", 3):
            if not _ends_before(hour, until):
                continue
            keys = iter(self._objects.keys(hour))
            while batch := list(islice(keys, BATCH)):
                yield hour, batch

    def _look_at(self, keys: list[str], now: datetime) -> Counter[str]:
        counts: Counter[str] = Counter()
        with self._database.reading() as session:
            alone = unclaimed(session, keys, self._holdings)
            known = select(UnclaimedObject.object_key).where(UnclaimedObject.object_key.in_(alone))
            alone -= set(session.scalars(known)) if alone else set()
        for key in sorted(alone):
            why = self._judge(key)
            if why is None:
                counts["indexed"] += 1
            else:
                counts[why.value] += 1
                self._mark(key, why, now)
        return counts

    def _mark(self, key: str, why: Why, now: datetime) -> None:
        try:
            size, meta = _head(self._objects, key)
        except ObjectMissing:
            return
        uid = meta.sop_instance_uid if meta is not None else ""
        if why is Why.UNEXPLAINED:
            log.warning("an object without a row cannot be explained, and stays: %s", key)
        row = UnclaimedObject(
            object_key=key, why=why.value, sop_instance_uid=uid, size=size, found_at=now, looked_at=now
        )
        self._database.in_transaction(lambda session: session.merge(row))

    def _judge(self, key: str) -> Why | None:
        """None: it is gone, or a row points at it now, perhaps because it was indexed just here."""
        try:
            size, meta = _head(self._objects, key)
            if self._is_in_both(key):
                return Why.UNEXPLAINED  # being copied
            if meta is None:
                return _without_meta(self._objects, key, size)
            said = meta.description
            # The length of a large object is filled in at its end.
            if said is not None and size > meta.dataset_offset and said.length == 0:
                return Why.TORN
            if said is not None and size < meta.dataset_offset + said.length:
                return Why.TORN
            found = read_found(self._objects, key)
            if found is None:
                return Why.SUPERSEDED if self._is_good(self._rows_of(meta)) else Why.UNEXPLAINED
            # Once more where the first copy turns out to be damaged: then this one takes its place.
            for _ in range(2):
                if self._is_needed(found):
                    return None
                if self._is_good(self._rows_of(meta, digest=found.stored.digest)):
                    return Why.COPY
            return Why.UNEXPLAINED
        except ObjectMissing:
            return None

    def _is_needed(self, found: Arrived) -> bool:
        """Index a whole object; whether a row points at it now."""
        key = found.stored.key
        try:
            index_found(self._database, found)
        except DBAPIError as error:
            if is_away(error):
                raise
            return False  # its institution is not known here, for instance
        with self._database.reading() as session:
            if unclaimed(session, [key], self._holdings):
                return False
        log.warning("an object without a row was needed, and has one now: %s", key)
        return True

    def _rows_of(self, meta: Meta, *, digest: str | None = None) -> list[Held]:
        """The rows of this instance; with a hash, of this content, also where it was kept aside."""
        found = []
        with self._database.reading() as session:
            for holding, noun in _NOUNS:
                asked = select(holding.key).where(noun.sop_instance_uid == meta.sop_instance_uid)
                if digest is not None:
                    content = (noun.digest == digest, noun.transfer_syntax_uid == meta.transfer_syntax_uid)
                    asked = asked.where(*content)
                elif noun is QuarantinedInstance:
                    continue
                found += [one for key in session.scalars(asked) if (one := held(session, holding, key))]
        return found

    def _is_good(self, kept: Sequence[Held]) -> bool:
        """What is here a second time is garbage only while the first is good: it is read, to be certain."""
        return any(examine(self._database, self._objects, one.key, now=self._clock()) is None for one in kept)

    def _is_in_both(self, key: str) -> bool:
        """It is in this machine's spool and in the store."""
        if not isinstance(self._objects, SpoolFirst):
            return False
        try:
            self._objects.spool.size(key)
            self._objects.store.size(key)
        except ObjectMissing:
            return False
        return True

    def _discard_due(self, now: datetime) -> Counter[str]:
        """A second look at what was marked days ago: discarded where it says the same."""
        swept: Counter[str] = Counter()
        is_due = or_(
            and_(UnclaimedObject.why != Why.UNEXPLAINED, UnclaimedObject.found_at < now - self._kept_for),
            and_(UnclaimedObject.why == Why.UNEXPLAINED, UnclaimedObject.looked_at < now - LOOK_AGAIN),
        )
        due = select(UnclaimedObject).where(is_due).order_by(UnclaimedObject.found_at).limit(AT_ONCE)
        with self._database.reading() as session:
            marked = list(session.scalars(due))
        freed = 0
        for one in marked:
            why = self._second_look(one, now)
            if why is not None and why is not Why.UNEXPLAINED:
                swept[why.value] += 1
                freed += one.size
        if swept:
            log.info("discarded %d objects without rows", sum(swept.values()))
            self._database.in_transaction(lambda session: _tell(session, swept, freed, now))
        return Counter(discarded=sum(swept.values()))

    def _second_look(self, one: UnclaimedObject, now: datetime) -> Why | None:
        """What was discarded, and why; None or UNEXPLAINED where it was not."""
        key = one.object_key
        with self._database.reading() as session:
            is_alone = bool(unclaimed(session, [key], self._holdings))
        why = self._judge(key) if is_alone else None
        was_garbage = one.why != Why.UNEXPLAINED

        def note(session: Session) -> bool:
            row = session.get(UnclaimedObject, key, with_for_update=True)
            if row is None:
                return False
            if why is None:
                session.delete(row)
                return False
            if why is Why.UNEXPLAINED or not was_garbage:
                # Its days begin anew when it has become garbage only now.
                row.found_at = now if why is not Why.UNEXPLAINED else row.found_at
                row.why, row.looked_at = why.value, now
                return False
            if not unclaimed(session, [key], self._holdings):
                session.delete(row)
                return False
            session.delete(row)
            return True

        if not self._database.in_transaction(note):
            return None
        self._objects.discard(key)
        return why


def _tell(session: Session, swept: Counter[str], freed: int, now: datetime) -> None:
    audit.record(session, Act.OBJECT, "sweep", "object", at=now, swept=dict(swept), bytes=freed)


def _ends_before(hour: str, until: datetime) -> bool:
    try:
        began = datetime.strptime(hour, "instances/%Y/%m/%d/%H/").replace(tzinfo=UTC)
    except ValueError:
        return False  # not a folder of ours
    return began + timedelta(hours=1) < until


def _head(objects: ObjectStore, key: str) -> tuple[int, Meta | None]:
    size = objects.size(key)
    if not size:
        return 0, None
    with objects.open_range(key, 0, min(size, LONGEST_META)) as stream:
        return size, read_meta(stream.read())


def _without_meta(objects: ObjectStore, key: str, size: int) -> Why:
    """A file that a power cut left empty, as zeros, or with less than its own beginning."""
    if size < LONGEST_META:
        return Why.TORN if not size or _is_ours_cut_short(objects, key, size) else Why.UNEXPLAINED
    with objects.open_range(key, 0, LONGEST_META) as stream:
        return Why.UNEXPLAINED if any(stream.read()) else Why.TORN


def _is_ours_cut_short(objects: ObjectStore, key: str, size: int) -> bool:
    with objects.open_range(key, 0, size) as stream:
        head = stream.read()
    return not any(head) or (head[:128] == bytes(min(128, size)) and b"DICM".startswith(head[128:132]))
