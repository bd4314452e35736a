"""An Orthanc of the township's: its own process, folder and ports, driven over REST."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx

from tests.programs import plugin, program
from tests.servers.process import free_port, start, stop

WEB = "/dicom-web/servers/centre"
# Where Debian's orthanc-dicomweb puts it.
DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


class Orthanc:
    """Listens as T01_PACS and knows the centre as `centre`. Use it as a context manager."""

    def __init__(
        self, folder: Path, *, dicom_port: int, centre_port: int, portal: str = "", token: str = ""
    ) -> None:
        """With the URL of the portal and a session's token it speaks DICOMweb too."""
        self._folder, self.http_port = folder, free_port()
        server = {"Url": f"{portal}/dicom-web/", "HttpHeaders": {"Authorization": f"Bearer {token}"}}
        configuration = {
            "Name": "township",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "index"),
            "Plugins": [plugin(DICOMWEB, of="orthanc-dicomweb")] if portal else [],
            "DicomWeb": {"Servers": {"centre": server}},
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DefaultEncoding": "Chinese",  # GB18030
            "DicomAet": "T01_PACS",
            "DicomPort": dicom_port,
            "DicomCheckCalledAet": True,
            "DicomModalities": {"centre": {"AET": "READINGCENTER", "Host": "127.0.0.1", "Port": centre_port}},
        }
        (folder / "orthanc.json").write_text(json.dumps(configuration))
        command = [program("Orthanc", of="orthanc"), str(folder / "orthanc.json")]
        self._process = start(command, log=folder / "orthanc.log", cwd=folder)
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{self.http_port}", timeout=60)

    def __enter__(self) -> Orthanc:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                self._http.get("/system").raise_for_status()
                return self
            except httpx.HTTPError:
                time.sleep(0.1)
        self.__exit__()
        raise AssertionError((self._folder / "orthanc.log").read_text()[-2000:])

    def __exit__(self, *_: object) -> None:
        self._http.close()
        stop(self._process, within=15)

    def add(self, file: bytes) -> str:
        """Put a file in; its identifier here."""
        return str(self._ask("POST", "/instances", content=file)["ID"])

    def send(self, *identifiers: str, **words: Any) -> dict[str, Any]:
        """C-STORE to the centre."""
        return self._ask("POST", "/modalities/centre/store", json={"Resources": identifiers, **words})

    def ask_commitment(self, *references: tuple[str, str]) -> str:
        """N-ACTION for these (SOP class, instance); where the report will stand."""
        return str(
            self._ask(
                "POST",
                "/modalities/centre/storage-commitment",
                json={
                    "DicomInstances": [
                        {"SOPClassUID": sop_class, "SOPInstanceUID": instance}
                        for sop_class, instance in references
                    ]
                },
            )["Path"]
        )

    def commitment(self, path: str) -> dict[str, Any]:
        """The report; `Pending` until it was heard."""
        return self._ask("GET", path)

    def echo(self) -> None:
        self._ask("POST", "/modalities/centre/echo", json={})

    def find(self, level: str, **keys: str) -> tuple[str, list[dict[str, Any]]]:
        """C-FIND at the centre: the query's identifier, and its answers by keyword."""
        query = self._ask("POST", "/modalities/centre/query", json={"Level": level, "Query": keys})["ID"]
        answers = [
            self._ask("GET", f"/queries/{query}/answers/{number}/content?simplify")
            for number in self._ask("GET", f"/queries/{query}/answers")
        ]
        return str(query), answers

    def worklist(self, **keys: Any) -> list[dict[str, Any]]:
        """What the centre's worklist says, by keyword."""
        return self._ask("POST", "/modalities/centre/find-worklist", json={"Query": keys, "Simplify": True})

    def retrieve(self, query: str) -> Any:
        """C-MOVE of everything that the query found, to this Orthanc."""
        return self._ask("POST", f"/queries/{query}/retrieve", json={"TargetAet": "T01_PACS"})

    def qido(self, path: str, **keys: str) -> list[dict[str, Any]]:
        """QIDO-RS at the portal."""
        return self._ask("POST", f"{WEB}/qido", json={"Uri": path, "Arguments": keys})

    def wado(self, study_instance_uid: str) -> None:
        """WADO-RS of a study of the portal's, to this Orthanc."""
        self._ask("POST", f"{WEB}/retrieve", json={"Resources": [{"Study": study_instance_uid}]})

    def stow(self, *identifiers: str) -> dict[str, Any]:
        """STOW-RS to the portal."""
        return self._ask("POST", f"{WEB}/stow", json={"Resources": identifiers, "Synchronous": True})

    def forget(self, sop_instance_uid: str) -> None:
        for identifier in self.holds(sop_instance_uid):
            self._ask("DELETE", f"/instances/{identifier}")

    def holds(self, sop_instance_uid: str) -> list[str]:
        """Its identifiers of this instance."""
        found = self._ask("POST", "/tools/lookup", content=sop_instance_uid)
        return [one["ID"] for one in found if one["Type"] == "Instance"]

    def file(self, identifier: str) -> bytes:
        return self._http.get(f"/instances/{identifier}/file").raise_for_status().content

    def _ask(self, method: str, path: str, **words: Any) -> Any:
        answer = self._http.request(method, path, **words)
        said = self._folder.joinpath("orthanc.log").read_text(errors="replace")[-2000:]
        assert answer.status_code < 300, f"{path}: {answer.text}\n{said}"
        return answer.json()
