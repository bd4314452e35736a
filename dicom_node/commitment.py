"""Storage commitment, push model (PS3.4 J): asked by N-ACTION, reported by a job until it was heard."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset
from sqlalchemy import select
from sqlalchemy.orm import Session

from dicom_node import outgoing
from dicom_node.contexts import (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
)
from dicom_node.exchange import Exchange
from dicom_node.statuses import (
    CLASS_INSTANCE_CONFLICT,
    COMMITTED,
    COMMITTED_WITH_FAILURES,
    NO_SUCH_OBJECT,
    Status,
    WrongRequest,
    is_success,
)
from storage import audit, jobs
from storage.attributes import values_of
from storage.audit import Act
from storage.database import Database, utc_now
from storage.imaging import QuarantinedInstance, Study
from storage.instances import find_instance, is_kept
from storage.institutions import ApplicationEntity, Service, find_application_entity
from storage.jobs import Job
from storage.objects import ObjectStore
from storage.settings import Settings
from storage.uids import is_uid
from worklist.people import visible_to_device

if TYPE_CHECKING:
    from dicom_node.node import Node

JOB = "commitment-report"
REQUEST_COMMITMENT = 1
TRANSACTION_UID, REFERENCED_SOP_SEQUENCE = "00081195", "00081199"
REFERENCED_SOP_CLASS_UID, REFERENCED_SOP_INSTANCE_UID = "00081150", "00081155"
MOST_REFERENCES = 50_000


def request(node: Node, exchange: Exchange) -> None:
    """Promise to report; whether the instances are kept is looked up when the report is made."""
    exchange.require(Service.COMMIT)
    if exchange.request.ActionTypeID != REQUEST_COMMITMENT:
        raise WrongRequest("the action is unknown", status=Status.NO_SUCH_ACTION)
    asked = exchange.dataset()
    transaction_uid = str(next(iter(values_of(asked, TRANSACTION_UID)), ""))
    references = [
        [
            str(next(iter(values_of(item, REFERENCED_SOP_CLASS_UID)), "")),
            str(next(iter(values_of(item, REFERENCED_SOP_INSTANCE_UID)), "")),
        ]
        for item in values_of(asked, REFERENCED_SOP_SEQUENCE)
    ]
    if not is_uid(transaction_uid) or not references:
        raise WrongRequest("a transaction UID and references are needed", status=Status.INVALID_ATTRIBUTE)
    if len(references) > MOST_REFERENCES:
        raise WrongRequest("too many references in one request", status=Status.OUT_OF_RESOURCES)
    title = exchange.device.ae_title
    # The same request twice is one report; a device that reuses a transaction UID for other objects gets two.
    digest = hashlib.sha256(repr(references).encode()).hexdigest()[:16]
    node.database.in_transaction(
        lambda session: jobs.enqueue(
            session,
            JOB,
            f"{title}:{transaction_uid}:{digest}",
            {"ae_title": title, "transaction_uid": transaction_uid, "references": references},
        )
    )
    exchange.answer(Status.SUCCESS)


class NotHeard(ConnectionError):
    """The device did not take the report; it is tried again, for three days."""


def report(database: Database, objects: ObjectStore, settings: Settings, job: Job) -> None:
    """N-EVENT-REPORT on an association of our own: what is kept, re-read and matching, and what is not."""
    title = str(job.payload["ae_title"])
    committed: list[Dataset] = []
    failed: list[Dataset] = []
    with database.reading() as session:
        device = find_application_entity(session, title)
        if device is None:
            raise NotHeard(f"no active device is declared as {title}")
        for sop_class_uid, sop_instance_uid in job.payload["references"]:
            reason = _failure(session, objects, device, sop_class_uid, sop_instance_uid)
            reference = Dataset()
            reference.ReferencedSOPClassUID = sop_class_uid
            reference.ReferencedSOPInstanceUID = sop_instance_uid
            if reason is not None:
                reference.FailureReason = reason
            (committed if reason is None else failed).append(reference)
        session.expunge_all()
    information = Dataset()
    information.TransactionUID = job.payload["transaction_uid"]
    information.RetrieveAETitle = settings.ae_title
    if committed:
        information.ReferencedSOPSequence = committed
    if failed:
        information.FailedSOPSequence = failed
    proposals = [(STORAGE_COMMITMENT, [EXPLICIT_LITTLE, IMPLICIT_LITTLE])]
    with outgoing.associated(
        settings.ae_title, device, proposals, as_scp_of=[STORAGE_COMMITMENT]
    ) as association:
        answer, _ = association.send_n_event_report(
            information,
            COMMITTED_WITH_FAILURES if failed else COMMITTED,
            STORAGE_COMMITMENT,
            STORAGE_COMMITMENT_INSTANCE,
        )
    if "Status" not in answer or not is_success(int(answer.Status)):
        raise NotHeard(f"{title} did not accept the report")
    with database.transaction() as session:
        audit.record(
            session,
            Act.DELIVERY,
            "report-commitment",
            f"transaction:{job.payload['transaction_uid']}",
            ae_title=title,
            committed=len(committed),
            failed=len(failed),
        )


def _failure(
    session: Session,
    objects: ObjectStore,
    device: ApplicationEntity,
    sop_class_uid: str,
    sop_instance_uid: str,
) -> int | None:
    """Why we do not commit to this instance (PS3.3 C.14.1.1); None where we do."""
    instance = find_instance(session, sop_instance_uid)
    visible = visible_to_device(session, device, now=utc_now())
    if instance is None or not session.scalar(
        select(Study.id).where(Study.id == instance.series.study_pk, visible)
    ):
        return NO_SUCH_OBJECT
    if instance.sop_class_uid != sop_class_uid:
        return CLASS_INSTANCE_CONFLICT
    # Other bytes of the same name came from this device: it must keep its copy until a person has decided.
    is_disputed = session.scalar(
        select(QuarantinedInstance.id).where(
            QuarantinedInstance.sop_instance_uid == sop_instance_uid,
            QuarantinedInstance.calling_ae == device.ae_title,
            QuarantinedInstance.resolved_at.is_(None),
        )
    )
    if is_disputed or not is_kept(
        session, objects, sop_class_uid=sop_class_uid, sop_instance_uid=sop_instance_uid
    ):
        return int(Status.PROCESSING_FAILURE)
    return None
