"""An acknowledged image is never lost and never replaced."""

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from storage.database import Database, utc_now
from storage.headers import read_header
from storage.imaging import Instance, Patient, QuarantinedInstance, Series, Study
from storage.instances import (
    Outcome,
    Sender,
    find_instance,
    is_kept,
    keep_instance,
    object_seal,
    open_instance,
)
from storage.objects import ObjectStore
from storage.part10 import meta_bytes
from storage.uids import new_uid
from tests.builders import a_dataset, bytes_of, keep

EXPLICIT = "1.2.840.10008.1.2.1"


def _count(database: Database, noun: type) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(noun))


def test_what_was_sent_comes_back_byte_for_byte(database, objects):
    dataset = a_dataset()

    kept = keep(database, objects, dataset)

    assert kept.outcome is Outcome.KEPT
    with database.reading() as session:
        instance = find_instance(session, kept.sop_instance_uid)
    with open_instance(objects, instance) as stream:
        whole = stream.read()
    assert whole[instance.dataset_offset :] == bytes_of(dataset)
    assert whole[128:132] == b"DICM"


def test_the_same_bytes_twenty_times_at_once_are_one_instance(database, objects):
    dataset = a_dataset()

    with ThreadPoolExecutor(10) as pool:
        outcomes = [kept.outcome for kept in pool.map(lambda _: keep(database, objects, dataset), range(20))]

    assert set(outcomes) == {Outcome.KEPT, Outcome.IDENTICAL}
    assert outcomes.count(Outcome.KEPT) == 1
    assert (_count(database, Instance), _count(database, Study), _count(database, Patient)) == (1, 1, 1)


def test_a_new_study_may_arrive_on_many_associations_at_once(database, objects):
    study, series = new_uid(), new_uid()
    slices = [
        a_dataset(study_instance_uid=study, series_instance_uid=series, number=number) for number in range(16)
    ]

    with ThreadPoolExecutor(8) as pool:
        outcomes = [kept.outcome for kept in pool.map(lambda one: keep(database, objects, one), slices)]

    assert outcomes == [Outcome.KEPT] * 16
    with database.reading() as session:
        row = session.scalar(select(Study))
        assert (row.number_of_instances, row.number_of_series) == (16, 1)
        assert session.scalar(select(Series)).number_of_instances == 16


def test_the_same_uid_with_other_content_is_kept_aside_and_the_first_never_changes(database, objects):
    dataset = a_dataset()
    keep(database, objects, dataset)
    with database.reading() as session:
        before = find_instance(session, str(dataset.SOPInstanceUID)).seal
    dataset.PatientComments = "other"

    kept = keep(database, objects, dataset)

    assert kept.outcome is Outcome.QUARANTINED
    assert (_count(database, Instance), _count(database, QuarantinedInstance)) == (1, 1)
    with database.reading() as session:
        instance = find_instance(session, str(dataset.SOPInstanceUID))
        aside = session.scalar(select(QuarantinedInstance))
        assert instance.seal == before
        assert objects.get(aside.object_key)[aside.dataset_offset :] == bytes_of(dataset)


def test_a_study_uid_of_another_patient_is_kept_aside(database, objects):
    first = a_dataset()
    keep(database, objects, first)

    kept = keep(
        database,
        objects,
        a_dataset(study_instance_uid=str(first.StudyInstanceUID), patient_id="SOMEONE-ELSE"),
    )

    assert kept.outcome is Outcome.QUARANTINED
    assert "another patient" in kept.reason


def test_the_same_patient_id_at_two_hospitals_is_two_patients(database, objects):
    keep(database, objects, a_dataset(), institution="T01")
    keep(database, objects, a_dataset(), institution="T02", ae_title="T02_CT")

    assert _count(database, Patient) == 2


def test_nobody_speaks_for_a_neighbours_patient_ids(database, objects):
    keep(database, objects, a_dataset(), institution="T01")
    impostor = a_dataset()
    impostor.IssuerOfPatientID = "T01"

    keep(database, objects, impostor, institution="T02", ae_title="T02_CT")

    with database.reading() as session:
        issuers = set(session.scalars(select(Patient.issuer)))
    assert issuers == {"T01", "T02/T01"}


def test_exams_without_patient_id_are_not_one_patient(database, objects):
    keep(database, objects, a_dataset(patient_id=""))
    keep(database, objects, a_dataset(patient_id=""))

    assert _count(database, Patient) == 2


def test_commitment_is_promised_only_for_what_is_re_read_and_right(database, objects):
    dataset = a_dataset()
    keep(database, objects, dataset)
    uid, sop_class = str(dataset.SOPInstanceUID), str(dataset.SOPClassUID)

    with database.reading() as session:
        assert is_kept(session, objects, sop_class_uid=sop_class, sop_instance_uid=uid)
        assert not is_kept(session, objects, sop_class_uid="1.2.3", sop_instance_uid=uid)
        assert not is_kept(session, objects, sop_class_uid=sop_class, sop_instance_uid=new_uid())
        objects.discard(find_instance(session, uid).object_key)
        assert not is_kept(session, objects, sop_class_uid=sop_class, sop_instance_uid=uid)


def test_a_store_that_fails_leaves_nothing_to_be_seen(database, objects, monkeypatch):
    def full(*_words: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(objects), "draft", full)

    with pytest.raises(OSError):
        keep(database, objects, a_dataset())

    assert (_count(database, Instance), _count(database, Study)) == (0, 0)


def test_a_database_that_fails_leaves_bytes_without_a_row_and_no_row_without_bytes(database, objects):
    raw = bytes_of(a_dataset())
    header = read_header(raw, EXPLICIT)

    class Broken(Database):
        def in_transaction(self, *_words: object, **_more: object) -> object:
            raise ConnectionError("gone")

    broken = Broken(database.url.render_as_string(hide_password=False))
    with pytest.raises(ConnectionError):
        keep_instance(
            broken,
            objects,
            header=header,
            meta=meta_bytes(header.sop_class_uid, header.sop_instance_uid, EXPLICIT, "T01_CT"),
            dataset=io.BytesIO(raw),
            sender=Sender("T01_CT", "T01"),
            now=utc_now(),
        )
    broken.dispose()

    assert _count(database, Instance) == 0
    assert len(list(objects.keys("instances"))) == 1
    assert keep(database, objects, a_dataset()).outcome is Outcome.KEPT


def test_a_missing_object_has_no_seal(objects: ObjectStore):
    assert object_seal(objects, "instances/2026/01/01/aa/nothing", 0) is None
