from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, TwelveLeadECGWaveformStorage

from dicom_node.made_objects import Evidence, as_file
from dicom_node.structured_report import (
    ReportArtefact,
    basic_text_sr,
    encapsulated_pdf,
    key_object_selection,
    report_objects,
)
from reading_portal.documents import compose_report
from tests.programs import program
from tests.written_reports import CHEN, WU, ct_report, ecg_report, english_report
from worklist.authority import CentreAuthority
from worklist.report_content import AddendumText, KeyImageReference, ReportContent
from worklist.signing import seal, verify_pdf

STUDY = {
    "PatientName": "OUYANG^MIAO=欧阳^淼",
    "PatientID": "P20260001",
    "IssuerOfPatientID": "T01",
    "PatientBirthDate": "19680101",
    "PatientSex": "M",
    "StudyInstanceUID": "2.25.314159265358979",
    "StudyDate": "20261122",
    "StudyTime": "093100",
    "StudyID": "17",
    "AccessionNumber": "T01202611220017",
    "ReferringPhysicianName": "LI^LAN=李^岚",
}
SLICES = tuple(Evidence(CTImageStorage, f"2.25.31415926535897{i}", "2.25.3141592653") for i in range(4))
TRACE = Evidence(TwelveLeadECGWaveformStorage, "2.25.271828", "2.25.2718")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CentreAuthority:
    return CentreAuthority(tmp_path_factory.mktemp("centre") / "pki", centre_name="云岭县影像心电诊断中心")


@pytest.fixture(scope="module")
def pdf(authority: CentreAuthority) -> bytes:
    """A sealed report of an odd number of bytes, so that padding matters."""
    for number in range(20):
        content = ct_report(reviewer=None, recommendation="。" * number)
        composed = compose_report(content, key_images=[], verify_url="https://c.example/verify/t")
        sealed = seal(
            composed,
            authority=authority,
            signer_name="陈雨",
            signer_username="reed",
            reason="报告签发",
            at=WU.signed_at or pytest.fail("signed"),
        )
        if len(sealed) % 2:
            return sealed
    pytest.fail("no sealed report of odd length")


def artefact(content: ReportContent, pdf: bytes, *evidence: Evidence) -> ReportArtefact:
    assert WU.signed_at is not None
    return ReportArtefact(
        content=content, pdf=pdf, issued_at=WU.signed_at, study=STUDY, evidence=evidence or SLICES
    )


CONTENTS = {
    "final": ct_report(),
    "preliminary": ct_report(status="preliminary", reviewer=None),
    "appended": ct_report(
        version=3,
        status="appended",
        supersedes_version=2,
        addenda=(AddendumText(text="与外院片对比。", reason="获得外院资料", author=CHEN),),
    ),
    "withdrawn": ct_report(version=2, status="entered-in-error", withdrawn_reason="归属错误"),
    "english": english_report(),
    "ecg": ecg_report(key_images=(KeyImageReference(sop_instance_uid="2.25.271828"),)),
}


def errors_of(dataset: Dataset, folder: Path) -> list[str]:
    program("dciodvfy", of="dicom3tools")
    file = folder / "report.dcm"
    file.write_bytes(as_file(dataset))
    checked = subprocess.run(["dciodvfy", "-new", str(file)], capture_output=True, text=True)
    lines = (checked.stdout + checked.stderr).splitlines()
    return [line for line in lines if line.startswith("Error")]


@pytest.mark.parametrize("kind", CONTENTS)
def test_an_independent_validator_finds_no_error(kind: str, pdf: bytes, tmp_path: Path) -> None:
    made = artefact(CONTENTS[kind], pdf, *((TRACE,) if kind == "ecg" else SLICES))

    for dataset in report_objects(made):
        assert errors_of(dataset, tmp_path) == [], dataset.SOPClassUID.name


def test_another_toolkit_gives_back_the_signed_bytes(
    pdf: bytes, authority: CentreAuthority, tmp_path: Path
) -> None:
    program("dcm2pdf", of="dcmtk")
    (tmp_path / "report.dcm").write_bytes(as_file(encapsulated_pdf(artefact(ct_report(), pdf))))

    run = ["dcm2pdf", str(tmp_path / "report.dcm"), str(tmp_path / "report.pdf")]
    subprocess.run(run, check=True, capture_output=True)
    given_back = (tmp_path / "report.pdf").read_bytes()

    assert given_back == pdf
    assert verify_pdf(given_back, trust_roots=[authority.ca_pem()]).is_valid


def test_the_document_belongs_to_the_patient_and_the_study_it_is_about(pdf: bytes) -> None:
    dataset = pydicom.dcmread(io.BytesIO(as_file(encapsulated_pdf(artefact(ct_report(), pdf)))))

    assert {keyword: str(dataset[keyword].value) for keyword in STUDY} == STUDY
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert len(dataset.EncapsulatedDocument) % 2 == 0
    assert dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength] == pdf
    assert dataset.DocumentTitle == "CT 诊断报告 V1"
    assert dataset.ContentDate + dataset.ContentTime == "20261122102040"
    assert dataset.TimezoneOffsetFromUTC == "+0800"


def test_sending_twice_is_sending_once_and_a_new_version_is_a_new_instance_of_one_series(pdf: bytes) -> None:
    first, again = (report_objects(artefact(ct_report(), pdf)) for _ in range(2))
    second = report_objects(artefact(ct_report(version=2), pdf))

    assert [as_file(one) for one in first] == [as_file(one) for one in again]
    assert len({one.SOPInstanceUID for one in first + second}) == 6
    assert [one.SeriesInstanceUID for one in first] == [one.SeriesInstanceUID for one in second]


def test_the_words_can_be_read_from_the_structured_report(pdf: bytes, tmp_path: Path) -> None:
    program("dsrdump", of="dcmtk")
    (tmp_path / "sr.dcm").write_bytes(as_file(basic_text_sr(artefact(ct_report(), pdf))))

    dumped = subprocess.run(["dsrdump", "+Pl", str(tmp_path / "sr.dcm")], capture_output=True, check=True)
    text = dumped.stdout.decode("utf-8", errors="replace")

    for words in (*ct_report().impression, "陈雨", "吴敏", "建议 3 个月后复查低剂量胸部 CT"):
        assert words in text
    assert text.count("CT image") + text.count("IMAGE:") >= 4


def test_a_later_version_names_its_predecessor_and_a_preliminary_one_is_unverified(pdf: bytes) -> None:
    first = basic_text_sr(artefact(ct_report(), pdf))
    second = basic_text_sr(artefact(ct_report(version=2), pdf))
    preliminary = basic_text_sr(artefact(CONTENTS["preliminary"], pdf))

    (study,) = second.PredecessorDocumentsSequence
    (reference,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence

    assert reference.ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert (first.VerificationFlag, first.PreliminaryFlag) == ("VERIFIED", "FINAL")
    assert (preliminary.VerificationFlag, preliminary.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert "VerifyingObserverSequence" not in preliminary


def test_a_withdrawal_travels_as_a_document_only(pdf: bytes) -> None:
    assert [one.Modality for one in report_objects(artefact(CONTENTS["withdrawn"], pdf))] == ["DOC"]
    assert [one.Modality for one in report_objects(artefact(CONTENTS["final"], pdf))] == ["DOC", "SR", "KO"]


def test_the_key_images_travel_as_a_selection_that_other_viewers_show(pdf: bytes) -> None:
    chosen = (
        KeyImageReference(sop_instance_uid=SLICES[2].sop_instance_uid, caption="结节 8 mm"),
        KeyImageReference(sop_instance_uid=SLICES[0].sop_instance_uid, frame=2),
        KeyImageReference(sop_instance_uid="2.25.404"),
    )
    report = ct_report(key_images=chosen)

    selection = key_object_selection(artefact(report, pdf))

    assert [one.Modality for one in report_objects(artefact(report, pdf))] == ["DOC", "SR", "KO"]
    (study,) = selection.CurrentRequestedProcedureEvidenceSequence
    named = [one.ReferencedSOPInstanceUID for one in study.ReferencedSeriesSequence[0].ReferencedSOPSequence]
    images = [one.ReferencedSOPSequence[0] for one in selection.ContentSequence if one.ValueType == "IMAGE"]
    (caption,) = [one.TextValue for one in selection.ContentSequence if one.ValueType == "TEXT"]
    assert named == [one.ReferencedSOPInstanceUID for one in images]
    assert named == [SLICES[2].sop_instance_uid, SLICES[0].sop_instance_uid]
    assert [one.get("ReferencedFrameNumber") for one in images] == [None, 2]
    assert caption == "1: 结节 8 mm"


def test_a_report_without_key_images_selects_none(pdf: bytes) -> None:
    made = report_objects(artefact(ct_report(key_images=()), pdf))

    assert [one.Modality for one in made] == ["DOC", "SR"]
