"""A centre and its own Chromium, where readers of the cast sit down for a module of tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import update

from reading_portal.pages.first_picture import bundle
from storage.database import utc_now
from tests import builders
from tests.browser import Seat, chromium
from tests.cast import password_of, settle_the_county
from tests.pairs import SQLITE_AND_FOLDER, Pair, Pairs
from tests.servers.centre import AllInOne
from worklist.reading_tasks import ReadingTask
from worklist.reports import DiagnosticReport

FINDINGS, IMPRESSION = "右肺上叶见结节影。", "右肺上叶结节。"
LIST = re.compile(r"/worklist")


@dataclass
class Desk:
    centre: AllInOne
    browser: Browser
    pair: Pair
    clients: list[httpx.Client] = field(default_factory=list)

    def an_exam(self, **changes: Any) -> builders.Exam:
        return builders.an_exam(self.pair.database, self.pair.objects, images=1, **changes)

    def by(self, username: str) -> httpx.Client:
        client = httpx.Client(base_url=self.centre.url, timeout=30)
        self.clients.append(client)
        signed_in = client.post(
            "/api/sessions", json={"username": username, "password": password_of(username)}
        )
        client.headers["Authorization"] = f"Bearer {signed_in.json()['token']}"
        return client

    def seat(self, username: str) -> Seat:
        return Seat(self.browser, self.centre.url, username)

    def at_work(self, username: str, exam: builders.Exam) -> Seat:
        """Before the exam, holding it, with the text open for writing."""
        seat = self.seat(username)
        expect(seat.open(f"/reading/{exam.task_id}").locator("#findings")).to_be_enabled(timeout=30_000)
        return seat

    def signed(self, exam: builders.Exam, *, by: str = "sun") -> int:
        """The exam's report, signed through the interface; its id."""
        client, task = self.by(by), f"/api/reading-tasks/{exam.task_id}"
        fence = client.post(f"{task}/claim", json={}).json()["fence"]
        client.put(
            f"{task}/report", json={"fence": fence, "findings": FINDINGS, "impression": IMPRESSION}
        ).raise_for_status()
        answer = client.post(f"{task}/sign", json={"fence": fence, "password": password_of(by)})
        return int(answer.raise_for_status().json()["report_id"])

    def words(self, exam: builders.Exam) -> str:
        """The findings as the server has them."""
        with self.pair.database.reading() as session:
            task = session.get(ReadingTask, exam.task_id)
            report = session.get(DiagnosticReport, task.report_id) if task and task.report_id else None
            return report.findings if report else ""


def sign_with(page: Page, keys: str, password: str) -> None:
    page.keyboard.press(keys)
    expect(page.locator("dialog#sign [name=secret]")).to_be_focused()
    page.keyboard.type(password)
    page.keyboard.press("Enter")


@pytest.fixture(scope="module")
def desk(pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    if not bundle("image").script:
        pytest.skip("the viewer's bundle has not been built")
    folder: Path = tmp_path_factory.mktemp("reader_desk")
    with pairs.open(SQLITE_AND_FOLDER, folder) as pair:
        settle_the_county(pair.database)
        with (
            AllInOne(data=folder / "data", environment=pair.environment) as centre,
            chromium() as browser,
        ):
            yield Desk(centre, browser, pair)


@pytest.fixture
def everybody_goes_home(desk: Desk) -> Iterator[None]:
    """Pages that stay open would go on holding their leases; and of those a reader may hold only three."""
    yield
    for context in desk.browser.contexts:
        context.close()
    with desk.pair.database.transaction() as session:
        session.execute(update(ReadingTask).values(lease_until=utc_now()))
    while desk.clients:
        desk.clients.pop().close()
