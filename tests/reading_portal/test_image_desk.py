"""The images of a reader's desk in a real browser: keys of her own, layouts, what hangs where, priors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import delete, update

from reading_portal.pages.first_picture import bundle
from storage.database import utc_now
from storage.uids import new_uid
from tests import builders
from tests.browser import Seat, chromium
from tests.cast import settle_the_county
from tests.pairs import SQLITE_AND_FOLDER, Pair, Pairs
from tests.servers.centre import AllInOne
from worklist.hanging_protocols import HangingProtocol
from worklist.reading_tasks import ReadingTask
from worklist.shortcuts import Shortcuts

PATIENT = iter(range(1000))


@dataclass
class Desk:
    centre: AllInOne
    browser: Browser
    pair: Pair

    def a_patient(self) -> str:
        return f"H{next(PATIENT):04}"

    def a_stack(
        self,
        patient: str,
        *,
        slices: int,
        study: str | None = None,
        first: float = 0.0,
        step: float = 5.0,
        frame_of_reference: str | None = None,
        date: str | None = None,
        **words: Any,
    ) -> str:
        """An axial CT from `first` mm on along the patient, `step` mm apart; answers its study."""
        study, series, frame = study or new_uid(), new_uid(), frame_of_reference or new_uid()
        for number in range(slices):
            dataset = builders.a_dataset(
                study_instance_uid=study, series_instance_uid=series, patient_id=patient, number=number + 1
            )
            dataset.FrameOfReferenceUID = frame
            dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            dataset.ImagePositionPatient = [-158.0, -179.0, first + number * step]
            dataset.SeriesDescription = "胸部平扫"
            if date:
                dataset.StudyDate = date
            for keyword, value in words.items():
                setattr(dataset, keyword, value)
            builders.keep(self.pair.database, self.pair.objects, dataset)
        return study

    def seat(self, username: str = "ma", **words: Any) -> Seat:
        return Seat(self.browser, self.centre.url, username, **words)


@pytest.fixture(scope="module")
def desk(pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    if not bundle("image").script:
        pytest.skip("the viewer's bundle has not been built")
    folder: Path = tmp_path_factory.mktemp("image_desk")
    with pairs.open(SQLITE_AND_FOLDER, folder) as pair:
        settle_the_county(pair.database)
        with (
            AllInOne(data=folder / "data", environment=pair.environment) as centre,
            chromium() as browser,
        ):
            yield Desk(centre, browser, pair)


@pytest.fixture(autouse=True)
def everybody_goes_home(desk: Desk) -> Iterator[None]:
    yield
    for context in desk.browser.contexts:
        context.close()
    with desk.pair.database.transaction() as session:
        session.execute(update(ReadingTask).values(lease_until=utc_now()))
        session.execute(delete(Shortcuts))
        session.execute(delete(HangingProtocol))


def opened(seat: Seat, study: str) -> Page:
    """The study's page, its images drawn and its keys listening."""
    page = seat.open(f"/studies/{study}")
    until(page, "!!window.readingViewer?.T?.firstOpened")
    return page


def until(page: Page, condition: str) -> None:
    """Wait until it holds. Playwright's own wait evaluates a string, which the page's policy forbids."""
    end = time.monotonic() + 30
    while not page.evaluate(f"() => {{ try {{ return {condition} }} catch {{ return false }} }}"):
        assert time.monotonic() < end, condition
        time.sleep(0.05)


def look(page: Page, what: str) -> Any:
    return page.evaluate(f"() => window.readingViewer.{what}")


# --- keys ---------------------------------------------------------------------------------------------------


def test_a_key_that_a_reader_chose_is_hers_at_every_computer_and_nobody_else_s(desk: Desk) -> None:
    study = desk.a_stack(desk.a_patient(), slices=2)
    seat = desk.seat("ma")
    page = opened(seat, study)
    page.locator("#viewer .viewport").first.focus()
    page.keyboard.press("?")
    expect(page.locator(".viewer-help")).to_be_visible()

    page.locator(".viewer-help [data-action=invert]").click()
    page.keyboard.press("q")
    expect(page.locator(".viewer-help [role=status]")).to_contain_text("Q 现为“反相”")
    expect(page.locator(".viewer-help [data-action=invert]")).to_have_text("Q")
    page.keyboard.press("Escape")
    expect(page.locator(".viewer-help")).to_be_hidden()
    page.keyboard.press("q")

    assert look(page, "properties().invert") is True
    elsewhere = opened(desk.seat("ma"), study)
    elsewhere.locator("#viewer .viewport").first.focus()
    elsewhere.keyboard.press("i")
    assert look(elsewhere, "properties().invert") is False
    elsewhere.keyboard.press("q")
    assert look(elsewhere, "properties().invert") is True
    zhou = opened(desk.seat("zhou"), study)
    zhou.locator("#viewer .viewport").first.focus()
    zhou.keyboard.press("q")
    assert look(zhou, "properties().invert") is False
    assert seat.complaints == []


def test_a_key_of_the_page_cannot_be_chosen_and_one_in_use_changes_its_owner(desk: Desk) -> None:
    page = opened(desk.seat(), desk.a_stack(desk.a_patient(), slices=2))
    page.locator("#viewer .viewport").first.focus()
    page.keyboard.press("?")

    page.locator("[data-action=rotate]:not(.viewer-toolbar *)").click()
    page.keyboard.press("F2")
    expect(page.locator(".viewer-help [role=status]")).to_contain_text("由页面或浏览器使用")
    page.keyboard.press("h")

    expect(page.locator(".viewer-help [data-action=rotate]")).to_have_text("H")
    expect(page.locator(".viewer-help [data-action=flip]")).to_have_text("–")
    page.get_by_role("button", name="恢复默认").click()
    expect(page.locator(".viewer-help [data-action=flip]")).to_have_text("H")


def test_what_typing_means_in_a_report_no_key_of_the_images_does(desk: Desk) -> None:
    exam = builders.an_exam(desk.pair.database, desk.pair.objects, images=1)
    page = desk.seat("chen").open(f"/reading/{exam.task_id}")
    expect(page.locator("#findings")).to_be_focused(timeout=30_000)
    until(page, "!!window.readingViewer?.T?.firstOpened")

    page.keyboard.type("iIgG")

    assert page.input_value("#findings") == "iIgG"
    assert look(page, "properties().invert") is False
    assert look(page, "layout()") == "1x1"


# --- layouts ------------------------------------------------------------------------------------------------


def test_sixteen_series_stand_on_one_screen_each_without_loss(desk: Desk) -> None:
    patient, study = desk.a_patient(), new_uid()
    for _ in range(16):
        desk.a_stack(patient, slices=1, study=study)
    seat = desk.seat()
    page = opened(seat, study)

    page.locator("#viewer .viewport").first.focus()
    page.keyboard.press("Shift+0")

    expect(page.locator("#viewer .quality[data-quality=lossless]")).to_have_count(16, timeout=60_000)
    boxes = [one.bounding_box() for one in page.locator("#viewer .viewport:visible").all()]
    assert len({round(box["x"]) for box in boxes if box}) == 4
    assert len({round(box["y"]) for box in boxes if box}) == 4
    assert seat.complaints == []


def test_a_layout_is_picked_by_arrow_keys_and_by_the_mouse(desk: Desk) -> None:
    page = opened(desk.seat(), desk.a_stack(desk.a_patient(), slices=2))
    page.locator("#viewer .viewport").first.focus()
    page.keyboard.press("Shift+G")
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    assert look(page, "layout()") == "2x3"
    expect(page.locator(".layout-picker")).to_be_hidden()

    page.locator(".viewer-toolbar [data-action=layout_pick]").click()
    page.locator(".layout-picker [data-layout='4x1']").click()
    assert look(page, "layout()") == "4x1"


def test_a_series_is_dragged_into_the_viewport_where_it_is_wanted(desk: Desk) -> None:
    patient, study = desk.a_patient(), new_uid()
    for number in range(3):
        desk.a_stack(patient, slices=2, study=study, SeriesNumber=number + 1)
    page = opened(desk.seat(), study)
    page.locator("#viewer .viewport").first.focus()
    page.keyboard.press("Shift+2")
    third = page.locator(".series-card").nth(2)

    third.drag_to(page.locator("#viewer .viewport[data-viewport='1']"))

    until(page, "window.readingViewer.shown(1) === window.readingViewer.displaySets()[2].id")
    page.keyboard.press("f")
    expect(page.locator("#viewer .viewport:visible")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator("#viewer .viewport:visible")).to_have_count(2)
