"""What the tests are about: orders, exams with real instances, tasks; through the product's own doors."""

import io
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime

from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian

from storage.database import Database, utc_now
from storage.headers import read_header
from storage.imaging import Study
from storage.indexing import Kept, Sender
from storage.ingest import Ingest
from storage.objects import ObjectStore
from storage.uids import new_uid
from tests.cast import person
from worklist.arrivals import settle
from worklist.orders import NewOrder, NewPatient, ServiceRequest, place_order
from worklist.reading_tasks import ReadingTask, task_of

ZHANG = NewPatient(
    patient_id="P001",
    name="张三",
    name_phonetic="Zhang San",
    sex="M",
    birth_date=date(1958, 3, 14),
    national_id="110105195803140038",
)
SOURCES = {"CT": "CT_small.dcm", "MR": "MR_small.dcm", "ECG": "waveform_ecg.dcm"}


@dataclass(frozen=True)
class Exam:
    """One exam of the tests, by the keys of its rows."""

    study_instance_uid: str
    order_id: int
    accession_number: str
    sop_instance_uids: tuple[str, ...]
    task_id: int | None


def an_order(
    database: Database,
    *,
    by: str = "ma",
    institution: str = "T01",
    modality: str = "CT",
    body_part: str = "CHEST",
    laterality: str = "",
    patient: NewPatient = ZHANG,
    priority: str = "routine",
    pathway: str | None = None,
    now: datetime | None = None,
) -> ServiceRequest:
    """An order for Zhang San of Qingshi, placed by Technician Ma."""

    with database.transaction() as session:
        order = place_order(
            session,
            NewOrder(
                institution=institution,
                patient=patient,
                modality=modality,
                body_part=body_part,
                laterality=laterality,
                priority=priority,
                pathway=pathway,
                clinical_information="咳嗽两周，吸烟四十年",
                question="肺部占位？",
            ),
            by=person(session, by),
            now=now or utc_now(),
        )
        session.refresh(order, ["patient"])
        return order


def a_dataset(
    *,
    modality: str = "CT",
    study_instance_uid: str | None = None,
    series_instance_uid: str | None = None,
    accession_number: str = "",
    patient_id: str = "P001",
    patient_name: str = "Zhang^San=张^三",
    body_part: str = "CHEST",
    number: int = 1,
) -> Dataset:
    """A real picture from pydicom's own files, as if this patient's exam."""
    dataset = dcmread(str(get_testdata_file(SOURCES[modality])))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName, dataset.PatientID = patient_name, patient_id
    dataset.PatientBirthDate, dataset.PatientSex = "19580314", "M"
    dataset.AccessionNumber = accession_number
    dataset.StudyInstanceUID = study_instance_uid or new_uid()
    dataset.SeriesInstanceUID = series_instance_uid or new_uid()
    dataset.SOPInstanceUID = new_uid()
    dataset.InstanceNumber = number
    dataset.StudyDate, dataset.StudyTime = f"{utc_now():%Y%m%d}", "083000"
    dataset.BodyPartExamined = body_part
    for keyword in ("IssuerOfPatientID", "OtherPatientIDs", "OtherPatientIDsSequence"):
        if keyword in dataset:
            delattr(dataset, keyword)
    dataset.remove_private_tags()
    return dataset


def a_manifest(
    study_instance_uid: str,
    sop_instance_uids: Iterable[str],
    *,
    title: tuple[str, str] = ("113030", "DCM"),
    patient_id: str = "P001",
) -> Dataset:
    """A gateway's Key Object Selection: these instances belong to this study (PS3.3 A.35.4, C.17.6.2)."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.59", new_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study_instance_uid, new_uid()
    dataset.PatientID, dataset.PatientName, dataset.Modality = patient_id, "Zhang^San=张^三", "KO"
    name = Dataset()
    name.CodeValue, name.CodingSchemeDesignator = title
    name.CodeMeaning = "Manifest"
    dataset.ConceptNameCodeSequence = [name]
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = new_uid(), []
    for uid in sop_instance_uids:
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", uid
        series.ReferencedSOPSequence.append(reference)
    study = Dataset()
    study.StudyInstanceUID, study.ReferencedSeriesSequence = study_instance_uid, [series]
    dataset.CurrentRequestedProcedureEvidenceSequence = [study]
    return dataset


def bytes_of(dataset: Dataset) -> bytes:
    """The dataset as it travels in a C-STORE, Explicit VR Little Endian."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def put_object(objects: ObjectStore, key: str, content: bytes) -> None:
    objects.put(key, io.BytesIO(content), len(content))


def keep(
    database: Database,
    objects: ObjectStore,
    dataset: Dataset,
    *,
    ae_title: str = "T01_CT",
    institution: str = "T01",
) -> Kept:
    """Keep a dataset as if the device had sent it."""
    raw = bytes_of(dataset)
    syntax = str(ExplicitVRLittleEndian)
    with closing(Ingest(database, objects)) as ingest:
        return ingest.keep(read_header(raw, syntax), raw, sender=Sender(ae_title, institution, "127.0.0.1"))


def an_exam(
    database: Database,
    objects: ObjectStore,
    *,
    modality: str = "CT",
    body_part: str = "CHEST",
    laterality: str = "",
    images: int = 2,
    institution: str = "T01",
    by: str = "ma",
    patient: NewPatient = ZHANG,
    priority: str = "routine",
    pathway: str | None = None,
    is_settled: bool = True,
) -> Exam:
    """An order, its images, and, once settled, its reading task."""
    order = an_order(
        database,
        by=by,
        institution=institution,
        modality=modality,
        body_part=body_part,
        laterality=laterality,
        patient=patient,
        priority=priority,
        pathway=pathway,
    )
    series_instance_uid = new_uid()
    uids = []
    for number in range(1, images + 1):
        dataset = a_dataset(
            modality=modality,
            study_instance_uid=order.study_instance_uid,
            series_instance_uid=series_instance_uid,
            accession_number=order.accession_number,
            patient_id=patient.patient_id,
            patient_name=order.patient.name,
            body_part=body_part,
            number=number,
        )
        keep(database, objects, dataset, ae_title=f"{institution}_{modality}", institution=institution)
        uids.append(str(dataset.SOPInstanceUID))
    task_id = settle_exam(database, order.study_instance_uid) if is_settled else None
    return Exam(order.study_instance_uid, order.id, order.accession_number, tuple(uids), task_id)


def settle_exam(database: Database, study_instance_uid: str) -> int | None:
    """The study stopped growing; the id of its task."""
    with database.transaction() as session:
        study = session.query(Study).filter_by(study_instance_uid=study_instance_uid).one()
        settle(session, study, "quiet", now=utc_now())
        session.flush()
        task: ReadingTask | None = task_of(session, study)
        return task.id if task else None
