"""Bytes whose row never came go after days; what was acknowledged never does."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import delete, select

from storage import audit
from storage import objects as objects_module
from storage.database import utc_now
from storage.headers import read_header
from storage.healing import heal
from storage.holdings import IMAGES
from storage.imaging import Instance, Series, Study
from storage.indexing import Outcome, Sender
from storage.ingest import Ingest
from storage.instances import find_instance
from storage.objects import FolderStore, ObjectMissing
from storage.part10 import meta_bytes
from storage.retention import Sweep
from storage.scrub import examine
from storage.spool import SpooledStore
from storage.unclaimed import UnclaimedObject, Why, count_unclaimed
from tests.builders import a_dataset, bytes_of, keep
from tests.damage import flip_a_byte, rewrite

EXPLICIT = "1.2.840.10008.1.2.1"
QINGSHI = Sender("T01_CT", "T01", "127.0.0.1")
LATER = timedelta(days=2)  # old enough for the sweep
MUCH_LATER = timedelta(days=10)  # and past the days that a marked object stays


def _sweep(database, objects, after: timedelta = LATER) -> dict[str, int]:
    """One round at this time from now."""
    sweep = Sweep(database, objects, IMAGES, clock=lambda: utc_now() + after, every=timedelta(0))
    while sweep.turn():
        pass
    with database.reading() as session:
        return count_unclaimed(session)


def _keys(objects) -> set[str]:
    return set(objects.keys("instances"))


def _an_orphan(objects, dataset, *, number: int = 0) -> str:
    """An object as a node writes it that died before the row."""
    raw = bytes_of(dataset)

    class Died(Exception):
        pass

    class Mute:
        """No database: the node died."""

        def __getattr__(self, name):
            raise Died

    before = _keys(objects)
    with pytest.raises(Died), closing(Ingest(Mute(), objects)) as ingest:
        ingest.keep(read_header(raw, EXPLICIT), raw, sender=QINGSHI, is_likely_known=False)
    (key,) = _keys(objects) - before
    return key


def test_an_object_that_its_writer_never_finished_goes_after_days_and_not_before(database, objects):
    keep(database, objects, a_dataset())
    whole = objects.get(next(iter(_keys(objects))))
    torn = {objects_module.new_key("instances"): content for content in (b"", whole[:100], whole[:-2])}
    zeros = objects_module.new_key("instances")
    for key, content in (torn | {zeros: bytes(9000)}).items():
        rewrite(objects, key, content)
    kept = _keys(objects) - torn.keys() - {zeros}

    too_early = _sweep(database, objects, timedelta(0))
    found = _sweep(database, objects)
    there = _keys(objects)
    _sweep(database, objects, MUCH_LATER)

    assert too_early == {}
    assert found == {Why.TORN: 4}
    assert there == torn.keys() | {zeros} | kept, "marked, and where it was"
    assert _keys(objects) == kept
    with database.reading() as session:
        (event,) = [one for one in session.scalars(select(audit.AuditEvent)) if one.verb == "sweep"]
        assert event.detail["swept"] == {"torn": 4}
        assert count_unclaimed(session) == {}


def test_a_whole_object_without_a_row_is_indexed_and_stays(database, objects):
    dataset = a_dataset()
    key = _an_orphan(objects, dataset)

    assert _sweep(database, objects) == {}
    assert _sweep(database, objects, MUCH_LATER) == {}

    with database.reading() as session:
        assert find_instance(session, str(dataset.SOPInstanceUID)).object_key == key
    assert _keys(objects) == {key}


def test_a_database_from_yesterday_gets_back_the_instances_of_today(database, objects):
    kept = [keep(database, objects, a_dataset(number=number)) for number in range(5)]
    keys = _keys(objects)
    with database.transaction() as session:
        for noun in (Instance, Series, Study):
            session.execute(delete(noun))

    _sweep(database, objects)
    _sweep(database, objects, MUCH_LATER)

    with database.reading() as session:
        assert {one.sop_instance_uid for one in kept} == set(
            session.scalars(select(Instance.sop_instance_uid))
        )
    assert _keys(objects) == keys


def test_a_second_copy_goes_while_the_first_is_whole(database, objects):
    dataset = a_dataset()
    keep(database, objects, dataset)
    first = _keys(objects)
    _an_orphan(objects, dataset)

    found = _sweep(database, objects)
    _sweep(database, objects, MUCH_LATER)

    assert found == {Why.COPY: 1}
    assert _keys(objects) == first


@pytest.mark.parametrize("when", ["before the sweep", "between its two looks"])
def test_a_second_copy_takes_the_place_of_a_first_that_has_rotted(database, objects, when):
    dataset = a_dataset()
    keep(database, objects, dataset)
    (first,) = _keys(objects)
    second = _an_orphan(objects, dataset)
    if when != "before the sweep":
        assert _sweep(database, objects) == {Why.COPY: 1}
    flip_a_byte(objects, first)

    _sweep(database, objects, LATER if when == "before the sweep" else MUCH_LATER)

    with database.reading() as session:
        row = find_instance(session, str(dataset.SOPInstanceUID))
    assert row.object_key == second
    assert objects.get(second)[row.dataset_offset :] == bytes_of(dataset)
    # What has rotted is of no use to anybody now, and goes in its turn.
    _sweep(database, objects, timedelta(days=20))
    _sweep(database, objects, timedelta(days=30))
    assert _keys(objects) == {second}


def test_the_scrub_mends_from_a_copy_that_waits_to_be_discarded(database, objects):
    dataset = a_dataset()
    keep(database, objects, dataset)
    (first,) = _keys(objects)
    second = _an_orphan(objects, dataset)
    _sweep(database, objects)
    flip_a_byte(objects, first)

    examine(database, objects, first)

    with database.reading() as session:
        assert find_instance(session, str(dataset.SOPInstanceUID)).object_key == second
    _sweep(database, objects, MUCH_LATER)
    assert second in _keys(objects)


def test_what_cannot_be_explained_stays_for_ever(database, objects):
    dataset = a_dataset()
    changed = _an_orphan(objects, dataset)  # rotten before anybody could index it
    flip_a_byte(objects, changed)
    foreign = objects_module.new_key("instances")
    rewrite(objects, foreign, b"MZ" + bytes(5000))
    stranger = a_dataset()
    raw = bytes_of(stranger)
    plain = objects_module.new_key("instances")  # as older programs write: it says nothing about itself
    rewrite(
        objects,
        plain,
        meta_bytes(str(stranger.SOPClassUID), str(stranger.SOPInstanceUID), EXPLICIT, "X") + raw,
    )
    rewrite(objects, "instances/notes.txt", b"somebody's")
    rewrite(objects, "reports/2020/01/01/00/x", b"%PDF")

    found = _sweep(database, objects)
    for days in (10, 30, 400):
        _sweep(database, objects, timedelta(days=days))

    assert found == {Why.UNEXPLAINED: 3}
    assert set(objects.keys()) == {changed, foreign, plain, "instances/notes.txt", "reports/2020/01/01/00/x"}
    # Its device sends it again: now it is explained.
    keep(database, objects, dataset)
    _sweep(database, objects, timedelta(days=402))
    _sweep(database, objects, timedelta(days=420))
    assert changed not in _keys(objects)


def test_what_gets_its_row_after_all_is_not_discarded(database, objects):
    torn = objects_module.new_key("instances")
    keep(database, objects, a_dataset())
    (key,) = _keys(objects)
    whole = objects.get(key)
    rewrite(objects, torn, whole[:-2])
    assert _sweep(database, objects) == {Why.TORN: 1}
    # Whatever it looks like: what a row points at is the scrub's business, never the sweep's.
    with database.transaction() as session:
        session.execute(Instance.__table__.update().values(object_key=torn))

    _sweep(database, objects, MUCH_LATER)

    assert torn in _keys(objects)
    with database.reading() as session:
        assert session.get(UnclaimedObject, torn) is None


def test_what_is_torn_in_the_spool_goes_and_what_waits_there_stays(sqlite_pair, tmp_path, database):
    spooled = SpooledStore(FolderStore(tmp_path / "unsent"), FolderStore(tmp_path / "store"))
    waiting = keep(database, spooled, a_dataset())
    (key,) = _keys(spooled)
    torn = objects_module.new_key("instances")
    rewrite(spooled.spool, torn, spooled.get(key)[:-2])

    _sweep(database, spooled)
    _sweep(database, spooled, MUCH_LATER)

    assert _keys(spooled) == {key}
    assert waiting.outcome is Outcome.KEPT


def test_two_workers_sweep_one_centre(database, objects):
    keep(database, objects, a_dataset())
    whole = objects.get(next(iter(_keys(objects))))
    for _ in range(30):
        rewrite(objects, objects_module.new_key("instances"), whole[:-4])

    def work() -> None:
        sweep = Sweep(database, objects, IMAGES, clock=lambda: utc_now() + LATER, every=timedelta(0))
        for _ in range(6):
            sweep.turn()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()

    with database.reading() as session:
        assert count_unclaimed(session) == {Why.TORN: 30}


class _Crash(Exception):
    pass


class _Mortal:
    """A store whose node dies at random moments around its writes."""

    def __init__(self, objects, chance: random.Random, share: float) -> None:
        self._objects, self._chance, self._share = objects, chance, share

    def draft(self, key):
        draft = self._objects.draft(key)
        return _MortalDraft(self, key, draft) if self._chance.random() < self._share else draft

    def __getattr__(self, name):
        return getattr(self._objects, name)


class _MortalDraft:
    """Its node dies before it is durable, and leaves a part; or after, and before the row."""

    def __init__(self, store: _Mortal, key: str, draft) -> None:
        self._store, self._key, self._draft = store, key, draft
        self._written = b""

    def write(self, *pieces):
        self._written += b"".join(pieces)
        self._draft.write(*pieces)

    def keep(self):
        if self._store._chance.random() < 0.5:
            self._draft.abandon()
            part = self._written[: self._store._chance.randrange(len(self._written))]
            rewrite(self._store._objects, self._key, part)
        else:
            self._draft.keep()
        raise _Crash

    def __getattr__(self, name):
        return getattr(self._draft, name)


@pytest.mark.parametrize("seed", range(int(os.environ.get("FAULT_ROUNDS", "1"))))
def test_nothing_that_was_acknowledged_is_swept_whatever_dies_when(database, objects, seed):
    """Four devices send, and send again, to nodes that die between bytes and row, while two workers sweep
    and nodes heal; the sweep's days are seconds here, and everything is old enough at once.
    """
    chance = random.Random(seed)
    acknowledged: dict[str, bytes] = {}
    stop, lock = threading.Event(), threading.Lock()
    offset = timedelta(days=3)  # every hour is over
    troubles: list[BaseException] = []

    def device(number: int) -> None:
        mine = random.Random(f"{seed} {number}")
        mortal = _Mortal(objects, mine, 0.4)
        with closing(Ingest(database, mortal)) as ingest:
            for _ in range(25):
                dataset = a_dataset(patient_id=f"P{number}")
                raw, uid = bytes_of(dataset), str(dataset.SOPInstanceUID)
                # Some give up, most send until they are told; some send again what was taken.
                for _ in range(mine.choice((1, 3, 5))):
                    try:
                        ingest.keep(
                            read_header(raw, EXPLICIT), raw, sender=QINGSHI,
                            is_likely_known=mine.random() < 0.5,
                        )  # fmt: skip
                    except _Crash:
                        continue
                    with lock:
                        acknowledged[uid] = raw
                    if mine.random() < 0.7:
                        break

    def worker() -> None:
        sweep = Sweep(
            database, objects, IMAGES, clock=lambda: utc_now() + offset, every=timedelta(0),
            kept_for=timedelta(seconds=1),
        )  # fmt: skip
        while not stop.is_set():
            try:
                sweep.turn()
                if chance.random() < 0.2:
                    heal(database, objects)
            except ObjectMissing:
                pass  # swept by the other one while this one looked
            except BaseException as error:
                troubles.append(error)
                raise

    workers = [threading.Thread(target=worker) for _ in range(2)]
    devices = [threading.Thread(target=device, args=(number,)) for number in range(4)]
    for one in (*workers, *devices):
        one.start()
    for one in devices:
        one.join()
    time.sleep(1.5)
    stop.set()
    for one in workers:
        one.join()
    # All is still: garbage goes, and nothing else.
    for days in (4, 5, 20, 40):
        _sweep(database, objects, timedelta(days=days))

    assert troubles == []
    with database.reading() as session:
        rows = {row.sop_instance_uid: row for row in session.scalars(select(Instance))}
    for uid, raw in acknowledged.items():
        assert objects.get(rows[uid].object_key)[rows[uid].dataset_offset :] == raw
    assert len(acknowledged) > 40
    left = _keys(objects) - {row.object_key for row in rows.values()}
    with database.reading() as session:
        unexplained = set(session.scalars(select(UnclaimedObject.object_key)))
    assert left <= unexplained
    # A torn object that lost its end is garbage for certain; only the beginning may hide what it was.
    assert Counter(objects.size(key) > 4096 for key in left)[True] == 0
