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

    def seat(self, username: str = "chen", **words: Any) -> Seat:
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
    seat = desk.seat()
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
    elsewhere = opened(desk.seat(), study)
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


# --- priors -------------------------------------------------------------------------------------------------


def hung(seat: Seat, study: str) -> Page:
    """As `opened`, with the earlier study beside it where one comes by itself."""
    page = opened(seat, study)
    until(page, "!!window.readingViewer.T.hung")
    page.locator("#viewer .viewport").first.focus()
    return page


def places(page: Page) -> list[float]:
    """Of the viewports on the screen, where the slice that each shows lies along its stack, in mm."""
    count = page.locator("#viewer .viewport:visible").count()
    return [look(page, f"place({number})") for number in range(count)]


def test_an_earlier_study_comes_beside_the_current_one_and_scrolls_with_it_to_the_millimetre(
    desk: Desk,
) -> None:
    # Given: 5 mm slices now, 2 mm slices a year ago, both 0 to 100 mm; and a head, nothing to compare.
    patient = desk.a_patient()
    head = {"BodyPartExamined": "HEAD", "SeriesDescription": "Head"}
    desk.a_stack(patient, slices=4, date="20260301", **head)
    desk.a_stack(patient, slices=51, step=2.0, date="20251101")
    seat = desk.seat()

    page = hung(seat, desk.a_stack(patient, slices=21))

    assert look(page, "layout()") == "1x2"
    assert look(page, "slice(1).count") == 51
    assert places(page) == [50.0, 50.0]
    assert look(page, "link(1)") == "估计联动 · Δ 0.0 mm"
    for key, expected in (
        ("ArrowDown", [55.0, [54.0, 56.0]]),
        ("PageDown", [100.0, [100.0]]),
        ("Home", [0.0, [0.0]]),
    ):
        page.keyboard.press(key)
        until(page, f"window.readingViewer.place(0) === {expected[0]}")
        assert places(page)[1] in expected[1], key
    page.keyboard.press("v")
    page.keyboard.press("PageDown")
    until(page, "window.readingViewer.place(0) === 20")
    assert places(page) == [20.0, 20.0]
    assert seat.complaints == []


def test_slices_linked_by_hand_stay_together_across_frames_of_reference(desk: Desk) -> None:
    # Given: the table stood 700 mm lower a year ago, and the scan began elsewhere: no guess can be right.
    patient = desk.a_patient()
    desk.a_stack(patient, slices=31, step=2.5, first=-700.0, date="20251101")
    page = hung(desk.seat(), desk.a_stack(patient, slices=21))
    assert places(page)[1] == pytest.approx(-662.5, abs=1.25)

    # When: she lets go, finds the vertebra that she sees at 20 mm at -690 mm, and links them there.
    page.keyboard.press("Shift+Y")
    page.evaluate("() => { window.readingViewer.scrollTo(4, 0); window.readingViewer.scrollTo(4, 1); }")
    until(page, "window.readingViewer.place(0) === 20 && window.readingViewer.place(1) === -690")
    page.keyboard.press("y")

    # Then: every slice of now stands beside the one that lies 710 mm below it, within half a slice.
    assert look(page, "link(1)") == "手动对齐 · Δ 0.0 mm"
    for index in (5, 6, 12, 0, 16):
        page.evaluate(f"() => window.readingViewer.scrollTo({index}, 0)")
        until(page, f"window.readingViewer.slice(0).index === {index}")
        now, then = places(page)
        assert now == index * 5.0
        assert abs(then - max(now - 710.0, -700.0)) <= 1.25
    # What cannot be shown is said: at the lower end the earlier scan has no such slice.
    page.evaluate("() => window.readingViewer.scrollTo(0, 0)")
    until(page, "window.readingViewer.link(1).endsWith('Δ 10.0 mm')")


def test_pixels_of_other_earlier_studies_are_fetched_only_when_asked_for(desk: Desk) -> None:
    patient = desk.a_patient()
    other = desk.a_stack(patient, slices=3, date="20241101")
    best = desk.a_stack(patient, slices=3, date="20251101")
    study, seat = desk.a_stack(patient, slices=3), desk.seat()
    asked: list[str] = []
    seat.page.on("request", lambda request: asked.append(request.url))

    page = hung(seat, study)
    expect(page.locator("#viewer .quality[data-quality=lossless]")).to_have_count(2, timeout=30_000)
    page.wait_for_timeout(1000)

    assert any(f"{best}/series" in url and "/frames/" in url for url in asked)
    assert not any(f"/{other}/" in url for url in asked)
    page.locator(".prior-card", has_text="2024-11-01").click()
    until(page, f"window.readingViewer.study(1) === '{other}'")
    expect(page.locator("#viewer .quality[data-quality=lossless]")).to_have_count(2, timeout=30_000)


# --- hangings -----------------------------------------------------------------------------------------------


def a_study_of_two_series(desk: Desk, patient: str) -> str:
    study, frame = new_uid(), new_uid()
    for number, name in ((1, "肺窗 1.0"), (2, "纵隔 5.0")):
        desk.a_stack(
            patient,
            slices=3,
            study=study,
            frame_of_reference=frame,
            SeriesNumber=number,
            SeriesDescription=name,
        )
    return study


def shown_series(page: Page) -> list[str]:
    return list(
        page.evaluate(
            """() => [0, 1].map((number) => window.readingViewer.displaySets()
                .find((set) => set.id === window.readingViewer.shown(number))?.description ?? "")"""
        )
    )


def test_what_a_reader_saves_is_how_the_next_study_of_the_kind_opens(desk: Desk) -> None:
    # Given: the second series on the left, the first on the right in the lung window.
    seat = desk.seat()
    page = hung(seat, a_study_of_two_series(desk, desk.a_patient()))
    page.keyboard.press("Shift+2")
    until(page, "window.readingViewer.shown(1)")
    page.locator(".series-card").nth(1).drag_to(page.locator("#viewer .viewport[data-viewport='0']"))
    page.locator(".series-card").nth(0).drag_to(page.locator("#viewer .viewport[data-viewport='1']"))
    until(page, "window.readingViewer.window(1)")
    page.locator("#viewer .viewport").nth(1).focus()
    page.keyboard.press("2")
    assert (shown_series(page), look(page, "window(1).width")) == (["纵隔 5.0", "肺窗 1.0"], 1500)

    # When: she saves it.
    page.keyboard.press("Shift+N")
    page.locator(".hanging-panel input").fill("我的胸部 CT")
    page.keyboard.press("Enter")
    expect(page.locator(".hanging-panel .panel-said")).to_have_text("已保存“我的胸部 CT”")

    # Then: another chest opens so, also at another computer; for somebody else it does not.
    another = a_study_of_two_series(desk, desk.a_patient())
    hers = hung(desk.seat(), another)
    assert (look(hers, "layout()"), shown_series(hers)) == ("1x2", ["纵隔 5.0", "肺窗 1.0"])
    assert (look(hers, "window(1).width"), look(hers, "window(0).width")) == (1500, 350)
    assert look(hung(desk.seat("zhou"), another), "layout()") == "1x1"
    assert seat.complaints == []


def test_a_department_s_hanging_is_saved_by_who_may_and_opens_for_everybody_there(desk: Desk) -> None:
    study = a_study_of_two_series(desk, desk.a_patient())
    zhou = hung(desk.seat("zhou"), study)
    zhou.keyboard.press("Shift+3")
    until(zhou, "window.readingViewer.shown(1)")
    zhou.locator(".viewer-toolbar [data-action=hangings]").click()
    zhou.locator(".hanging-panel select").last.select_option("department")
    zhou.locator(".hanging-panel form button").click()
    expect(zhou.locator(".hanging-panel li")).to_contain_text("全科")

    exam = builders.an_exam(desk.pair.database, desk.pair.objects, images=1)
    page = desk.seat("chen").open(f"/reading/{exam.task_id}")
    until(page, "!!window.readingViewer?.T?.hung")
    assert look(page, "layout()") == "1x3"
    page.locator("#viewer .viewport").first.focus()
    page.keyboard.press("Shift+N")
    expect(page.locator(".hanging-panel option[value=department]")).to_be_disabled()
    expect(page.locator(".hanging-panel li button")).to_have_count(1)


def test_four_mammograms_stand_back_to_back_in_one_scale(desk: Desk) -> None:
    patient, study = desk.a_patient(), new_uid()
    for side, view, spacing in (("L", "MLO", 0.1), ("R", "MLO", 0.1), ("L", "CC", 0.1), ("R", "CC", 0.07)):
        desk.a_stack(
            patient,
            slices=1,
            study=study,
            Modality="MG",
            ImageLaterality=side,
            ViewPosition=view,
            PatientOrientation=["A", "F"] if side == "L" else ["P", "F"],
            PixelSpacing=[spacing, spacing],
            ImagerPixelSpacing=[spacing, spacing],
        )
    page = hung(desk.seat("ma"), study)
    expect(page.locator("#viewer .quality[data-quality=lossless]")).to_have_count(4, timeout=60_000)

    assert [look(page, f"face({number})") for number in range(4)] == ["R CC", "L CC", "R MLO", "L MLO"]
    # The chest walls meet: right breasts end at the right edge of their cells, left ones begin at the left.
    for number in range(4):
        cell = page.locator(f"#viewer .viewport[data-viewport='{number}'] .host").bounding_box()
        right, left = (
            look(page, f"screen(127.5, 64, {number}).x"),
            look(page, f"screen(-0.5, 64, {number}).x"),
        )
        assert cell
        edge = cell["x"] + cell["width"] if number in (0, 2) else cell["x"]
        assert min(abs(right - edge), abs(left - edge)) < 2
    # A millimetre is as long in each of them, whatever detector took it.
    lengths = [
        (look(page, f"screen(100, 64, {number}).x") - look(page, f"screen(0, 64, {number}).x"))
        / 100
        / spacing
        for number, spacing in ((0, 0.07), (1, 0.1), (2, 0.1), (3, 0.1))
    ]
    assert max(map(abs, lengths)) == pytest.approx(min(map(abs, lengths)), rel=0.01)
    page.keyboard.press("o")
    assert abs(look(page, "screen(100, 64, 0).x") - look(page, "screen(0, 64, 0).x")) == pytest.approx(
        100, rel=0.01
    )


def test_oblong_pixels_of_unknown_size_are_drawn_as_oblong_as_they_are(desk: Desk) -> None:
    study = desk.a_stack(desk.a_patient(), slices=1, PixelSpacing=None, PixelAspectRatio=[2, 1])
    page = opened(desk.seat(), study)
    until(page, "window.readingViewer.quality(0) === 'lossless'")

    corner, across, down = (look(page, f"screen({at})") for at in ("0, 0", "50, 0", "0, 50"))

    assert (down["y"] - corner["y"]) == pytest.approx(2 * (across["x"] - corner["x"]), rel=0.01) != 0
    expect(page.locator("#viewer .scale-bar")).to_be_hidden()
