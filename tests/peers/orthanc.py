"""An Orthanc of the township's: its own process, folder and ports, driven over REST."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx

from tests.programs import program
from tests.servers.process import free_port, start, stop


class Orthanc:
    """Listens as T01_PACS and knows the centre as `centre`. Use it as a context manager."""

    def __init__(self, folder: Path, *, dicom_port: int, centre_port: int) -> None:
        self._folder, self.http_port = folder, free_port()
        configuration = {
            "Name": "township",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "index"),
            "Plugins": [],
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

    def send(self, identifier: str) -> dict[str, Any]:
        """C-STORE to the centre."""
        return self._ask("POST", "/modalities/centre/store", json={"Resources": [identifier]})

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

    def retrieve(self, query: str) -> Any:
        """C-MOVE of everything that the query found, to this Orthanc."""
        return self._ask("POST", f"/queries/{query}/retrieve", json={"TargetAet": "T01_PACS"})

    def holds(self, sop_instance_uid: str) -> list[str]:
        """Its identifiers of this instance."""
        found = self._ask("POST", "/tools/lookup", content=sop_instance_uid)
        return [one["ID"] for one in found if one["Type"] == "Instance"]

    def file(self, identifier: str) -> bytes:
        return self._http.get(f"/instances/{identifier}/file").raise_for_status().content

    def _ask(self, method: str, path: str, **words: Any) -> Any:
        answer = self._http.request(method, path, **words)
        assert answer.status_code < 300, f"{path}: {answer.text}"
        return answer.json()
