"""Jobs that send: signed reports and measurements into the archive, reports home, commitments, notifications.

A job may run twice; the objects of a report have the same UIDs and the same bytes every time, so that
sending an artefact twice is sending it once.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from zoneinfo import ZoneInfo

from pydicom.dataset import Dataset
from sqlalchemy import select
from sqlalchemy.orm import Session

from dicom_node import availability, commitment, device_test, outgoing
from dicom_node.contexts import EXPLICIT_LITTLE
from dicom_node.fitting import Departing, WrittenDataset
from dicom_node.made_objects import Evidence, as_file
from dicom_node.measurement_report import Measured, measurement_report
from dicom_node.own_proposal import plans_for
from dicom_node.statuses import is_success, is_warning
from dicom_node.structured_report import ReportArtefact, report_objects
from storage import audit
from storage.audit import Act
from storage.database import Database
from storage.headers import read_header
from storage.imaging import Instance, Origin, Patient, Series, Study
from storage.instances import Outcome, Sender, keep_instance
from storage.institutions import ApplicationEntity, find_application_entity
from storage.jobs import Job
from storage.objects import ObjectStore
from storage.settings import Settings
from storage.sound import SoundObjects
from worklist import announcements, device_tests
from worklist.holdings import HOLDINGS
from worklist.measurements import ARCHIVE_JOB, Measurement, drawn_in, own_measurements
from worklist.people import names
from worklist.policy import read_policy
from worklist.report_content import content_of
from worklist.reports import DiagnosticReport, ReportVersion
from worklist.worker import PermanentFailure

PREAMBLE_AND_GROUP_LENGTH = 144


class NotDelivered(ConnectionError):
    """The receiver did not take the report; it is tried again."""


@dataclass(frozen=True)
class Travelling:
    """One signed version as it leaves: its objects and where it belongs."""

    institution_code: str
    study_instance_uid: str
    objects: list[Dataset]


def handlers(
    database: Database, objects: ObjectStore, settings: Settings
) -> dict[str, Callable[[Job], None]]:
    """The kinds of job that this door does, for the worker."""
    sound = SoundObjects(database, objects, HOLDINGS)
    return {
        "archive-report": partial(archive_report, database, sound, settings),
        ARCHIVE_JOB: partial(archive_measurements, database, sound, settings),
        "deliver-report": partial(deliver_report, database, sound, settings),
        device_tests.JOB: partial(device_test.test, database, settings),
        announcements.JOB: partial(availability.notify, database, settings),
        commitment.JOB: partial(commitment.report, database, sound, settings),
    }


def archive_report(database: Database, objects: SoundObjects, settings: Settings, job: Job) -> None:
    """Keep the report's objects in its own study; they are ours and do not reopen it."""
    travelling = _travelling(database, objects, job)
    for dataset in travelling.objects:
        _keep_made(database, objects, Sender(settings.ae_title, travelling.institution_code), dataset)


def archive_measurements(database: Database, objects: SoundObjects, settings: Settings, job: Job) -> None:
    """Keep what a reader has measured, as it stands now, in the study that it was measured in."""
    with database.reading() as session:
        study = session.get(Study, job.payload["study_pk"])
        author = str(job.payload["author"])
        rows = own_measurements(session, study.id, author) if study else []
        if study is None or not rows:
            return  # deleted meanwhile
        measured = _measured(session, study, rows)
        policy = read_policy(session)
        at = max(row.changed_at for row in rows).astimezone(ZoneInfo(policy.timezone))
        dataset = measurement_report(
            measured,
            study=_facts(study, study.patient),
            author=author,
            author_name=names(session).get(author, author),
            language=policy.language,
            institution_name=policy.center_name,
            at=at,
            number=sum(row.revision for row in rows),
        )
        sender = Sender(settings.ae_title, study.institution_code)
    _keep_made(database, objects, sender, dataset)


def _measured(session: Session, study: Study, rows: list[Measurement]) -> list[Measured]:
    found = session.execute(
        select(Instance, Series)
        .join(Series, Series.id == Instance.series_pk)
        .where(
            Series.study_pk == study.id,
            Instance.sop_instance_uid.in_({row.sop_instance_uid for row in rows}),
        )
    )
    places = {instance.sop_instance_uid: (instance, series) for instance, series in found}
    return [
        Measured(
            uid=row.uid,
            revision=row.revision,
            drawn=drawn_in(row),
            evidence=Evidence(instance.sop_class_uid, instance.sop_instance_uid, series.series_instance_uid),
            modality=series.modality,
            frames=instance.number_of_frames,
        )
        for row in rows
        if row.sop_instance_uid in places
        for instance, series in [places[row.sop_instance_uid]]
    ]


def _keep_made(database: Database, objects: SoundObjects, sender: Sender, dataset: Dataset) -> None:
    whole = as_file(dataset)
    start = _start_of_dataset(whole)
    kept = keep_instance(
        database,
        objects,
        header=read_header(whole[start:], EXPLICIT_LITTLE),
        meta=whole[:start],
        dataset=io.BytesIO(whole[start:]),
        sender=sender,
        origin=Origin.MADE,
    )
    if kept.outcome is Outcome.QUARANTINED:
        raise PermanentFailure(f"the archive has another object in its place: {kept.reason}")


def deliver_report(database: Database, objects: SoundObjects, settings: Settings, job: Job) -> None:
    """C-STORE the report's objects to the institution's receiver. Raises to be tried again."""
    # Kept first: a receiver may send on what it gets, and then we must know our own again.
    with contextlib.suppress(PermanentFailure):  # who has taken its place there does not hinder the delivery
        archive_report(database, objects, settings, job)
    travelling = _travelling(database, objects, job)
    title = str(job.payload["ae_title"])
    device = _device(database, title)
    (plan,) = plans_for((str(one.SOPClassUID), EXPLICIT_LITTLE) for one in travelling.objects)
    with outgoing.storing(settings, device, plan.contexts) as user:
        for dataset in travelling.objects:
            status = user.store(_departing(dataset))
            if not (is_success(status) or is_warning(status)):
                raise NotDelivered(f"{title} answered {status:04X}")
    with database.transaction() as session:
        audit.record(
            session,
            Act.DELIVERY,
            "deliver-report",
            f"report:{job.payload['report_id']}",
            version=job.payload["version"],
            ae_title=title,
            instances=[str(dataset.SOPInstanceUID) for dataset in travelling.objects],
        )


def _departing(dataset: Dataset) -> Departing:
    whole = as_file(dataset)
    start = _start_of_dataset(whole)
    return Departing(
        str(dataset.SOPClassUID),
        str(dataset.SOPInstanceUID),
        EXPLICIT_LITTLE,
        WrittenDataset(memoryview(whole)[start:]),
    )


def _travelling(database: Database, objects: SoundObjects, job: Job) -> Travelling:
    with database.reading() as session:
        version = session.scalar(
            select(ReportVersion).where(
                ReportVersion.report_id == job.payload["report_id"],
                ReportVersion.version == job.payload["version"],
            )
        )
        report = session.get(DiagnosticReport, job.payload["report_id"])
        if version is None or report is None:
            raise PermanentFailure("this version of the report does not exist")
        study = report.study
        artefact = ReportArtefact(
            content=content_of(version.content),
            pdf=objects.document(version.pdf_key, version.pdf_sha256),
            issued_at=version.signed_at,
            study=_facts(study, study.patient),
            evidence=_evidence(session, study),
        )
        return Travelling(study.institution_code, study.study_instance_uid, report_objects(artefact))


def _facts(study: Study, patient: Patient) -> dict[str, str]:
    """Patient and study as the archive holds them, so that the report finds its place in it."""
    is_nameless = patient.patient_id == f"study {study.study_instance_uid}"
    return {
        "PatientName": patient.name,
        "PatientID": "" if is_nameless else patient.patient_id,
        "IssuerOfPatientID": patient.issuer,
        "PatientBirthDate": f"{patient.birth_date:%Y%m%d}" if patient.birth_date else "",
        "PatientSex": patient.sex,
        "StudyInstanceUID": study.study_instance_uid,
        "StudyDate": f"{study.study_date:%Y%m%d}" if study.study_date else "",
        "StudyTime": study.study_time,
        "StudyID": study.study_id,
        "AccessionNumber": study.accession_number,
        "ReferringPhysicianName": study.referring_physician_name,
        "StudyDescription": study.study_description,
    }


def _evidence(session: Session, study: Study) -> tuple[Evidence, ...]:
    rows = session.execute(
        select(Instance.sop_class_uid, Instance.sop_instance_uid, Series.series_instance_uid)
        .join(Series, Series.id == Instance.series_pk)
        .where(Series.study_pk == study.id, Instance.origin == Origin.RECEIVED)
        .order_by(Series.id, Instance.instance_number, Instance.id)
    )
    return tuple(Evidence(*row) for row in rows)


def _device(database: Database, title: str) -> ApplicationEntity:
    with database.reading() as session:
        device = find_application_entity(session, title)
        session.expunge_all()
    if device is None:
        raise NotDelivered(f"no active device is declared as {title}")
    return device


def _start_of_dataset(whole: bytes) -> int:
    """PS3.10 7.1: the group length counts what follows it."""
    return PREAMBLE_AND_GROUP_LENGTH + int.from_bytes(whole[140:144], "little")
