"""Devices as the townships have them: DCMTK's tools and pynetdicom as peers, and objects to send."""

import io
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA

from dicom_node.gate import Gate
from dicom_node.node import Node
from tests.programs import program

CT = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"


def dcmtk(
    tool: str,
    *words: str,
    calling: str = "T01_CT",
    node: Node,
    called: str = "READINGCENTER",
    cwd: Any = None,
):
    """Run one of DCMTK's tools against the node; its exit status and everything that it said."""
    command = [
        program(tool, of="dcmtk"),
        "-aet",
        calling,
        "-aec",
        called,
        "127.0.0.1",
        str(node.port),
        *words,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd, errors="replace")
    return done.returncode, done.stdout + done.stderr


def a_ct(**changes: Any) -> Dataset:
    """A small CT slice of a Chinese patient; None takes an attribute away."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "GB18030"
    dataset.SOPClassUID = CT
    dataset.SOPInstanceUID = generate_uid(prefix=None)
    dataset.StudyInstanceUID = generate_uid(prefix=None)
    dataset.SeriesInstanceUID = generate_uid(prefix=None)
    dataset.PatientID, dataset.PatientName = "P001", "ZHANG^SAN=张^三"
    dataset.PatientBirthDate, dataset.PatientSex = "19600229", "M"
    dataset.StudyDate, dataset.StudyTime = "20261122", "081500"
    dataset.AccessionNumber, dataset.Modality = "A100", "CT"
    dataset.StudyDescription = "胸部CT平扫"
    dataset.SeriesNumber, dataset.InstanceNumber = 2, 1
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 16, 16, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = np.arange(256, dtype="<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def encoded(dataset: Dataset) -> bytes:
    """The dataset in explicit little endian, without preamble and meta information."""
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    write_dataset(file, dataset)
    return bytes(file.getvalue())


def part_10(dataset: Dataset, path: Path) -> Path:
    """Write the dataset as a file for the tools that send files."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        dataset.SOPClassUID,
        dataset.SOPInstanceUID,
    )
    dataset.file_meta = meta
    dataset.save_as(path, enforce_file_format=True)
    return path


@contextmanager
def associated(
    node: Node,
    *contexts: tuple[str, list[str]],
    calling: str = "T01_CT",
    called: str = "READINGCENTER",
    **more: Any,
) -> Iterator[Association]:
    """An association of a device with the node; released when the block ends."""
    entity = AE(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 15
    for abstract, syntaxes in contexts:
        entity.add_requested_context(abstract, syntaxes)
    association = entity.associate("127.0.0.1", node.port or 0, ae_title=called, **more)
    connection = association.dul.socket.socket if association.dul.socket else None
    try:
        yield association
    finally:
        if association.is_established:
            association.release()
        # pynetdicom forgets to close a connection that its peer has reset.
        if connection is not None:
            connection.close()


def send(
    association: Association, raw: bytes, *, sop_instance_uid: str, sop_class_uid: str = CT
) -> tuple[int, str]:
    """C-STORE these very bytes; the status and comment of the answer."""
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = sop_class_uid, sop_instance_uid
    request.DataSet = io.BytesIO(raw)
    context = association.accepted_contexts[0]
    if not isinstance(association._reactor_checkpoint, Gate):
        association._reactor_checkpoint = Gate()
    gate = association._reactor_checkpoint
    gate.clear()
    for _ in range(1000):
        # Until pynetdicom's own thread stands still, or it takes the answer that we wait for.
        if gate.has_somebody:
            break
        time.sleep(0.001)
    association.dimse.send_msg(request, context.context_id)
    if not raw:
        # pynetdicom announces a dataset and then sends none.
        nothing = P_DATA()
        nothing.presentation_data_value_list.append([context.context_id, b"\x02"])
        association.dul.send_pdu(nothing)
    _, answer = association.dimse.get_msg(block=True)
    gate.set()
    return int(answer.Status), str(answer.ErrorComment or "")
