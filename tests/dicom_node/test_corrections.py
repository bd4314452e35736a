"""A corrected study as devices find and fetch it; and what its own device hears when it sends again."""

import io

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import CTImageStorage
from sqlalchemy import select

from storage.audit import Actor
from storage.corrections import PATIENT, SENT_PATIENT, Change, correct, corrections_of, undo, version_of
from storage.database import utc_now
from storage.identity import keep_patient
from storage.imaging import Instance, Study
from storage.instances import is_kept
from storage.part10 import meta_bytes
from tests.dicom_node.devices import CT, a_ct, associated, encoded, send
from tests.dicom_node.test_query_retrieve import EXPLICIT, STUDY_GET, STUDY_MOVE, found, keep, query

MA = Actor("ma", "T01")


def moved_to_li_si(node):
    """The study is Li Si's, says Technician Ma."""
    with node.database.transaction() as session:
        study = session.scalars(select(Study)).one()
        li = keep_patient(
            session,
            issuer="T01",
            patient_id="P002",
            name="Li^Si=李^四",
            sex="F",
            birth_date=None,
            now=utc_now(),
        )
        told = [Change(SENT_PATIENT, study.id, study.patient_pk), Change(PATIENT, study.id, li.id)]
        told.append(Change("AccessionNumber", study.id, "A200"))
        version = version_of(session, study)
        correct(session, study, told, reason="选错了申请", version=version, by=MA, now=utc_now())


def undone(node):
    with node.database.transaction() as session:
        study = session.scalars(select(Study)).one()
        made = corrections_of(session, study)[0]
        undo(session, study, made, reason="没有选错", version=1, by=MA, now=utc_now())


def fetched(node, uid, *, syntax=EXPLICIT):
    """What C-GET of the study gives, as bytes."""
    got = []

    def keep_it(event):
        got.append(event.request.DataSet.getvalue())
        return 0

    entity = AE("T01_CT")
    entity.add_requested_context(STUDY_GET)
    entity.add_requested_context(CTImageStorage, [syntax])
    role = build_role(CTImageStorage, scp_role=True)
    association = entity.associate(
        "127.0.0.1",
        node.port,
        ae_title="READINGCENTER",
        ext_neg=[role],
        evt_handlers=[(evt.EVT_C_STORE, keep_it)],
    )
    answers = list(association.send_c_get(query("STUDY", StudyInstanceUID=uid), STUDY_GET))
    association.release()
    assert int(answers[-1][0].Status) == 0
    return got


def as_read(raw):
    return dcmread(io.BytesIO(meta_bytes(CT, "1.2", EXPLICIT, "") + raw))


def test_devices_find_and_fetch_what_is_right_and_the_stored_bytes_stay(node_on_each):
    node, sent = node_on_each, a_ct()
    raw = encoded(sent)
    keep(node, sent)
    before = stored(node)

    moved_to_li_si(node)

    by_right, _ = found(node, query("STUDY", PatientID="P002", PatientName="", AccessionNumber=""))
    by_wrong, _ = found(node, query("STUDY", PatientID="P001"))
    (got,) = fetched(node, sent.StudyInstanceUID)
    image = as_read(got)
    assert (str(by_right[0].PatientName), by_right[0].AccessionNumber, by_wrong) == (
        "Li^Si=李^四",
        "A200",
        [],
    )
    assert (str(image.PatientName), image.PatientID, image.AccessionNumber) == ("Li^Si=李^四", "P002", "A200")
    original = image.OriginalAttributesSequence[0].ModifiedAttributesSequence[0]
    assert (str(original.PatientName), original.PatientID) == ("ZHANG^SAN=张^三", "P001")
    assert image.PixelData == sent.PixelData
    assert stored(node) == before
    undone(node)
    assert fetched(node, sent.StudyInstanceUID) == [raw]


def stored(node):
    with node.database.reading() as session:
        return [node.objects.get(key) for key in session.scalars(select(Instance.object_key))]


def test_the_device_may_send_again_and_have_it_committed_as_it_sent_it(node):
    sent = a_ct()
    keep(node, sent)
    moved_to_li_si(node)

    keep(node, sent)

    with node.database.reading() as session:
        assert session.scalars(select(Instance.sop_instance_uid)).all() == [sent.SOPInstanceUID]
        assert is_kept(session, node.objects, sop_class_uid=CT, sop_instance_uid=sent.SOPInstanceUID)


def test_a_corrected_study_moves_to_another_archive_in_another_transfer_syntax(node, receiver_port):
    sent = a_ct()
    keep(node, sent)
    moved_to_li_si(node)
    got = []
    archive = AE("T01_PACS")
    archive.add_supported_context(CTImageStorage, ["1.2.840.10008.1.2"])
    server = archive.start_server(
        ("127.0.0.1", receiver_port),
        block=False,
        evt_handlers=[(evt.EVT_C_STORE, lambda event: got.append(event.dataset) or 0)],
    )

    try:
        with associated(node, (STUDY_MOVE, [EXPLICIT])) as association:
            asked = query("STUDY", StudyInstanceUID=sent.StudyInstanceUID)
            answers = list(association.send_c_move(asked, "T01_PACS", STUDY_MOVE))
    finally:
        server.shutdown()

    assert int(answers[-1][0].Status) == 0
    assert [(str(one.PatientName), one.PatientID) for one in got] == [("Li^Si=李^四", "P002")]
    assert got[0].OriginalAttributesSequence[0].ReasonForTheAttributeModification == "CORRECT"


@pytest.mark.parametrize("asked_in", ["GB18030", "GBK", "ISO_IR 192", "ISO 2022 IR 58", ""])
def test_the_corrected_name_is_answered_in_what_the_device_can_show(node, asked_in):
    keep(node, a_ct())
    moved_to_li_si(node)
    asked: Dataset = query("STUDY", PatientID="P002", PatientName="")
    asked.SpecificCharacterSet = asked_in

    answers, _ = found(node, asked)

    assert str(answers[0].PatientName).replace("\x1b$)A", "") == "Li^Si=李^四"


def test_a_late_image_leaves_as_the_corrected_patients_too(node):
    sent = a_ct()
    keep(node, sent)
    moved_to_li_si(node)
    late = a_ct(
        StudyInstanceUID=sent.StudyInstanceUID, SeriesInstanceUID=sent.SeriesInstanceUID, InstanceNumber=2
    )
    with associated(node, (CT, [EXPLICIT])) as association:
        status, _ = send(association, encoded(late), sop_instance_uid=late.SOPInstanceUID)

    assert status == 0
    assert [as_read(one).PatientID for one in fetched(node, sent.StudyInstanceUID)] == ["P002", "P002"]
