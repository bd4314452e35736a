"""The first frame without loss, drawn by a worker before the viewer is up: the same picture, or none."""

from __future__ import annotations

import base64
import io
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page
from pydicom.dataset import Dataset

from reading_portal.pages.first_frame import first_frame
from reading_portal.pages.first_picture import bundle
from storage.uids import new_uid
from tests import builders
from tests.browser import Seat, chromium
from tests.cast import password_of, settle_the_county
from tests.pairs import SQLITE_AND_FOLDER, Pair, Pairs
from tests.servers.centre import AllInOne

LITTLE, JPEG_2000 = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90"
PLAIN: dict[str, Any] = {
    "00280002": {"vr": "US", "Value": [1]},
    "00280004": {"vr": "CS", "Value": ["MONOCHROME2"]},
    "00280010": {"vr": "US", "Value": [512]},
    "00280011": {"vr": "US", "Value": [500]},
    "00280030": {"vr": "DS", "Value": [0.7, 0.7]},
    "00280100": {"vr": "US", "Value": [16]},
    "00280101": {"vr": "US", "Value": [12]},
    "00280102": {"vr": "US", "Value": [11]},
    "00280103": {"vr": "US", "Value": [0]},
    "00281050": {"vr": "DS", "Value": [40, -600]},
    "00281051": {"vr": "DS", "Value": [400, 1500]},
    "00281052": {"vr": "DS", "Value": [-1024]},
    "00281053": {"vr": "DS", "Value": [1]},
}
# The viewer's decoder hears nothing until the test lets it: a slow machine, whose first frame comes before.
SLOW_VIEWER = """
(() => {
  let held = [];
  const Native = Worker;
  window.Worker = class extends Native {
    constructor(url, options) { super(url, options); this.url = String(url); }
    postMessage(...words) {
      if (held && this.url.includes("decodeImageFrameWorker")) held.push(() => super.postMessage(...words));
      else super.postMessage(...words);
    }
  };
  window.__letGo = () => { const all = held; held = null; for (const one of all) one(); };
  document.addEventListener("viewer:quality", ({ detail }) => { window.__quality = detail; });
})();
"""
PIXELS = """
() => {
  const canvas = document.querySelector("canvas.first-frame");
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [canvas.width, canvas.height];
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const { data } = context.getImageData(0, 0, copy.width, copy.height);
  return [copy.width, copy.height, btoa(Array.from(data, (byte) => String.fromCharCode(byte)).join(""))];
}
"""


def told(header: dict[str, Any], **changes: Any) -> Any:
    words: dict[str, Any] = {"modality": "CT", "transfer_syntax_uid": LITTLE, "number_of_frames": 1} | changes
    return first_frame("/frames/1", header, **words)


def test_a_plain_frame_is_told_with_its_first_window() -> None:
    frame = told(PLAIN)

    assert (frame.rows, frame.columns, frame.bits_stored) == (512, 500, 12)
    assert (frame.slope, frame.intercept, frame.center, frame.width) == (1, -1024, 40, 400)
    assert not frame.is_signed and not frame.is_inverted


@pytest.mark.parametrize(
    "more",
    [
        {"00283010": {"vr": "SQ", "Value": [{}]}},
        {"00283000": {"vr": "SQ", "Value": [{}]}},
        {"52009229": {"vr": "SQ", "Value": [{}]}},
        {"60003000": {"vr": "OW"}},
        {"00281051": {"vr": "DS"}},
        {"00281051": {"vr": "DS", "Value": [0.5]}},
        {"00281050": {"vr": "DS", "Value": ["forty"]}},
        {"00281053": {"vr": "DS", "Value": [0]}},
        {"00281056": {"vr": "CS", "Value": ["SIGMOID"]}},
        {"00282110": {"vr": "CS", "Value": ["01"]}},
        {"00280002": {"vr": "US", "Value": [3]}},
        {"00280004": {"vr": "CS", "Value": ["PALETTE COLOR"]}},
        {"00280010": {"vr": "US", "Value": [0]}},
        {"00280030": {"vr": "DS", "Value": [0.7, 0.8]}},
        {"00280034": {"vr": "IS", "Value": [2, 1]}},
        {"00280100": {"vr": "US", "Value": [32]}},
        {"00280102": {"vr": "US", "Value": [15]}},
    ],
    ids=str,
)
def test_what_only_the_viewer_can_draw_is_left_to_it(more: dict[str, Any]) -> None:
    assert told(PLAIN | more) is None


def test_projections_many_frames_and_other_codecs_are_left_to_the_viewer() -> None:
    assert told(PLAIN, modality="DX") is None
    assert told(PLAIN, number_of_frames=2) is None
    assert told(PLAIN, transfer_syntax_uid=JPEG_2000) is None


# -- in the browser ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """A centre with studies that wait to be read, and a browser."""

    centre: AllInOne
    browser: Browser
    pair: Pair

    def study(self, modality: str, change: Callable[[Dataset], None], images: int = 3) -> tuple[int, Dataset]:
        """The task of a study whose images were changed so, and the image that its page shows first."""
        order = builders.an_order(self.pair.database, modality=modality)
        series = new_uid()
        datasets = []
        for number in range(1, images + 1):
            dataset = builders.a_dataset(
                modality=modality,
                study_instance_uid=order.study_instance_uid,
                series_instance_uid=series,
                accession_number=order.accession_number,
                number=number,
            )
            change(dataset)
            builders.keep(self.pair.database, self.pair.objects, dataset, ae_title=f"T01_{modality}")
            datasets.append(dataset)
        task = builders.settle_exam(self.pair.database, order.study_instance_uid)
        assert task is not None
        return task, datasets[images // 2]

    def opened(self, task: int) -> Seat:
        seat = Seat(self.browser, self.centre.url, "chen")
        seat.context.add_init_script(SLOW_VIEWER)
        seat.open(f"/reading/{task}")
        return seat

    def rendered(self, dataset: Dataset) -> Any:
        """The whole frame as the server draws it, without loss."""
        words = {"username": "chen", "password": password_of("chen")}
        path = (
            f"/dicom-web/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
            f"/instances/{dataset.SOPInstanceUID}/rendered"
        )
        with httpx.Client(base_url=self.centre.url, timeout=30) as client:
            token = client.post("/api/sessions", json=words).json()["token"]
            headers = {"Authorization": f"Bearer {token}", "Accept": "image/png"}
            answer = client.get(path, headers=headers)
        assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
        return np.asarray(Image.open(io.BytesIO(answer.content)))


@pytest.fixture(scope="module")
def reading(pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    if not bundle("image").script:
        pytest.skip("the viewer's bundle has not been built")
    folder: Path = tmp_path_factory.mktemp("first_frame")
    with pairs.open(SQLITE_AND_FOLDER, folder) as pair:
        settle_the_county(pair.database)
        with (
            AllInOne(data=folder / "data", environment=pair.environment) as centre,
            chromium() as browser,
        ):
            yield Reading(centre, browser, pair)


def seen(page: Page, question: str, *, within: float = 60) -> Any:
    """The first true answer of the page. (wait_for_function needs eval, which the policy forbids.)"""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if answer := page.evaluate(question):
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not in {within} s: {question}")


def pixels_of(page: Page) -> Any:
    width, height, encoded = page.evaluate(PIXELS)
    return np.frombuffer(base64.b64decode(encoded), np.uint8).reshape(height, width, 4)


PAINTED = "!!document.querySelector('canvas.first-frame[data-painted]')"
QUALITY = "document.querySelector('#viewer .quality').dataset.quality"


def signed_ct(dataset: Dataset) -> None:
    dataset.WindowCenter, dataset.WindowWidth = [40, -600], [400, 1500]


def inverted_mr(dataset: Dataset) -> None:
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.RescaleSlope, dataset.RescaleIntercept = "0.5", "-3.25"
    dataset.WindowCenter, dataset.WindowWidth = "310.5", "777"


def unsigned_ct(dataset: Dataset) -> None:
    stored = dataset.pixel_array.astype(np.int32) & 0x0FFF
    dataset.PixelData = stored.astype("<u2").tobytes()
    dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 0, 12, 11
    dataset.WindowCenter, dataset.WindowWidth = "-100", "301"


@pytest.mark.parametrize(
    ("modality", "change"), [("CT", signed_ct), ("CT", unsigned_ct), ("MR", inverted_mr)]
)
def test_the_first_frame_is_on_the_screen_without_loss_before_the_viewer_can_draw(
    reading: Reading, modality: str, change: Callable[[Dataset], None]
) -> None:
    task, dataset = reading.study(modality, change)

    page = reading.opened(task).page
    seen(page, PAINTED)

    shown = pixels_of(page)
    assert shown.shape == (dataset.Rows, dataset.Columns, 4)
    assert (shown[..., 3] == 255).all()
    assert (shown[..., :3] == reading.rendered(dataset)[..., None]).all()
    assert len(np.unique(shown[..., 0])) > 50
    assert page.evaluate(QUALITY) == "lossless"
    # What the page says to the signer is true: this very image was seen without loss.
    quality = seen(page, "window.__quality")
    assert quality["lossless"] is True
    assert [one["sop_instance_uid"] for one in quality["viewports"]] == [dataset.SOPInstanceUID]
    assert page.evaluate("!!document.querySelector('canvas.first-frame')")
    page.context.close()


def test_the_viewer_takes_over_and_the_frame_came_over_the_line_once(reading: Reading) -> None:
    task, dataset = reading.study("CT", signed_ct, images=1)
    seat = reading.opened(task)
    page = seat.page
    seen(page, PAINTED)
    asked = seen(
        page,
        "performance.getEntriesByType('resource').filter(one => one.name.endsWith('/frames/1'))"
        ".map(one => [one.name, one.transferSize, one.decodedBodySize])",
    )

    page.evaluate("window.__letGo()")
    seen(page, "window.readingViewer.T.firstImage")
    seen(page, "!document.querySelector('canvas.first-frame')")

    # The viewer's own request was answered out of the browser's cache.
    ((name, transferred, size),) = asked
    assert str(dataset.SOPInstanceUID) in name
    assert (transferred, size > 1000) == (0, True)
    assert page.evaluate(QUALITY) == "lossless"
    assert page.evaluate("!document.querySelector('img.preview')")
    # Nothing ran against the policy or failed; how many tasks she may claim at once is another matter.
    assert [one for one in seat.complaints if "403" not in one] == []
    seat.context.close()


def test_who_scrolls_before_the_viewer_can_draw_is_not_told_that_she_sees_it_without_loss(
    reading: Reading,
) -> None:
    task, dataset = reading.study("CT", signed_ct)
    page = reading.opened(task).page
    seen(page, PAINTED)
    seen(page, "window.__quality?.lossless")

    page.locator("#viewer .viewport").first.focus()
    page.keyboard.press("ArrowDown")
    seen(page, "!document.querySelector('canvas.first-frame')")

    assert page.evaluate(QUALITY) == "preview"
    quality = page.evaluate("window.__quality")
    assert quality["lossless"] is False
    assert quality["viewports"][0]["sop_instance_uid"] != dataset.SOPInstanceUID
    page.context.close()


def test_a_frame_that_cannot_be_fetched_leaves_the_preview_in_silence(reading: Reading) -> None:
    task, _ = reading.study("CT", signed_ct)
    seat = Seat(reading.browser, reading.centre.url, "chen")
    seat.context.route(re.compile("/frames/"), lambda route: route.fulfill(status=503))

    page = seat.open(f"/reading/{task}")
    seen(page, "!!window.readingViewer?.T?.manifest")
    seen(page, "!document.querySelector('canvas.first-frame')")

    assert page.evaluate(QUALITY) in ("preview", "failed")
    seat.context.close()


def test_a_study_with_a_voi_lut_waits_for_the_viewer(reading: Reading) -> None:
    def with_look_up(dataset: Dataset) -> None:
        signed_ct(dataset)
        look_up = Dataset()
        look_up.add_new("LUTDescriptor", "US", [256, 0, 8])
        look_up.add_new("LUTData", "OW", np.arange(256, dtype="<u2").tobytes())
        dataset.VOILUTSequence = [look_up]

    task, _ = reading.study("CT", with_look_up)

    page = reading.opened(task).page
    seen(page, "!!window.readingViewer?.T?.manifest")

    assert page.evaluate("!document.querySelector('canvas.first-frame, [data-frame]')")
    assert page.evaluate(QUALITY) == "preview"
    page.context.close()
