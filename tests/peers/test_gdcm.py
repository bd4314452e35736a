"""GDCM's `gdcmscu` against the node: it echoes, stores, asks, and has images moved to itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from dicom_node.node import Node
from tests.corpora import corpus
from tests.dicom_node.devices import CT, a_ct, associated, send
from tests.dicom_node.test_query_retrieve import IMPLICIT, keep
from tests.dicom_node.test_store import kept_bytes
from tests.pairs import NAMES
from tests.peers.real_files import meta_of
from tests.peers.test_dcmtk import COMPRESSED
from tests.programs import program

pytestmark = pytest.mark.parametrize("memory", NAMES, indirect=True)

SUCCESS, PENDING = "(0000,0900) ?? (US) 0 ", "(0000,0900) ?? (US) 65280"


def gdcmscu(node: Node, *words: str | Path, calling: str = "T01_CT") -> str:
    """What it says of the messages that it hears.

    Debian's 3.0.21 throws at every A-RELEASE-RP, whoever its peer is, and prints no answers then: what it was
    told before counts.
    """
    titles = ["--aetitle", calling, "--call", "READINGCENTER", "-H", "127.0.0.1", "-p", str(node.port)]
    command = [program("gdcmscu", of="libgdcm-tools"), *titles, "-D", *map(str, words)]
    done = subprocess.run(command, capture_output=True, timeout=60)
    return (done.stdout + done.stderr).decode(errors="replace")


def test_it_is_answered_when_it_echoes(node: Node) -> None:
    assert SUCCESS in gdcmscu(node, "--echo")


# That near-lossless file says OW of its encapsulated pixels; GDCM corrects it to OB before it sends.
@pytest.mark.parametrize("kind", sorted(COMPRESSED.keys() - {"JPEG-LS near-lossless"}))
def test_a_compressed_file_is_kept_byte_for_byte(node: Node, kind: str) -> None:
    file = corpus(*COMPRESSED[kind][1].split("/"))

    said = gdcmscu(node, "--store", "-i", file)

    assert SUCCESS in said
    whole = file.read_bytes()
    assert kept_bytes(node, str(dcmread(file).SOPInstanceUID)) == whole[meta_of(whole)[1] :]


@pytest.mark.parametrize(("model", "level"), [("--patientroot", "--patient"), ("--studyroot", "--study")])
def test_it_is_told_what_it_asks_for(node: Node, model: str, level: str) -> None:
    patient_id = f"P72{level}"
    keep(node, a_ct(PatientID=patient_id), a_ct(PatientID=f"{patient_id}9"))
    key = "10,20=" + patient_id

    said = gdcmscu(node, "--find", model, level, "--key", f"{key}*", "--key", "10,10=")
    of_one = gdcmscu(node, "--find", model, level, "--key", key, "--key", "10,10=")

    # Each command set is printed twice.
    assert (said.count(PENDING), of_one.count(PENDING)) == (4, 2)
    assert "C-Find was successful" in said


def test_an_image_is_moved_to_it(node: Node, receiver_port: int, tmp_path: Path) -> None:
    dataset = a_ct()
    keep_implicit(node, dataset)

    # Its receiver reads every dataset as implicit, also where it has accepted explicit: so it was sent to us.
    words = ["--studyroot", "--study", "--key", f"20,d={dataset.StudyInstanceUID}", "-o", tmp_path]
    said = gdcmscu(node, "--move", *words, "--port-scp", str(receiver_port), calling="T01_PACS")

    assert "Number of Completed Sub-operations" in said
    (file,) = tmp_path.glob("*.dcm")
    assert implicit(dataset) in file.read_bytes()


def keep_implicit(node: Node, dataset: Dataset) -> None:
    with associated(node, (CT, [IMPLICIT])) as association:
        assert send(association, implicit(dataset), sop_instance_uid=dataset.SOPInstanceUID) == (0, "")


def implicit(dataset: Dataset) -> bytes:
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, True
    write_dataset(file, dataset)
    return bytes(file.getvalue())
