"""The county that the benchmarks measure: a centre in its own processes, the cast, what devices send."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
from pydicom.dataset import Dataset
from pynetdicom import AE

from center import migrate
from center.declaration import apply
from center.demo.phantoms.exam import Exam
from center.demo.phantoms.thorax import thorax
from storage.database import Database
from tests.cast import password_of, settle_the_county
from tests.servers.centre import AllInOne

SHANGHAI = timezone(timedelta(hours=8))
# What was drawn or unpacked once is kept here from one run to the next.
KEPT = Path.home() / ".cache" / "reading-center" / "benchmarks"
QUIET = """
[policy]
quiet_seconds = {seconds}
"""


@contextmanager
def county(folder: Path, *, quiet_seconds: int = 2) -> Iterator[AllInOne]:
    """A centre on SQLite and a folder, with the cast of the tests, ready."""
    data = folder / "data"
    data.mkdir(parents=True)
    url = f"sqlite:///{data / 'center.sqlite'}"
    migrate.migrate(url)
    database = Database(url)
    settle_the_county(database)
    apply(database, QUIET.format(seconds=quiet_seconds))
    database.dispose()
    with AllInOne(data=data) as centre:
        yield centre


def signed_in(centre: AllInOne, username: str) -> httpx.Client:
    """A program of this person, with a bearer token."""
    client = httpx.Client(base_url=centre.url, timeout=60)
    answer = client.post("/api/sessions", json={"username": username, "password": password_of(username)})
    answer.raise_for_status()
    client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
    return client


def placed_order(technician: httpx.Client, number: int, *, modality: str = "CT") -> dict[str, Any]:
    """An order of Qingshi for its patient `number`."""
    body = {
        "institution": "T01",
        "patient": {
            "patient_id": f"Q{number:05}",
            "name": f"王{'甲乙丙丁戊己庚辛壬癸'[number % 10]}{number}",
            "name_phonetic": f"Wang {number}",
            "sex": "M",
            "birth_date": "1961-05-20",
        },
        "modality": modality,
        "body_part": "CHEST" if modality != "ECG" else "HEART",
        "priority": "routine",
        "clinical_information": "咳嗽两周，吸烟四十年",
    }
    answer = technician.post("/api/orders", json=body)
    answer.raise_for_status()
    placed: dict[str, Any] = answer.json()
    return placed


def exam_of(order: dict[str, Any], number: int, *, seed: int = 1, findings: tuple[str, ...] = ()) -> Exam:
    """How the device acquires what was ordered."""
    return Exam(
        study_instance_uid=order["study_instance_uid"],
        accession_number=order["accession_number"],
        patient_id=f"Q{number:05}",
        patient_name="Wang=王",
        sex="M",
        birth_date="19610520",
        issuer="T01",
        institution_name="青石镇卫生院",
        station_ae="T01_CT",
        acquired_at=datetime.now(SHANGHAI),
        description="胸部CT平扫",
        seed=seed,
        findings=findings,
    )


def thorax_of(exam: Exam, *, every: int = 1) -> Iterator[Dataset]:
    """200 slices of 512 × 512, or fewer."""
    return thorax(exam, KEPT / "phantoms", every=every)


def sent(centre: AllInOne, images: Iterable[Dataset], *, ae_title: str = "T01_CT") -> float:
    """Everything by C-STORE on one association; the moment (monotonic) of the last answer."""
    association, answered_at = None, 0.0
    for image in images:
        if association is None:
            entity = AE(ae_title)
            entity.add_requested_context(image.SOPClassUID, image.file_meta.TransferSyntaxUID)
            association = entity.associate("127.0.0.1", centre.dicom_port, ae_title="READINGCENTER")
            if not association.is_established:
                raise RuntimeError("the centre refused the association")
        status = association.send_c_store(image)
        answered_at = time.monotonic()
        if status.Status != 0:
            raise RuntimeError(f"C-STORE answered {status.Status:04X}")
    if association is not None:
        association.release()
    return answered_at


def eventually(question: Callable[[], Any], what: str, *, within: float = 60, every: float = 0.05) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(every)
    raise RuntimeError(f"not {what} within {within} s")
