"""What the centre makes comes back from everywhere, and never is a new image of its study."""

from __future__ import annotations

import io
import json
import subprocess
import time
from datetime import timedelta

import httpx
import pytest
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from sqlalchemy import select

from dicom_node.deliveries import handlers
from dicom_node.node import build_node
from dicom_node.outgoing import PeerUnreachable
from storage.database import utc_now
from storage.imaging import ArrivalState, Instance, Origin, QuarantinedInstance, Study
from storage.institutions import ApplicationEntity, Institution
from storage.jobs import Job
from tests.builders import an_exam
from tests.cast import settle_the_county
from tests.dicom_node.conftest import EVERYTHING, settings_for
from tests.dicom_node.devices import associated, send
from tests.programs import program
from tests.servers.process import free_port
from tests.signing import sign
from worklist.arrivals import settle_studies, weigh_lists
from worklist.commitment_lists import note_commitment
from worklist.issuing import _manifest
from worklist.reading_tasks import TaskState, task_of
from worklist.shortfalls import shortfalls

QUIET = timedelta(seconds=20)


@pytest.fixture
def signed(sqlite_pair, tmp_path):
    """A study whose report has been signed and archived, and a node that its township's archive can reach."""
    settle_the_county(sqlite_pair.database)
    with sqlite_pair.database.transaction() as session:
        session.get(Institution, "T01").reports_to = "T01_PACS"
        session.add(
            ApplicationEntity(
                ae_title="T01_PACS",
                institution_code="T01",
                modality=None,
                host="127.0.0.1",
                port=free_port(),
                may=EVERYTHING,
            )
        )
    settings = settings_for(sqlite_pair, tmp_path)
    node = build_node(settings, sqlite_pair.database, sqlite_pair.objects)
    node.start()
    exam = an_exam(sqlite_pair.database, sqlite_pair.objects)
    sign(sqlite_pair.database, sqlite_pair.objects, exam.task_id, "chen")
    try:
        yield node, exam
    finally:
        node.stop()


def archive(node) -> None:
    with node.database.reading() as session:
        job = session.scalar(select(Job).where(Job.kind == "archive-report"))
        session.expunge_all()
    handlers(node.database, node.objects, node.settings)["archive-report"](job)


def made(node) -> list:
    """The objects of the report, as anybody holds them."""
    with node.database.reading() as session:
        keys = session.scalars(select(Instance.object_key).where(Instance.origin == Origin.MADE)).all()
    return [dcmread(io.BytesIO(node.objects.get(key))) for key in keys]


def in_syntax(dataset, syntax) -> bytes:
    """The dataset as another system encodes it: what it decoded, written anew."""
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, syntax == ImplicitVRLittleEndian
    dataset.walk(lambda _, element: element.value)
    write_dataset(file, dataset)
    return bytes(file.getvalue())


def standing(node, exam) -> tuple:
    """Everything that a late image would change."""
    with node.database.transaction() as session:
        weigh_lists(session, now=utc_now())
        settle_studies(session, now=utc_now() + QUIET * 20, quiet=QUIET)
    with node.database.reading() as session:
        study = session.scalar(select(Study).where(Study.study_instance_uid == exam.study_instance_uid))
        task = task_of(session, study)
        return (
            study.arrival_state,
            study.version,
            study.number_of_instances,
            study.missing_instances,
            _manifest(session, study),
            (task.state, task.purpose),
            len(shortfalls(session, now=utc_now() + timedelta(hours=1))),
            len(session.scalars(select(QuarantinedInstance)).all()),
        )


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_report_that_the_township_s_archive_sends_back_is_nothing_new(signed, syntax):
    node, exam = signed
    archive(node)
    before = standing(node, exam)

    for dataset in made(node):
        sop_class_uid, uid = str(dataset.SOPClassUID), str(dataset.SOPInstanceUID)
        raw = in_syntax(dataset, syntax)
        with associated(node, (sop_class_uid, [syntax]), calling="T01_PACS") as association:
            status, _ = send(association, raw, sop_instance_uid=uid, sop_class_uid=sop_class_uid)
        assert status == 0x0000

    assert before[0] == ArrivalState.SETTLED
    assert before[5] == (TaskState.COMPLETED, "read")
    assert standing(node, exam) == before


def test_a_report_is_known_as_ours_before_anybody_can_send_it_back(signed):
    node, exam = signed
    with node.database.reading() as session:
        job = session.scalar(select(Job).where(Job.kind == "deliver-report"))
        session.expunge_all()

    # The archive is away; but before it is called the report's objects are kept.
    with pytest.raises(PeerUnreachable):
        handlers(node.database, node.objects, node.settings)["deliver-report"](job)

    assert {one.Modality for one in made(node)} == {"DOC", "SR"}
    assert standing(node, exam)[0] == ArrivalState.SETTLED


def test_a_forged_report_under_the_name_of_ours_is_kept_aside_and_changes_nothing(signed):
    node, exam = signed
    archive(node)
    before = standing(node, exam)
    (report,) = (one for one in made(node) if one.Modality == "SR")
    report.SeriesDescription = "forged"

    with associated(
        node, (str(report.SOPClassUID), [ExplicitVRLittleEndian]), calling="T01_PACS"
    ) as association:
        status = association.send_c_store(report).Status

    after = standing(node, exam)
    assert status == 0xB000
    assert (after[:-1], after[-1]) == (before[:-1], 1)


def test_a_commitment_that_names_our_report_lacks_nothing(signed):
    node, exam = signed
    archive(node)
    before = standing(node, exam)
    uids = [*exam.sop_instance_uids, *(str(one.SOPInstanceUID) for one in made(node))]

    with node.database.transaction() as session:
        entity = session.scalar(select(ApplicationEntity).where(ApplicationEntity.ae_title == "T01_PACS"))
        note_commitment(session, "T01_PACS:1.2.3", uids, entity=entity, now=utc_now())

    assert standing(node, exam) == before


@pytest.fixture
def orthanc(tmp_path, signed):
    """An Orthanc that is Qingshi's archive and sends to the node."""
    binary = program("Orthanc", of="orthanc")
    node, _ = signed
    dicom, http = free_port(), free_port()
    words = {
        "Name": "T01", "DicomAet": "T01_PACS", "DicomPort": dicom, "HttpPort": http,
        "DicomCheckCalledAet": False, "DicomAlwaysAllowStore": True, "RemoteAccessAllowed": True,
        "AuthenticationEnabled": False, "StorageDirectory": str(tmp_path / "orthanc"),
        "IndexDirectory": str(tmp_path / "orthanc"), "Plugins": [],
        "DicomModalities": {"centre": [node.settings.ae_title, "127.0.0.1", node.port]},
    }  # fmt: skip
    configuration = tmp_path / "orthanc.json"
    configuration.write_text(json.dumps(words))
    with subprocess.Popen(
        [binary, str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        client = httpx.Client(base_url=f"http://127.0.0.1:{http}", timeout=30)
        until = time.monotonic() + 40
        while time.monotonic() < until:
            try:
                client.get("/system").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.2)
        yield client, dicom
        client.close()
        process.terminate()


def test_a_report_that_orthanc_sends_on_is_nothing_new(signed, orthanc):
    node, exam = signed
    client, dicom = orthanc
    with node.database.transaction() as session:
        receiver = session.scalar(select(ApplicationEntity).where(ApplicationEntity.ae_title == "T01_PACS"))
        receiver.port = dicom
    with node.database.reading() as session:
        job = session.scalar(select(Job).where(Job.kind == "deliver-report"))
        session.expunge_all()
    handlers(node.database, node.objects, node.settings)["deliver-report"](job)
    before = standing(node, exam)

    instances = client.get("/instances").json()
    sent = client.post("/modalities/centre/store", json=instances)

    assert len(instances) == 2
    assert sent.status_code == 200 and sent.json()["FailedInstancesCount"] == 0
    assert standing(node, exam) == before
