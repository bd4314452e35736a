"""One acquisition of one person, and the modules of a dataset that every modality shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

from storage.uids import derived_uid

# The implementation that wrote the objects (PS3.10 7.1), derived so that it stays the same for ever.
IMPLEMENTATION_CLASS_UID = UID(derived_uid("reading-center", "demo-devices"))


@dataclass(frozen=True)
class Exam:
    """What the worklist said about an exam, and which device performs it.

    `patient_name` is DICOM's PN with its ideographic group ("Wang^Jianguo=王^建国"); dates are DICOM's
    DA; `issuer` is the institution whose patient ID it is. Everything drawn follows from `seed`, and
    every UID below the study follows from `study_instance_uid`: sending an exam twice sends it once.
    """

    study_instance_uid: str
    patient_id: str
    patient_name: str
    sex: str
    birth_date: str
    issuer: str
    institution_name: str
    station_ae: str
    acquired_at: datetime
    accession_number: str = ""
    study_id: str = "1"
    description: str = ""
    referring_physician: str = ""
    operator: str = ""
    requested_procedure_id: str = ""
    scheduled_step_id: str = ""
    performed_step_uid: str = ""
    character_set: str = "ISO_IR 192"
    seed: int = 0
    findings: tuple[str, ...] = field(default=())

    @property
    def age(self) -> int:
        """Whole years on the day of the exam."""
        day = self.acquired_at.strftime("%m%d")
        return self.acquired_at.year - int(self.birth_date[:4]) - (day < self.birth_date[4:])


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """A coded entry (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def start_instance(
    exam: Exam,
    *,
    sop_class_uid: str,
    modality: str,
    series: int,
    instance: int,
    series_description: str,
    equipment: tuple[str, str],
    protocol: str = "",
) -> Dataset:
    """A dataset with the patient, study, series, equipment and SOP common modules (PS3.3 C.7, C.12)."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = exam.character_set
    day, clock = exam.acquired_at.strftime("%Y%m%d"), exam.acquired_at.strftime("%H%M%S")
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = day, clock
    dataset.SOPClassUID = sop_class_uid
    dataset.SOPInstanceUID = derived_uid(exam.study_instance_uid, str(series), str(instance))
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = dataset.AcquisitionDate = day
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = dataset.AcquisitionTime = clock
    if exam.acquired_at.tzinfo is not None:
        dataset.TimezoneOffsetFromUTC = exam.acquired_at.strftime("%z")
    dataset.AccessionNumber = exam.accession_number
    dataset.Modality = modality
    dataset.Manufacturer, dataset.ManufacturerModelName = equipment
    dataset.InstitutionName = exam.institution_name
    dataset.ReferringPhysicianName = exam.referring_physician
    dataset.StationName = exam.station_ae
    dataset.StudyDescription = exam.description
    dataset.SeriesDescription = series_description
    dataset.OperatorsName = exam.operator
    dataset.PatientName = exam.patient_name
    dataset.PatientID = exam.patient_id
    dataset.IssuerOfPatientID = exam.issuer
    dataset.PatientBirthDate = exam.birth_date
    dataset.PatientSex = exam.sex
    dataset.PatientAge = f"{exam.age:03d}Y"
    dataset.DeviceSerialNumber = f"YL{sum(exam.station_ae.encode()):05d}"
    dataset.SoftwareVersions = "1.0"
    if protocol:
        dataset.ProtocolName = protocol
    dataset.StudyInstanceUID = exam.study_instance_uid
    dataset.SeriesInstanceUID = derived_uid(exam.study_instance_uid, str(series))
    dataset.StudyID = exam.study_id
    dataset.SeriesNumber = series
    dataset.InstanceNumber = instance
    _refer_to_request(dataset, exam, day, clock)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    dataset.file_meta.ImplementationVersionName = "YUNLING_DEMO"
    return dataset


def _refer_to_request(dataset: Dataset, exam: Exam, day: str, clock: str) -> None:
    """The request attributes and the performed step (PS3.3 10.6, C.4.15), where there was a worklist."""
    if exam.requested_procedure_id:
        request = Dataset()
        request.RequestedProcedureID = exam.requested_procedure_id
        request.RequestedProcedureDescription = exam.description
        request.ScheduledProcedureStepID = exam.scheduled_step_id
        request.ScheduledProcedureStepDescription = exam.description
        dataset.RequestAttributesSequence = Sequence([request])
        dataset.PerformedProcedureStepID = exam.scheduled_step_id
        dataset.PerformedProcedureStepStartDate, dataset.PerformedProcedureStepStartTime = day, clock
    if exam.performed_step_uid:
        step = Dataset()
        step.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.3"
        step.ReferencedSOPInstanceUID = exam.performed_step_uid
        dataset.ReferencedPerformedProcedureStepSequence = Sequence([step])


def set_pixels(dataset: Dataset, *, rows: int, columns: int, bits: int, photometric: str) -> None:
    """The monochrome image pixel module for unsigned 16-bit cells (PS3.3 C.7.6.3), without the pixels."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = photometric
    dataset.Rows, dataset.Columns = rows, columns
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    dataset.PixelRepresentation = 0
