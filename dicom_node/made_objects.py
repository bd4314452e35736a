"""What every object that the centre makes shares: its frame, and the content items of structured reports.

Pure translators (PS3.3 C.17, C.18): values in, datasets out.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from storage.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

MANUFACTURER = "Reading Center"

# Copied from the study that the object is about. What the study lacks is sent empty: these are Type 2.
PATIENT_AND_STUDY = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyDescription",
)
_TYPE_3 = {"IssuerOfPatientID", "StudyDescription"}

Code = tuple[str, str, str]
LANGUAGES: dict[str, Code] = {"zh": ("zh", "RFC5646", "Chinese"), "en": ("en", "RFC5646", "English")}


@dataclass(frozen=True, slots=True)
class Evidence:
    """One instance that an object rests on, with the series that holds it."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


def made_instance(
    sop_class_uid: str,
    study: Mapping[str, str],
    *,
    modality: str,
    sop_instance_uid: str,
    series_instance_uid: str,
    series_number: int,
    instance_number: int,
    at: datetime,
    institution_name: str,
) -> Dataset:
    """Everything around the content: SOP common, patient, study, series, equipment, file meta information.

    `study` maps the keywords of PATIENT_AND_STUDY to their values; `at` is aware, in the centre's zone.
    """
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.TimezoneOffsetFromUTC = f"{at:%z}"
    dataset.SOPClassUID = sop_class_uid
    dataset.SOPInstanceUID = sop_instance_uid
    dataset.InstanceCreationDate = dataset.ContentDate = f"{at:%Y%m%d}"
    dataset.InstanceCreationTime = dataset.ContentTime = f"{at:%H%M%S}"
    for keyword in PATIENT_AND_STUDY:
        value = study.get(keyword, "")
        if value or keyword not in _TYPE_3:
            setattr(dataset, keyword, value)
    dataset.Modality = modality
    dataset.SeriesInstanceUID = series_instance_uid
    dataset.SeriesNumber = series_number
    dataset.InstanceNumber = instance_number
    dataset.SeriesDate, dataset.SeriesTime = dataset.ContentDate, dataset.ContentTime
    dataset.Manufacturer = MANUFACTURER
    dataset.InstitutionName = institution_name[:64]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    dataset.file_meta = meta
    return dataset


def as_file(dataset: Dataset) -> bytes:
    """The dataset as a DICOM file (PS3.10)."""
    written = io.BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()


def language_of(language: str) -> Dataset:
    """TID 1204: the language of what is said."""
    return item(
        "HAS CONCEPT MOD",
        "CODE",
        ("121049", "DCM", "Language of Content Item and Descendants"),
        ConceptCodeSequence=[code(LANGUAGES["zh" if language.startswith("zh") else "en"])],
    )


def observer(name: str) -> list[Dataset]:
    """TID 1001 and 1003: a person has observed."""
    person: Code = ("121006", "DCM", "Person")
    kind: Code = ("121005", "DCM", "Observer Type")
    return [
        item("HAS OBS CONTEXT", "CODE", kind, ConceptCodeSequence=[code(person)]),
        item(
            "HAS OBS CONTEXT",
            "PNAME",
            ("121008", "DCM", "Person Observer Name"),
            PersonName=person_name(name),
        ),
    ]


def evidence_of(study_instance_uid: str, evidence: Iterable[Evidence]) -> Dataset:
    series: dict[str, list[Dataset]] = defaultdict(list)
    for one in evidence:
        series[one.series_instance_uid].append(reference_to(one))
    return hierarchy(study_instance_uid, series)


def hierarchy(study_instance_uid: str, series: Mapping[str, list[Dataset]]) -> Dataset:
    """The hierarchical SOP instance reference macro (PS3.3 C.17.2.1)."""
    study = Dataset()
    study.StudyInstanceUID = study_instance_uid
    study.ReferencedSeriesSequence = []
    for series_instance_uid, references in series.items():
        one = Dataset()
        one.SeriesInstanceUID = series_instance_uid
        one.ReferencedSOPSequence = references
        study.ReferencedSeriesSequence.append(one)
    return study


def reference_to(evidence: Evidence) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = evidence.sop_class_uid
    reference.ReferencedSOPInstanceUID = evidence.sop_instance_uid
    return reference


def template(identifier: str) -> Dataset:
    named = Dataset()
    named.MappingResource = "DCMR"
    named.TemplateIdentifier = identifier
    return named


def container(heading: Code, items: list[Dataset]) -> Dataset:
    return item("CONTAINS", "CONTAINER", heading, ContinuityOfContent="SEPARATE", ContentSequence=items)


def item(relationship: str, value_type: str, concept: Code | None, **values: object) -> Dataset:
    made = Dataset()
    made.RelationshipType = relationship
    made.ValueType = value_type
    if concept is not None:
        made.ConceptNameCodeSequence = [code(concept)]
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def code(triple: Code) -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = triple
    return made


def person_name(name: str) -> str:
    """Han characters belong into the ideographic group; who has no other name leaves the first one empty."""
    return name if name.isascii() else f"={name}"
