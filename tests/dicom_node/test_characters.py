"""A device is answered in what it can show, and finds people the way its operators look for them."""

import pytest
from pydicom.dataset import Dataset

from storage.institutions import ApplicationEntity
from tests.dicom_node.devices import a_ct
from tests.dicom_node.test_query_retrieve import found, keep, query
from tests.dicom_node.test_worklist_and_steps import asked, place, worklist
from worklist.orders import NewPatient

# What the worklists of CT, DX, US and ECG devices ask for, by their conformance statements.
KEYS = """
    PatientAge PatientSize PatientWeight PregnancyStatus MedicalAlerts Allergies SpecialNeeds
    PatientState IssuerOfPatientID OtherPatientIDs AdditionalPatientHistory PatientComments EthnicGroup
    LastMenstrualDate ReferringPhysicianName RequestingPhysician RequestingService AdmissionID
    CurrentPatientLocation ConfidentialityConstraintOnPatientDataDescription InstitutionName
    RequestedProcedureID RequestedProcedurePriority PatientTransportArrangements
    ReasonForTheRequestedProcedure RequestedProcedureComments PlacerOrderNumberImagingServiceRequest
    ImagingServiceRequestComments FillerOrderNumberImagingServiceRequest ReportingPriority
"""
SEQUENCES = """
    ReferencedStudySequence ReferencedPatientSequence RequestedProcedureCodeSequence
    IssuerOfAccessionNumberSequence
"""
KEYS_OF_THE_STEP = """
    ScheduledProcedureStepStartTime ScheduledProcedureStepEndDate ScheduledPerformingPhysicianName
    ScheduledProcedureStepDescription ScheduledStationName ScheduledProcedureStepLocation PreMedication
    RequestedContrastAgent ScheduledProcedureStepStatus CommentsOnTheScheduledProcedureStep
"""
TYPED = ["张", "张三", "zhang", "zhangsan", "zs", "ZHANG^SAN", "zhang*", "*san*", "zs*"]


def of_a_study(node, charset, *, calling="T01_CT"):
    """Character set, name and description of the one study, as raw bytes would be read by that set."""
    query_ = query("STUDY", PatientName="", StudyDescription="", ReferringPhysicianName="")
    if charset is not None:
        query_.SpecificCharacterSet = charset
    (study,), _ = found(node, query_, calling=calling)
    return study.get("SpecificCharacterSet", ""), str(study.PatientName), study.StudyDescription


@pytest.mark.parametrize(
    ("asked_in", "answered_in", "name", "description"),
    [
        (None, "GB18030", "ZHANG^SAN=张^三", "胸部CT平扫"),
        ("GB18030", "GB18030", "ZHANG^SAN=张^三", "胸部CT平扫"),
        ("ISO_IR 192", "ISO_IR 192", "ZHANG^SAN=张^三", "胸部CT平扫"),
        (["", "ISO 2022 IR 87"], "", "ZHANG^SAN", "xiong bu CT ping sao"),  # 张 is no Japanese character
        ("ISO_IR 100", "", "ZHANG^SAN", "xiong bu CT ping sao"),
        ("ISO_IR 144", "", "ZHANG^SAN", "xiong bu CT ping sao"),
        ("SOMETHING", "ISO_IR 192", "ZHANG^SAN=张^三", "胸部CT平扫"),
    ],
    ids=str,
)
def test_each_device_is_answered_in_what_it_asks_in(node, asked_in, answered_in, name, description):
    keep(node, a_ct(ReferringPhysicianName="LI^SI"))

    said = of_a_study(node, asked_in)

    if asked_in == ["", "ISO 2022 IR 87"]:
        # 张 and 三 are characters of JIS X 0208; 扫 of the description is not.
        assert (
            said[1:] == ("ZHANG^SAN=張^三", description)
            or said[1] == "ZHANG^SAN=张^三"
            or said[1] == "ZHANG^SAN"
        )
    else:
        assert said == (answered_in, name, description)


def test_ir_58_is_written_with_its_escapes(node):
    keep(node, a_ct())
    query_ = query("STUDY", PatientName="")
    query_.SpecificCharacterSet = ["", "ISO 2022 IR 58"]

    (study,), _ = found(node, query_)

    assert list(study.SpecificCharacterSet) == ["", "ISO 2022 IR 58"]
    assert study.PatientName.original_string == b"ZHANG^SAN=\x1b$)A\xd5\xc5^\x1b$)A\xc8\xfd"


@pytest.mark.parametrize(
    ("declared", "answered_in", "name"),
    [
        ("GBK", "GBK", b"ZHANG^SAN=\xd5\xc5^\xc8\xfd"),
        ("ISO_IR 192", "ISO_IR 192", "ZHANG^SAN=张^三".encode()),
        ("ISO_IR 100", None, b"ZHANG^SAN"),
    ],
)
def test_what_is_declared_of_a_device_wins_over_what_it_asks_in(node, declared, answered_in, name):
    # It declares ISO_IR 100 and shows GBK, or the other way round: its manual knows, its requests do not.
    keep(node, a_ct())
    with node.database.transaction() as session:
        session.get(ApplicationEntity, "T01_CT").character_set = declared
    query_ = query("STUDY", PatientName="")
    query_.SpecificCharacterSet = "ISO_IR 100"

    (study,), _ = found(node, query_)

    assert study.get("SpecificCharacterSet") == answered_in
    assert study.PatientName.original_string.rstrip() == name


def test_a_name_without_latin_letters_goes_to_a_device_with_them(node):
    place(node, patient=NewPatient(patient_id="P009", name="欧阳修", sex="M"))

    (item,) = worklist(node, asked())
    latin = asked()
    latin.SpecificCharacterSet = "ISO_IR 100"
    (spelled,) = worklist(node, latin)

    assert str(item.PatientName) == "OUYANG^XIU=欧阳修"
    assert str(spelled.PatientName) == "OUYANG^XIU"


@pytest.mark.parametrize(
    "typed", ["张", "张三", "zhang", "zhangsan", "zs", "ZHANG^SAN", "zhang*", "*san*", "zs*"]
)
def test_whoever_stands_at_the_device_finds_the_patient_however_he_types(node, typed):
    place(node)
    place(node, patient=NewPatient(patient_id="P002", name="李四", name_phonetic="Li Si", sex="M"))
    query_ = asked()
    query_.PatientName = typed

    assert [item.PatientID for item in worklist(node, query_)] == ["P001"]


def test_a_query_for_images_takes_a_name_literally_unless_fuzzy_was_agreed(node):
    # Workstations fetch by name without anybody looking: nobody else's images may come.
    keep(node, a_ct())

    def ids(typed):
        query_ = query("STUDY", PatientID="", PatientName=typed)
        query_.SpecificCharacterSet = "ISO_IR 192"
        return [one.PatientID for one in found(node, query_)[0]]

    assert ids("zs") == []
    assert ids("zhang^san") == ids("ZHANG*") == ids("*=张*") == ids("张^三") == ["P001"]


def test_every_return_key_that_modalities_ask_for_is_there(node):
    accession_number, _ = place(node, question="肺部占位？")
    query_ = asked()
    for keyword in KEYS.split():
        setattr(query_, keyword, None)
    for keyword in SEQUENCES.split():
        setattr(query_, keyword, [Dataset()])
    inner = query_.ScheduledProcedureStepSequence[0]
    for keyword in KEYS_OF_THE_STEP.split():
        setattr(inner, keyword, None)
    inner.ScheduledProtocolCodeSequence = [Dataset()]

    (item,) = worklist(node, query_)

    step = item.ScheduledProcedureStepSequence[0]
    assert {element.keyword for element in query_} == {element.keyword for element in item}
    assert {element.keyword for element in inner} == {element.keyword for element in step}
    assert item.IssuerOfAccessionNumberSequence[0].LocalNamespaceEntityID == "T01"
    assert item.FillerOrderNumberImagingServiceRequest == accession_number
    assert (item.ReasonForTheRequestedProcedure, item.PatientAge[-1]) == ("肺部占位？", "Y")
    assert (item.PatientWeight, item.Allergies, len(item.ReferencedStudySequence)) == (None, "", 0)
