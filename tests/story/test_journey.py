"""The whole journey: a township device sends, a county reader signs, the township has its report.

Real processes, real sockets, DCMTK as the device and as the township's archive, a real browser; once on
SQLite with a folder, once on PostgreSQL with S3.
"""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityPerformedProcedureStep,
    ModalityWorklistInformationFind,
)
from sqlalchemy.orm import Session

from center.declaration import apply
from storage import audit
from storage.uids import new_uid
from tests.browser import Seat, chromium
from tests.builders import ZHANG, a_dataset
from tests.cast import password_of, settle_the_county
from tests.pairs import Pair
from tests.programs import needs
from tests.servers.centre import AllInOne
from tests.servers.process import free_port

pytestmark = [
    needs("storescu", of="dcmtk"),
    pytest.mark.slow,
    pytest.mark.timeout(400),
]

AT_HOME = """
[policy]
quiet_seconds = 2

[[devices]]
ae_title = "T01_PACS"
institution = "T01"
host = "127.0.0.1"
port = {port}

[[institutions]]
code = "T01"
name = "青石镇卫生院"
kind = "township"
reports_to = "T01_PACS"
"""


def eventually(question: Callable[[], Any], what: str, *, within: float = 60) -> Any:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"not {what} within {within} s")


@contextmanager
def archive_of_the_township(port: int, folder: Path) -> Iterator[Path]:
    """DCMTK's storescp: what the township's own archive receives."""
    folder.mkdir()
    with subprocess.Popen(
        ["storescp", "--accept-all", "-od", str(folder), "-aet", "T01_PACS", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield folder
        finally:
            process.terminate()


def asked_worklist(centre: AllInOne) -> list[Dataset]:
    """The scanner asks what to do: its own exams, as its console shows them."""
    query = Dataset()
    query.SpecificCharacterSet = "GB18030"
    query.PatientName = query.PatientID = query.PatientSex = query.PatientBirthDate = ""
    query.AccessionNumber = query.StudyInstanceUID = ""
    step = Dataset()
    step.Modality, step.ScheduledStationAETitle = "CT", "T01_CT"
    step.ScheduledProcedureStepStartDate = step.ScheduledProcedureStepID = ""
    query.ScheduledProcedureStepSequence = [step]
    entity = AE("T01_CT")
    entity.add_requested_context(ModalityWorklistInformationFind)
    association = entity.associate("127.0.0.1", centre.dicom_port, ae_title="READINGCENTER")
    assert association.is_established
    found = [row for status, row in association.send_c_find(query, ModalityWorklistInformationFind) if row]
    association.release()
    return found


def reported_step(centre: AllInOne, item: Dataset, step_uid: str, images: list[Dataset] | None) -> None:
    """MPPS: IN PROGRESS without images, COMPLETED with what was made."""
    entity = AE("T01_CT")
    entity.add_requested_context(ModalityPerformedProcedureStep)
    association = entity.associate("127.0.0.1", centre.dicom_port, ae_title="READINGCENTER")
    said = Dataset()
    said.PerformedProcedureStepStatus = "IN PROGRESS" if images is None else "COMPLETED"
    if images is None:
        scheduled = Dataset()
        scheduled.StudyInstanceUID = item.StudyInstanceUID
        scheduled.AccessionNumber = item.AccessionNumber
        said.ScheduledStepAttributesSequence = [scheduled]
        said.PerformedSeriesSequence = []
        said.Modality, said.PerformedStationAETitle = "CT", "T01_CT"
        status, _ = association.send_n_create(said, ModalityPerformedProcedureStep, step_uid)
    else:
        series = Dataset()
        series.SeriesInstanceUID = images[0].SeriesInstanceUID
        series.ReferencedImageSequence = []
        for image in images:
            reference = Dataset()
            reference.ReferencedSOPClassUID = image.SOPClassUID
            reference.ReferencedSOPInstanceUID = image.SOPInstanceUID
            series.ReferencedImageSequence.append(reference)
        said.PerformedSeriesSequence = [series]
        status, _ = association.send_n_set(said, ModalityPerformedProcedureStep, step_uid)
    association.release()
    assert status.Status == 0


def scanned(item: Dataset, folder: Path, number: int = 6) -> list[Dataset]:
    """What the scanner makes of a worklist item: files with the item's own words."""
    series, images = new_uid(), []
    folder.mkdir(exist_ok=True)
    for index in range(1, number + 1):
        image = a_dataset(
            study_instance_uid=str(item.StudyInstanceUID),
            series_instance_uid=series,
            accession_number=str(item.AccessionNumber),
            patient_id=str(item.PatientID),
            patient_name=str(item.PatientName),
            number=index,
        )
        image.ImagePositionPatient = [-158.0, -179.0, -75.7 + 5 * index]
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.save_as(folder / f"{index:03}.dcm")
        images.append(image)
    return images


def signed_in(centre: AllInOne, username: str) -> httpx.Client:
    client = httpx.Client(base_url=centre.url, timeout=30)
    answer = client.post("/api/sessions", json={"username": username, "password": password_of(username)})
    assert answer.status_code == 201, answer.text
    client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
    return client


def test_a_township_device_sends_a_county_reader_signs_and_the_township_has_its_report(
    pair: Pair, tmp_path: Path
) -> None:
    home_port = free_port()
    settle_the_county(pair.database)
    apply(pair.database, AT_HOME.format(port=home_port))

    with (
        AllInOne(data=tmp_path / "data", environment=pair.environment) as centre,
        archive_of_the_township(home_port, tmp_path / "home") as home,
        chromium() as browser,
    ):
        # The technician registers the exam; the scanner finds it on its worklist, and nobody else's.
        technician = signed_in(centre, "ma")
        placed = technician.post(
            "/api/orders",
            json={
                "institution": "T01",
                "patient": {
                    "patient_id": ZHANG.patient_id,
                    "name": ZHANG.name,
                    "name_phonetic": ZHANG.name_phonetic,
                    "sex": "M",
                    "birth_date": "1958-03-14",
                },
                "modality": "CT",
                "body_part": "CHEST",
                "priority": "urgent",
                "clinical_information": "咳嗽两周，吸烟四十年",
            },
        )
        assert placed.status_code == 201, placed.text
        order = placed.json()
        (item,) = asked_worklist(centre)
        assert item.AccessionNumber == order["accession_number"]
        assert "张三" in str(item.PatientName)

        # A reader is looking at the worklist; it is empty, and alive.
        reader = Seat(browser, centre.url, "chen")
        reader.page.wait_for_selector("text=陈雨")

        # The scanner reports that it begins, sends, and reports what it made.
        step_uid = new_uid()
        reported_step(centre, item, step_uid, None)
        assert technician.get(f"/api/orders/{order['id']}").json()["state"] == "in-progress"
        images = scanned(item, tmp_path / "scanner")
        words = ["-aet", "T01_CT", "-aec", "READINGCENTER", "127.0.0.1", str(centre.dicom_port)]
        echo = subprocess.run(["echoscu", *words], capture_output=True, timeout=30)
        assert echo.returncode == 0
        sent = subprocess.run(
            ["storescu", "+sd", *words, str(tmp_path / "scanner")], capture_output=True, text=True, timeout=60
        )
        assert sent.returncode == 0, sent.stderr
        reported_step(centre, item, step_uid, images)
        completed_at = time.monotonic()

        # The study settles, its task stands in the reader's open page without a reload.
        row = reader.page.wait_for_selector("tr[data-open]", timeout=15_000)
        assert row is not None
        assert time.monotonic() - completed_at < 8
        assert "张三" in row.inner_text()

        # She opens it with the keyboard; the preview is in the page, then the images themselves.
        page = reader.page
        page.keyboard.press("n")
        page.wait_for_url(re.compile(r"/reading/\d+"))
        task_id = int(page.url.rsplit("/", 1)[1].split("?")[0])
        eventually(
            lambda: page.evaluate("window.readingViewer?.T?.firstImage ?? 0"),
            "an image on the screen",
            within=60,
        )
        assert "张三" in page.inner_text("body")

        # She writes; every pause is kept; she signs with her password.
        page.wait_for_selector("#findings:enabled")
        page.fill("#findings", "右肺上叶尖段见结节影，大小约12mm。")
        page.fill("#impression", "右肺上叶结节，建议增强扫描。\n主动脉硬化。")
        eventually(
            lambda: "is-good" in (page.get_attribute("#kept", "class") or "") and page.inner_text("#kept"),
            "kept on the server",
            within=15,
        )
        page.keyboard.press("Control+Enter")
        page.wait_for_selector("dialog#sign[open]")
        page.fill("dialog#sign [name=secret]", password_of("chen"))
        page.keyboard.press("Enter")
        signed_at = time.monotonic()

        # The township's clinician sees it within two seconds (and the browser's own pace).
        clinician = signed_in(centre, "li")
        report = eventually(
            lambda: (
                clinician.get("/fhir/DiagnosticReport", params={"identifier": order["accession_number"]})
                .json()
                .get("entry")
            ),
            "a report at the township",
            within=30,
        )[0]["resource"]
        assert time.monotonic() - signed_at < 10
        assert report["status"] == "final"
        assert clinician.get(f"/api/orders/{order['id']}").json()["state"] == "reported"

        # He of the next township knows of nothing.
        stranger = signed_in(centre, "he")
        report_id = int(re.sub(r"\D", "", str(report["id"])))
        assert stranger.get(f"/api/reports/{report_id}").status_code == 404
        assert stranger.get(f"/api/orders/{order['id']}").status_code == 404
        assert stranger.get(f"/dicom-web/studies/{order['study_instance_uid']}/metadata").status_code == 404

        # The clinician opens it in the browser, with the pictures, and acknowledges.
        desk = Seat(browser, centre.url, "li")
        desk.open(f"/reports/{report_id}")
        assert "右肺上叶结节" in desk.page.inner_text("body")
        desk.page.click("form[action$='/acknowledge'] button")
        eventually(
            lambda: technician.get(f"/api/orders/{order['id']}").json()["state"] == "closed",
            "closed",
            within=10,
        )

        # The paper: sealed, verified offline, and told from a tampered one.
        pdf = clinician.get(f"/api/reports/{report_id}/pdf").content
        paper = tmp_path / "report.pdf"
        paper.write_bytes(pdf)
        assert verified(centre, paper).returncode == 0
        forged = tmp_path / "forged.pdf"
        forged.write_bytes(pdf[: len(pdf) // 2] + bytes([pdf[len(pdf) // 2] ^ 1]) + pdf[len(pdf) // 2 + 1 :])
        assert verified(centre, forged).returncode != 0

        chen = signed_in(centre, "chen")

        # It comes home by DICOM: into the study here, and to the township's own archive.
        (file,) = eventually(
            lambda: [one for one in home.iterdir() if b"%PDF" in one.read_bytes()][:1],
            "a report in the township's archive",
            within=60,
        )
        encapsulated = dcmread(file, force=True)
        assert encapsulated.StudyInstanceUID == order["study_instance_uid"]
        assert bytes(encapsulated.EncapsulatedDocument).rstrip(b"\0") == pdf.rstrip(b"\0")
        instances = eventually(
            lambda: [
                one
                for one in chen.get(f"/dicom-web/studies/{order['study_instance_uid']}/instances").json()
                if one["00080016"]["Value"] == ["1.2.840.10008.5.1.4.1.1.104.1"]
            ],
            "a report in the study",
        )
        assert len(instances) == 1

        # Another device of the county finds the study by DICOM; a stranger's device is not heard.
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=P001", "-k", "StudyInstanceUID"]
        found = subprocess.run(
            ["findscu", "-S", *words, *keys],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert order["study_instance_uid"] in found.stdout + found.stderr
        unknown = subprocess.run(
            ["echoscu", "-aet", "STRANGER", "-aec", "READINGCENTER", "127.0.0.1", str(centre.dicom_port)],
            capture_output=True,
            timeout=30,
        )
        assert unknown.returncode != 0

        # Nothing was complained of in the browser, and no patient stands in a log.
        assert reader.complaints == []
        assert desk.complaints == []
        for word in ("张三", "Zhang", "P001", "结节"):
            assert word not in centre.said

    # The trace is whole, and tells of each step.
    with pair.database.reading() as session:
        assert list(audit.broken_links(session)) == []
        assert what_happened(session, f"order:{order['id']}") == [
            "place",
            "begin",
            "acquire",
            "report",
            "acknowledge",
        ]
        assert what_happened(session, f"task:{task_id}") == ["open", "claim", "complete"]


def what_happened(session: Session, subject: str) -> list[str]:
    """The steps of the trace, without the looks in between."""
    verbs = [event.verb for event in audit.history(session, subject)]
    return [verb for verb in verbs if not verb.startswith("look-")]


def verified(centre: AllInOne, paper: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "center.cli", "verify-report", str(paper)],
        env=centre.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
