"""The reader's day in a real browser: keys only, a line that goes down, a lease that is lost, later words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from reading_portal.pages.first_picture import bundle
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


@pytest.fixture(autouse=True)
def everybody_goes_home(desk: Desk) -> Iterator[None]:
    """Pages that stay open would go on holding their leases."""
    yield
    for context in desk.browser.contexts:
        context.close()
    while desk.clients:
        desk.clients.pop().close()


def sign_with(page: Page, keys: str, password: str) -> None:
    page.keyboard.press(keys)
    expect(page.locator("dialog#sign [name=secret]")).to_be_focused()
    page.keyboard.type(password)
    page.keyboard.press("Enter")


def test_from_the_list_to_the_signature_and_the_next_exam_without_a_mouse(desk: Desk) -> None:
    first, second = desk.an_exam(priority="stat"), desk.an_exam(priority="urgent")
    seat = desk.seat("chen")
    page = seat.open("/worklist")

    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(f"/reading/{first.task_id}$"))
    expect(page.locator("#findings")).to_be_focused(timeout=30_000)
    page.keyboard.type(FINDINGS)
    page.keyboard.press("Tab")
    page.keyboard.type(IMPRESSION)
    sign_with(page, "Control+Shift+Enter", password_of("chen"))
    page.wait_for_url(re.compile(f"/reading/{second.task_id}$"))
    expect(page.locator("#findings")).to_be_focused(timeout=30_000)
    page.keyboard.press("F4")
    sign_with(page, "Control+Enter", password_of("chen"))
    page.wait_for_url(LIST)

    assert desk.words(first) == FINDINGS
    assert desk.words(second)
    assert seat.complaints == []


def test_sorting_the_list_keeps_the_words_that_were_searched_for(desk: Desk) -> None:
    desk.an_exam()
    page = desk.seat("chen").open("/worklist")
    page.keyboard.press("/")
    page.keyboard.type("nobody")
    expect(page.locator("#rows")).to_contain_text("没有符合查找和筛选条件的检查")

    page.locator("a[data-sort]").first.press("Enter")

    expect(page.locator("th[aria-sort=ascending]")).to_have_count(1)
    expect(page.locator("#rows")).to_contain_text("没有符合查找和筛选条件的检查")
    assert page.input_value("#search") == "nobody"
    assert "nobody" not in page.url


def test_words_typed_while_the_line_was_down_are_offered_after_a_restart(desk: Desk) -> None:
    exam = desk.an_exam()
    seat = desk.at_work("chen", exam)
    seat.context.set_offline(True)
    seat.page.fill("#findings", FINDINGS)
    expect(seat.page.locator("#kept")).to_have_text("仅保存在本机", timeout=10_000)

    seat.page.close()
    seat.context.set_offline(False)
    page = seat.context.new_page()
    page.goto(f"{seat.url}/reading/{exam.task_id}")
    offer = page.locator("[data-banner] button").first
    expect(offer).to_have_text("使用", timeout=30_000)
    assert page.input_value("#findings") == ""
    offer.press("Enter")

    expect(page.locator("#kept.is-good")).to_contain_text("已保存", timeout=10_000)
    assert desk.words(exam) == FINDINGS


def test_a_line_that_comes_back_brings_the_words_to_the_server_by_itself(desk: Desk) -> None:
    exam = desk.an_exam()
    seat = desk.at_work("chen", exam)
    seat.context.set_offline(True)
    seat.page.fill("#findings", FINDINGS)
    expect(seat.page.locator("#kept")).to_have_text("仅保存在本机", timeout=10_000)

    seat.context.set_offline(False)

    expect(seat.page.locator("#kept.is-good")).to_contain_text("已保存", timeout=15_000)
    assert desk.words(exam) == FINDINGS


def test_who_lost_the_lease_keeps_every_word_and_is_told_who_has_it(desk: Desk) -> None:
    exam = desk.an_exam()
    seat = desk.at_work("chen", exam)
    wu, task = desk.by("wu"), f"/api/reading-tasks/{exam.task_id}"
    fence = wu.post(f"{task}/claim", json={"takeover": True}).json()["fence"]

    seat.page.fill("#findings", FINDINGS)
    banner = seat.page.locator("[data-banner]")
    expect(banner).to_contain_text("吴敏", timeout=10_000)
    assert seat.page.input_value("#findings") == FINDINGS
    expect(seat.page.locator("[data-normal-report]")).to_be_disabled()
    wu.put(f"{task}/report", json={"fence": fence, "findings": "吴敏的文字", "impression": "无"})
    wu.post(f"{task}/release", json={"fence": fence})
    seat.page.reload()

    # Her words are older than Dr Wu's now: they are offered, and nothing is put in unasked.
    expect(banner).to_contain_text("服务器已收到其他文字", timeout=30_000)
    assert seat.page.input_value("#findings") == "吴敏的文字"
    banner.locator("button").first.click()
    assert seat.page.input_value("#findings") == FINDINGS


def test_an_addendum_stands_on_the_report_with_who_added_it(desk: Desk) -> None:
    report_id = desk.signed(desk.an_exam())
    page = desk.seat("wu").open(f"/reports/{report_id}")

    page.click("[data-dialog=addendum]")
    form = page.locator("dialog#addendum")
    form.locator("[name=text]").fill("与 2025 年旧片对比，结节为新发。")
    form.locator("[name=reason]").fill("获得旧片")
    form.locator("[name=secret]").fill("wrong")
    page.keyboard.press("Enter")
    expect(form.locator("[data-problem]")).to_be_visible()
    expect(form.locator("[name=secret]")).to_be_focused()
    assert form.locator("[name=text]").input_value() == "与 2025 年旧片对比，结节为新发。"
    page.keyboard.type(password_of("wu"))
    page.keyboard.press("Enter")

    expect(page.locator("article")).to_contain_text("结节为新发", timeout=15_000)
    expect(page.locator("article")).to_contain_text("补充人：吴敏")
    expect(page.locator("article")).to_contain_text("获得旧片")


def test_a_withdrawn_report_says_who_withdrew_it_when_and_why(desk: Desk) -> None:
    report_id = desk.signed(desk.an_exam())
    page = desk.seat("wu").open(f"/reports/{report_id}")

    page.click("[data-dialog=withdraw]")
    page.locator("dialog#withdraw [name=reason]").fill("影像属于另一患者")
    page.locator("dialog#withdraw [name=secret]").fill(password_of("wu"))
    page.keyboard.press("Enter")

    for path in (f"/reports/{report_id}", f"/reports/{report_id}?version=1"):
        notice = page.locator(".said-bad")
        expect(notice).to_contain_text("影像属于另一患者", timeout=15_000)
        expect(notice).to_contain_text("撤回人：吴敏")
        assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d", notice.inner_text())
        page.goto(f"{desk.centre.url}{path}")
    expect(page.locator("[data-dialog=withdraw]")).to_have_count(0)
