"""DCMTK's tools against the node: what they send compressed, fetch in parts, and how they leave."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_node.node import Node, build_node
from tests.corpora import corpus
from tests.dicom_node.conftest import declare, settings_for
from tests.dicom_node.devices import a_ct, encoded
from tests.dicom_node.test_query_retrieve import keep
from tests.dicom_node.test_storage_user import large, slices_of_one_study
from tests.dicom_node.test_store import kept_bytes
from tests.pairs import NAMES, Pair
from tests.peers.real_files import meta_of
from tests.programs import needs, program
from tests.servers.centre import is_listening
from tests.servers.process import free_port, start, stop

pytestmark = needs("storescu", of="dcmtk")
on_each_pair = pytest.mark.parametrize("memory", NAMES, indirect=True)

# A file of each, and how `storescu` is told to propose it; `dcmsend` looks into the file.
COMPRESSED = {
    "JPEG": ("-xy", "pydicom_test_files/pydicom__SC_rgb_dcmtk_+eb+cy+np.dcm"),
    "JPEG of 12 bits": (
        "-xx",
        "multiframe/cornerstoneWADOImageLoader__CT0012.fragmented_no_bot_jpeg_baseline.51.dcm",
    ),
    "JPEG lossless": ("-xs", "modality/fo-dicom__GH184.dcm"),
    "JPEG-LS": ("-xt", "wsi/highdicom__sm_image_jpegls.dcm"),
    "JPEG-LS near-lossless": (
        "-xu",
        "transfer_syntax/cornerstone_ct_matrix/"
        "cornerstoneWADOImageLoader__CTImage.dcm_JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81.dcm",
    ),
    "JPEG 2000 lossless": ("-xv", "modality/fo-dicom__GH064.dcm"),
    "JPEG 2000": ("-xw", "modality/orthanc-tests__jp2k91YBR-ICT.dcm"),
    "RLE": ("-xr", "pydicom_data/pydicom_data__OBXXXX1A_rle.dcm"),
    "deflated": ("-xd", "pydicom_test_files/pydicom__image_dfl.dcm"),
}


def call(tool: str, port: int | None, *words: str | Path, calling: str = "T01_CT") -> tuple[int, str]:
    """Run one of DCMTK's tools; its exit status and everything that it said."""
    titles = ["-aet", calling, "-aec", "READINGCENTER"]
    command = [program(tool, of="dcmtk"), *titles, "127.0.0.1", str(port), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, errors="replace")
    return done.returncode, done.stdout + done.stderr


@contextmanager
def storescp(port: int, folder: Path) -> Iterator[Path]:
    """DCMTK's receiver, which takes everything and writes it bit by bit."""
    folder.mkdir()
    command = [program("storescp", of="dcmtk"), "+B", "+xa", "-od", folder, str(port)]
    process = start(command, log=folder.with_suffix(".log"), cwd=folder)
    eventually(lambda: is_listening(port))
    yield folder
    stop(process)


def eventually(is_so: Callable[[], bool], within: float = 30) -> None:
    until = time.monotonic() + within
    while not is_so():
        assert time.monotonic() < until, "it did not become so in time"
        time.sleep(0.02)


def datasets_in(folder: Path) -> dict[str, bytes]:
    """By SOP Instance UID, the bytes behind the meta information."""
    found = {}
    for path in folder.iterdir():
        meta = dcmread(path, stop_before_pixels=True, specific_tags=[]).file_meta
        whole = path.read_bytes()
        found[str(meta.MediaStorageSOPInstanceUID)] = whole[meta_of(whole)[1] :]
    return found


def sent_to_a_witness(folder: Path, tool: str, *words: str | Path) -> dict[str, bytes]:
    """What the tool puts on the line with these words, as DCMTK's own receiver writes it down."""
    port = free_port()
    with storescp(port, folder) as received:
        status, said = call(tool, port, *words)
        assert status == 0, said
        return datasets_in(received)


@pytest.mark.parametrize("kind", COMPRESSED)
def test_a_compressed_file_is_kept_as_storescu_sends_it(node: Node, tmp_path: Path, kind: str) -> None:
    option, name = COMPRESSED[kind]
    words = [option, "-R", corpus(*name.split("/"))]

    status, said = call("storescu", node.port, *words)

    assert status == 0, said
    ((uid, line),) = sent_to_a_witness(tmp_path / "witness", "storescu", *words).items()
    assert kept_bytes(node, uid) == line


@on_each_pair
def test_compressed_files_are_kept_as_dcmsend_sends_them(node: Node, tmp_path: Path) -> None:
    words = ["-dn", *(corpus(*name.split("/")) for _, name in COMPRESSED.values())]

    status, said = call("dcmsend", node.port, *words)

    assert status == 0, said
    line = sent_to_a_witness(tmp_path / "witness", "dcmsend", *words)
    assert len(line) == len(COMPRESSED)
    assert {uid: kept_bytes(node, uid) for uid in line} == line


def two_series(node: Node) -> list[Dataset]:
    """A study of two series with two images each, kept."""
    first, second = slices_of_one_study(2), slices_of_one_study(2)
    for one in second:
        one.StudyInstanceUID, one.SeriesNumber = first[0].StudyInstanceUID, 3
    keep(node, *first, *second)
    return [*first, *second]


def keys(level: str, dataset: Dataset) -> list[str]:
    """The words that ask for this one patient, study, series or image."""
    named = {
        "PATIENT": ["PatientID"],
        "STUDY": ["StudyInstanceUID"],
        "SERIES": ["StudyInstanceUID", "SeriesInstanceUID"],
        "IMAGE": ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"],
    }[level]
    asked = [f"QueryRetrieveLevel={level}", *(f"{one}={dataset.get(one)}" for one in named)]
    return [word for key in asked for word in ("-k", key)]


@on_each_pair
@pytest.mark.parametrize(("level", "which"), [("STUDY", [0, 1, 2, 3]), ("SERIES", [0, 1]), ("IMAGE", [1])])
@pytest.mark.parametrize("tool", ["movescu", "getscu"])
def test_a_study_a_series_or_an_image_is_fetched_alone(
    node: Node, receiver_port: int, tmp_path: Path, tool: str, level: str, which: list[int]
) -> None:
    kept = two_series(node)
    words = ["-S", *keys(level, kept[which[0]])]

    with storescp(receiver_port, tmp_path / "moved") as moved:
        (got := tmp_path / "got").mkdir()
        words += ["-aem", "T01_PACS"] if tool == "movescu" else ["+B", "-od", str(got)]
        status, said = call(tool, node.port, *words)

        assert status == 0, said
        received = datasets_in(moved if tool == "movescu" else got)
    assert received == {str(kept[at].SOPInstanceUID): encoded(kept[at]) for at in which}


@on_each_pair
def test_everything_of_a_patient_is_fetched_by_patient_root(
    node: Node, receiver_port: int, tmp_path: Path
) -> None:
    kept = [a_ct(PatientID="P7100"), a_ct(PatientID="P7100")]
    keep(node, *kept, a_ct(PatientID="P7101"))

    with storescp(receiver_port, tmp_path / "moved") as moved:
        status, said = call("movescu", node.port, "-P", "-aem", "T01_PACS", *keys("PATIENT", kept[0]))

        assert status == 0, said
        assert datasets_in(moved) == {str(one.SOPInstanceUID): encoded(one) for one in kept}


def test_findscu_which_negotiates_nothing_is_held_to_the_hierarchy(node: Node) -> None:
    kept = two_series(node)
    words = ["-v", "-S", *keys("STUDY", kept[0]), "-k"]

    _, of_this_level = call("findscu", node.port, *words, "StudyDescription=*MR*")
    _, of_one_below = call("findscu", node.port, *words, "SeriesNumber=99")

    # Relational queries are negotiated (PS3.4 C.5.1.1), and DCMTK 3.6.7 has no option for that.
    assert "Find Response: 1" not in of_this_level
    assert "Find Response: 1 (Pending" in of_one_below


def test_termscu_shuts_nothing_down(node: Node) -> None:
    status, said = call("termscu", node.port)

    assert status != 0
    assert "No Acceptable Presentation Contexts" in said
    assert call("echoscu", node.port)[0] == 0
    eventually(lambda: node.places.open == 0)


def test_termscu_shuts_nothing_down_where_every_private_class_is_taken(
    sqlite_pair: Pair, tmp_path: Path
) -> None:
    declare(sqlite_pair.database)
    settings = settings_for(sqlite_pair, tmp_path, storage_sop_classes="*")
    node = build_node(settings, sqlite_pair.database, sqlite_pair.objects)
    node.start()

    try:
        call("termscu", node.port)

        assert call("echoscu", node.port)[0] == 0
        eventually(lambda: node.places.open == 0)
    finally:
        node.stop()


@on_each_pair
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "terminated"])
def test_a_getscu_that_dies_half_way_harms_nobody(node: Node, tmp_path: Path, how: signal.Signals) -> None:
    first = large()
    rest = [large(StudyInstanceUID=first.StudyInstanceUID) for _ in range(5)]
    keep(node, first, *rest)
    (half := tmp_path / "half").mkdir()
    (whole := tmp_path / "whole").mkdir()
    titles = ["-aet", "T01_CT", "-aec", "READINGCENTER", "127.0.0.1", str(node.port)]
    words = ["-S", "+B", *keys("STUDY", first)]

    command = [program("getscu", of="dcmtk"), *titles, *words, "-od", half]
    dying = start(command, log=tmp_path / "getscu.log")
    eventually(lambda: bool(list(half.iterdir())))
    os.kill(dying.pid, how)
    dying.wait(10)
    eventually(lambda: node.places.open == 0)

    assert len(list(half.iterdir())) < 6
    status, said = call("getscu", node.port, *words, "-od", whole)
    assert status == 0, said
    assert datasets_in(whole) == {str(one.SOPInstanceUID): encoded(one) for one in (first, *rest)}
