"""Planes cut from a volume, and slices in a localiser, in a real browser: the patient's millimetres."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from reading_portal.pages.first_picture import bundle
from storage.uids import new_uid
from tests import builders
from tests.browser import chromium
from tests.cast import settle_the_county
from tests.pairs import SQLITE_AND_FOLDER, Pairs
from tests.reading_portal.test_image_desk import Desk, opened, until
from tests.servers.centre import AllInOne

SLICES, STEP = 24, 4.0
FIRST = (-158.0, -179.0, -75.0)


@pytest.fixture(scope="module")
def desk(pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    if not bundle("image").script:
        pytest.skip("the viewer's bundle has not been built")
    folder: Path = tmp_path_factory.mktemp("planes")
    with pairs.open(SQLITE_AND_FOLDER, folder) as pair:
        settle_the_county(pair.database)
        with (
            AllInOne(data=folder / "data", environment=pair.environment) as centre,
            chromium() as browser,
        ):
            yield Desk(centre, browser, pair)


@pytest.fixture(scope="module")
def volume(desk: Desk) -> Volume:
    return Volume(desk)


@pytest.fixture(autouse=True)
def everybody_goes_home(desk: Desk) -> Iterator[None]:
    yield
    for context in desk.browser.contexts:
        context.close()


class Volume:
    """A real slice of a head, moved on by two rows and three columns from slice to slice."""

    def __init__(self, desk: Desk, *, shear: float = 0.0, gap: float = 0.0, modality: str = "CT") -> None:
        self.study, self.frame_of_reference, series = new_uid(), new_uid(), new_uid()
        self.patient = desk.a_patient()
        for number in range(SLICES):
            dataset = builders.a_dataset(
                study_instance_uid=self.study,
                series_instance_uid=series,
                patient_id=self.patient,
                number=number + 1,
            )
            if not number:
                head = dataset.pixel_array.astype(np.int16)
                self.spacing = [float(value) for value in dataset.PixelSpacing]
                slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
                self.stored = np.stack([np.roll(head, (2 * z, 3 * z), (0, 1)) for z in range(SLICES)])
                self.values = self.stored * slope + intercept
            dataset.PixelData = self.stored[number].astype("<i2").tobytes()
            dataset.FrameOfReferenceUID = self.frame_of_reference
            dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            x, y, z = FIRST
            along = number * STEP + (gap if number > SLICES // 2 else 0)
            dataset.ImagePositionPatient = [x, y + shear * along, z + along]
            dataset.SliceThickness = STEP
            dataset.Modality = modality
            builders.keep(desk.pair.database, desk.pair.objects, dataset)

    def place(self, column: int, row: int, number: int) -> list[float]:
        """Where the centre of a voxel lies in the patient, in mm (PS3.3 C.7.6.2.1.1)."""
        x, y, z = FIRST
        return [x + column * self.spacing[1], y + row * self.spacing[0], z + number * STEP]


def planes(page: Page, what: str, *values: Any) -> Any:
    return page.evaluate(f"(values) => window.readingViewer.planes().{what}", list(values))


def with_planes(desk: Desk, volume: Volume, **words: Any) -> Page:
    page = opened(desk.seat(**words), volume.study)
    page.locator("#viewer .viewport").first.focus()
    page.keyboard.press("Shift+M")
    until(page, "document.querySelector('.mpr')?.dataset.complete === 'true'")
    return page


def test_every_plane_shows_the_voxels_that_lie_there_in_hounsfield_units(desk: Desk, volume: Volume) -> None:
    page = with_planes(desk, volume)

    for column, row, number in [(0, 0, 0), (127, 127, 23), (64, 64, 12), (20, 100, 5), (101, 33, 18)]:
        value = planes(page, "valueAt(values[0])", volume.place(column, row, number))
        assert value == volume.values[number, row, column]
    assert planes(page, "valueAt(values[0]) ?? null", [FIRST[0] - 5, FIRST[1], FIRST[2]]) is None


def test_a_millimetre_is_as_long_along_the_patient_as_across(desk: Desk, volume: Volume) -> None:
    page = with_planes(desk, volume)
    here = volume.place(64, 64, 10)

    def pixels(plane: int, axis: int) -> float:
        there = [value + 20 * (at == axis) for at, value in enumerate(here)]
        a, b = (planes(page, "onScreen(values[0], values[1])", plane, point) for point in (here, there))
        return float(np.hypot(a["x"] - b["x"], a["y"] - b["y"]))

    for plane, axes in ((0, (0, 1)), (1, (1, 2)), (2, (0, 2))):
        assert pixels(plane, axes[0]) == pytest.approx(pixels(plane, axes[1]), rel=1e-3) != 0
    # The third axis runs into the screen.
    assert [pixels(plane, axis) < 0.01 for plane, axis in ((0, 2), (1, 0), (2, 1))] == [True, True, True]


def test_a_press_in_one_plane_brings_the_others_there(desk: Desk, volume: Volume) -> None:
    page = with_planes(desk, volume)
    wanted = volume.place(40, 70, 17)
    at = planes(page, "onScreen(values[0], values[1])", 1, wanted)

    page.mouse.click(at["x"], at["y"])

    until(page, f"Math.abs(window.readingViewer.planes().center[2] - {wanted[2]}) < 2")
    _, y, z = planes(page, "center")
    assert (y, z) == (pytest.approx(wanted[1], abs=1.5), pytest.approx(wanted[2], abs=1.5))
    planes(page, "jumpTo(values[0])", volume.place(90, 30, 4))
    assert planes(page, "center") == pytest.approx(volume.place(90, 30, 4), abs=0.01)


def test_a_thick_slab_shows_the_brightest_the_mean_or_the_darkest_of_what_lies_in_it(
    desk: Desk, volume: Volume
) -> None:
    page = with_planes(desk, volume)
    planes(page, "setWindow({ width: 2000, center: 300 })")
    planes(page, "jumpTo(values[0])", volume.place(64, 64, 12))
    slab = volume.values[10:15, 50:78, 50:78]  # 20 mm about the slice
    truth = {
        "none": volume.values[12, 50:78, 50:78],
        "average": slab.mean(0),
        "mip": slab.max(0),
        "minip": slab.min(0),
    }

    for name, values in truth.items():
        planes(page, "setSlab(values[0], 20)", name)
        page.wait_for_timeout(300)
        a, b = (
            planes(page, "onScreen(values[0], values[1])", 0, volume.place(*at, 12))
            for at in ((50, 50), (77, 77))
        )
        box = page.locator("[data-plane=mpr-axial]").screenshot()
        origin = page.locator("[data-plane=mpr-axial]").bounding_box()
        assert origin is not None
        picture = np.asarray(Image.open(io.BytesIO(box)).convert("L"), dtype=float)
        part = picture[
            round(a["y"] - origin["y"]) : round(b["y"] - origin["y"]),
            round(a["x"] - origin["x"]) : round(b["x"] - origin["x"]),
        ]
        expected = np.clip((values - (300 - 1000)) / 2000 * 255, 0, 255)
        # The crosshair's lines and the interpolation between voxels are in the picture too.
        assert np.median(part) == pytest.approx(np.median(expected), abs=8), name


@pytest.mark.parametrize(
    ("words", "sentence"),
    [({"shear": 0.2}, "机架倾斜 11.3°"), ({"gap": 6.0}, "层间距不等（4.00–10.00 mm）")],
)
def test_a_stack_whose_planes_would_be_distorted_is_refused_with_the_reason(
    desk: Desk, words: dict[str, float], sentence: str
) -> None:
    page = opened(desk.seat(), Volume(desk, **words).study)
    page.locator("#viewer .viewport").first.focus()

    page.keyboard.press("Shift+M")

    expect(page.locator(".viewer-toast")).to_contain_text(sentence)
    assert page.locator(".mpr").count() == 0 or not page.locator(".mpr").is_visible()


def test_the_patient_stands_on_every_plane_and_escape_leads_back_to_the_same_slice(
    desk: Desk, volume: Volume
) -> None:
    page = opened(desk.seat(), volume.study)
    page.locator("#viewer .viewport").first.focus()
    page.keyboard.press("PageDown")
    before = page.evaluate("() => window.readingViewer.slice().index")
    page.keyboard.press("Shift+M")
    until(page, "document.querySelector('.mpr')?.dataset.complete === 'true'")

    for cell in page.locator(".mpr .viewport").all():
        expect(cell.locator(".top-left")).to_contain_text("张三")
    expect(page.locator("[data-plane=mpr-sagittal] .edge-top")).to_have_text("H")
    expect(page.locator("[data-plane=mpr-axial] .edge-left")).to_have_text("R")
    page.keyboard.press("Shift+S")
    expect(page.locator("[data-plane=mpr-axial] .bottom-left")).to_contain_text("平均 10 mm")
    page.keyboard.press("Escape")

    expect(page.locator(".mpr")).to_be_hidden()
    assert page.evaluate("() => window.readingViewer.slice().index") == before
    page.keyboard.press("ArrowDown")
    until(page, f"window.readingViewer.slice().index === {before + 1}")


def test_what_a_plane_cannot_do_is_said_and_the_hidden_slices_stay_as_they_were(
    desk: Desk, volume: Volume
) -> None:
    page = with_planes(desk, volume)
    before = page.evaluate("() => window.readingViewer.slice().index")
    height = planes(page, "center")[2]

    page.keyboard.press("ArrowDown")
    until(page, f"Math.abs(Math.abs(window.readingViewer.planes().center[2] - {height}) - {STEP}) < 0.01")
    page.keyboard.press("r")

    expect(page.locator(".viewer-toast")).to_contain_text("“顺时针旋转 90°”仅用于原始层面")
    assert page.evaluate("() => window.readingViewer.slice().index") == before
    page.keyboard.press("3")
    assert planes(page, "window()") == {"width": 2000, "center": 350}


def _a_localiser(desk: Desk, volume: Volume, *, frame_of_reference: str) -> None:
    """A sagittal picture through the middle of the volume, of the same study."""
    dataset = builders.a_dataset(study_instance_uid=volume.study, patient_id=volume.patient, number=99)
    dataset.FrameOfReferenceUID = frame_of_reference
    dataset.SeriesDescription = "定位像"
    x, y, z = volume.place(64, 0, SLICES)
    dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    dataset.ImagePositionPatient = [x, y, z]
    dataset.PixelSpacing = [1, 1]
    builders.keep(desk.pair.database, desk.pair.objects, dataset)


def test_the_slice_that_is_read_stands_as_a_line_in_the_localiser_at_its_height(desk: Desk) -> None:
    volume = Volume(desk)
    _a_localiser(desk, volume, frame_of_reference=volume.frame_of_reference)
    page = opened(desk.seat(), volume.study)
    page.locator("#viewer .viewport").first.focus()
    page.keyboard.press("Shift+2")
    until(page, "window.readingViewer.quality(1) === 'lossless'")
    stack, localiser = (0, 1) if page.evaluate("() => window.readingViewer.slice(0).count") > 1 else (1, 0)
    page.locator("#viewer .viewport").nth(stack).focus()
    line = page.locator("#viewer .viewport").nth(localiser).locator(".reference-line line")

    for index in (3, 20):
        page.evaluate(f"() => window.readingViewer.scrollTo({index}, {stack})")
        until(page, f"window.readingViewer.quality({stack}) === 'lossless'")
        # The localiser's first row lies one step above the last slice, its rows a millimetre apart.
        row = (SLICES - index) * STEP
        wanted = page.evaluate(f"() => window.readingViewer.screen(0, {row}, {localiser})")["y"]
        top = page.locator("#viewer .viewport").nth(localiser).locator(".host").bounding_box()
        assert top is not None
        until(page, f"Math.abs({line_end(localiser)} - {wanted - top['y']}) < 0.6")
    expect(line).to_have_count(1)
    page.keyboard.press("Shift+L")
    expect(line).to_have_count(0)


def line_end(viewport: int) -> str:
    cell = f"document.querySelectorAll('#viewer .viewport')[{viewport}]"
    return f"{cell}.querySelector('.reference-line line').getAttribute('y1')"


def test_no_line_is_drawn_between_two_frames_of_reference(desk: Desk) -> None:
    volume = Volume(desk)
    _a_localiser(desk, volume, frame_of_reference=new_uid())
    page = opened(desk.seat(), volume.study)
    page.locator("#viewer .viewport").first.focus()

    page.keyboard.press("Shift+2")
    until(
        page,
        "window.readingViewer.quality(0) === 'lossless' && window.readingViewer.quality(1) === 'lossless'",
    )

    expect(page.locator(".reference-line")).to_have_count(0)


def test_a_preset_that_is_a_share_of_the_picture_s_own_window_is_one_of_the_planes_too(desk: Desk) -> None:
    """MR has no units: "narrow" is narrower than what the device says, and leaves the hidden slices alone."""
    page = with_planes(desk, Volume(desk, modality="MR"))
    before, slices = planes(page, "window()"), page.evaluate("() => window.readingViewer.window(0)")

    page.keyboard.press("2")

    after = planes(page, "window()")
    assert after["width"] == pytest.approx(0.6 * before["width"], rel=0.02)
    assert page.evaluate("() => window.readingViewer.window(0)") == slices
