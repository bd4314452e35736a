"""Every kind of matching as devices ask for it (PS3.4 C.2.2.2), and what may be negotiated (C.5.1.1)."""

import re

import pytest
from pydicom.dataset import Dataset
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from dicom_node import find
from dicom_node.negotiation import grant
from tests.dicom_node.devices import CT, a_ct, associated, dcmtk, encoded, send
from tests.dicom_node.test_query_retrieve import PATIENT_FIND, STUDY_FIND, query

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
WORKLIST = "1.2.840.10008.5.1.4.31"
STUDIES = {
    "P001": {"StudyDate": "20261105", "StudyTime": "090000", "PatientName": "ZHANG^SAN=张^三"},
    "P002": {"StudyDate": "20261106", "StudyTime": "140000", "PatientName": "LI^SI=李^四", "PatientSex": "F"},
    "P003": {"StudyDate": "20261107", "StudyTime": "190000.5", "PatientName": "WANG^WU=王^五"},
}


@pytest.fixture
def three(node):
    """Zhang, Li and Wang of Qingshi, one study each on three days; Wang's has an MR series beside the CT."""
    kept = {one: a_ct(PatientID=one, AccessionNumber=f"A{one}", **words) for one, words in STUDIES.items()}
    wang = kept["P003"]
    second = a_ct(
        PatientID="P003",
        AccessionNumber=wang.AccessionNumber,
        StudyInstanceUID=wang.StudyInstanceUID,
        Modality="MR",
        SeriesDescription="T2_TSE",
        SeriesNumber=7,
        **STUDIES["P003"],
    )
    with associated(node, (CT, [EXPLICIT])) as association:
        for dataset in (*kept.values(), second):
            status, _ = send(association, encoded(dataset), sop_instance_uid=dataset.SOPInstanceUID)
            assert status == 0
    return kept


def findscu(node, *keys, root="-S", level="STUDY"):
    """The patient IDs that DCMTK's findscu is told."""
    words = [word for key in (f"QueryRetrieveLevel={level}", *keys) for word in ("-k", key)]
    words += [] if any(key.startswith("PatientID") for key in keys) else ["-k", "PatientID"]
    status, said = dcmtk("findscu", root, "-v", *words, node=node)
    assert status == 0, said
    return sorted(re.findall(r"\(0010,0020\) LO \[(P\d+)", said.split("Find Response", 1)[-1]))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("PatientID=P002", ["P002"]),
        ("PatientID=P00?", ["P001", "P002", "P003"]),
        ("PatientID=*2", ["P002"]),
        ("PatientID", ["P001", "P002", "P003"]),
        ("PatientName=li^si", ["P002"]),
        ("PatientName=*SAN*", ["P001"]),
        ("AccessionNumber=AP00[13]", []),
        ("PatientSex=F", ["P002"]),
        ("StudyDate=20261106", ["P002"]),
        ("StudyDate=20261106-", ["P002", "P003"]),
        ("StudyDate=-20261106", ["P001", "P002"]),
        ("StudyDate=20261105-20261106", ["P001", "P002"]),
        ("StudyTime=1900-1901", ["P003"]),
        ("StudyTime=-1400", ["P001", "P002"]),
        ("ModalitiesInStudy=MR", ["P003"]),
        ("ModalitiesInStudy=MR\\US", ["P003"]),
        ("Modality=MR", ["P001", "P002", "P003"]),  # a lower level's key, and nothing was negotiated
    ],
)
def test_each_kind_of_matching_finds_what_it_means(node, three, key, expected):
    assert findscu(node, key) == expected


def test_a_list_of_uids_finds_each_of_them(node, three):
    wanted = [three["P001"].StudyInstanceUID, three["P003"].StudyInstanceUID]

    assert findscu(node, "StudyInstanceUID=" + "\\".join(wanted)) == ["P001", "P003"]


def test_two_ranges_are_two_conditions_unless_agreed_otherwise(node, three):
    assert findscu(node, "StudyDate=20261105-20261107", "StudyTime=1300-1500") == ["P002"]


def negotiated(node, asked, *, uid=STUDY_FIND, information=b"\1" * 7):
    """What was granted, and the patient IDs of the answers to `asked`."""
    item = SOPClassExtendedNegotiation()
    item.sop_class_uid, item.service_class_application_information = uid, information
    with associated(node, (uid, [IMPLICIT]), ext_neg=[item]) as association:
        granted = association.acceptor.sop_class_extended
        answers = [one for _, one in association.send_c_find(asked, uid) if one is not None]
    return granted, sorted(answer.PatientID for answer in answers)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"PatientName": "zs"}, ["P001"]),
        ({"PatientName": "wang"}, ["P003"]),
        ({"PatientName": "李"}, ["P002"]),
        ({"Modality": "MR"}, ["P003"]),
        ({"Modality": "CT", "SeriesDescription": "T2*"}, []),  # one and the same series
        ({"SeriesDescription": "T2*", "SeriesNumber": 7}, ["P003"]),
        ({"StudyDate": "20261105-20261107", "StudyTime": "100000-190001"}, ["P002", "P003"]),
        ({"StudyDate": "20261105-20261107", "StudyTime": "090000-180000"}, ["P001", "P002"]),
        ({"StudyDate": "-20261106", "StudyTime": "-120000"}, ["P001"]),
        ({"StudyDate": "", "StudyID": '""'}, ["P001", "P002", "P003"]),
        ({"PatientSex": '""'}, []),
        ({"PatientID": ["P001", "P003"]}, ["P001", "P003"]),
        ({"PatientName": ["LI*", "WANG*"]}, ["P002", "P003"]),
    ],
)
def test_what_was_negotiated_is_honoured(node, three, keys, expected):
    asked = query("STUDY", **{"PatientID": "", **keys})
    asked.SpecificCharacterSet = "ISO_IR 192"

    granted, found = negotiated(node, asked)

    assert granted == {STUDY_FIND: b"\1\1\1\0\0\1\1"}
    assert found == expected


def test_a_patient_is_found_by_what_a_series_of_theirs_is(node, three):
    asked = query("PATIENT", PatientID="", Modality="MR", StudyDate="20261107")

    _, found = negotiated(node, asked, uid=PATIENT_FIND)

    assert found == ["P003"]


def test_image_level_needs_no_key_above_it(node, three):
    dataset = three["P002"]
    asked = query("IMAGE", PatientID="", SOPInstanceUID=dataset.SOPInstanceUID)

    assert negotiated(node, asked)[1] == ["P002"]


def test_what_is_related_is_counted(node, three):
    counts = ("Studies", "Series", "Instances")
    asked = query("PATIENT", PatientID="P003", **{f"NumberOfPatientRelated{one}": "" for one in counts})
    study = query(
        "STUDY",
        PatientID="P003",
        ModalitiesInStudy="",
        NumberOfStudyRelatedSeries="",
        NumberOfStudyRelatedInstances="",
    )

    with associated(node, (PATIENT_FIND, [IMPLICIT]), (STUDY_FIND, [IMPLICIT])) as association:
        ((_, patient), _) = association.send_c_find(asked, PATIENT_FIND)
        ((_, of_study), _) = association.send_c_find(study, STUDY_FIND)

    assert [patient[f"NumberOfPatientRelated{one}"].value for one in counts] == [1, 2, 2]
    assert (of_study.NumberOfStudyRelatedSeries, of_study.NumberOfStudyRelatedInstances) == (2, 2)
    assert list(of_study.ModalitiesInStudy) == ["CT", "MR"]


def test_an_option_is_granted_to_whoever_may_use_it_and_to_the_length_that_was_asked():
    asked = {STUDY_FIND: b"\1", WORKLIST: b"\1\1\1\1", "1.2.3": b"\1", PATIENT_FIND: b"\0\0\1\0\0\1"}

    granted = grant(asked, ["find"])

    assert granted == {STUDY_FIND: b"\1", PATIENT_FIND: b"\0\0\1\0\0\1"}
    assert grant(asked, ["worklist"]) == {WORKLIST: b"\1\1\1\0"}


def answers(node, **keys):
    """Statuses and datasets of one query at the study level."""
    with associated(node, (STUDY_FIND, [IMPLICIT])) as association:
        said = list(association.send_c_find(query("STUDY", **keys), STUDY_FIND))
    return [int(status.Status) for status, _ in said], [one for _, one in said if one is not None]


@pytest.mark.parametrize(
    ("keys", "pending"),
    [
        ({"PatientID": "P001", "StudyDescription": "", "ModalitiesInStudy": "CT"}, 0xFF00),
        ({"PatientID": "P001", "RetrieveAETitle": "", "InstanceAvailability": ""}, 0xFF00),
        ({"PatientID": "P001", "PatientWeight": ""}, 0xFF01),  # not held at all
        ({"PatientID": "P001", "InstitutionName": "县医院"}, 0xFF01),
        ({"PatientID": "P001", "SeriesDate": "20200101"}, 0xFF01),
        ({"PatientID": "P001", "NumberOfStudyRelatedInstances": "1"}, 0xFF01),  # held, not matched
    ],
)
def test_an_optional_key_that_is_not_supported_is_said_to_be(node, three, keys, pending):
    statuses, (found,) = answers(node, **keys)

    assert statuses == [pending, 0]
    assert "PatientWeight" not in found


def test_what_a_study_is_made_of_is_told_and_matched(node, three):
    mr = "1.2.840.10008.5.1.4.1.1.4"

    _, (found,) = answers(node, PatientID="P003", SOPClassesInStudy="")
    _, with_ct = answers(node, PatientID="", SOPClassesInStudy=CT)
    _, with_mr = answers(node, PatientID="", SOPClassesInStudy=mr)

    assert found.SOPClassesInStudy == CT
    assert (len(with_ct), with_mr) == (3, [])


@pytest.mark.parametrize(("issuer", "ids"), [("T01", ["P001", "P002", "P003"]), ("T02", []), ("T0?", None)])
def test_a_key_inside_a_sequence_is_matched(node, three, issuer, ids):
    item = Dataset()
    item.LocalNamespaceEntityID = issuer

    statuses, found = answers(node, PatientID="", IssuerOfAccessionNumberSequence=[item])

    assert statuses[-1] == 0
    assert sorted(one.PatientID for one in found) == (ids if ids is not None else ["P001", "P002", "P003"])
    assert {one.IssuerOfAccessionNumberSequence[0].LocalNamespaceEntityID for one in found} <= {"T01"}


def test_two_quotation_marks_match_everything_unless_agreed_otherwise(node, three):
    assert findscu(node, 'PatientSex=""') == ["P001", "P002", "P003"]


def test_an_answer_that_was_cut_off_does_not_say_that_it_is_all(node, three, monkeypatch):
    monkeypatch.setattr(find, "MOST_MATCHES", 2)

    statuses, found = answers(node, PatientID="")

    assert len(found) == 2
    assert statuses[-1] == 0xA700
