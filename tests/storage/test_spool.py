"""What waits in the spool is found here, copied whole, and forgotten only when the store has it."""

from __future__ import annotations

import os
import time
from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import select

from storage.database import utc_now
from storage.headers import read_header
from storage.imaging import Instance
from storage.indexing import Sender
from storage.ingest import Ingest
from storage.instance_headers import fill_headers
from storage.objects import FolderStore, ObjectMissing, ObjectStore, StoreAway
from storage.spool import SpooledStore, SpoolFirst, _alone, draining
from tests.builders import a_dataset, bytes_of, put_object

EXPLICIT = "1.2.840.10008.1.2.1"
QINGSHI = Sender("T01_CT", "T01", "127.0.0.1")


@pytest.fixture
def spooled(tmp_path, objects: ObjectStore) -> SpooledStore:
    return SpooledStore(FolderStore(tmp_path / "unsent"), objects)


@pytest.fixture
def kept(database, spooled) -> tuple[str, bytes]:
    """One slice of a device, in the spool."""
    raw = bytes_of(a_dataset())
    with closing(Ingest(database, spooled)) as ingest:
        ingest.keep(read_header(raw, EXPLICIT), raw, sender=QINGSHI)
    (key,) = spooled.spool.keys()
    return key, spooled.get(key)


def test_an_object_is_found_before_and_after_it_is_copied(spooled, kept):
    key, content = kept

    assert list(spooled.keys("instances")) == [key]
    assert spooled.size(key) == len(content)
    assert spooled.drain() == 1
    assert spooled.drain() == 0

    assert list(spooled.spool.keys()) == []
    assert list(spooled.keys("instances")) == [key]
    assert spooled.get(key) == spooled.store.get(key) == content
    with spooled.open_range(key, 10, 20) as stream:
        assert stream.read() == content[10:30]


def test_a_copy_without_a_row_is_copied_all_the_same(spooled, kept):
    key, content = kept
    orphan = key[:-4] + "0000"
    put_object(spooled, orphan, content)

    assert spooled.drain() == 2
    assert spooled.store.get(orphan) == content


def test_what_is_still_being_written_is_not_copied(spooled, kept):
    key, content = kept
    draft = spooled.draft(key[:-4] + "0000")
    draft.write(content[:-10])

    assert spooled.drain() == 1
    assert list(spooled.store.keys()) == [key]
    draft.write(content[-10:])
    draft.keep()
    draft.abandon()

    assert spooled.drain() == 1


def test_what_a_crash_left_half_written_stays_and_stops_nobody(spooled, kept, caplog):
    key, content = kept
    torn = key[:-4] + "0000"
    put_object(spooled, torn, content[:100])
    long_ago = time.time() - 600
    os.utime(spooled.spool.root / torn, (long_ago, long_ago))

    assert spooled.drain() == 1
    assert spooled.drain() == 0

    assert list(spooled.spool.keys()) == [torn]
    assert caplog.text.count("not what it says about itself") == 1, "said once, not every second"


def test_two_nodes_that_share_a_folder_do_not_copy_at_the_same_time(spooled, kept):
    with _alone(f"{spooled.spool.root}.lock") as is_ours:
        assert is_ours
        assert spooled.drain() == 0

    assert spooled.drain() == 1


def test_the_age_of_the_oldest_is_told(spooled, kept):
    key, _ = kept
    an_hour_ago = time.time() - 3600
    os.utime(spooled.spool.root / key, (an_hour_ago, an_hour_ago))

    waiting = spooled.waiting()

    assert waiting.count == 1
    assert 3590 < waiting.oldest < 3700


def test_folders_of_past_days_are_not_kept_for_ever(spooled, kept):
    old = spooled.spool.root / "instances/2020/01/02/03"
    old.mkdir(parents=True)
    long_ago = time.time() - 7 * 24 * 3600
    os.utime(old, (long_ago, long_ago))

    spooled.drain()

    assert not old.exists()
    assert (spooled.spool.root / kept[0]).parent.exists(), "an hour that may still be written into"


def test_portals_and_workers_read_the_spool_and_write_into_the_store(spooled, kept):
    key, content = kept
    reader = SpoolFirst(spooled.spool, spooled.store)

    put_object(reader, "reports/2026/11/22/10/x", b"a report")

    assert reader.get(key) == content
    assert spooled.store.get("reports/2026/11/22/10/x") == b"a report"
    with pytest.raises(ObjectMissing):
        reader.get("instances/2026/11/22/10/nothing")


def test_a_worker_elsewhere_waits_for_the_object_before_it_keeps_its_header(database, spooled, kept):
    later = utc_now() + timedelta(minutes=5)

    def header() -> object:
        with database.reading() as session:
            return session.scalar(select(Instance.header))

    assert not fill_headers(database, spooled.store, now=later)
    assert header() is None
    spooled.drain()
    assert fill_headers(database, spooled.store, now=later)

    assert "00100010" in header()


def test_a_store_that_was_away_is_prepared_again_before_it_is_filled(spooled, kept, monkeypatch):
    monkeypatch.setattr("storage.spool.LOOK_EVERY", 0.05)
    heard = []

    def prepare() -> None:
        heard.append("asked")
        if len(heard) < 3:
            raise StoreAway("no route to host")

    with draining(spooled, prepare=prepare):
        until = time.monotonic() + 10
        while spooled.waiting().count and time.monotonic() < until:
            time.sleep(0.02)

    assert heard == ["asked"] * 3
    assert spooled.waiting().count == 0
