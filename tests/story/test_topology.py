"""A county on several machines: two of each role behind one proxy; one of each may be lost."""

import ssl
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage, Verification  # type: ignore[attr-defined]

from storage import audit
from storage.uids import new_uid
from tests.builders import a_dataset
from tests.cast import password_of, settle_the_county
from tests.pairs import POSTGRESQL_AND_S3, Pair, Pairs
from tests.programs import needs
from tests.story.topology import Topology

pytestmark = [
    needs("haproxy", of="haproxy"),
    pytest.mark.slow,
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
def memory(pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pairs.open(POSTGRESQL_AND_S3, tmp_path_factory.mktemp("memory")) as pair:
        yield pair


@pytest.fixture(scope="module")
def county(memory: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    settle_the_county(memory.database)
    with Topology(memory, tmp_path_factory.mktemp("county")) as topology:
        topology.declare()
        yield topology


def signed_in(county: Topology, username: str) -> httpx.Client:
    """A program that acts for this person, through the proxy. Each call opens a connection of its own."""
    client = httpx.Client(
        base_url=county.https,
        verify=county.trust(),
        timeout=60,
        limits=httpx.Limits(max_keepalive_connections=0),
    )
    answer = client.post("/api/sessions", json={"username": username, "password": password_of(username)})
    assert answer.status_code == 201, answer.text
    client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
    return client


def ordered(technician: httpx.Client, patient_id: str) -> dict[str, Any]:
    answer = technician.post(
        "/api/orders",
        json={
            "institution": "T01",
            "patient": {"patient_id": patient_id, "name": "赵四海", "sex": "M", "birth_date": "1958-03-14"},
            "modality": "CT",
            "body_part": "CHEST",
            "clinical_information": "咳嗽两周",
        },
    )
    assert answer.status_code == 201, answer.text
    order: dict[str, Any] = answer.json()
    return order


def slices(order: dict[str, Any], patient_id: str, number: int) -> list[Dataset]:
    """A CT series of `number` slices for this order."""
    series = new_uid()
    made = []
    for index in range(number):
        dataset = a_dataset(
            study_instance_uid=order["study_instance_uid"],
            series_instance_uid=series,
            accession_number=order["accession_number"],
            patient_id=patient_id,
            patient_name="Zhao^Sihai=赵^四海",
            number=index + 1,
        )
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        made.append(dataset)
    return made


def sent(county: Topology, datasets: list[Dataset]) -> list[int]:
    """C-STORE over TLS through the proxy, one association for each; the statuses."""
    statuses = []
    for dataset in datasets:
        entity = AE("T01_CT")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
        entity.add_requested_context(CTImageStorage, dataset.file_meta.TransferSyntaxUID)
        association = entity.associate(
            "127.0.0.1", county.dicom_port, ae_title="READINGCENTER", tls_args=(county.trust(), "localhost")
        )
        assert association.is_established
        statuses.append(association.send_c_store(dataset).Status)
        association.release()
    return statuses


def eventually(question: Any, *, within: float = 60) -> Any:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(0.3)
    raise AssertionError(f"not within {within} s")


def task_for(reader: httpx.Client, order: dict[str, Any]) -> dict[str, Any] | None:
    tasks = reader.get("/api/reading-tasks").json()["items"]
    found = [task for task in tasks if task["accession_number"] == order["accession_number"]]
    return found[0] if found else None


def test_a_device_without_our_certificate_is_not_heard(county: Topology) -> None:
    anonymous = ssl.create_default_context(cafile=str(county.secrets / "dicom-authority.pem"))
    entity = AE("T01_CT")
    entity.add_requested_context(Verification)

    association = entity.associate(
        "127.0.0.1", county.dicom_port, ae_title="READINGCENTER", tls_args=(anonymous, "localhost")
    )

    assert not association.is_established


def test_the_journey_goes_through_whichever_machine_is_there(county: Topology, memory: Pair) -> None:
    # An order through one portal, its images through both nodes.
    technician, reader, other = (signed_in(county, name) for name in ("ma", "chen", "sun"))
    order = ordered(technician, "T7001")
    assert sent(county, slices(order, "T7001", 6)) == [0x0000] * 6

    # One of each machine is lost, without a word.
    for machines in (county.portals, county.nodes, county.workers):
        machines[0].kill()
    eventually(lambda: reader.get("/api/reading-tasks").status_code == 200)
    assert sent(county, slices(order, "T7001", 2)) == [0x0000] * 2

    # The worker that is left settles the study; a task opens, and one reader gets it.
    task = eventually(lambda: task_for(reader, order), within=90)
    claim = reader.post(f"/api/reading-tasks/{task['id']}/claim")
    assert claim.status_code == 200, claim.text
    refused = other.post(f"/api/reading-tasks/{task['id']}/claim")
    assert refused.status_code == 409
    assert refused.headers["content-type"] == "application/problem+json"

    # She writes and signs; the township has its report.
    fence = claim.json()["fence"]
    kept = reader.put(
        f"/api/reading-tasks/{task['id']}/report",
        json={
            "fence": fence,
            "findings": "双肺纹理清晰，未见实变。",
            "impression": "胸部CT平扫未见明显异常。",
        },
    )
    assert kept.status_code == 200, kept.text
    signed = reader.post(
        f"/api/reading-tasks/{task['id']}/sign", json={"fence": fence, "password": password_of("chen")}
    )
    assert signed.status_code == 200, signed.text
    report = signed.json()["report_id"]
    clinician = signed_in(county, "li")
    pdf = clinician.get(f"/api/reports/{report}/pdf")
    assert pdf.content.startswith(b"%PDF-")

    # The paper holds, every byte is there, and nobody wrote between the lines.
    paper = county.folder / "report.pdf"
    paper.write_bytes(pdf.content)
    assert county.run("verify-report", str(paper)).startswith("VALID")
    assert " 0 missing, 0 corrupt" in county.run("verify")
    with memory.database.reading() as session:
        assert list(audit.broken_links(session)) == []


def test_the_proxy_shows_neither_its_inside_nor_what_was_asked(county: Topology) -> None:
    stranger = httpx.Client(base_url=county.https, verify=county.trust())

    assert stranger.get("/metrics").status_code == 404
    assert stranger.get("/healthz?name=SECRET-NAME").status_code == 200

    assert "SECRET-NAME" not in county.proxy_said
    for portal in county.portals:
        assert "SECRET-NAME" not in portal.said


def test_the_portal_knows_the_caller_behind_the_proxy_and_believes_no_claim(
    county: Topology, memory: Pair
) -> None:
    forger = httpx.Client(
        base_url=county.https, verify=county.trust(), headers={"X-Forwarded-For": "203.0.113.9"}
    )

    forger.post("/api/sessions", json={"username": "zhou", "password": password_of("zhou")})

    with memory.database.reading() as session:
        sources = {event.source for event in audit.history(session, "person:zhou")}
    assert "203.0.113.9" not in sources
