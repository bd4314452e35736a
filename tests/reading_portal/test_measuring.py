"""Measuring in a real browser: figures against numpy, kept by the server, there again on another machine."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy
import pytest
from playwright.sync_api import Browser, Page, expect
from pydicom.dataset import Dataset

from reading_portal.pages.first_picture import bundle
from tests import builders
from tests.browser import Seat, chromium
from tests.cast import settle_the_county
from tests.pairs import SQLITE_AND_FOLDER, Pair, Pairs
from tests.servers.centre import AllInOne

Point = tuple[float, float]
PATIENT = iter(range(1000))
# Oblong pixels: whoever mixes up rows and columns measures something else.
ROW_SPACING, COLUMN_SPACING = 0.8, 0.5


@dataclass
class Room:
    centre: AllInOne
    browser: Browser
    pair: Pair

    def an_exam(
        self, *, second: dict[str, Any] | None = None, **attributes: Any
    ) -> tuple[builders.Exam, Dataset]:
        """Real pixels in 0.8 mm rows and 0.5 mm columns, or with other attributes; None removes one. Answers
        the slice, or that of the `second` series."""
        database, objects = self.pair.database, self.pair.objects
        # Of nobody else's: the exam before would hang beside it, with what was measured in that.
        patient = replace(builders.ZHANG, patient_id=f"M{next(PATIENT):04}", national_id=None)
        order = builders.an_order(database, patient=patient)
        for more in (attributes, second):
            if more is None:
                continue
            dataset = builders.a_dataset(
                study_instance_uid=order.study_instance_uid,
                accession_number=order.accession_number,
                patient_id=patient.patient_id,
            )
            for keyword, value in ({"PixelSpacing": [ROW_SPACING, COLUMN_SPACING]} | more).items():
                if value is None:
                    delattr(dataset, keyword)
                else:
                    setattr(dataset, keyword, value)
            builders.keep(database, objects, dataset)
        task = builders.settle_exam(database, order.study_instance_uid)
        uids = (str(dataset.SOPInstanceUID),)
        return builders.Exam(order.study_instance_uid, order.id, order.accession_number, uids, task), dataset

    def at(self, exam: builders.Exam, username: str = "chen") -> tuple[Seat, Page]:
        """Somebody at a machine of her own, before the images of the exam."""
        seat = Seat(self.browser, self.centre.url, username)
        page = seat.open(f"/reading/{exam.task_id}")
        until(page, "window.readingViewer?.T?.firstImage ?? 0")
        return seat, page


@pytest.fixture(scope="module")
def room(pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    if not bundle("image").script:
        pytest.skip("the viewer's bundle has not been built")
    folder: Path = tmp_path_factory.mktemp("measuring")
    with pairs.open(SQLITE_AND_FOLDER, folder) as pair:
        settle_the_county(pair.database)
        with AllInOne(data=folder / "data", environment=pair.environment) as centre, chromium() as browser:
            yield Room(centre, browser, pair)


@pytest.fixture(autouse=True)
def everybody_goes_home(room: Room) -> Iterator[None]:
    yield
    for context in room.browser.contexts:
        context.close()


def until(page: Page, truth: str, *, seconds: float = 30) -> Any:
    """What the expression answers once it is true; our pages allow no `wait_for_function`."""
    deadline = time.monotonic() + seconds
    while not (found := page.evaluate(truth)):
        assert time.monotonic() < deadline, f"never: {truth}"
        time.sleep(0.05)
    return found


def pick(page: Page, tool: str) -> None:
    page.locator(f"#viewer .viewer-toolbar button[aria-label='{tool}']").click()


def on_screen(page: Page, point: Point) -> Point:
    at = page.evaluate("([column, row]) => window.readingViewer.screen(column, row)", list(point))
    return at["x"], at["y"]


def drag(page: Page, *points: Point) -> list[Point]:
    """Press at the first point, pass the others, let go at the last."""
    time.sleep(0.5)  # apart from the click before, or the two are one double click
    places = [on_screen(page, point) for point in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()
    return list(points)


def click(page: Page, point: Point) -> None:
    time.sleep(0.5)
    place = on_screen(page, point)
    page.mouse.move(*place, steps=4)
    page.mouse.click(*place)


def lines(page: Page) -> list[list[str]]:
    return [one["lines"] for one in page.evaluate("window.readingViewer.measurements()")]


def kept(page: Page, exam: builders.Exam, *, count: int = 1) -> list[dict[str, Any]]:
    """What the server has, once it has so many and the page says that everything is there."""
    address = f"/api/studies/{exam.study_instance_uid}/measurements"
    ask = "address => fetch(address).then((answer) => answer.json()).then((said) => said.items)"
    deadline = time.monotonic() + 10
    while True:
        is_saved = page.evaluate("window.readingViewer.measurementsAreSaved()")
        items: list[dict[str, Any]] = page.evaluate(ask, address)
        if is_saved and len(items) == count:
            return items
        assert time.monotonic() < deadline, f"{len(items)} instead of {count}, saved: {is_saved}"
        time.sleep(0.1)


def figures(one: dict[str, Any]) -> dict[str, float]:
    return {figure["quantity"]: figure["value"] for figure in one["figures"]}


def number_in(text: str) -> float:
    found = re.search(r"-?\d+(\.\d+)?", text)
    assert found, text
    return float(found.group())


def test_a_length_on_oblong_pixels_is_the_files_and_says_who_calibrated_it(room: Room) -> None:
    exam, _ = room.an_exam()
    seat, page = room.at(exam)

    pick(page, "长度")
    drag(page, (20, 30), (80, 90))

    (one,) = kept(page, exam)
    (a, b) = one["points"]
    truth = numpy.hypot((b[0] - a[0]) * COLUMN_SPACING, (b[1] - a[1]) * ROW_SPACING)
    assert figures(one)["length"] == pytest.approx(truth, abs=1e-6)
    assert truth == pytest.approx(numpy.hypot(60 * COLUMN_SPACING, 60 * ROW_SPACING), abs=0.8)
    assert lines(page) == [[f"{truth:.1f} mm", "像素间距"]]
    assert seat.complaints == []


def test_what_was_measured_is_there_on_another_machine_and_belongs_to_whom_drew_it(room: Room) -> None:
    exam, _ = room.an_exam()
    _, page = room.at(exam)
    pick(page, "长度")
    drag(page, (20, 30), (80, 30))
    assert len(kept(page, exam)) == 1
    said = lines(page)

    _, elsewhere = room.at(exam, "chen")
    _, colleague = room.at(exam, "wu")

    assert until(elsewhere, "window.readingViewer.measurements().length") == 1
    assert lines(elsewhere) == said
    until(colleague, "window.readingViewer.measurements().length")
    assert lines(colleague)[0][:-1] == said[0]
    assert lines(colleague)[0][-1] not in said[0]  # the author's name
    colleague.locator("#viewer .viewport.is-active").focus()
    colleague.keyboard.press("Delete")
    assert len(lines(colleague)) == 1


def test_deleting_undoing_and_redoing_reach_the_server(room: Room) -> None:
    exam, _ = room.an_exam()
    _, page = room.at(exam)
    pick(page, "长度")
    drag(page, (20, 30), (80, 30))
    (first,) = kept(page, exam)
    cell = page.locator("#viewer .viewport.is-active")
    cell.focus()

    page.keyboard.press("Delete")
    kept(page, exam, count=0)
    page.keyboard.press("Control+z")
    (back,) = kept(page, exam)
    assert back["points"] == first["points"]
    assert lines(page)[0][0].endswith("mm")
    page.keyboard.press("Control+z")
    kept(page, exam, count=0)
    page.keyboard.press("Control+y")
    assert kept(page, exam)[0]["points"] == first["points"]

    drag(page, (80, 30), (80, 60))  # the end is taken hold of and moved
    time.sleep(0.5)
    (moved,) = kept(page, exam)
    assert moved["uid"] == first["uid"]
    assert moved["points"][1][1] == pytest.approx(60, abs=1)
    page.keyboard.press("Control+z")
    time.sleep(0.1)
    assert kept(page, exam)[0]["points"] == first["points"]


def test_while_the_line_is_down_the_page_says_so_and_keeps_trying(room: Room) -> None:
    exam, _ = room.an_exam()
    _, page = room.at(exam)
    page.route("**/measurements/**", lambda route: route.abort())
    pick(page, "长度")

    drag(page, (20, 30), (80, 30))

    expect(page.locator(".viewer-late")).to_contain_text("1 个测量尚未保存", timeout=5000)
    page.unroute("**/measurements/**")
    assert len(kept(page, exam)) == 1
    expect(page.locator(".viewer-late")).to_be_empty()


def test_one_key_makes_a_dicom_object_of_what_was_measured(room: Room) -> None:
    exam, _ = room.an_exam()
    _, page = room.at(exam)
    page.locator("#viewer .viewport.is-active").focus()
    page.keyboard.press("Shift+X")
    expect(page.locator(".viewer-toast")).to_contain_text("没有测量")
    pick(page, "长度")
    drag(page, (20, 30), (80, 30))
    kept(page, exam)
    page.locator("#viewer .viewport.is-active").focus()

    page.keyboard.press("Shift+X")

    expect(page.locator(".viewer-toast")).to_contain_text("1 个测量")
    address = f"/api/studies/{exam.study_instance_uid}"
    ask = "address => fetch(address).then((answer) => answer.json()).then((said) => said.series)"
    deadline = time.monotonic() + 20
    while not (made := [one for one in page.evaluate(ask, address) if one["is_made_here"]]):
        assert time.monotonic() < deadline, "the worker has not made it"
        time.sleep(0.2)
    assert [one["modality"] for one in made] == ["SR"]


def test_without_any_spacing_a_length_is_in_pixels(room: Room) -> None:
    exam, _ = room.an_exam(PixelSpacing=None)
    _, page = room.at(exam)

    pick(page, "长度")
    drag(page, (20, 30), (80, 30))

    (one,) = kept(page, exam)
    assert (one["calibration"], one["figures"][0]["unit"]) == ("none", "px")
    assert lines(page)[0][0].endswith(" px")
    assert lines(page)[0][-1] == "未校准"


def test_an_angle_is_that_of_the_patient_not_of_the_matrix(room: Room) -> None:
    exam, _ = room.an_exam()
    _, page = room.at(exam)

    pick(page, "角度")
    drag(page, (80, 20), (30, 20))
    click(page, (70, 80))

    (one,) = kept(page, exam)
    a, vertex, b = (numpy.array(point) * (COLUMN_SPACING, ROW_SPACING) for point in one["points"])
    u, v = a - vertex, b - vertex
    truth = numpy.degrees(numpy.arccos(u @ v / numpy.linalg.norm(u) / numpy.linalg.norm(v)))
    assert figures(one)["angle"] == pytest.approx(truth, abs=1e-6)
    assert truth == pytest.approx(numpy.degrees(numpy.arctan2(60 * ROW_SPACING, 40 * COLUMN_SPACING)), abs=2)


def test_a_cobb_angle_is_that_between_two_end_plates(room: Room) -> None:
    exam, _ = room.an_exam()
    _, page = room.at(exam)

    pick(page, "Cobb 角")
    drag(page, (20, 20), (90, 40))
    drag(page, (90, 80), (20, 100))

    (one,) = kept(page, exam)
    a, b, c, d = (numpy.array(point) * (COLUMN_SPACING, ROW_SPACING) for point in one["points"])
    slopes = [numpy.degrees(numpy.arctan2(*(end - start)[::-1])) for start, end in ((a, b), (d, c))]
    assert figures(one)["angle"] == pytest.approx(abs(slopes[0] - slopes[1]), abs=1e-6)
    assert lines(page)[0][0] == f"{figures(one)['angle']:.1f}°"


def test_two_diameters_are_two_lengths_the_longer_first(room: Room) -> None:
    exam, _ = room.an_exam()
    _, page = room.at(exam)

    pick(page, "双径线")
    drag(page, (30, 60), (90, 60))

    (one,) = kept(page, exam)
    a, b, c, d = (numpy.array(point) * (COLUMN_SPACING, ROW_SPACING) for point in one["points"])
    lengths = sorted((float(numpy.linalg.norm(b - a)), float(numpy.linalg.norm(d - c))), reverse=True)
    assert list(figures(one).values()) == pytest.approx(lengths, abs=1e-6)
    assert [text.split()[0] for text in lines(page)[0][:2]] == ["长径", "短径"]


@pytest.mark.parametrize("kind", ["矩形 ROI", "椭圆 ROI", "手绘 ROI"])
def test_mean_and_deviation_of_an_area_are_numpys(room: Room, kind: str) -> None:
    exam, dataset = room.an_exam()
    hounsfield = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    _, page = room.at(exam)

    pick(page, kind)
    drag(page, *FREEHAND) if kind == "手绘 ROI" else drag(page, (40.3, 44.4), (71.8, 82.6))

    (one,) = kept(page, exam)
    inside, area = mask_of(one, hounsfield.shape)
    truth = hounsfield[inside]
    assert inside.sum() > 500
    assert figures(one) == pytest.approx(
        {
            "area": area,
            "mean": truth.mean(),
            "deviation": truth.std(),
            "min": truth.min(),
            "max": truth.max(),
        },
        abs=1e-3,
    )
    said = lines(page)[0]
    assert number_in(said[0]) == pytest.approx(area, abs=0.06)
    assert "HU" in said[1]
    assert number_in(said[1]) == pytest.approx(truth.mean(), abs=0.06)
    assert number_in(said[2]) == pytest.approx(truth.std(), abs=0.06)
    assert said[-1] == "像素间距"


FREEHAND = [(40.2, 40.3), (80.7, 42.1), (84.4, 80.2), (60.9, 60.3), (38.5, 84.8), (40.2, 40.4)]


def mask_of(one: dict[str, Any], shape: tuple[int, ...]) -> tuple[numpy.ndarray, float]:
    """The pixels whose centres lie inside, and the area in mm², by arithmetic of our own."""
    rows, columns = numpy.indices(shape)
    points = numpy.array(one["points"])
    if one["kind"] == "rectangle":
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        inside = (columns >= left) & (columns <= right) & (rows >= top) & (rows <= bottom)
        return inside, float((right - left) * COLUMN_SPACING * (bottom - top) * ROW_SPACING)
    if one["kind"] == "ellipse":
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        across, down = (right - left) / 2, (bottom - top) / 2
        x, y = columns - (left + right) / 2, rows - (top + bottom) / 2
        area = float(numpy.pi * across * COLUMN_SPACING * down * ROW_SPACING)
        return (x / across) ** 2 + (y / down) ** 2 <= 1, area
    inside = numpy.zeros(shape, dtype=bool)
    x, y = points.T
    for x1, y1, x2, y2 in zip(x, y, numpy.roll(x, -1), numpy.roll(y, -1), strict=True):
        crosses = (y1 > rows) != (y2 > rows)
        with numpy.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (columns < (x2 - x1) * (rows - y1) / (y2 - y1) + x1)
    area = abs(numpy.dot(x, numpy.roll(y, -1)) - numpy.dot(y, numpy.roll(x, -1))) / 2
    return inside, float(area * COLUMN_SPACING * ROW_SPACING)


def test_the_mean_of_a_pet_is_its_uptake_by_body_weight(room: Room) -> None:
    given = Dataset()
    given.RadionuclideTotalDose, given.RadionuclideHalfLife = "370000000", "6586.2"
    given.RadiopharmaceuticalStartTime = "090000"
    pet = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.128",
        "Modality": "PT",
        "SeriesNumber": "2",
        "Units": "BQML",
        "CorrectedImage": ["DECY", "ATTN"],
        "DecayCorrection": "START",
        "PatientWeight": "70",
        "SeriesDate": "20261128",
        "SeriesTime": "100000",
        "AcquisitionDate": "20261128",
        "AcquisitionTime": "100100",
        "RadiopharmaceuticalInformationSequence": [given],
        "RescaleIntercept": "0",
        "RescaleSlope": "12.5",
    }
    exam, dataset = room.an_exam(second=pet)
    activity = dataset.pixel_array * 12.5
    _, page = room.at(exam)
    page.locator("#viewer .viewport.is-active").focus()
    page.keyboard.press("]")
    until(page, f"window.readingViewer.slice().sop_instance_uid === '{dataset.SOPInstanceUID}'")
    until(page, "window.readingViewer.value(64, 64) !== undefined")

    pick(page, "矩形 ROI")
    drag(page, (40.3, 44.4), (71.8, 82.6))

    (one,) = kept(page, exam)
    inside, _ = mask_of(one, activity.shape)
    uptake = activity[inside] * 70_000 / (370e6 * 2 ** (-3600 / 6586.2))
    assert {figure["unit"] for figure in one["figures"]} == {"mm²", "SUVbw"}
    assert figures(one)["mean"] == pytest.approx(uptake.mean(), rel=1e-6)
    assert figures(one)["deviation"] == pytest.approx(uptake.std(), rel=1e-6)
    assert lines(page)[0][1] == f"均值 {uptake.mean():.2f} SUVbw"


def test_the_value_at_a_point_is_the_files_hounsfield_unit(room: Room) -> None:
    exam, dataset = room.an_exam()
    _, page = room.at(exam)

    pick(page, "CT 值/像素值")
    click(page, (64, 70))

    (one,) = kept(page, exam)
    column, row = (round(number) for number in one["points"][0])
    truth = dataset.pixel_array[row, column] * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    assert (figures(one)["value"], one["figures"][0]["unit"]) == (truth, "HU")
    assert (column, row) == (64, 70)
