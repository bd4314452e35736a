"""The same UID with other content, as its devices meet it: a warning, a copy kept, an instance of its own."""

import io
import time

from pydicom import dcmread
from sqlalchemy import select

from storage.audit import Actor
from storage.conflicts import Decision, decide
from storage.database import utc_now
from storage.imaging import QuarantinedInstance
from storage.instances import find_instance
from tests.dicom_node.devices import CT, a_ct, dcmtk
from tests.dicom_node.test_commitment import keep, staying
from worklist.conflicts import handlers
from worklist.worker import run_job

PROCESSING_FAILURE = 0x0110


def two_contents(node):
    """Qingshi's archive sends an image, its CT another under the same UID; the second, and the statuses."""
    first = a_ct()
    second = a_ct(
        SOPInstanceUID=first.SOPInstanceUID,
        StudyInstanceUID=first.StudyInstanceUID,
        StudyDescription="复查",
        PixelData=bytes(512),
    )
    statuses = keep(node, first, calling="T01_PACS") + keep(node, second, calling="T01_CT")
    return second, statuses


def committed(node, dataset):
    """What the CT hears when it asks for commitment: None, or the failure reason."""
    heard = []

    def hear(event):
        heard.append(event.event_information)
        return 0, None

    with staying(node, (CT, dataset.SOPInstanceUID), hear):
        for _ in range(200):
            if heard:
                break
            time.sleep(0.05)
    return heard[0].FailedSOPSequence[0].FailureReason if "FailedSOPSequence" in heard[0] else None


def decided(node, decision):
    with node.database.transaction() as session:
        conflict = session.scalars(select(QuarantinedInstance)).one()
        decide(
            session,
            conflict,
            decision,
            reason="设备重复使用编号",
            version=conflict.version,
            by=Actor("zhou"),
            now=utc_now(),
        )
        return conflict.kept_as


def test_the_device_of_the_second_keeps_its_copy_until_a_person_has_decided(node_on_each):
    node = node_on_each
    second, statuses = two_contents(node)

    before = committed(node, second)
    decided(node, Decision.KEEP_FIRST)
    after = committed(node, second)

    assert statuses == [0, 0xB000]
    assert (before, after) == (PROCESSING_FAILURE, None)


def test_both_are_kept_and_both_are_given_back(node_on_each, tmp_path):
    node = node_on_each
    folder = tmp_path / "got"
    folder.mkdir()
    second, _ = two_contents(node)

    kept_as = decided(node, Decision.KEEP_BOTH)
    meanwhile = committed(node, second)
    assert run_job(node.database, handlers(node.database, node.objects), owner="worker")
    status, said = dcmtk(
        "getscu", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={second.StudyInstanceUID}",
        "-od", str(folder), node=node,
    )  # fmt: skip

    assert status == 0, said
    got = {str(one.SOPInstanceUID): one for one in map(dcmread, folder.iterdir())}
    assert set(got) == {str(second.SOPInstanceUID), kept_as}
    assert got[kept_as].PixelData == second.PixelData != got[str(second.SOPInstanceUID)].PixelData
    assert got[kept_as].StudyDescription == "复查"
    assert (meanwhile, committed(node, second)) == (PROCESSING_FAILURE, None)


def test_another_patients_image_in_a_taken_study_keeps_its_name(node_on_each):
    node = node_on_each
    first = a_ct()
    second = a_ct(StudyInstanceUID=first.StudyInstanceUID, PatientID="P002", PatientName="LI^SI=李^四")
    statuses = keep(node, first, calling="T01_PACS") + keep(node, second, calling="T01_CT")
    before = committed(node, second)

    decided(node, Decision.KEEP_BOTH)
    assert run_job(node.database, handlers(node.database, node.objects), owner="worker")

    with node.database.reading() as session:
        instance = find_instance(session, second.SOPInstanceUID)
        made = dcmread(io.BytesIO(node.objects.get(instance.object_key)))
        assert instance.series.study.patient.patient_id == "P002"
    assert made.StudyInstanceUID != second.StudyInstanceUID
    assert statuses == [0, 0xB000]
    assert (before, committed(node, second)) == (PROCESSING_FAILURE, None)
