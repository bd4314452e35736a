"""A portal on a real socket with a few studies in it, for tests of DICOMweb."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pydicom
import uvicorn
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import dcmwrite

from center.declaration import apply
from reading_portal.app import build_app
from reading_portal.part10 import Section, read_meta
from reading_portal.sign_in import sign_in
from storage.database import Database, utc_now
from storage.headers import read_header
from storage.instances import Kept, Sender, keep_instance
from storage.objects import ObjectStore
from storage.settings import from_environment
from tests.pairs import Pair

DECLARATION = """
[center]
name = "云岭县影像心电诊断中心"

[[institutions]]
code = "C01"
name = "云岭县人民医院"
kind = "county_hospital"

[[institutions]]
code = "T01"
name = "青石镇卫生院"
kind = "township"

[[institutions]]
code = "T02"
name = "白水镇卫生院"
kind = "township"

[[people]]
username = "chenyu"
name = "陈雨"
institution = "C01"
roles = ["reader"]
reads = ["CT", "DX", "CR", "MR", "US", "ECG"]
license_until = 2099-12-31
password = "correct horse 1"

[[people]]
username = "maqiang"
name = "马强"
institution = "T01"
roles = ["technician"]
password = "correct horse 2"

[[people]]
username = "hejing"
name = "何静"
institution = "T02"
roles = ["clinician"]
password = "correct horse 3"

[[people]]
username = "gateway"
name = "网关"
institution = "T01"
roles = ["integration"]
password = "correct horse 4"

[[agreements]]
asks = "T01"
reads = "C01"
modalities = ["CT", "DX", "CR", "MR", "US", "ECG"]
until = 2099-12-31
"""
PASSWORDS = {
    "chenyu": "correct horse 1",
    "maqiang": "correct horse 2",
    "hejing": "correct horse 3",
    "gateway": "correct horse 4",
}
QINGSHI = Sender(ae_title="T01_CT", institution_code="T01", source="127.0.0.1")


@dataclass
class Portal:
    """The address, the memory behind it, and a client for each of the cast."""

    url: str
    database: Database
    objects: ObjectStore
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def dicomweb(self) -> str:
        return f"{self.url}/dicom-web"

    def token(self, username: str) -> str:
        if username not in self.tokens:
            self.tokens[username] = self._sign_in(username)
        return self.tokens[username]

    def _sign_in(self, username: str) -> str:
        return sign_in(
            self.database,
            username=username,
            password=PASSWORDS[username],
            otp=None,
            source="127.0.0.1",
            now=utc_now(),
        ).token

    def client(self, username: str) -> httpx.Client:
        """A client that is signed in as one of the cast."""
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {self.token(username)}"}, timeout=60
        )

    def keep(self, file: bytes, sender: Sender = QINGSHI) -> Kept:
        """Keep a DICOM file as a device's association would."""
        whole = io.BytesIO(file)
        meta, transfer_syntax_uid = read_meta(whole)
        header = read_header(Section(whole, len(meta), len(file)), transfer_syntax_uid)
        return keep_instance(
            self.database,
            self.objects,
            header=header,
            meta=meta,
            dataset=Section(whole, len(meta), len(file)),
            sender=sender,
        )


@contextmanager
def open_portal(pair: Pair, folder: Path) -> Iterator[Portal]:
    apply(pair.database, DECLARATION)
    settings = from_environment(
        {
            "READING_CENTER_DATABASE_URL": pair.database_url,
            "READING_CENTER_OBJECT_STORE": pair.object_store_url,
        },
        data=str(folder / "data"),
    )
    app = build_app(settings, pair.database, pair.objects)
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    assert server.started, "the portal did not start within 20 s"
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Portal(f"http://127.0.0.1:{port}", pair.database, pair.objects)
    finally:
        server.should_exit = True
        thread.join(10)


def file_of(dataset: pydicom.Dataset) -> bytes:
    """The dataset as a DICOM file in the transfer syntax that its meta information names."""
    written = DicomBytesIO()
    dcmwrite(written, dataset, enforce_file_format=True)
    return written.parent.getvalue()  # type: ignore[no-any-return]
