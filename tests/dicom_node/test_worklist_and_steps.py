"""The device asks what to do (modality worklist) and tells what it did (MPPS)."""

from datetime import UTC, datetime

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from sqlalchemy import select

from dicom_node.node import build_node
from storage.database import utc_now
from tests.dicom_node.devices import associated, dcmtk
from worklist.orders import NewOrder, NewPatient, place_order
from worklist.people import Role, Who
from worklist.performed_steps import PerformedProcedureStep

IMPLICIT = "1.2.840.10008.1.2"
WORKLIST, STEP = "1.2.840.10008.5.1.4.31", "1.2.840.10008.3.1.2.3.3"
MA = Who(username="mqiang", name="马强", institution_code="T01", roles=frozenset({Role.TECHNICIAN}))


def place(node, **changes):
    words = {
        "institution": "T01",
        "patient": NewPatient(
            patient_id="P001",
            name="张三",
            name_phonetic="Zhang San",
            sex="M",
            birth_date=datetime(1960, 2, 29).date(),
        ),
        "modality": "CT",
        "body_part": "CHEST",
        "clinical_information": "咳嗽两周",
        "scheduled_at": datetime.now(UTC),
    }
    with node.database.transaction() as session:
        order = place_order(session, NewOrder(**(words | changes)), by=MA, now=utc_now())
        return order.accession_number, order.study_instance_uid


def asked(**step):
    query = Dataset()
    query.SpecificCharacterSet = "GB18030"
    query.PatientName = query.PatientID = query.AccessionNumber = query.StudyInstanceUID = ""
    query.PatientBirthDate = query.PatientSex = query.RequestedProcedureDescription = ""
    inner = Dataset()
    inner.Modality = inner.ScheduledStationAETitle = inner.ScheduledProcedureStepStartDate = ""
    inner.ScheduledProcedureStepID = ""
    for keyword, value in step.items():
        setattr(inner, keyword, value)
    query.ScheduledProcedureStepSequence = [inner]
    return query


def worklist(node, query, *, calling="T01_CT"):
    with associated(node, (WORKLIST, [IMPLICIT]), calling=calling) as association:
        answers = list(association.send_c_find(query, WORKLIST))
    assert int(answers[-1][0].Status) == 0
    return [dataset for _, dataset in answers if dataset is not None]


def test_a_device_sees_the_order_with_the_patient_s_name_in_its_own_characters(node):
    accession_number, study_instance_uid = place(node)

    (item,) = worklist(node, asked(Modality="CT"))

    assert (item.AccessionNumber, item.StudyInstanceUID) == (accession_number, study_instance_uid)
    assert "张" in str(item.PatientName)
    assert item.SpecificCharacterSet == "GB18030"
    assert item.PatientBirthDate == "19600229"
    assert item.ScheduledProcedureStepSequence[0].Modality == "CT"


def test_a_neighbour_s_device_and_another_modality_see_nothing(node):
    place(node)

    assert worklist(node, asked(), calling="T02_CT") == []
    assert worklist(node, asked(Modality="MR")) == []


def test_findscu_reads_the_worklist(node):
    accession_number, _ = place(node)

    status, said = dcmtk(
        "findscu",
        "-W",
        "-k",
        "PatientName",
        "-k",
        "AccessionNumber",
        "-k",
        "(0040,0100)[0].Modality=CT",
        node=node,
    )

    assert status == 0
    assert accession_number in said


@pytest.mark.parametrize(
    ("step", "sees"),
    [
        ({"Modality": "CT"}, True),
        ({"Modality": ["MR", "CT"]}, True),
        ({"Modality": "C*"}, True),
        ({"ScheduledStationAETitle": "T01_CT"}, True),
        ({"ScheduledProcedureStepStartDate": "20261122"}, True),
        ({"ScheduledProcedureStepStartDate": "20261121-20261123"}, True),
        ({"ScheduledProcedureStepStartDate": "20261123-"}, False),
        ({"ScheduledProcedureStepStartTime": "1000-1100"}, True),
        ({"ScheduledProcedureStepStartTime": "1100-"}, False),
        ({"ScheduledProcedureStepStartDate": "20261122", "ScheduledProcedureStepStartTime": "10"}, True),
        (
            # One range, from the 21st at noon to the 23rd at eight, not two (PS3.4 K.6.1.2.2).
            {
                "ScheduledProcedureStepStartDate": "20261121-20261123",
                "ScheduledProcedureStepStartTime": "1200-0800",
            },
            True,
        ),
        (
            {
                "ScheduledProcedureStepStartDate": "20261122-20261123",
                "ScheduledProcedureStepStartTime": "1100-0800",
            },
            False,
        ),
    ],
)
def test_a_device_asks_for_its_hours_as_its_operators_see_them(node, step, sees):
    place(node, scheduled_at=datetime(2026, 11, 22, 2, 30, tzinfo=UTC))  # half past ten in Shanghai

    assert bool(worklist(node, asked(**step))) is sees


def begin(study_instance_uid="1.2.3", accession_number="A100", status="IN PROGRESS"):
    attributes = Dataset()
    attributes.SpecificCharacterSet = "GB18030"
    scheduled = Dataset()
    scheduled.StudyInstanceUID, scheduled.AccessionNumber = study_instance_uid, accession_number
    attributes.ScheduledStepAttributesSequence = [scheduled]
    attributes.PatientName, attributes.PatientID = "ZHANG^SAN=张^三", "P001"
    attributes.PerformedProcedureStepID = "1"
    attributes.PerformedProcedureStepStatus = status
    attributes.PerformedStationAETitle = "T01_CT"
    attributes.Modality = "CT"
    return attributes


def finish(status="COMPLETED", instances=("1.2.3.4",)):
    changes = Dataset()
    changes.PerformedProcedureStepStatus = status
    series = Dataset()
    series.SeriesInstanceUID = "1.2.3.1"
    images = []
    for uid in instances:
        image = Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", uid
        images.append(image)
    series.ReferencedImageSequence = images
    changes.PerformedSeriesSequence = [series]
    return changes


def test_a_step_is_created_and_completed_across_associations(node):
    accession_number, study_instance_uid = place(node)
    uid = generate_uid(prefix=None)

    with associated(node, (STEP, [IMPLICIT])) as association:
        created, _ = association.send_n_create(begin(study_instance_uid, accession_number), STEP, uid)
    with associated(node, (STEP, [IMPLICIT])) as association:
        completed, _ = association.send_n_set(finish(), STEP, uid)

    assert (created.Status, completed.Status) == (0, 0)
    with node.database.reading() as session:
        step = session.scalar(select(PerformedProcedureStep))
        assert (step.sop_instance_uid, step.state) == (uid, "COMPLETED")
        assert (step.study_instance_uid, step.accession_number) == (study_instance_uid, accession_number)
        assert step.instance_uids == ["1.2.3.4"]
        assert step.attributes["00100010"]["Value"] == [{"Alphabetic": "ZHANG^SAN", "Ideographic": "张^三"}]


def test_a_step_that_the_device_does_not_name_is_named_by_us(node):
    with associated(node, (STEP, [IMPLICIT])) as association:
        created, _ = association.send_n_create(begin(), STEP, None)

    assert created.Status == 0
    with node.database.reading() as session:
        assert session.scalar(select(PerformedProcedureStep.sop_instance_uid)).startswith("2.25.")


def test_a_step_is_completed_on_the_node_that_comes_after_a_restart(node):
    uid = generate_uid(prefix=None)
    with associated(node, (STEP, [IMPLICIT])) as association:
        association.send_n_create(begin(), STEP, uid)
    node.stop()
    again = build_node(node.settings, node.database, node.objects)
    again.start()

    try:
        with associated(again, (STEP, [IMPLICIT])) as association:
            repeated, _ = association.send_n_create(begin(), STEP, uid)
            completed, _ = association.send_n_set(finish(), STEP, uid)
            after, _ = association.send_n_set(finish(), STEP, uid)
    finally:
        again.stop()

    assert (repeated.Status, completed.Status, after.Status) == (0x0111, 0, 0x0110)
    assert after.ErrorID == 0xA506


@pytest.mark.parametrize(
    ("deed", "status", "error_id"),
    [
        ("create again", 0x0111, None),
        ("set unknown", 0x0112, None),
        ("set after the end", 0x0110, 0xA506),
        ("begin completed", 0x0106, None),
        ("neighbour sets", 0x0112, None),
    ],
)
def test_what_the_standard_forbids_gets_the_standard_s_status(node, deed, status, error_id):
    uid, calling = generate_uid(prefix=None), "T01_CT"
    with associated(node, (STEP, [IMPLICIT])) as association:
        association.send_n_create(begin(), STEP, uid)
        if deed == "set after the end":
            association.send_n_set(finish(), STEP, uid)

    if deed == "neighbour sets":
        calling = "T02_CT"
    with associated(node, (STEP, [IMPLICIT]), calling=calling) as association:
        if deed == "create again":
            answer, _ = association.send_n_create(begin(), STEP, uid)
        elif deed == "begin completed":
            answer, _ = association.send_n_create(begin(status="COMPLETED"), STEP, generate_uid(prefix=None))
        else:
            target = generate_uid(prefix=None) if deed == "set unknown" else uid
            answer, _ = association.send_n_set(finish(), STEP, target)

    assert answer.Status == status
    assert getattr(answer, "ErrorID", None) == error_id


RETRIEVE = "1.2.840.10008.3.1.2.3.4"


def test_a_step_is_read_back_whole_or_in_the_attributes_that_were_asked_for(node):
    uid = generate_uid(prefix=None)
    with associated(node, (STEP, [IMPLICIT])) as association:
        association.send_n_create(begin(), STEP, uid)

    with associated(node, (RETRIEVE, [IMPLICIT])) as association:
        whole, step = association.send_n_get([], RETRIEVE, uid)
        some, state = association.send_n_get([0x00400252], RETRIEVE, uid)
        more, _ = association.send_n_get([0x00400252, 0x00400280], RETRIEVE, uid)
        unknown, _ = association.send_n_get([], RETRIEVE, generate_uid(prefix=None))

    assert (whole.Status, some.Status, more.Status, unknown.Status) == (0, 0, 0x0001, 0x0112)
    assert step.PerformedProcedureStepStatus == "IN PROGRESS"
    assert "张" in str(step.PatientName)
    assert [element.keyword for element in state] == ["PerformedProcedureStepStatus"]


def test_a_neighbour_does_not_read_our_step(node):
    uid = generate_uid(prefix=None)
    with associated(node, (STEP, [IMPLICIT])) as association:
        association.send_n_create(begin(), STEP, uid)

    with associated(node, (RETRIEVE, [IMPLICIT]), calling="T02_CT") as association:
        answer, _ = association.send_n_get([], RETRIEVE, uid)

    assert answer.Status == 0x0112


def test_an_update_does_not_change_whose_step_it_is(node):
    uid, changes = generate_uid(prefix=None), finish(status="IN PROGRESS")
    changes.PatientID, changes.PerformedProcedureStepDescription = "P666", "chest"

    with associated(node, (STEP, [IMPLICIT])) as association:
        association.send_n_create(begin(), STEP, uid)
        answer, _ = association.send_n_set(changes, STEP, uid)

    with node.database.reading() as session:
        step = session.scalar(select(PerformedProcedureStep))
        assert answer.Status == 0
        assert step.attributes["00100020"]["Value"] == ["P001"]
        assert step.attributes["00400254"]["Value"] == ["chest"]


@pytest.mark.parametrize(("status", "answered"), [(None, 0x0120), ("DISCONTINUED", 0x0106), ("", 0x0120)])
def test_a_step_without_a_beginning_is_refused(node, status, answered):
    attributes = begin(status=status or "")
    if status is None:
        del attributes.PerformedProcedureStepStatus

    with associated(node, (STEP, [IMPLICIT])) as association:
        answer, _ = association.send_n_create(attributes, STEP, generate_uid(prefix=None))

    assert answer.Status == answered


def test_a_count_of_ten_thousand_images_is_read_to_its_last(node):
    uid = generate_uid(prefix=None)
    images = [f"1.2.3.{number}" for number in range(10_000)]

    with associated(node, (STEP, [IMPLICIT])) as association:
        association.send_n_create(begin(), STEP, uid)
        answer, _ = association.send_n_set(finish(instances=images), STEP, uid)

    with node.database.reading() as session:
        assert answer.Status == 0
        assert len(session.scalar(select(PerformedProcedureStep.instance_uids))) == 10_000
