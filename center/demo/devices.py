"""A simulated device: a process of its own that asks the worklist, performs, reports MPPS and sends.

It carries out one assignment, says what became of it, and ends.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless
from pynetdicom import AE, evt
from pynetdicom.association import Association

from center.demo import county, performed_step
from center.demo.county import Device
from center.demo.performed_step import SentInstance
from center.demo.phantoms.exam import Exam
from center.demo.phantoms.repertoire import draw
from storage.uids import derived_uid

# PS3.4 F.7 and K.6.
MODALITY_PERFORMED_STEP = UID("1.2.840.10008.3.1.2.3.3")
MODALITY_WORKLIST = UID("1.2.840.10008.5.1.4.31")
ATTEMPTS = 4
# How each device writes names, and how it sends pictures: a county bought over twenty years.
CHARACTER_SETS = {"T03": "ISO_IR 192", "C01": "ISO_IR 192", "T04": "GBK", "T06": "ISO_IR 192"}
TRANSFER_SYNTAXES = {"T03_CT": JPEGLSLossless, "T03_DR": JPEGLSLossless, "T04_CR": ImplicitVRLittleEndian}


class DeviceFailed(RuntimeError):
    """The centre did not do its part; the message says which, and names no patient."""


@dataclass(frozen=True)
class Assignment:
    """What a device is to do, and where the centre is. `typed` is what an operator types in place of the
    worklist: such a study arrives without an order."""

    device: str
    phantom: str
    accession_number: str
    seed: int
    host: str
    port: int
    aet: str
    folder: str
    findings: tuple[str, ...] = ()
    days_ago: float = 0
    description: str = ""
    typed: dict[str, str] | None = field(default=None)


@dataclass(frozen=True)
class Performed:
    """What was sent; or, in `failed`, why not everything was."""

    instances: int = 0
    bytes: int = 0
    failed: str | None = None


def perform(assignment: Assignment) -> Performed:
    """Worklist, MPPS in progress, pictures, MPPS completed. Raises DeviceFailed."""
    device = county.devices()[assignment.device]
    item = assignment.typed or _worklist_item(assignment, device)
    exam = _exam(assignment, device, item)
    if exam.performed_step_uid:
        _report(assignment, "send_n_create", performed_step.begun(exam, device), exam)
    sent = list(_send_all(assignment, draw(assignment.phantom, exam, Path(assignment.folder))))
    if exam.performed_step_uid:
        _report(assignment, "send_n_set", performed_step.completed(exam, device, sent), exam)
    return Performed(len(sent), sum(instance.size for instance in sent))


def _associate(assignment: Assignment, contexts: list[tuple[Any, list[Any]]]) -> Association:
    """An accepted association with the centre, tried a few times. Raises DeviceFailed."""
    entity = AE(ae_title=assignment.device)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 60
    entity.connection_timeout = 10
    for abstract_syntax, transfer_syntaxes in contexts:
        entity.add_requested_context(abstract_syntax, transfer_syntaxes)
    for attempt in range(ATTEMPTS):
        association = entity.associate(
            assignment.host,
            assignment.port,
            ae_title=assignment.aet,
            max_pdu=131072,
            evt_handlers=[(evt.EVT_CONN_OPEN, _without_delay)],
        )
        if association.is_established:
            _keep_thread_out(association)
            return association
        time.sleep(1 + 2 * attempt)
    raise DeviceFailed("no association with the centre")


def _keep_thread_out(association: Association) -> None:
    """Stop the association's own thread from taking the answers that we wait for.

    pynetdicom pauses that thread for each message and lets it go after each; on a busy machine it wakes
    up only when the next answer is there already, and swallows it. Here it sleeps until the release.
    """
    gate = association._reactor_checkpoint
    gate.clear()
    time.sleep(0.01)  # nothing is under way yet: whatever round it is in ends here
    gate.set = lambda: None  # type: ignore[method-assign]


def _release(association: Association) -> None:
    """Let the thread go on, and end the association where it has not ended by itself."""
    gate = association._reactor_checkpoint
    del gate.set
    if association.is_established:
        association.release()
    gate.set()


def _without_delay(event: Any) -> None:
    """Small PDUs at once: otherwise each C-STORE waits for a delayed acknowledgement."""
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _worklist_item(assignment: Assignment, device: Device) -> dict[str, str]:
    """The item of this order, as the modality worklist gives it (PS3.4 K.6)."""
    step = Dataset()
    step.Modality = device.modality
    step.ScheduledStationAETitle = device.ae_title
    step.ScheduledProcedureStepStartDate = step.ScheduledProcedureStepStartTime = ""
    step.ScheduledProcedureStepDescription = step.ScheduledProcedureStepID = ""
    step.ScheduledPerformingPhysicianName = ""
    query = Dataset()
    query.SpecificCharacterSet = "ISO_IR 192"
    query.ScheduledProcedureStepSequence = Sequence([step])
    query.AccessionNumber = assignment.accession_number
    query.PatientName = query.PatientID = query.IssuerOfPatientID = ""
    query.PatientBirthDate = query.PatientSex = ""
    query.StudyInstanceUID = query.RequestedProcedureID = query.RequestedProcedureDescription = ""
    query.ReferringPhysicianName = query.RequestingPhysician = ""
    for attempt in range(ATTEMPTS):
        association = _associate(assignment, [(MODALITY_WORKLIST, [ExplicitVRLittleEndian])])
        found: Dataset | None = None
        try:
            for status, answer in association.send_c_find(query, MODALITY_WORKLIST):
                if answer is not None and status and status.Status in (0xFF00, 0xFF01):
                    found = answer
        finally:
            _release(association)
        if found is not None:
            return _as_typed(found)
        time.sleep(0.5 + attempt)
    raise DeviceFailed("the order is not on the worklist")


def _as_typed(found: Dataset) -> dict[str, str]:
    step = found.ScheduledProcedureStepSequence[0]
    return {
        "patient_id": str(found.PatientID),
        "patient_name": str(found.PatientName),
        "sex": str(found.PatientSex),
        "birth_date": str(found.PatientBirthDate),
        "study_instance_uid": str(found.StudyInstanceUID),
        "accession_number": str(found.AccessionNumber),
        "requested_procedure_id": str(found.get("RequestedProcedureID", "") or ""),
        "scheduled_step_id": str(step.get("ScheduledProcedureStepID", "") or ""),
        "description": str(step.get("ScheduledProcedureStepDescription", "") or ""),
        "referring_physician": str(found.get("ReferringPhysicianName", "") or ""),
    }


def _exam(assignment: Assignment, device: Device, item: dict[str, str]) -> Exam:
    zone = ZoneInfo(county.declaration()["center"]["timezone"])
    acquired_at = datetime.now(zone) - timedelta(days=assignment.days_ago)
    study = item.get("study_instance_uid") or derived_uid("demo", device.ae_title, str(assignment.seed))
    with_order = assignment.typed is None
    return Exam(
        study_instance_uid=study,
        patient_id=item["patient_id"],
        patient_name=item["patient_name"],
        sex=item["sex"],
        birth_date=item["birth_date"],
        issuer=device.institution,
        institution_name=device.institution_name,
        station_ae=device.ae_title,
        acquired_at=acquired_at,
        accession_number=item.get("accession_number", ""),
        study_id=item.get("accession_number", "")[-6:] or "1",
        description=assignment.description or item.get("description", ""),
        referring_physician=item.get("referring_physician", ""),
        operator="=" + county.person(device.institution, "technician")["name"],
        requested_procedure_id=item.get("requested_procedure_id", ""),
        scheduled_step_id=item.get("scheduled_step_id", ""),
        performed_step_uid=derived_uid(study, "mpps") if "mpps" in device.may and with_order else "",
        character_set=CHARACTER_SETS.get(device.institution, "GB18030"),
        seed=assignment.seed,
        findings=assignment.findings,
    )


# A step that a device had begun or completed before it was switched off: no such attribute to change.
SUCCESSES = {"send_n_create": (0x0000, 0x0111), "send_n_set": (0x0000, 0x0110)}


def _report(assignment: Assignment, message: str, step: Dataset, exam: Exam) -> None:
    """One MPPS message. Raises DeviceFailed."""
    association = _associate(assignment, [(MODALITY_PERFORMED_STEP, [ExplicitVRLittleEndian])])
    try:
        send = getattr(association, message)
        status, _ = send(step, MODALITY_PERFORMED_STEP, exam.performed_step_uid)
    finally:
        _release(association)
    if "Status" not in status or status.Status not in SUCCESSES[message]:
        raise DeviceFailed("the performed step was refused")


def _send_all(assignment: Assignment, instances: Iterator[Dataset]) -> Iterator[SentInstance]:
    """C-STORE each, on one association that is opened anew when it breaks. Raises DeviceFailed."""
    association: Association | None = None
    proposed: tuple[str, str] | None = None
    wanted = TRANSFER_SYNTAXES.get(assignment.device)
    try:
        for dataset in instances:
            if wanted is not None and dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian:
                _recode(dataset, wanted)
            syntax = dataset.file_meta.TransferSyntaxUID
            if association is not None and proposed != (dataset.SOPClassUID, syntax):
                _release(association)
                association = None
            proposed = (dataset.SOPClassUID, syntax)
            for attempt in range(ATTEMPTS):
                if association is not None and not association.is_established:
                    _release(association)
                    association = None
                if association is None:
                    association = _associate(assignment, [(dataset.SOPClassUID, [syntax])])
                status = association.send_c_store(dataset)
                if "Status" in status and status.Status in (0x0000, 0xB000, 0xB006, 0xB007):
                    break
                said = f"0x{status.Status:04X}" if "Status" in status else "nothing"
                if attempt == ATTEMPTS - 1:
                    raise DeviceFailed(f"C-STORE answered {said}")
                time.sleep(1 + 2 * attempt)
            yield performed_step.sent_instance(dataset)
    finally:
        if association is not None:
            _release(association)


def _recode(dataset: Dataset, syntax: Any) -> None:
    if syntax == ImplicitVRLittleEndian:
        dataset.file_meta.TransferSyntaxUID = syntax
    elif "PixelData" in dataset:
        identity = dataset.SOPInstanceUID
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.SOPInstanceUID = identity


def work(assignment: Assignment) -> Performed:
    """The whole life of a device's process."""
    try:
        return perform(assignment)
    except DeviceFailed as failure:
        return Performed(failed=str(failure))
