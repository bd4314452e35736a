"""DICOM attribute matching, as devices and viewers ask for it."""

import pytest
from sqlalchemy import true

from storage.answers import find
from storage.matching import Level
from storage.ranges import BadKey
from tests.builders import a_dataset, keep


@pytest.fixture
def asked(database, objects):
    for name, patient_id, date, modality in (
        ("Zhang^San=张^三", "P001", "20260101", "CT"),
        ("Li^Si=李^四", "P002", "20260215", "MR"),
        ("O_Brien^100%", "P_03", "20260301", "CT"),
    ):
        dataset = a_dataset(patient_id=patient_id, patient_name=name, modality=modality)
        dataset.StudyDate = date
        keep(database, objects, dataset)

    def ask(level: Level = Level.STUDY, **keys: str) -> set[str]:
        fuzzy = bool(keys.pop("fuzzy", ""))
        with database.reading() as session:
            rows = find(session, level, keys, visible=true(), fuzzy=fuzzy)
        return {row["00100020"]["Value"][0] for row in rows}

    return ask


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({}, {"P001", "P002", "P_03"}),
        ({"PatientID": "P001"}, {"P001"}),
        ({"PatientID": "P?0*"}, {"P001", "P002", "P_03"}),
        ({"PatientID": "P_0*"}, {"P_03"}),
        ({"PatientName": "zhang*"}, {"P001"}),
        ({"PatientName": "张*"}, {"P001"}),
        ({"PatientName": "LI^SI"}, {"P002"}),
        ({"PatientName": "Li^Si=李^四"}, {"P002"}),
        ({"PatientName": "*100%"}, {"P_03"}),
        ({"PatientName": "zs", "fuzzy": "1"}, {"P001"}),
        ({"PatientName": "lisi", "fuzzy": "1"}, {"P002"}),
        ({"StudyDate": "20260215"}, {"P002"}),
        ({"StudyDate": "20260101-20260228"}, {"P001", "P002"}),
        ({"StudyDate": "-20260131"}, {"P001"}),
        ({"StudyDate": "20260216-"}, {"P_03"}),
        ({"StudyTime": "08-0900"}, {"P001", "P002", "P_03"}),
        ({"StudyTime": "0831-"}, set()),
        ({"ModalitiesInStudy": "MR"}, {"P002"}),
        ({"ModalitiesInStudy": "MR\\CT"}, {"P001", "P002", "P_03"}),
        ({"StudyInstanceUID": "1.2.3\\1.2.4"}, set()),
        ({"PatientID": "' OR 1=1 --"}, set()),
        ({"NoSuchKeyword": "x"}, {"P001", "P002", "P_03"}),
        ({"PatientID": "*" * 5000}, {"P001", "P002", "P_03"}),
    ],
)
def test_a_study_is_found_by(asked, keys, found):
    assert asked(**keys) == found


def test_series_and_instances_are_found_with_what_is_above_them(asked):
    assert asked(Level.SERIES, Modality="MR") == {"P002"}
    assert asked(Level.INSTANCE, PatientID="P001", InstanceNumber="1") == {"P001"}
    assert asked(Level.PATIENT, PatientName="张*") == {"P001"}


@pytest.mark.parametrize(
    "keys", [{"StudyDate": "yesterday"}, {"StudyTime": "noon"}, {"StudyDate": "20261399"}]
)
def test_nonsense_is_said_to_be_nonsense(asked, keys):
    with pytest.raises(BadKey):
        asked(**keys)


def test_a_study_says_its_modalities_and_counts(database, objects):
    dataset = a_dataset()
    keep(database, objects, dataset)
    keep(database, objects, a_dataset(study_instance_uid=str(dataset.StudyInstanceUID), number=2))

    with database.reading() as session:
        (row,) = find(session, Level.STUDY, {}, visible=true())

    assert row["00080061"]["Value"] == ["CT"]
    assert (row["00201206"]["Value"], row["00201208"]["Value"]) == ([2], [2])
    assert row["00100010"]["Value"] == [{"Alphabetic": "Zhang^San", "Ideographic": "张^三"}]
