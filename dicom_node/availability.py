"""Instance Availability Notification as SCU (PS3.4 R): devices that wait for a study hear that it is here."""

from __future__ import annotations

from pydicom.dataset import Dataset
from sqlalchemy import select
from sqlalchemy.orm import Session

from dicom_node import outgoing
from dicom_node.contexts import (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    INSTANCE_AVAILABILITY_NOTIFICATION,
    MODALITY_PERFORMED_PROCEDURE_STEP,
)
from dicom_node.statuses import Status, is_success, is_warning
from storage import audit
from storage.audit import Act
from storage.database import Database
from storage.imaging import Instance, Origin, Series, Study
from storage.institutions import Service, find_application_entity
from storage.jobs import Job
from storage.settings import Settings
from storage.uids import derived_uid
from worklist.performed_steps import steps_of


class NotHeard(ConnectionError):
    """The device did not take the notification; it is tried again."""


def notify(database: Database, settings: Settings, job: Job) -> None:
    """One N-CREATE with every instance of the study; none to a device that is not to be notified any more."""
    title, uid = str(job.payload["ae_title"]), str(job.payload["study_instance_uid"])
    with database.reading() as session:
        device = find_application_entity(session, title)
        if device is None or Service.NOTIFY not in device.may:
            return
        notification = notification_of(session, uid, our_title=settings.ae_title)
        session.expunge_all()
    # The same notification twice is one: a device that has it already says so.
    sop_instance_uid = derived_uid("availability", title, uid, str(job.payload["version"]))
    proposals = [(INSTANCE_AVAILABILITY_NOTIFICATION, [EXPLICIT_LITTLE, IMPLICIT_LITTLE])]
    with outgoing.associated(settings, device, proposals) as association:
        if not association.accepted_contexts:
            raise NotHeard(f"{title} does not take availability notifications")
        answer, _ = association.send_n_create(
            notification, INSTANCE_AVAILABILITY_NOTIFICATION, sop_instance_uid
        )
    status = int(answer.Status) if "Status" in answer else None
    if status is None or not (
        is_success(status) or is_warning(status) or status == Status.DUPLICATE_INSTANCE
    ):
        raise NotHeard(f"{title} did not accept the notification")
    with database.transaction() as session:
        audit.record(session, Act.DELIVERY, "notify-availability", f"study:{uid}", ae_title=title)


def notification_of(session: Session, study_instance_uid: str, *, our_title: str) -> Dataset:
    """The attribute list (PS3.4 table R.3.2-1): every instance that was received, online and here."""
    notification = Dataset()
    notification.ReferencedPerformedProcedureStepSequence = [
        _step(step.sop_instance_uid) for step in steps_of(session, study_instance_uid)
    ]
    notification.StudyInstanceUID = study_instance_uid
    series: dict[str, Dataset] = {}
    for series_instance_uid, sop_class_uid, sop_instance_uid in session.execute(
        select(Series.series_instance_uid, Instance.sop_class_uid, Instance.sop_instance_uid)
        .join(Instance, Instance.series_pk == Series.id)
        .join(Study, Study.id == Series.study_pk)
        .where(Study.study_instance_uid == study_instance_uid, Instance.origin == Origin.RECEIVED)
        .order_by(Series.id, Instance.instance_number, Instance.id)
    ):
        if series_instance_uid not in series:
            series[series_instance_uid] = Dataset()
            series[series_instance_uid].SeriesInstanceUID = series_instance_uid
            series[series_instance_uid].ReferencedSOPSequence = []
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
        reference.InstanceAvailability, reference.RetrieveAETitle = "ONLINE", our_title
        series[series_instance_uid].ReferencedSOPSequence.append(reference)
    notification.ReferencedSeriesSequence = list(series.values())
    return notification


def _step(sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = (
        MODALITY_PERFORMED_PROCEDURE_STEP,
        sop_instance_uid,
    )
    item.PerformedWorkitemCodeSequence = []
    return item
