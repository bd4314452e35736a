"""The reader's day in a real browser: keys only, a line that goes down, a lease that is lost, later words."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from storage.uids import new_uid
from tests import builders
from tests.browser import Seat
from tests.cast import password_of
from tests.reading_portal.reader_desk import FINDINGS, IMPRESSION, LIST, Desk, sign_with

pytestmark = pytest.mark.usefixtures("everybody_goes_home")


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


# The words that lie over the images of one viewport: of each, where its letters stand on the screen.
WORDS_OVER_IMAGES = """() => [...document.querySelectorAll("#viewer .viewport")].map((cell) =>
    [...cell.querySelectorAll(".corner > div, .edge, .quality")].flatMap((element) => {
        const range = document.createRange();
        range.selectNodeContents(element);
        const { left, right, top, bottom } = range.getBoundingClientRect();
        return right > left ? [{ said: element.textContent, left, right, top, bottom }] : [];
    }))"""


def covering(words: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Pairs of words of one viewport of which one lies upon the other by more than a pixel."""
    return [
        (one["said"], other["said"])
        for number, one in enumerate(words)
        for other in words[number + 1 :]
        if min(one["right"], other["right"]) - max(one["left"], other["left"]) > 1
        and min(one["bottom"], other["bottom"]) - max(one["top"], other["top"]) > 1
    ]


def test_on_a_telephone_no_word_over_four_mammograms_covers_another(desk: Desk) -> None:
    study = new_uid()
    for number, (side, view) in enumerate((s, v) for v in ("CC", "MLO") for s in ("R", "L")):
        dataset = builders.a_dataset(study_instance_uid=study, number=number + 1)
        dataset.Modality, dataset.ImageLaterality, dataset.ViewPosition = "MG", side, view
        dataset.SeriesDescription = "双乳 CC MLO"
        builders.keep(desk.pair.database, desk.pair.objects, dataset)
    seat = Seat(desk.browser, desk.centre.url, "ma", width=390, height=844)

    page = seat.open(f"/studies/{study}")
    expect(page.locator("#viewer .quality[data-quality=lossless]")).to_have_count(4, timeout=60_000)
    cells = page.evaluate(WORDS_OVER_IMAGES)

    assert [covering(words) for words in cells] == [[]] * 4
    for words, said in zip(cells, ("右 CC", "左 CC", "右 MLO", "左 MLO"), strict=True):
        assert {said, "张三"} <= {one["said"] for one in words}


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_every_control_of_the_ecg_can_be_seen_whole(desk: Desk, language: str) -> None:
    exam = desk.an_exam(modality="ECG", body_part="HEART")
    seat = desk.seat("chen")
    seat.context.add_cookies([{"name": "language", "value": language, "url": desk.centre.url}])
    page = seat.open(f"/reading/{exam.task_id}")
    bar, controls = page.locator(".ecg-toolbar"), page.locator(".ecg-toolbar > *:visible")
    expect(bar).to_be_visible(timeout=30_000)

    # In one row where there is room for it, and within the bar on a telephone.
    for width, most_rows in ((1440, 1), (390, 4)):
        page.set_viewport_size({"width": width, "height": 900})
        frame = bar.bounding_box()
        boxes = [one.bounding_box() for one in controls.all()]
        assert frame is not None
        assert all(box and box["x"] + box["width"] <= frame["x"] + frame["width"] for box in boxes)
        assert frame["height"] <= most_rows * 46


def test_images_that_come_while_one_writes_are_said_and_shown_only_when_asked_for(desk: Desk) -> None:
    exam = desk.an_exam()
    seat = desk.at_work("chen", exam)
    page = seat.page
    page.fill("#findings", FINDINGS)
    page.evaluate("document.querySelector('#viewer').dataset.untouched = 'yes'")
    late, another = (
        builders.a_dataset(
            study_instance_uid=exam.study_instance_uid,
            accession_number=exam.accession_number,
            number=number,
        )
        for number in (7, 8)
    )

    builders.keep(desk.pair.database, desk.pair.objects, late)

    told = page.locator("[data-arrival] [role=alert]")
    expect(told).to_contain_text("您打开检查后又有新图像到达", timeout=30_000)
    assert page.locator("#viewer").get_attribute("data-untouched") == "yes"
    assert page.input_value("#findings") == FINDINGS
    page.click("[data-show-new-images]")
    expect(page.locator("#viewer")).not_to_have_attribute("data-untouched", "yes", timeout=30_000)
    expect(page.locator("#findings")).to_be_enabled(timeout=30_000)
    expect(page.locator("[data-arrival]")).to_contain_text("2 幅")
    expect(told).to_have_count(0)
    # The study is still arriving again: the next one is news too.
    builders.keep(desk.pair.database, desk.pair.objects, another)
    expect(told).to_contain_text("您打开检查后又有新图像到达", timeout=30_000)
    assert page.input_value("#findings") == FINDINGS
    assert seat.complaints == []


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("zh-CN", "您打开检查后其信息已被更正。现为： 王五 男"),
        ("en", "This exam was corrected after you opened it. It is now of:"),
    ],
)
def test_a_patient_who_is_corrected_while_one_writes_is_shown_before_one_can_sign(
    desk: Desk, language: str, sentence: str
) -> None:
    # Given: Dr Chen has written for the patient whose name stands on the page.
    exam = desk.an_exam(patient=replace(builders.ZHANG, patient_id=new_uid()[-12:]))
    seat = desk.seat("chen")
    seat.context.add_cookies([{"name": "language", "value": language, "url": desk.centre.url}])
    page = seat.open(f"/reading/{exam.task_id}")
    expect(page.locator("#findings")).to_be_enabled(timeout=30_000)
    page.fill("#findings", FINDINGS)
    page.fill("#impression", IMPRESSION)

    # When: the township corrects the name, and Dr Chen signs all the same.
    correcting = desk.by("ma").post(
        f"/api/studies/{exam.study_instance_uid}/corrections",
        json={"reason": "姓名登记有误", "version": 0, "name": "Wang^Wu=王五"},
    )
    correcting.raise_for_status()
    told = page.locator("[data-corrected]")
    expect(told).to_contain_text(sentence, timeout=5_000)
    sign_with(page, "Control+Enter", password_of("chen"))

    # Then: not before the page shows whom it is about now; no word is lost.
    problem = page.locator("dialog#sign [data-problem]")
    expect(problem).to_contain_text("更正" if language == "zh-CN" else "corrected", timeout=10_000)
    page.keyboard.press("Escape")
    told.get_by_role("button").click()
    expect(page.locator("header .bar-patient")).to_contain_text("王五" if language == "zh-CN" else "Wang")
    expect(page.locator("#findings")).to_be_enabled(timeout=30_000)
    assert page.input_value("#findings") == FINDINGS
    expect(told).to_have_count(0)
    sign_with(page, "Control+Enter", password_of("chen"))
    page.wait_for_url(LIST, timeout=30_000)


@pytest.mark.parametrize("width", [390, 900, 1440])
def test_a_study_s_page_says_how_complete_it_is_on_every_width(desk: Desk, width: int) -> None:
    exam = desk.an_exam()
    seat = Seat(desk.browser, desk.centre.url, "ma", width=width, height=844)

    page = seat.open(f"/studies/{exam.study_instance_uid}")

    said = page.locator("header").get_by_text("按静默推定完整")
    expect(said).to_be_visible()
    box = said.bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= width and box["height"] < 30
    assert page.evaluate("document.documentElement.scrollWidth") <= width


# --- the text is open for writing, or the page says why and finds out when it may be ------------------------


def test_an_exam_beyond_the_three_that_a_reader_may_hold_opens_when_one_is_let_go(desk: Desk) -> None:
    chen, held = desk.by("chen"), [desk.an_exam() for _ in range(3)]
    fences = [chen.post(f"/api/reading-tasks/{exam.task_id}/claim", json={}).json()["fence"] for exam in held]
    page = desk.seat("chen").open(f"/reading/{desk.an_exam().task_id}")
    expect(page.locator("[data-banner]")).to_contain_text("最多", timeout=30_000)
    expect(page.locator("[data-banner] button")).to_have_text("重新载入")
    expect(page.locator("#findings")).to_be_disabled()

    chen.post(f"/api/reading-tasks/{held[0].task_id}/release", json={"fence": fences[0]}).raise_for_status()

    expect(page.locator("#findings")).to_be_enabled(timeout=30_000)
    expect(page.locator("[data-banner]")).to_be_hidden()


@pytest.mark.parametrize("request_of_the_page", ["**/claim", "**/draft"])
@pytest.mark.parametrize("how", ["the line breaks", "the server is busy"])
def test_a_text_that_could_not_be_opened_at_once_is_opened_a_moment_later(
    desk: Desk, request_of_the_page: str, how: str
) -> None:
    seat, failed = desk.seat("chen"), []

    def fail(route: Route) -> None:
        failed.append(route.request.url)
        if len(failed) > 1:
            route.continue_()
        elif how == "the line breaks":
            route.abort("connectionreset")
        else:
            route.fulfill(status=503, json={"detail": "The database does not answer"})

    seat.page.route(request_of_the_page, fail)
    page = seat.open(f"/reading/{desk.an_exam().task_id}")

    expect(page.locator("#findings")).to_be_enabled(timeout=30_000)
    expect(page.locator("[data-banner]")).to_be_hidden()
    assert len(failed) > 1
