"""Storage commitment, push model (PS3.4 J): asked by N-ACTION, reported by a job until it was heard.

The report goes out on the association that asked while it is open, otherwise on one of ours; what is not
heard is told again with a growing pause, for three days.
"""

from __future__ import annotations

import hashlib
import io
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.dsutils import encode
from sqlalchemy import select
from sqlalchemy.orm import Session

from dicom_node import outgoing
from dicom_node.contexts import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
)
from dicom_node.exchange import MAXIMUM_LIST, Exchange
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
from storage.conflicts import is_disputed
from storage.database import Database, utc_now
from storage.imaging import Instance, QuarantinedInstance, Study
from storage.instances import find_instance, is_kept
from storage.institutions import ApplicationEntity, Service, find_application_entity
from storage.jobs import Job
from storage.objects import ObjectStore
from storage.settings import Settings
from storage.sound import SoundObjects
from storage.uids import is_uid
from worklist.commitment_lists import note_commitment
from worklist.people import visible_to_device

if TYPE_CHECKING:
    from dicom_node.node import Node

log = logging.getLogger("reading_center.dicom")

JOB = "commitment-report"
# How long a report may be on its way on the association that asked, before it becomes the worker's: reading
# some thousand instances again takes its time.
HERE_FIRST = timedelta(minutes=10)
PATIENCE = timedelta(hours=72)
# Most devices release as soon as the N-ACTION is answered; a report sent into their release would be lost.
RELEASE_SECONDS = 0.5
# Some devices ask while their images are still on their way: what is not here is waited for before it is
# called missing, a short while by a device that stays on the line, longer where we call it back.
GRACE_HERE = timedelta(seconds=10)
GRACE = timedelta(seconds=60)
HEARD_SECONDS = 15.0
OUR_MESSAGE_ID = 1
MOST_HERE = 16  # reports that are made on the associations that asked, at one time
REQUEST_COMMITMENT = 1
TRANSACTION_UID, REFERENCED_SOP_SEQUENCE = "00081195", "00081199"
REFERENCED_SOP_CLASS_UID, REFERENCED_SOP_INSTANCE_UID = "00081150", "00081155"
MOST_REFERENCES = 50_000


def request(node: Node, exchange: Exchange) -> None:
    """Promise to report; whether the instances are kept is looked up when the report is made."""
    exchange.require(Service.COMMIT)
    if str(exchange.request.RequestedSOPInstanceUID) != STORAGE_COMMITMENT_INSTANCE:
        raise WrongRequest("commitment is asked of its well-known instance", status=Status.NO_SUCH_INSTANCE)
    if exchange.request.ActionTypeID != REQUEST_COMMITMENT:
        raise WrongRequest("the action is unknown", status=Status.NO_SUCH_ACTION)
    asked = exchange.dataset(most=MAXIMUM_LIST)
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
        raise WrongRequest("too many references in one request", status=Status.RESOURCE_LIMITATION)
    title = exchange.device.ae_title
    # The same request twice is one report; a device that reuses a transaction UID for other objects gets two.
    digest = hashlib.sha256(repr(references).encode()).hexdigest()[:16]
    key = f"{title}:{transaction_uid}:{digest}"
    payload = {"ae_title": title, "transaction_uid": transaction_uid, "references": references}

    def promise(session: Session) -> None:
        # A device that asks again has not heard, whatever it answered: it is told again.
        jobs.ask_again(session, JOB, key, delay=delay, patience=PATIENCE, now=utc_now())
        jobs.enqueue(session, JOB, key, payload, delay=delay, patience=PATIENCE)
        note_commitment(session, key, [uid for _, uid in references], entity=exchange.device, now=utc_now())

    # Where many ask at once, the worker reports to the rest.
    is_here = node.reports_here.acquire(blocking=False)
    delay = HERE_FIRST if is_here else timedelta(0)
    try:
        node.database.in_transaction(promise)
        exchange.answer(Status.SUCCESS)
        if is_here:
            arguments = (node, exchange, key)
            threading.Thread(
                target=_report_here, args=arguments, name=f"commitment-{title}", daemon=True
            ).start()
            is_here = False
    finally:
        if is_here:
            node.reports_here.release()


class NotHeard(ConnectionError):
    """The device did not take the report; it is tried again, for three days."""


@dataclass(frozen=True)
class Outcome:
    """What a report says: which instances we commit to, and which not, with the reason of each."""

    committed: list[Dataset]
    failed: list[Dataset]
    doubted: list[str] = field(default_factory=list)  # keys of objects that were read and are not as kept

    @property
    def event_type(self) -> int:
        return COMMITTED_WITH_FAILURES if self.failed else COMMITTED

    def information(self, transaction_uid: str, *, our_title: str) -> Dataset:
        """The Event Information (PS3.4 table J.3-2)."""
        information = Dataset()
        information.TransactionUID = transaction_uid
        information.RetrieveAETitle = our_title
        if self.committed:
            information.ReferencedSOPSequence = self.committed
        if self.failed:
            information.FailedSOPSequence = self.failed
        return information


def report(database: Database, objects: SoundObjects, settings: Settings, job: Job) -> None:
    """N-EVENT-REPORT on an association of our own: what is kept, re-read and matching, and what is not."""
    title = str(job.payload["ae_title"])
    with database.reading() as session:
        device = find_application_entity(session, title)
        if device is None:
            raise NotHeard(f"no active device is declared as {title}")
        if utc_now() < job.created_at + GRACE and _is_any_absent(session, job.payload["references"]):
            raise NotHeard("some of the instances may still be on their way")
        outcome = _outcome(session, objects, device, job.payload["references"])
        session.expunge_all()
    _mark(objects, outcome)
    proposals = [(STORAGE_COMMITMENT, [EXPLICIT_LITTLE, IMPLICIT_LITTLE])]
    with outgoing.associated(settings, device, proposals, as_scp_of=[STORAGE_COMMITMENT]) as association:
        answer, _ = association.send_n_event_report(
            outcome.information(job.payload["transaction_uid"], our_title=settings.ae_title),
            outcome.event_type,
            STORAGE_COMMITMENT,
            STORAGE_COMMITMENT_INSTANCE,
        )
    if "Status" not in answer or not is_success(int(answer.Status)):
        raise NotHeard(f"{title} did not accept the report")
    with database.transaction() as session:
        _note(session, job, outcome)


def _report_here(node: Node, exchange: Exchange, key: str) -> None:
    """The same report on the association that asked, in a thread beside it; else the job is the worker's."""
    owner = jobs.new_owner()
    try:
        job = node.database.in_transaction(
            lambda session: jobs.claim_this(session, JOB, key, owner=owner, lease=HERE_FIRST, now=utc_now())
        )
        if job is None:  # asked for before: told already, or somebody is about to
            return
        outcome = _told_here(node, exchange, job)

        def end(session: Session) -> None:
            if outcome is None:
                jobs.hand_back(session, job, now=utc_now())
            elif jobs.finish(session, job, now=utc_now()):
                _note(session, job, outcome)

        node.database.in_transaction(end)
    except Exception as error:
        # The job stands: its lease runs out, and the worker reports.
        log.warning("a commitment is left to the worker: %s", type(error).__name__)
    finally:
        node.reports_here.release()


def _told_here(node: Node, exchange: Exchange, job: Job) -> Outcome | None:
    association = exchange.association
    time.sleep(RELEASE_SECONDS)
    until = utc_now() + GRACE_HERE
    while association.is_established and utc_now() < until:
        with node.database.reading() as session:
            if not _is_any_absent(session, job.payload["references"]):
                break
        time.sleep(RELEASE_SECONDS)
    if not association.is_established:
        return None
    try:
        with node.database.reading() as session:
            outcome = _outcome(
                session,
                node.sound,
                exchange.device,
                job.payload["references"],
                is_wanted=lambda: association.is_established,
            )
    except NotHeard:
        return None
    _mark(node.sound, outcome)
    answers: list[bool] = []
    done = threading.Event()

    def tell() -> None:
        try:
            answers.append(_is_heard(exchange, outcome, job, our_title=node.settings.ae_title))
        finally:
            done.set()

    association.later(tell)
    while not done.wait(0.5) and association.is_alive():
        pass
    return outcome if answers == [True] else None


def _is_heard(exchange: Exchange, outcome: Outcome, job: Job, *, our_title: str) -> bool:
    request = N_EVENT_REPORT()
    request.MessageID = OUR_MESSAGE_ID
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = (
        STORAGE_COMMITMENT,
        STORAGE_COMMITMENT_INSTANCE,
    )
    request.EventTypeID = outcome.event_type
    information = outcome.information(job.payload["transaction_uid"], our_title=our_title)
    syntax = exchange.transfer_syntax
    raw = encode(information, syntax == IMPLICIT_LITTLE, syntax != EXPLICIT_BIG)
    request.EventInformation = io.BytesIO(raw or b"")
    answer = exchange.association.ask(request, exchange.context_id, patience=HEARD_SECONDS)
    return isinstance(answer, N_EVENT_REPORT) and answer.Status is not None and is_success(answer.Status)


def _outcome(
    session: Session,
    objects: ObjectStore,
    device: ApplicationEntity,
    references: list[list[str]],
    *,
    is_wanted: Callable[[], bool] = lambda: True,
) -> Outcome:
    """Each instance looked for, re-read and compared. Raises NotHeard once it is not wanted any more."""
    outcome = Outcome([], [])
    for sop_class_uid, sop_instance_uid in references:
        if not is_wanted():
            raise NotHeard("the association has ended")
        reason = _failure(session, objects, device, sop_class_uid, sop_instance_uid, doubted=outcome.doubted)
        reference = Dataset()
        reference.ReferencedSOPClassUID = sop_class_uid
        reference.ReferencedSOPInstanceUID = sop_instance_uid
        if reason is not None:
            reference.FailureReason = reason
        (outcome.committed if reason is None else outcome.failed).append(reference)
    return outcome


def _is_any_absent(session: Session, references: list[list[str]]) -> bool:
    """Whether any has neither been kept nor kept aside: it may still be on its way."""
    uids = sorted({sop_instance_uid for _, sop_instance_uid in references})
    for start in range(0, len(uids), 500):
        some = set(uids[start : start + 500])
        for column in (Instance.sop_instance_uid, QuarantinedInstance.sop_instance_uid):
            some.difference_update(session.scalars(select(column).where(column.in_(some))))
        if some:
            return True
    return False


def _mark(objects: SoundObjects, outcome: Outcome) -> None:
    """Before the device hears that we do not commit: when it sends again, good bytes replace the damaged."""
    for key in outcome.doubted:
        objects.doubt(key)


def _note(session: Session, job: Job, outcome: Outcome) -> None:
    audit.record(
        session,
        Act.DELIVERY,
        "report-commitment",
        f"transaction:{job.payload['transaction_uid']}",
        ae_title=job.payload["ae_title"],
        committed=len(outcome.committed),
        failed=len(outcome.failed),
    )


def _failure(
    session: Session,
    objects: ObjectStore,
    device: ApplicationEntity,
    sop_class_uid: str,
    sop_instance_uid: str,
    *,
    doubted: list[str],
) -> int | None:
    """Why we do not commit to this instance (PS3.3 C.14.1.1); None where we do."""
    # Other bytes of the same name came from this device: it must keep its copy until a person has decided.
    # C.14.1.1 has no reason of its own for that. 0112H (no such object) would make it send again, into
    # quarantine again; 0131H speaks of transactions; 0110H, the general failure, makes it keep and tell.
    if is_disputed(
        session, sop_instance_uid, ae_title=device.ae_title, institution_code=device.institution_code
    ):
        return int(Status.PROCESSING_FAILURE)
    instance = find_instance(session, sop_instance_uid)
    visible = visible_to_device(session, device, now=utc_now())
    if instance is None or not session.scalar(
        select(Study.id).where(Study.id == instance.series.study_pk, visible)
    ):
        return NO_SUCH_OBJECT
    if instance.sop_class_uid != sop_class_uid:
        return CLASS_INSTANCE_CONFLICT
    if not is_kept(session, objects, sop_class_uid=sop_class_uid, sop_instance_uid=sop_instance_uid):
        doubted.append(instance.object_key)
        return int(Status.PROCESSING_FAILURE)
    return None
