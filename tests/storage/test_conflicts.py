"""Two contents of one UID: how they differ, what a person decides, and what becomes of the second."""

import io
import threading
from contextlib import closing
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.tag import Tag
from sqlalchemy import func, select

from storage import audit
from storage.audit import Actor
from storage.conflicts import (
    CannotDecide,
    Decision,
    NotSeparable,
    decide,
    differences,
    first_of,
    is_disputed,
    is_settled,
    possible,
    separate,
)
from storage.database import utc_now
from storage.headers import read_header
from storage.imaging import Instance, QuarantinedInstance, Study
from storage.indexing import Outcome, Sender
from storage.ingest import Ingest
from storage.instances import find_instance
from storage.jobs import Job, JobState
from tests.builders import a_dataset, keep
from tests.cast import settle_the_county
from tests.pairs import Pair

ZHOU = Actor("zhou", "C01")


def disputed(pair: Pair, **changes: object) -> tuple[QuarantinedInstance, bytes]:
    """A CT of Qingshi whose UID arrives again with other content; the second, and its bytes as stored."""
    settle_the_county(pair.database)
    first = a_dataset()
    second = a_dataset(study_instance_uid=first.StudyInstanceUID, series_instance_uid=first.SeriesInstanceUID)
    second.SOPInstanceUID, second.StudyDescription = first.SOPInstanceUID, "复查"
    for keyword, value in changes.items():
        setattr(second, keyword, value)
    keep(pair.database, pair.objects, first)
    assert keep(pair.database, pair.objects, second).outcome is Outcome.QUARANTINED
    with pair.database.reading() as session:
        conflict = session.scalars(select(QuarantinedInstance)).one()
        session.expunge_all()
    return conflict, pair.objects.get(conflict.object_key)


def decided(pair: Pair, conflict: QuarantinedInstance, decision: Decision, version: int = 0) -> None:
    with pair.database.transaction() as session:
        row = session.get_one(QuarantinedInstance, conflict.id)
        decide(session, row, decision, reason="设备重复使用编号", version=version, by=ZHOU, now=utc_now())


def worked(pair: Pair) -> None:
    """Do the job that a decision left."""
    with pair.database.reading() as session:
        job = session.scalars(select(Job).where(Job.kind == "separate-instance").order_by(Job.id)).all()[-1]
        session.expunge_all()
    separate(pair.database, pair.objects, job)


def test_headers_are_compared_attribute_by_attribute_and_item_by_item() -> None:
    first = {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "ZHANG^SAN", "Ideographic": "张^三"}]},
        "00280030": {"vr": "DS", "Value": [0.5, 0.5]},
        "00400275": {"vr": "SQ", "Value": [{"00400007": {"vr": "LO", "Value": ["CT"]}}]},
        "00080050": {"vr": "SH"},
    }
    second = {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "LI^SI", "Ideographic": "李^四"}]},
        "00280030": {"vr": "DS", "Value": [0.5, 0.50001]},
        "00400275": {"vr": "SQ", "Value": [{"00400007": {"vr": "LO", "Value": ["MR"]}}, {}]},
        "00081030": {"vr": "LO", "Value": ["胸部"]},
    }

    found = [(one.path, one.first, one.second) for one in differences(first, second)]

    assert found == [
        ("00080050", "", None),
        ("00081030", None, "胸部"),
        ("00100010", "ZHANG^SAN=张^三", "LI^SI=李^四"),
        ("00280030", "0.5\\0.5", "0.5\\0.50001"),
        ("00400275[1].00400007", "CT", "MR"),
    ]
    assert differences(first, first) == []


def test_the_first_is_kept_and_the_second_set_aside_until_somebody_thinks_again(pair: Pair) -> None:
    conflict, raw = disputed(pair)

    decided(pair, conflict, Decision.KEEP_FIRST)
    with pair.database.reading() as session:
        after = session.get_one(QuarantinedInstance, conflict.id)
        state = (after.resolution, after.resolved_by, after.version, is_settled(session, after))
    decided(pair, conflict, Decision.REOPEN, version=1)

    assert state == ("keep-first", "zhou", 1, True)
    assert pair.objects.get(conflict.object_key) == raw
    with pair.database.reading() as session:
        again = session.get_one(QuarantinedInstance, conflict.id)
        verbs = [event.verb for event in audit.history(session, f"study:{conflict.study_instance_uid}")]
        assert (again.resolution, again.resolved_at, again.version) == (None, None, 2)
    assert verbs == ["keep-first", "reopen"]


def test_the_second_of_two_operators_is_told_and_changes_nothing(pair: Pair) -> None:
    conflict, _ = disputed(pair)
    decided(pair, conflict, Decision.KEEP_FIRST)

    with pytest.raises(CannotDecide):
        decided(pair, conflict, Decision.KEEP_BOTH)

    with pair.database.reading() as session:
        assert session.get_one(QuarantinedInstance, conflict.id).resolution == "keep-first"
        assert session.scalar(select(func.count()).select_from(Job)) == 0


def test_the_second_becomes_an_instance_of_its_own_that_says_what_was_changed(pair: Pair) -> None:
    conflict, raw = disputed(pair)
    with pair.database.reading() as session:
        kept = find_instance(session, conflict.sop_instance_uid)
        first = pair.objects.get(kept.object_key)

    decided(pair, conflict, Decision.KEEP_BOTH)
    worked(pair)
    worked(pair)

    with pair.database.reading() as session:
        row = session.get_one(QuarantinedInstance, conflict.id)
        own, study = find_instance(session, row.kept_as), session.scalars(select(Study)).one()
        assert is_settled(session, row)
        assert study.number_of_instances == 2
        assert first_of(session, row).sop_instance_uid == conflict.sop_instance_uid
        made = dcmread(io.BytesIO(pair.objects.get(own.object_key)))
        assert pair.objects.get(find_instance(session, conflict.sop_instance_uid).object_key) == first
    sent = dcmread(io.BytesIO(raw))
    (change,) = made.OriginalAttributesSequence
    assert made.SOPInstanceUID == made.file_meta.MediaStorageSOPInstanceUID == row.kept_as
    assert change.ModifiedAttributesSequence[0].SOPInstanceUID == conflict.sop_instance_uid
    assert (change.ReasonForTheAttributeModification, change.SourceOfPreviousValues) == ("CORRECT", "T01_CT")
    assert (made.PixelData, made.StudyDescription) == (sent.PixelData, "复查")
    assert pair.objects.get(conflict.object_key) == raw


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_implicit.dcm",
        "MR_small_bigendian.dcm",
        "image_dfl.dcm",
        "JPEG2000.dcm",
        "emri_small_jpeg_ls_lossless.dcm",
    ],
)
def test_the_copy_stays_in_the_transfer_syntax_in_which_it_came(sqlite_pair: Pair, name: str) -> None:
    pair = sqlite_pair
    settle_the_county(pair.database)
    whole = Path(str(get_testdata_file(name))).read_bytes()
    sent = dcmread(io.BytesIO(whole))
    raw, syntax = whole[144 + int.from_bytes(whole[140:144], "little") :], sent.file_meta.TransferSyntaxUID
    first = a_dataset()
    first.SOPInstanceUID = sent.SOPInstanceUID
    keep(pair.database, pair.objects, first)
    with closing(Ingest(pair.database, pair.objects)) as ingest:
        ingest.keep(read_header(raw, syntax), raw, sender=Sender("T01_CT", "T01"))
    with pair.database.reading() as session:
        conflict = session.scalars(select(QuarantinedInstance)).one()
        session.expunge_all()

    decided(pair, conflict, Decision.KEEP_BOTH)
    worked(pair)

    with pair.database.reading() as session:
        row = session.get_one(QuarantinedInstance, conflict.id)
        own = find_instance(session, row.kept_as)
        made = dcmread(io.BytesIO(pair.objects.get(own.object_key)))
    assert own.transfer_syntax_uid == made.file_meta.TransferSyntaxUID == syntax
    assert made.PixelData == sent.PixelData
    changed = {Tag("SOPInstanceUID"), Tag("OriginalAttributesSequence")}
    kept = [one for one in made if one.tag not in changed]
    assert kept == [one for one in sent if one.tag not in changed and one.tag.element]


def test_of_two_operators_at_the_same_moment_one_decides(pair: Pair) -> None:
    conflict, _ = disputed(pair)
    heard: list[str] = []
    together = threading.Barrier(2)

    def choose(decision: Decision) -> None:
        together.wait()
        try:
            decided(pair, conflict, decision)
            heard.append("decided")
        except CannotDecide:
            heard.append("too late")

    threads = [
        threading.Thread(target=choose, args=(one,)) for one in (Decision.KEEP_FIRST, Decision.KEEP_BOTH)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(heard) == ["decided", "too late"]
    with pair.database.reading() as session:
        row = session.get_one(QuarantinedInstance, conflict.id)
        jobs = session.scalar(select(func.count()).select_from(Job))
        assert (row.version, jobs) == (1, 1 if row.resolution == "keep-both" else 0)


def test_another_patients_image_gets_a_study_of_its_own(pair: Pair) -> None:
    settle_the_county(pair.database)
    first = a_dataset()
    keep(pair.database, pair.objects, first)
    others = [
        a_dataset(
            study_instance_uid=first.StudyInstanceUID,
            series_instance_uid=first.SeriesInstanceUID,
            patient_id="P002",
            patient_name="LI^SI=李^四",
            number=number,
        )
        for number in (1, 2)
    ]
    for one in others:
        keep(pair.database, pair.objects, one)
    with pair.database.reading() as session:
        conflicts = session.scalars(select(QuarantinedInstance).order_by(QuarantinedInstance.id)).all()
        assert first_of(session, conflicts[0]).sop_instance_uid == first.SOPInstanceUID
        session.expunge_all()

    for one in conflicts:
        decided(pair, one, Decision.KEEP_BOTH)
        worked(pair)

    with pair.database.reading() as session:
        studies = session.scalars(select(Study).order_by(Study.id)).all()
        owners = [(one.patient.patient_id, one.number_of_instances, one.number_of_series) for one in studies]
        # Nobody had their SOP Instance UIDs: the device finds them again.
        assert all(find_instance(session, one.SOPInstanceUID) is not None for one in others)
    assert owners == [("P001", 1, 1), ("P002", 2, 1)]
    assert studies[0].study_instance_uid == first.StudyInstanceUID != studies[1].study_instance_uid


def test_a_device_that_sends_the_second_again_makes_no_second_task(pair: Pair) -> None:
    conflict, _ = disputed(pair)
    with pair.database.reading() as session:
        again = dcmread(io.BytesIO(pair.objects.get(conflict.object_key)))

    outcomes = [keep(pair.database, pair.objects, again).outcome for _ in range(2)]

    assert outcomes == [Outcome.QUARANTINED] * 2
    with pair.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(QuarantinedInstance)) == 1
        assert session.scalar(select(func.count()).select_from(Instance)) == 1


def test_a_device_keeps_its_copy_until_the_decision_is_made_and_done(sqlite_pair: Pair) -> None:
    pair = sqlite_pair
    conflict, _ = disputed(pair)

    def says(title: str, institution: str = "T01") -> bool:
        with pair.database.reading() as session:
            return is_disputed(
                session, conflict.sop_instance_uid, ae_title=title, institution_code=institution
            )

    before = [says("T01_CT"), says("T01_OTHER"), says("T02_CT", "T02")]
    decided(pair, conflict, Decision.KEEP_BOTH)
    meanwhile = says("T01_CT")
    worked(pair)

    assert before == [True, True, False]
    assert meanwhile
    assert not says("T01_CT")


def test_what_cannot_be_copied_may_be_thought_about_again(sqlite_pair: Pair) -> None:
    pair = sqlite_pair
    conflict, _ = disputed(pair)
    decided(pair, conflict, Decision.KEEP_BOTH)
    with pair.database.transaction() as session:
        row = session.get_one(QuarantinedInstance, conflict.id)
        waiting = possible(session, row)
        row.size = 1 << 40
    with pytest.raises(NotSeparable):
        worked(pair)
    with pair.database.transaction() as session:
        session.scalars(select(Job).where(Job.kind == "separate-instance")).one().state = JobState.DEAD

    decided(pair, conflict, Decision.REOPEN, version=1)
    worked(pair)  # the old job, sent round again by hand, does nothing any more

    assert waiting == []
    with pair.database.reading() as session:
        assert session.get_one(QuarantinedInstance, conflict.id).kept_as is None
        assert session.scalar(select(func.count()).select_from(Instance)) == 1
