"""Every shared file, through each door: kept and given back byte for byte, or refused with a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pynetdicom import AE, build_context, build_role, evt
from sqlalchemy import select

from dicom_node.node import Node, build_node
from reading_portal.app import build_app
from storage.imaging import Instance, Series, Study
from tests.cast import password_of, settle_the_county
from tests.corpora import corpus
from tests.dicom_node.conftest import settings_for
from tests.dicom_node.test_query_retrieve import IMPLICIT, STUDY_FIND, STUDY_GET, query
from tests.dicom_node.test_storage_association import Peer, _request
from tests.fuzzing.conversations import store_request
from tests.pairs import SQLITE_AND_FOLDER, Pair, Pairs
from tests.peers.real_files import RealFile, meta_of, rounds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
DICOM = {"Accept": 'application/dicom; transfer-syntax="*"', "Content-Type": "application/dicom"}

KEPT, DAMAGED, ASIDE, NAMELESS, UNREADABLE = 0x0000, 0xB007, 0xB000, 0xA900, 0xC000
# Looked at one by one: what is not simply kept, by file, with the status and why that is right.
TABLE = (
    # No DICOM at all: text, XML, archives, pictures, native ECG, an empty file.
    ("*.tsv", UNREADABLE),
    ("README.md", UNREADABLE),
    ("ecg_other/*", UNREADABLE),
    ("hl7v2/*", UNREADABLE),
    ("not_dicom/*", UNREADABLE),
    ("dicomdir/*/README*", UNREADABLE),
    ("pydicom_test_files/*.icc", UNREADABLE),
    ("pydicom_test_files/*.dump", UNREADABLE),
    ("pydicom_test_files/*.json", UNREADABLE),
    ("malformed/dicom_parser__not_dcm.dcm", UNREADABLE),
    ("malformed/pydicom__zipMR.gz", UNREADABLE),
    # Cut off, or begun in the middle.
    ("malformed/pydicom__MR_truncated.dcm", UNREADABLE),
    ("malformed/pydicom__rtplan_truncated.dcm", UNREADABLE),
    ("malformed/pydicom__no_meta.dcm", UNREADABLE),
    ("malformed/dcm4che__no_preamble_dicm_in_data", UNREADABLE),
    ("dicomdir/*/DICOMDIR-nooffset", UNREADABLE),
    # A directory of a medium is no image, a worklist item neither.
    ("*DICOMDIR*", NAMELESS),
    ("ct_series/philips_dose_summary_S4010/DIRFILE", NAMELESS),
    ("worklist/*", NAMELESS),
    # Without a study (or a class) nobody could find it again; most are fragments made to test readers.
    ("charset/pydicom__chrSQEncoding*.dcm", NAMELESS),
    ("malformed/fo-dicom__GH487.dcm", NAMELESS),
    ("malformed/fo-dicom__GH220.dcm", NAMELESS),  # a vendor's private object beside the study
    ("malformed/fo-dicom__GH340.dcm", NAMELESS),  # ACR-NEMA 1.0, of 1997
    ("malformed/fo-dicom__multiframe.dcm", NAMELESS),
    ("malformed/orthanc-tests__Issue111.dcm", NAMELESS),
    ("malformed/orthanc-tests__Issue19[56].dcm", NAMELESS),
    ("malformed/nibabel__decimal_rescale.dcm", NAMELESS),
    ("malformed/pydicom__UN_sequence.dcm", NAMELESS),
    ("malformed/pydicom__empty_charset_LEI.dcm", NAMELESS),
    ("malformed/pydicom__meta_missing_tsyntax.dcm", NAMELESS),
    ("malformed/pydicom__nested_priv_SQ.dcm", NAMELESS),
    ("malformed/pydicom__no_meta_group_length.dcm", NAMELESS),
    ("pydicom_data/pydicom_data__bad_sequence.dcm", NAMELESS),  # its UIDs are hashes
    ("pydicom_test_files/pydicom__priv_SQ.dcm", NAMELESS),
    ("pydicom_test_files/pydicom__JPEGLSNearLossless_*.dcm", NAMELESS),
    ("pydicom_test_files/pydicom__SC_rgb_jls_lossy_*.dcm", NAMELESS),
    ("transfer_syntax/pydicom-data__HTJ2K*_08_RGB.dcm", NAMELESS),
    ("transfer_syntax/pydicom-data__JLS[LN]_*.dcm", NAMELESS),
    # Another patient under a study that is here already: kept aside for a person.
    ("malformed/orthanc-tests__Issue131-b.dcm", ASIDE),
    ("modality/orthanc-tests__Issue143.dcm", ASIDE),
    ("sr_pr_pdf_seg_rt/weasis-dicom-tools__prOverlay.dcm", ASIDE),
    # Kept, and the sender is told that the pixels are not all there, or not as agreed.
    ("charset/pydicom__chrJapMulti*.dcm", DAMAGED),
    ("charset/pydicom__chrKoreanMulti.dcm", DAMAGED),
    ("malformed/dicom_parser__1.dcm", DAMAGED),
    ("malformed/fo-dicom__GH1146.dcm", DAMAGED),
    ("malformed/fo-dicom__GH17[89]*.dcm", DAMAGED),
    ("malformed/orthanc-tests__2026-05-26-oob-monochrome-65535.dcm", DAMAGED),
    ("multiframe/orthanc-tests__Issue22-NoPixelData.dcm", DAMAGED),
    ("pydicom_data/pydicom_data__emri_small_jpeg_2k_lossless_too_short.dcm", DAMAGED),
    ("pydicom_test_files/pydicom__SC_rgb_jpeg.dcm", DAMAGED),
    ("sr_pr_pdf_seg_rt/orthanc-tests__CR000000.dcm", DAMAGED),
)
# A device needs no file to send an object from; by HTTP a file comes, and one it must be.
NO_FILE = (
    "malformed/fo-dicom__CR-MONO1-10-chest",
    "malformed/pydicom__ExplVR_*EndNoMeta.dcm",
    "pydicom_data/pydicom_data__OT-PAL-8-face.dcm",
    "pydicom_test_files/pydicom__rtstruct.dcm",
)

Bring = Callable[[RealFile], tuple[int, str]]


def expected(name: str) -> int:
    return next((status for pattern, status in TABLE if fnmatch(name, pattern)), KEPT)


@contextmanager
def a_node(pair: Pair, folder: Path) -> Iterator[Node]:
    settle_the_county(pair.database)
    # The classes of vendors too.
    node = build_node(settings_for(pair, folder, storage_sop_classes="*"), pair.database, pair.objects)
    node.start()
    try:
        yield node
    finally:
        node.stop()


def c_store(node: Node, file: RealFile, *, is_general: bool) -> tuple[int, str]:
    """Status and comment of the very bytes, on our own upper layer or on the general one."""
    contexts = {1: (file.sop_class_uid, [file.transfer_syntax_uid])}
    if is_general:
        contexts[3] = (STUDY_FIND, [IMPLICIT])
    peer = Peer(node, _request(contexts))
    try:
        words = (file.sop_class_uid, file.sop_instance_uid, file.dataset)
        peer.socket.sendall(store_request(1, *words, at_once=100_000))
        answer = peer.pdu()
        assert answer[:1] == b"\x04", f"{file.name}: {answer[:12]!r}"
        return int.from_bytes(_element(answer, 0x0900), "little"), _element(answer, 0x0902).decode().strip()
    finally:
        peer.socket.close()


def _element(answer: bytes, number: int) -> bytes:
    at = answer.find(b"\0\0" + number.to_bytes(2, "little"))
    return answer[at + 8 : at + 8 + int.from_bytes(answer[at + 4 : at + 8], "little")] if at > 0 else b""


def got(node: Node, files: list[RealFile]) -> dict[str, bytes]:
    """What C-GET gives of every study, each instance in the transfer syntax in which it came."""
    received: dict[str, bytes] = {}

    def take(event: Any) -> int:
        received[str(event.request.AffectedSOPInstanceUID)] = event.request.DataSet.getvalue()
        return 0

    entity = AE("T01_CT")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 60
    pairs = sorted({(STUDY_GET, IMPLICIT), *((one.sop_class_uid, one.transfer_syntax_uid) for one in files)})
    roles = [build_role(uid, scp_role=True) for uid in {one.sop_class_uid for one in files}]
    association = entity.associate(
        "127.0.0.1",
        node.port or 0,
        contexts=[build_context(sop_class_uid, [syntax]) for sop_class_uid, syntax in pairs],
        ae_title="READINGCENTER",
        ext_neg=roles,
        evt_handlers=[(evt.EVT_C_STORE, take)],
    )
    assert association.is_established
    with node.database.reading() as session:
        studies = list(session.scalars(select(Study.study_instance_uid)))
    for uid in studies:
        answers = [
            status for status, _ in association.send_c_get(query("STUDY", StudyInstanceUID=uid), STUDY_GET)
        ]
        assert answers[-1].Status == 0, uid
    association.release()
    return received


def fetched(client: TestClient, pair: Pair) -> dict[str, bytes]:
    """What WADO-RS gives of every instance, in whichever transfer syntax it is kept."""
    with pair.database.reading() as session:
        rows = session.execute(
            select(Study.study_instance_uid, Series.series_instance_uid, Instance.sop_instance_uid)
            .join(Series, Series.study_pk == Study.id)
            .join(Instance, Instance.series_pk == Series.id)
        ).all()
    found = {}
    for study, series, instance in rows:
        answer = client.get(f"/dicom-web/studies/{study}/series/{series}/instances/{instance}", headers=DICOM)
        assert answer.status_code == 200, (instance, answer.text[:200])
        found[instance] = answer.content[meta_of(answer.content)[1] :]
    return found


@contextmanager
def a_client(pair: Pair, folder: Path) -> Iterator[TestClient]:
    app = build_app(settings_for(pair, folder), pair.database, pair.objects)
    with TestClient(app, base_url="http://portal.example") as client:
        said = client.post("/api/sessions", json={"username": "his", "password": password_of("his")}).json()
        client.headers["authorization"] = f"Bearer {said['token']}"
        yield client


def stow(client: TestClient, file: RealFile) -> tuple[int, str]:
    """Failure reason (0 where there is none) and sentence of the file by STOW-RS."""
    answer = client.post("/dicom-web/studies", content=file.whole, headers=DICOM)
    assert answer.status_code in (200, 409), (file.name, answer.text[:200])
    told = answer.json()
    item = next((told[tag]["Value"][0] for tag in ("00081198", "0008119A") if tag in told), {})
    return item.get("00081197", {}).get("Value", [0])[0], item.get("00000902", {}).get("Value", [""])[0]


@pytest.mark.parametrize("is_general", [False, True], ids=["own upper layer", "general upper layer"])
def test_what_devices_send_is_kept_and_given_back_byte_for_byte_or_refused_with_a_reason(
    is_general: bool, pairs: Pairs, tmp_path: Path
) -> None:
    corpus("MANIFEST.tsv")
    said: dict[str, tuple[int, str]] = {}

    for number, files in enumerate(rounds()):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pairs.open(SQLITE_AND_FOLDER, folder) as pair, a_node(pair, folder) as node:
            answers = {file.name: c_store(node, file, is_general=is_general) for file in files}
            kept = [file for file in files if answers[file.name][0] in (KEPT, DAMAGED)]
            bytes_of = {file.sop_instance_uid: file.dataset for file in kept}

            assert got(node, kept) == bytes_of
            if not number and not is_general:  # by HTTP the others are given back below
                with a_client(pair, folder) as client:
                    assert fetched(client, pair) == bytes_of
            assert list(node.spool.iterdir()) == []
        said |= answers

    assert {name: status for name, (status, _) in said.items()} == {name: expected(name) for name in said}
    assert all(sentence and len(sentence) <= 64 for status, sentence in said.values() if status)


def test_files_that_come_by_http_are_kept_and_given_back_byte_for_byte_or_refused_with_a_reason(
    pairs: Pairs, tmp_path: Path
) -> None:
    corpus("MANIFEST.tsv")
    said: dict[str, tuple[int, str]] = {}

    for number, files in enumerate(rounds()):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pairs.open(SQLITE_AND_FOLDER, folder) as pair:
            settle_the_county(pair.database)
            with a_client(pair, folder) as client:
                answers = {file.name: stow(client, file) for file in files}
                kept = [file for file in files if not answers[file.name][0]]

                assert fetched(client, pair) == {file.sop_instance_uid: file.dataset for file in kept}
        said |= answers

    refused = {name for name, (reason, _) in said.items() if reason}
    no_file = {name for name in said if any(fnmatch(name, pattern) for pattern in NO_FILE)}
    assert refused == {name for name in said if expected(name) not in (KEPT, DAMAGED)} | no_file
    assert all(sentence and len(sentence) <= 64 for reason, sentence in said.values() if reason)
