"""What devices send is kept with one flush each, and found again after a power cut has eaten the rows."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import delete, func, select

from storage.database import utc_now
from storage.headers import read_header
from storage.healing import heal
from storage.imaging import Instance, QuarantinedInstance, Series, Study
from storage.indexing import Outcome, Sender
from storage.ingest import Ingest
from storage.instances import find_instance, object_seal
from storage.part10 import Description, meta_bytes, read_meta
from storage.uids import new_uid
from tests.builders import a_dataset, bytes_of, put_object

EXPLICIT = "1.2.840.10008.1.2.1"
QINGSHI = Sender("T01_CT", "T01", "127.0.0.1")


@pytest.fixture
def ingest(database, objects):
    with closing(Ingest(database, objects)) as one:
        yield one


def _keep(ingest: Ingest, dataset, sender: Sender = QINGSHI):
    raw = bytes_of(dataset)
    return ingest.keep(read_header(raw, EXPLICIT), raw, sender=sender)


def _count(database, noun: type) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(noun))


def _forget_the_rows(database) -> None:
    """What a power cut does to the end of a log that was not flushed."""
    with database.transaction() as session:
        for noun in (QuarantinedInstance, Instance, Series, Study):
            session.execute(delete(noun))


def test_a_new_study_on_eight_associations_at_once_is_one_study_with_true_counts(database, ingest):
    study, series = new_uid(), [new_uid(), new_uid()]
    slices = [
        a_dataset(study_instance_uid=study, series_instance_uid=series[number % 2]) for number in range(48)
    ]

    with ThreadPoolExecutor(8) as pool:
        outcomes = {kept.outcome for kept in pool.map(lambda one: _keep(ingest, one), slices)}

    assert outcomes == {Outcome.KEPT}
    with database.reading() as session:
        row = session.scalar(select(Study))
        assert (row.number_of_instances, row.number_of_series) == (48, 2)
        assert list(session.scalars(select(Series.number_of_instances))) == [24, 24]


def test_the_same_instance_twenty_times_at_once_is_one(database, ingest):
    raw = bytes_of(a_dataset())

    def send(_: int) -> Outcome:
        return ingest.keep(read_header(raw, EXPLICIT), raw, sender=QINGSHI).outcome

    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(send, range(20)))

    assert outcomes.count(Outcome.KEPT) == 1
    assert set(outcomes) == {Outcome.KEPT, Outcome.IDENTICAL}
    assert _count(database, Instance) == 1


def test_one_instance_that_cannot_be_indexed_does_not_cost_its_neighbours_theirs(
    database, ingest, monkeypatch
):
    good, bad = [a_dataset() for _ in range(8)], a_dataset()
    gate = threading.Barrier(9)
    from storage import ingest as module

    index = module.index_instances

    def choosy(connection, arrived):
        if any(one.uid == bad.SOPInstanceUID for one in arrived):
            raise ValueError("this one")
        return index(connection, arrived)

    monkeypatch.setattr(module, "index_instances", choosy)

    def send(dataset):
        gate.wait()
        try:
            return _keep(ingest, dataset).outcome
        except ValueError:
            return "refused"

    with ThreadPoolExecutor(9) as pool:
        outcomes = list(pool.map(send, [*good, bad]))

    assert outcomes == [Outcome.KEPT] * 8 + ["refused"]
    assert _count(database, Instance) == 8


def test_a_large_dataset_is_written_as_it_arrives(database, objects, ingest):
    dataset = a_dataset()
    raw = bytes_of(dataset)
    large = ingest.begin(str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), EXPLICIT, sender=QINGSHI)
    for start in range(0, len(raw), 1000):
        large.write(raw[start : start + 1000])

    kept = ingest.finish(large, read_header(raw, EXPLICIT))
    large.abandon()

    assert kept.outcome is Outcome.KEPT
    with database.reading() as session:
        row = find_instance(session, str(dataset.SOPInstanceUID))
    assert objects.get(row.object_key)[row.dataset_offset :] == raw
    assert object_seal(objects, row.object_key, row.dataset_offset) == row.seal
    assert read_meta(objects.get(row.object_key)).description.length == len(raw)


def test_a_large_dataset_that_breaks_off_leaves_nothing(objects, ingest):
    large = ingest.begin("1.2.3", "1.2.4", EXPLICIT, sender=QINGSHI)
    large.write(b"\0" * 100_000)

    large.abandon()

    assert list(objects.keys()) == []


def test_a_second_copy_of_what_is_kept_aside_is_no_lost_row_at_any_start(database, objects, ingest):
    first = a_dataset()
    other = a_dataset(patient_name="ANOTHER^ONE")
    other.SOPInstanceUID = first.SOPInstanceUID
    _keep(ingest, first)
    for _ in range(2):  # its device was warned, and sends again
        assert _keep(ingest, other).outcome is Outcome.QUARANTINED
    assert _count(database, QuarantinedInstance) == 1
    assert len(list(objects.keys("instances/"))) == 3

    assert heal(database, objects) == 0


def test_rows_that_a_power_cut_has_eaten_come_back_from_the_objects(database, objects, ingest):
    datasets = [a_dataset() for _ in range(3)]
    for dataset in datasets:
        _keep(ingest, dataset)
    with database.reading() as session:
        before = {row.sop_instance_uid: row.seal for row in session.scalars(select(Instance))}
    _forget_the_rows(database)

    assert heal(database, objects) == 3
    assert heal(database, objects) == 0

    with database.reading() as session:
        rows = list(session.scalars(select(Instance)))
        assert {row.sop_instance_uid: row.seal for row in rows} == before
        assert {row.calling_ae for row in rows} == {"T01_CT"}
        assert set(session.scalars(select(Study.institution_code))) == {"T01"}


def test_healing_keeps_the_first_content_of_a_uid_and_sets_the_second_aside_again(database, objects, ingest):
    first, second = a_dataset(), a_dataset()
    second.SOPInstanceUID = first.SOPInstanceUID
    _keep(ingest, first)
    _keep(ingest, second)
    with database.reading() as session:
        kept = find_instance(session, str(first.SOPInstanceUID)).digest
    _forget_the_rows(database)

    heal(database, objects)

    with database.reading() as session:
        assert find_instance(session, str(first.SOPInstanceUID)).digest == kept
    assert (_count(database, Instance), _count(database, QuarantinedInstance)) == (1, 1)


def test_what_was_being_written_when_the_power_failed_is_not_made_an_image(database, objects, ingest):
    dataset = a_dataset()
    raw = bytes_of(dataset)
    torn = meta_bytes(
        str(dataset.SOPClassUID),
        str(dataset.SOPInstanceUID),
        EXPLICIT,
        "T01_CT",
        Description(len(raw), "0" * 64, "T01", utc_now()),
    )
    day = f"{utc_now():%Y/%m/%d}"
    put_object(objects, f"instances/{day}/aa/torn", torn + raw)
    put_object(objects, f"instances/{day}/aa/short", torn + raw[:100])
    put_object(objects, f"instances/{day}/aa/other", b"\0" * 400)

    assert heal(database, objects) == 0
    assert _count(database, Instance) == 0


def test_the_length_of_the_meta_information_does_not_depend_on_what_it_says():
    words = ("1.2.840.10008.5.1.4.1.1.2", "1.2.3", EXPLICIT, "T01_CT")
    short = meta_bytes(*words, Description(0, "", "T01", utc_now()))
    long = meta_bytes(*words, Description(2**40, "f" * 64, "T" * 16, utc_now()))

    assert len(short) == len(long)
    assert read_meta(long).description.length == 2**40
    assert read_meta(long).calling_ae == "T01_CT"
    assert read_meta(meta_bytes(*words)).description is None
