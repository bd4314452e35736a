"""What a device reports of its work: the datasets of MPPS N-CREATE and N-SET (PS3.4 F.7.2)."""

from __future__ import annotations

from collections.abc import Sequence as Rows
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from center.demo.county import Device
from center.demo.phantoms.exam import Exam


@dataclass(frozen=True)
class SentInstance:
    """An instance that the centre has acknowledged."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    series_description: str
    size: int


def sent_instance(dataset: Dataset) -> SentInstance:
    pixels = len(dataset.PixelData) if "PixelData" in dataset else 0
    waves = sum(len(group.WaveformData) for group in dataset.get("WaveformSequence", []))
    return SentInstance(
        dataset.SOPClassUID,
        dataset.SOPInstanceUID,
        dataset.SeriesInstanceUID,
        dataset.SeriesDescription,
        pixels + waves + 2048,
    )


def begun(exam: Exam, device: Device) -> Dataset:
    """The step IN PROGRESS, with what the worklist had said."""
    request = Dataset()
    request.StudyInstanceUID = exam.study_instance_uid
    request.ReferencedStudySequence = Sequence([])
    request.AccessionNumber = exam.accession_number
    request.RequestedProcedureID = exam.requested_procedure_id
    request.RequestedProcedureDescription = exam.description
    request.ScheduledProcedureStepID = exam.scheduled_step_id
    request.ScheduledProcedureStepDescription = exam.description
    request.ScheduledProtocolCodeSequence = Sequence([])
    step = Dataset()
    step.SpecificCharacterSet = exam.character_set
    step.ScheduledStepAttributesSequence = Sequence([request])
    step.PatientName, step.PatientID = exam.patient_name, exam.patient_id
    step.PatientBirthDate, step.PatientSex = exam.birth_date, exam.sex
    step.ReferencedPatientSequence = Sequence([])
    step.PerformedProcedureStepID = exam.scheduled_step_id or "1"
    step.PerformedStationAETitle = step.PerformedStationName = device.ae_title
    step.PerformedLocation = ""
    step.PerformedProcedureStepStartDate = exam.acquired_at.strftime("%Y%m%d")
    step.PerformedProcedureStepStartTime = exam.acquired_at.strftime("%H%M%S")
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    step.PerformedProcedureStepDescription = exam.description
    step.PerformedProcedureTypeDescription = ""
    step.ProcedureCodeSequence = Sequence([])
    step.PerformedProcedureStepEndDate = step.PerformedProcedureStepEndTime = ""
    step.Modality = device.modality
    step.StudyID = exam.study_id
    step.PerformedProtocolCodeSequence = Sequence([])
    step.PerformedSeriesSequence = Sequence([])
    return step


def completed(exam: Exam, device: Device, sent: Rows[SentInstance]) -> Dataset:
    """The step COMPLETED, with every series and every instance that was made."""
    ended = datetime.now(exam.acquired_at.tzinfo)
    change = Dataset()
    change.SpecificCharacterSet = exam.character_set
    change.PerformedProcedureStepStatus = "COMPLETED"
    change.PerformedProcedureStepEndDate = ended.strftime("%Y%m%d")
    change.PerformedProcedureStepEndTime = ended.strftime("%H%M%S")
    change.PerformedSeriesSequence = Sequence(
        _series(
            exam, [one for one in sent if one.series_instance_uid == uid], is_picture=device.modality != "ECG"
        )
        for uid in dict.fromkeys(one.series_instance_uid for one in sent)
    )
    return change


def _series(exam: Exam, instances: Rows[SentInstance], *, is_picture: bool) -> Dataset:
    references = []
    for one in instances:
        reference = Dataset()
        reference.ReferencedSOPClassUID = one.sop_class_uid
        reference.ReferencedSOPInstanceUID = one.sop_instance_uid
        references.append(reference)
    series = Dataset()
    series.SeriesInstanceUID = instances[0].series_instance_uid
    series.SeriesDescription = series.ProtocolName = instances[0].series_description
    series.PerformingPhysicianName = ""
    series.OperatorsName = exam.operator
    series.RetrieveAETitle = ""
    series.ReferencedImageSequence = Sequence(references if is_picture else [])
    series.ReferencedNonImageCompositeSOPInstanceSequence = Sequence([] if is_picture else references)
    return series
