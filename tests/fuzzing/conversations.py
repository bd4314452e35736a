"""What devices say on an association, PDU by PDU, to be harmed."""

from __future__ import annotations

import struct
from functools import cache

from pydicom.dataset import Dataset

from tests.builders import a_dataset, bytes_of
from tests.dicom_node.devices import a_ct, encoded

CT, ECG = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.9.1.1"
VERIFICATION = "1.2.840.10008.1.1"
STUDY_FIND, STUDY_MOVE, STUDY_GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
WORKLIST, STEP = "1.2.840.10008.5.1.4.31", "1.2.840.10008.3.1.2.3.3"
COMMITMENT = "1.2.840.10008.1.20.1"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
STORING = {1: CT, 3: VERIFICATION, 5: ECG}
CONTEXTS = STORING | {
    7: STUDY_FIND, 9: STUDY_MOVE, 11: STUDY_GET, 13: WORKLIST, 15: STEP, 17: COMMITMENT,
}  # fmt: skip
RELEASE = b"\x05\0\0\0\0\x04\0\0\0\0"


def request(contexts: dict[int, str], *, calling: str = "T01_CT", user: bytes = b"") -> bytes:
    """An A-ASSOCIATE-RQ of this device for these contexts."""
    items = _item(0x10, b"1.2.840.10008.3.1.1.1")
    for number, abstract in contexts.items():
        inner = (
            _item(0x30, abstract.encode()) + _item(0x40, EXPLICIT.encode()) + _item(0x40, IMPLICIT.encode())
        )
        items += _item(0x20, bytes([number, 0, 0, 0]) + inner)
    items += _item(
        0x50, _item(0x51, struct.pack(">L", 16384)) + _item(0x52, b"1.2.3") + _item(0x55, b"X") + user
    )
    titles = b"READINGCENTER".ljust(16) + calling.encode().ljust(16) + bytes(32)
    body = struct.pack(">HH", 1, 0) + titles + items
    return struct.pack(">BxL", 1, len(body)) + body


@cache
def requests() -> list[bytes]:
    role = _item(0x54, struct.pack(">H", len(CT)) + CT.encode() + b"\x01\x01")
    identity = _item(0x58, b"\x01\x01\0\x03abc\0\0")
    extended = _item(0x56, struct.pack(">H", len(STUDY_FIND)) + STUDY_FIND.encode() + b"\x01\x01\x01")
    return [
        request(STORING),
        request(STORING, calling="T02_CT"),
        request(CONTEXTS, user=role + extended),
        request(STORING, user=identity + _item(0x53, b"\0\x01\0\x01")),
    ]


@cache
def commands() -> list[bytes]:
    """A command set of each kind that we serve."""
    return [whole for whole, _, _ in _messages()]


@cache
def storing() -> list[bytes]:
    """What a device says that only stores: two images, an echo, and that it goes."""
    echo = _pdata(3, 3, command(VERIFICATION, 0x0030))
    return [
        store_request(1, CT, "1.2.3.4", ct("1.2.3.4")) + RELEASE,
        echo + store_request(1, CT, "1.2.3.5", ct("1.2.3.5"), at_once=100) + echo + RELEASE,
        # Cut off: its pixels would only make the run longer.
        store_request(5, ECG, "1.2.3.6", picture("ECG", "1.2.3.6")[:9000], at_once=900) + RELEASE,
    ]


@cache
def asking() -> list[bytes]:
    """Each message of the other services, on its context."""
    spoken = []
    for whole, context_id, dataset in _messages():
        spoken.append(
            _pdata(context_id, 3, whole) + (_pdata(context_id, 2, dataset) if dataset else b"") + RELEASE
        )
    return spoken


def ct(uid: str) -> bytes:
    """A small CT slice; nothing in it changes from run to run."""
    return encoded(a_ct(SOPInstanceUID=uid, StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.1"))


def picture(modality: str, uid: str) -> bytes:
    """A real picture or ECG, always the same."""
    dataset = a_dataset(modality=modality, study_instance_uid="1.2.3", series_instance_uid="1.2.3.2")
    dataset.SOPInstanceUID, dataset.StudyDate = uid, "20261122"
    return bytes_of(dataset)


def store_request(context_id: int, sop_class: str, uid: str, dataset: bytes, *, at_once: int = 4000) -> bytes:
    """C-STORE-RQ and its dataset in fragments of `at_once` bytes."""
    pieces = [dataset[at : at + at_once] for at in range(0, len(dataset), at_once)] or [b""]
    spoken = _pdata(context_id, 3, command(sop_class, 0x0001, instance=uid))
    for number, piece in enumerate(pieces, start=1):
        spoken += _pdata(context_id, 2 if number == len(pieces) else 0, piece)
    return spoken


def command(sop_class: str, field: int, *, instance: str = "", more: bytes = b"") -> bytes:
    elements = _element(0x0002, sop_class.encode()) + _element(0x0100, struct.pack("<H", field))
    elements += _element(0x0110, struct.pack("<H", 7)) + more
    elements += _element(0x0700, struct.pack("<H", 2))
    elements += _element(0x0800, struct.pack("<H", 0x0101 if field == 0x0030 else 0))
    if instance:
        elements += _element(0x1000, instance.encode())
    return _element(0, struct.pack("<L", len(elements))) + elements


def _messages() -> list[tuple[bytes, int, bytes]]:
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID, query.PatientName = "STUDY", "1.2.3", "张*"
    query.SpecificCharacterSet, query.StudyDate, query.ModalitiesInStudy = "GB18030", "20200101-", "CT"
    asked = _written(query)
    step = Dataset()
    step.PerformedProcedureStepStatus, step.PerformedProcedureStepID = "IN PROGRESS", "1"
    step.PerformedProcedureStepStartDate, step.PerformedProcedureStepStartTime = "20261122", "081500"
    step.Modality, step.PerformedStationAETitle = "CT", "T01_CT"
    scheduled = Dataset()
    scheduled.StudyInstanceUID, scheduled.AccessionNumber = "1.2.3", "A1"
    step.ScheduledStepAttributesSequence, step.PerformedSeriesSequence = [scheduled], []
    commit = Dataset()
    commit.TransactionUID = "1.2.3.9"
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CT, "1.2.3.4"
    commit.ReferencedSOPSequence = [reference]
    item = Dataset()
    item.Modality = item.ScheduledProcedureStepStartDate = ""
    worklist = Dataset()
    worklist.PatientName, worklist.ScheduledProcedureStepSequence = "", [item]
    action = _element(0x0003, COMMITMENT.encode()) + _element(0x1001, b"1.2.840.10008.1.20.1.1")
    action += _element(0x1008, b"\x01\0")
    return [
        (command(VERIFICATION, 0x0030), 3, b""),
        (command(CT, 0x0001, instance="1.2.3.4"), 1, ct("1.2.3.4")),
        (command(STUDY_FIND, 0x0020), 7, asked),
        (command(STUDY_MOVE, 0x0021, more=_element(0x0600, b"T01_PACS")), 9, asked),
        (command(STUDY_GET, 0x0010), 11, asked),
        (command(WORKLIST, 0x0020), 13, _written(worklist)),
        (command(STEP, 0x0140, instance="1.2.3.7"), 15, _written(step)),
        (command(STEP, 0x0120, more=_element(0x1001, b"1.2.3.7")), 15, _written(step)),
        (command(COMMITMENT, 0x0130, more=action), 17, _written(commit)),
        (command(CT, 0x8001, instance="1.2.3.4"), 1, b""),
        (
            _element(0, struct.pack("<L", 20)) + _element(0x0100, b"\xff\x0f") + _element(0x0120, b"\x07\0"),
            7,
            b"",
        ),
    ]


def _written(dataset: Dataset) -> bytes:
    return bytes_of(dataset)


def _pdata(context_id: int, control: int, piece: bytes) -> bytes:
    value = struct.pack(">LBB", len(piece) + 2, context_id, control) + piece
    return struct.pack(">BxL", 4, len(value)) + value


def _element(number: int, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHL", 0, number, len(value)) + value


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value
