"""A byte that turned is found by the scrub, given to nobody, and mended from a second good copy."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import select

from storage import audit, faults, rounds
from storage.database import utc_now
from storage.faults import Fault, ObjectFault
from storage.headers import read_header
from storage.holdings import IMAGES
from storage.imaging import Instance, QuarantinedInstance
from storage.indexing import Outcome, Sender
from storage.ingest import Ingest
from storage.instances import find_instance, is_kept
from storage.scrub import ROUND, Scrub, examine, look_again
from storage.sound import ObjectDamaged, SoundObjects
from tests.builders import a_dataset, bytes_of, keep
from tests.damage import flip_a_byte, rewrite

EXPLICIT = "1.2.840.10008.1.2.1"


def _row(database, uid) -> Instance:
    with database.reading() as session:
        return find_instance(session, str(uid))


def _open(database) -> dict[str, str]:
    """What is marked now, and how."""
    with database.reading() as session:
        return {one.object_key: one.fault for one in faults.open_faults(session, limit=1000)}


def _one_round(database, objects, **words) -> dict[str, int]:
    """The scrub from the beginning to the end of one round; what it counted."""
    scrub = Scrub(database, objects, IMAGES, rate=1e9, least=timedelta(0), **words)
    with database.reading() as session:
        before = rounds.look(session, ROUND)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        scrub()
        with database.reading() as session:
            now = rounds.look(session, ROUND)
        if now is not None and now.finished_at != (before.finished_at if before else None):
            return now.finished_counts
    raise AssertionError("the round did not end")


def test_one_round_finds_every_byte_that_turned_and_nothing_else(database, objects):
    kept = [keep(database, objects, a_dataset(number=number)) for number in range(20)]
    keys = [_row(database, one.sop_instance_uid).object_key for one in kept]
    flip_a_byte(objects, keys[3])
    flip_a_byte(objects, keys[7], at=200)  # in the meta information
    flip_a_byte(objects, keys[19], at=900)  # in the header
    rewrite(objects, keys[11], objects.get(keys[11])[:-2])

    counts = _one_round(database, objects)

    assert (counts["checked"], counts["damaged"]) == (20, 4)
    assert counts["bytes"] > sum(_row(database, one.sop_instance_uid).size for one in kept) - 3
    assert _open(database) == dict.fromkeys((keys[3], keys[7], keys[11], keys[19]), Fault.CHANGED)
    with database.reading() as session:
        told = [event for event in session.scalars(select(audit.AuditEvent)) if event.verb == "find-damage"]
        assert len(told) == 4
        assert {event.outcome for event in told} == {"failure"}


def test_a_missing_object_is_marked_at_once_in_a_folder_and_elsewhere_when_it_cannot_be_on_its_way(
    pair, database, objects
):
    key = _row(database, keep(database, objects, a_dataset()).sop_instance_uid).object_key
    objects.discard(key)

    _one_round(database, objects)
    at_once = _open(database)
    _one_round(database, objects, clock=lambda: utc_now() + timedelta(days=8))

    assert at_once == ({key: Fault.MISSING} if pair.name.startswith("sqlite") else {})
    assert _open(database) == {key: Fault.MISSING}


def test_what_is_marked_is_given_to_nobody(database, objects):
    dataset = a_dataset()
    keep(database, objects, dataset)
    row = _row(database, dataset.SOPInstanceUID)
    sound = SoundObjects(database, objects, IMAGES)
    place = (row.object_key, row.dataset_offset, row.seal)
    assert b"".join(sound.pieces(*place))[row.dataset_offset :] == bytes_of(dataset)
    flip_a_byte(objects, row.object_key)

    # Whoever reads it whole finds out and marks it; from then on nobody reads it at all.
    with pytest.raises(ObjectDamaged):
        list(sound.pieces(*place))

    assert _open(database) == {row.object_key: Fault.CHANGED}
    for read in (sound.get, sound.size, sound.open_range):
        with pytest.raises(ObjectDamaged):
            read(row.object_key)
    with database.reading() as session:
        assert not is_kept(
            session, sound, sop_class_uid=row.sop_class_uid, sop_instance_uid=row.sop_instance_uid
        )


def test_an_object_in_pieces_ends_before_its_end_when_a_byte_has_turned(database, objects):
    dataset = a_dataset()
    keep(database, objects, dataset)
    row = _row(database, dataset.SOPInstanceUID)
    sound = SoundObjects(database, objects, IMAGES)
    place = (row.object_key, row.dataset_offset, row.seal)
    whole = b"".join(sound.pieces(*place))
    flip_a_byte(objects, row.object_key)

    got = []
    with pytest.raises(ObjectDamaged):
        got.extend(sound.pieces(*place))

    assert len(whole) == row.size
    assert sum(map(len, got)) < row.size


@pytest.mark.parametrize("way", ["known", "new", "large"])
def test_a_device_that_sends_again_mends_what_was_damaged(database, objects, way):
    dataset = a_dataset()
    raw, uid = bytes_of(dataset), str(dataset.SOPInstanceUID)
    keep(database, objects, dataset)
    before = _row(database, uid)
    flip_a_byte(objects, before.object_key)
    _one_round(database, objects)
    sender, header = Sender("T01_MR", "T01", "127.0.0.1"), read_header(raw, EXPLICIT)

    with closing(Ingest(database, objects)) as ingest:
        if way == "large":
            with ingest.begin(header.sop_class_uid, uid, EXPLICIT, sender=sender) as writing:
                writing.write(raw)
                kept = ingest.finish(writing, header)
        else:
            kept = ingest.keep(header, raw, sender=sender, is_likely_known=way == "known")

    after = _row(database, uid)
    assert kept.outcome is Outcome.IDENTICAL
    assert after.object_key != before.object_key
    assert objects.get(after.object_key)[after.dataset_offset :] == raw
    assert _open(database) == {}
    look_again(database, objects, IMAGES, now=utc_now())
    with database.reading() as session:
        assert [event.detail["mended_by"] for event in audit.history(session, f"object:{uid}")[1:]] == [
            "re-sent"
        ]
        assert is_kept(session, objects, sop_class_uid=header.sop_class_uid, sop_instance_uid=uid)


def test_a_device_that_sends_again_what_is_whole_changes_nothing(database, objects):
    dataset = a_dataset()
    keep(database, objects, dataset)
    before = _row(database, dataset.SOPInstanceUID).object_key

    again = keep(database, objects, dataset)

    assert again.outcome is Outcome.IDENTICAL
    assert _row(database, dataset.SOPInstanceUID).object_key == before
    assert len(list(objects.keys("instances"))) == 1


def test_what_is_kept_aside_is_mended_too(database, objects):
    first = a_dataset()
    keep(database, objects, first)
    second = a_dataset(study_instance_uid=str(first.StudyInstanceUID))
    second.SOPInstanceUID, second.StudyDescription = first.SOPInstanceUID, "another"
    keep(database, objects, second)
    with database.reading() as session:
        key = session.scalars(select(QuarantinedInstance.object_key)).one()
    flip_a_byte(objects, key)
    _one_round(database, objects)
    marked = _open(database)

    keep(database, objects, second)

    assert marked == {key: Fault.CHANGED}
    assert _open(database) == {}
    with database.reading() as session:
        now = session.scalars(select(QuarantinedInstance)).one()
    assert now.object_key != key
    assert objects.get(now.object_key)[now.dataset_offset :] == bytes_of(second)


def test_an_object_that_was_restored_under_its_key_is_given_out_again(database, objects):
    key = _row(database, keep(database, objects, a_dataset()).sop_instance_uid).object_key
    good = objects.get(key)
    flip_a_byte(objects, key)
    assert examine(database, objects, key) is Fault.CHANGED
    rewrite(objects, key, good)

    looked_at = look_again(database, objects, IMAGES, now=utc_now() + timedelta(hours=2))

    assert looked_at == 1
    assert _open(database) == {}
    assert SoundObjects(database, objects, IMAGES).get(key) == good


def test_a_round_goes_on_where_a_dead_worker_left_it_and_two_never_walk_it_together(database, objects):
    for number in range(6):
        keep(database, objects, a_dataset(number=number))
    now = utc_now()
    with database.transaction() as session:
        first = rounds.take(session, ROUND, every=timedelta(0), now=now)
    with database.transaction() as session:
        assert rounds.take(session, ROUND, every=timedelta(0), now=now) is None
        assert rounds.save(session, ROUND, rounds.Turn(first.number, "here", {"checked": 3}), now=now)
    later = now + rounds.LEASE + timedelta(seconds=1)

    with database.transaction() as session:
        second = rounds.take(session, ROUND, every=timedelta(0), now=later)
        assert (second.position, second.counts) == ("here", {"checked": 3})
        # The one that slept is told that it is not his round any more.
        assert not rounds.save(session, ROUND, first, now=later)
        assert not rounds.finish(session, ROUND, first, now=later)


def test_a_scrub_reads_no_faster_than_it_may_and_rests_between_rounds(database, objects):
    for number in range(4):
        keep(database, objects, a_dataset(number=number))
    scrub = Scrub(database, objects, IMAGES, rate=30_000)  # a CT of the tests has 40 kB

    until, turns = time.monotonic() + 1.5, 0
    while time.monotonic() < until:
        assert scrub() is False
        turns += 1
        time.sleep(0.02)
    scrub._save()

    with database.reading() as session:
        checked = rounds.look(session, ROUND).counts["checked"]
    assert turns > 20
    assert 1 <= checked < 4
    assert Scrub(database, objects, IMAGES, rate=0.0)() is False


def test_marks_are_looked_up_once_a_second_and_more_of_them_than_fit_are_asked_for(
    database, objects, monkeypatch
):
    from storage import sound

    monkeypatch.setattr(sound, "MOST", 1)
    keys = [_row(database, keep(database, objects, a_dataset()).sop_instance_uid).object_key for _ in "123"]
    for key in keys[:2]:
        flip_a_byte(objects, key)
        examine(database, objects, key)
    guarded = SoundObjects(database, objects, IMAGES)

    for key in keys[:2]:
        with pytest.raises(ObjectDamaged):
            guarded.require(key)
    guarded.require(keys[2])
    with database.reading() as session:
        assert session.scalar(select(ObjectFault.id).where(ObjectFault.object_key == keys[2])) is None
