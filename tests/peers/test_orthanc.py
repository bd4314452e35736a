"""Orthanc, as townships have it, against a whole centre: DICOM both ways, commitment, and DICOMweb."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import select

from center.declaration import apply
from dicom_node.commitment import GRACE, JOB
from storage.database import Database, utc_now
from storage.jobs import Job, JobState
from storage.objects import ObjectStore
from tests.cast import password_of, settle_the_county
from tests.corpora import corpus
from tests.dicom_node.devices import CT, a_ct, encoded, part_10
from tests.dicom_node.test_query_retrieve import keep
from tests.dicom_node.test_storage_user import slices_of_one_study
from tests.dicom_node.test_store import kept_bytes
from tests.dicom_node.test_worklist_and_steps import place
from tests.pairs import NAMES, Pair
from tests.peers.orthanc import Orthanc
from tests.peers.real_files import meta_of
from tests.peers.test_dcmtk import COMPRESSED, call
from tests.servers.centre import AllInOne
from worklist.orders import NewPatient

pytestmark = pytest.mark.parametrize("memory", NAMES, indirect=True)

ARCHIVE = """
[[devices]]
ae_title = "T01_PACS"
institution = "T01"
host = "127.0.0.1"
port = {port}
"""


@dataclass(frozen=True)
class Centre:
    """All roles, running; and what they keep."""

    port: int
    url: str
    database: Database
    objects: ObjectStore


@pytest.fixture(scope="module")
def centre(memory: Pair, receiver_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    settle_the_county(memory.database)
    apply(memory.database, ARCHIVE.format(port=receiver_port))
    with AllInOne(data=tmp_path_factory.mktemp("centre"), environment=memory.environment) as running:
        yield Centre(running.dicom_port, running.url, memory.database, memory.objects)


@pytest.fixture(scope="module")
def orthanc(
    centre: Centre, receiver_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Orthanc]:
    words = {"username": "his", "password": password_of("his")}
    token = httpx.post(f"{centre.url}/api/sessions", json=words).raise_for_status().json()["token"]
    folder = tmp_path_factory.mktemp("orthanc")
    with Orthanc(
        folder, dicom_port=receiver_port, centre_port=centre.port, portal=centre.url, token=token
    ) as running:
        yield running


def added(orthanc: Orthanc, tmp_path: Path, *datasets: Dataset) -> list[str]:
    """Orthanc's identifiers of these images, which it has now."""
    return [orthanc.add(part_10(one, tmp_path / "ct.dcm").read_bytes()) for one in datasets]


def dataset_in(orthanc: Orthanc, dataset: Dataset) -> bytes:
    """The bytes that Orthanc holds of it, behind the meta information."""
    (identifier,) = orthanc.holds(dataset.SOPInstanceUID)
    whole = orthanc.file(identifier)
    return whole[meta_of(whole)[1] :]


def eventually(question: Callable[[], Any], within: float = 30) -> Any:
    until = time.monotonic() + within
    while not (answer := question()):
        assert time.monotonic() < until, "it did not become so in time"
        time.sleep(0.1)
    return answer


def test_it_is_answered_when_it_echoes(orthanc: Orthanc) -> None:
    orthanc.echo()


def test_what_it_sends_is_kept(centre: Centre, orthanc: Orthanc, tmp_path: Path) -> None:
    slices = slices_of_one_study(3)
    identifiers = added(orthanc, tmp_path, *slices)

    said = orthanc.send(*identifiers)

    assert (said["InstancesCount"], said["FailedInstancesCount"]) == (3, 0)
    for one in slices:
        assert kept_bytes(centre, one.SOPInstanceUID) == dataset_in(orthanc, one)


@pytest.mark.parametrize("level", ["Study", "Series", "Instance"])
def test_it_finds_by_chinese_characters_and_fetches_by_c_move(
    centre: Centre, orthanc: Orthanc, level: str
) -> None:
    dataset = a_ct(PatientID=f"P7001{level}", PatientName="OUYANG^XIU=欧阳^修")
    keep(centre, dataset)
    keys = {"StudyInstanceUID": "", "PatientName": "*欧阳*", "PatientID": dataset.PatientID}
    if level != "Study":
        keys |= {"StudyInstanceUID": dataset.StudyInstanceUID, "SeriesInstanceUID": dataset.SeriesInstanceUID}
    if level == "Instance":
        keys |= {"SOPInstanceUID": ""}

    query, answers = orthanc.find(level, **keys)
    orthanc.retrieve(query)

    assert [one["StudyInstanceUID"] for one in answers] == [dataset.StudyInstanceUID]
    assert "欧阳" in answers[0]["PatientName"]
    assert dataset_in(orthanc, dataset) == encoded(dataset)


def test_it_reads_our_worklist(centre: Centre, orthanc: Orthanc) -> None:
    patient = NewPatient(patient_id="P7004", name="辛弃疾", sex="M", birth_date=date(1960, 2, 29))
    accession_number, _ = place(centre, patient=patient)

    items = orthanc.worklist(
        PatientName="*辛*", AccessionNumber="", ScheduledProcedureStepSequence=[{"Modality": "CT"}]
    )

    (item,) = [one for one in items if one["AccessionNumber"] == accession_number]
    assert "辛弃疾" in item["PatientName"]
    assert item["ScheduledProcedureStepSequence"][0]["Modality"] == "CT"


@pytest.mark.parametrize("kind", COMPRESSED)
def test_a_compressed_image_comes_to_it_as_it_is_kept(centre: Centre, orthanc: Orthanc, kind: str) -> None:
    file = corpus(*COMPRESSED[kind][1].split("/"))
    said = dcmread(file, stop_before_pixels=True)
    call("dcmsend", centre.port, "-dn", file)
    kept = kept_bytes(centre, said.SOPInstanceUID)

    query, _ = orthanc.find("Study", StudyInstanceUID=said.StudyInstanceUID)
    orthanc.retrieve(query)
    moved = dataset_in(orthanc, said)
    orthanc.forget(said.SOPInstanceUID)
    orthanc.wado(said.StudyInstanceUID)

    # What comes by DICOM Orthanc deflates anew; what comes by HTTP it leaves as it is.
    assert moved == kept if kind != "deflated" else inflated(moved) == inflated(kept)
    assert dataset_in(orthanc, said) == kept


def inflated(dataset: bytes) -> bytes:
    return zlib.decompress(dataset, -zlib.MAX_WBITS)


def test_a_whole_study_comes_by_c_move(centre: Centre, orthanc: Orthanc) -> None:
    slices = slices_of_one_study(20, PatientID="P7002")
    keep(centre, *slices)

    query, _ = orthanc.find("Study", PatientID="P7002", StudyInstanceUID="")
    orthanc.retrieve(query)

    for one in slices:
        assert dataset_in(orthanc, one) == encoded(one)


def test_it_hears_that_we_commit_to_what_it_sent(centre: Centre, orthanc: Orthanc, tmp_path: Path) -> None:
    dataset = a_ct()
    orthanc.send(*added(orthanc, tmp_path, dataset))

    path = orthanc.ask_commitment((CT, dataset.SOPInstanceUID))

    # It releases at once; the worker calls it back.
    report = eventually(lambda: reported(orthanc, path))
    assert report["Status"] == "Success"
    assert [one["SOPInstanceUID"] for one in report["Success"]] == [dataset.SOPInstanceUID]
    assert report["Failures"] == []


def test_it_hears_what_never_arrived_once_that_can_no_longer_be_on_its_way(
    centre: Centre, orthanc: Orthanc, tmp_path: Path
) -> None:
    dataset = a_ct()
    orthanc.send(*added(orthanc, tmp_path, dataset))

    path = orthanc.ask_commitment((CT, dataset.SOPInstanceUID), (CT, "1.2.3.4.5"))
    time.sleep(3)
    at_first = orthanc.commitment(path)
    report = eventually(lambda: a_minute_later(centre) and reported(orthanc, path))

    assert at_first["Status"] == "Pending"
    assert report["Status"] == "Failure"
    assert [one["SOPInstanceUID"] for one in report["Success"]] == [dataset.SOPInstanceUID]
    ((uid, reason),) = [(one["SOPInstanceUID"], one["FailureReason"]) for one in report["Failures"]]
    assert (uid, reason) == ("1.2.3.4.5", 0x0112)


def a_minute_later(centre: Centre) -> bool:
    """What was promised a moment ago was promised a minute ago, and is tried again now."""
    with centre.database.transaction() as session:
        waiting = select(Job).where(Job.kind == JOB, Job.state == JobState.READY)
        for job in session.scalars(waiting):
            job.created_at, job.due_at = job.created_at - GRACE, utc_now()
    return True


def reported(orthanc: Orthanc, path: str) -> Any:
    report = orthanc.commitment(path)
    return report if report["Status"] != "Pending" else None


def test_what_it_sends_with_storage_commitment_is_committed_to(
    centre: Centre, orthanc: Orthanc, tmp_path: Path
) -> None:
    identifiers = added(orthanc, tmp_path, *slices_of_one_study(3))

    said = orthanc.send(*identifiers, StorageCommitment=True)

    path = f"/storage-commitment/{said['StorageCommitmentTransactionUID']}"
    report = eventually(lambda: reported(orthanc, path))
    assert (report["Status"], len(report["Success"])) == ("Success", 3)


def test_it_finds_by_qido(centre: Centre, orthanc: Orthanc) -> None:
    dataset = a_ct(PatientID="P7003", PatientName="SU^SHI=苏^轼")
    keep(centre, dataset)

    studies = orthanc.qido("/studies", PatientID="P7003")
    by_name = orthanc.qido("/studies", PatientName="*苏*")
    series = orthanc.qido("/series", StudyInstanceUID=dataset.StudyInstanceUID)

    assert [one["0020000D"]["Value"] for one in studies] == [dataset.StudyInstanceUID]
    assert [one["00100020"]["Value"] for one in by_name] == ["P7003"]
    assert [one["0020000E"]["Value"] for one in series] == [dataset.SeriesInstanceUID]


def test_it_fetches_by_wado(centre: Centre, orthanc: Orthanc) -> None:
    slices = slices_of_one_study(5)
    keep(centre, *slices)

    orthanc.wado(slices[0].StudyInstanceUID)

    for one in slices:
        assert dataset_in(orthanc, one) == encoded(one)


def test_what_it_sends_by_stow_is_kept(centre: Centre, orthanc: Orthanc, tmp_path: Path) -> None:
    slices = slices_of_one_study(5)

    orthanc.stow(*added(orthanc, tmp_path, *slices))

    for one in slices:
        assert kept_bytes(centre, one.SOPInstanceUID) == dataset_in(orthanc, one)
