"""A portal over each pair of memory, and the cast signed in to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from reading_portal.app import build_app
from storage.database import Database
from storage.objects import ObjectStore
from storage.settings import from_environment
from tests import builders
from tests.cast import password_of, settle_the_county
from tests.pairs import Pair
from tests.reading_portal.reader_desk import desk, everybody_goes_home
from worklist.authority import CentreAuthority

__all__ = ["desk", "everybody_goes_home"]

FINDINGS = "两肺纹理清晰，右肺上叶见一磨玻璃结节，约 8 mm。纵隔未见肿大淋巴结。"
IMPRESSION = "1. 右肺上叶磨玻璃结节，建议 3 个月后复查。\n2. 余未见明显异常。"


@dataclass
class Portal:
    """The application as its clients meet it; `by` answers a client that is signed in as one of the cast."""

    app: FastAPI
    database: Database
    objects: ObjectStore
    _clients: dict[str, httpx.Client] = field(default_factory=dict)

    def stranger(self, **words: Any) -> TestClient:
        return TestClient(self.app, base_url="http://portal.example", raise_server_exceptions=False, **words)

    def token(self, username: str) -> str:
        answer = self.stranger().post(
            "/api/sessions", json={"username": username, "password": password_of(username)}
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    def by(self, username: str) -> httpx.Client:
        if username not in self._clients:
            client = self.stranger()
            client.headers["authorization"] = f"Bearer {self.token(username)}"
            self._clients[username] = client
        return self._clients[username]

    def browser(self, username: str) -> tuple[httpx.Client, str]:
        """A client that holds the session cookie, and its CSRF token."""
        client = self.stranger()
        answer = client.post(
            "/api/sessions", json={"username": username, "password": password_of(username), "cookie": True}
        )
        assert answer.status_code == 201, answer.text
        return client, str(answer.json()["csrf_token"])

    def an_exam(self, **changes: Any) -> builders.Exam:
        return builders.an_exam(self.database, self.objects, **changes)

    def task(self, exam: builders.Exam) -> str:
        """The address of the exam's reading task."""
        assert exam.task_id is not None
        return f"/api/reading-tasks/{exam.task_id}"

    def claimed(self, exam: builders.Exam, *, by: str = "chen", takeover: bool = False) -> int:
        """The fence of a fresh claim."""
        answer = self.by(by).post(f"{self.task(exam)}/claim", json={"takeover": takeover})
        assert answer.status_code == 200, answer.text
        return int(answer.json()["fence"])

    def written(self, exam: builders.Exam, *, by: str = "chen", **words: Any) -> int:
        """The task claimed and a draft kept; answers the fence."""
        fence = self.claimed(exam, by=by)
        draft = {"findings": FINDINGS, "impression": IMPRESSION} | words
        kept = self.by(by).put(f"{self.task(exam)}/report", json={"fence": fence} | draft)
        assert kept.status_code == 200, kept.text
        return fence

    def signed(self, exam: builders.Exam, *, by: str = "chen", **words: Any) -> dict[str, Any]:
        """The draft signed; answers `{report_id, version, status}`."""
        fence = self.written(exam, by=by, **words)
        answer = self.by(by).post(
            f"{self.task(exam)}/sign", json={"fence": fence, "password": password_of(by)}
        )
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        return said


def _opened(pair: Pair, folder: Path) -> Iterator[Portal]:
    settings = from_environment(
        pair.environment, data=str(folder / "data"), public_url="http://portal.example"
    )
    authority = CentreAuthority(folder / "authority", centre_name="云岭县影像心电诊断中心")
    settle_the_county(pair.database)
    app = build_app(settings, pair.database, pair.objects, authority)
    with TestClient(app):
        yield Portal(app, pair.database, pair.objects)


@pytest.fixture
def portal(pair: Pair, tmp_path: Path) -> Iterator[Portal]:
    """On SQLite with a folder and on PostgreSQL with S3."""
    yield from _opened(pair, tmp_path)


@pytest.fixture
def quick_portal(sqlite_pair: Pair, tmp_path: Path) -> Iterator[Portal]:
    """For what does not depend on the memory: the quick pair only."""
    yield from _opened(sqlite_pair, tmp_path)
