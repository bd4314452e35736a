"""How long the people of the county wait for each other, and for a start: medians, from the outside.

    script/bench journey [--repeats 5] [--out FILE]

A device sends, a reader's worklist and a township's list of reports are open in real browsers, the report is
signed over HTTP. There is no rival: the goals are the project's own.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page

from benchmarks.county import county, eventually, exam_of, placed_order, sent, signed_in, thorax_of
from benchmarks.scoreboard import Scoreboard, median
from center.demo.phantoms.electrocardiogram import electrocardiogram
from tests.browser import Seat, chromium
from tests.cast import password_of
from tests.servers.centre import AllInOne

SLICES_APART = 20  # every 20th of the 200 slices: what is read and signed needs no more
# What is measured, with the goal in seconds where there is one.
GOALS: dict[str, float | None] = {
    "last C-STORE answered → task in the reader's open page (ECG)": None,
    "task opened → task in the reader's open page (ECG)": 2.0,
    "ECG report: sign → answered (composed, sealed, stored)": 1.0,
    "CT report with 2 key images: sign → answered (composed, sealed, stored)": 1.0,
    "signature answered → report in the township's open page": 2.0,
    "sign pressed → report in the township's open page": None,
    "second start → ready": 5.0,
}


class Journey:
    """One county at work; each verb notes how long it took."""

    def __init__(self, centre: AllInOne, worklist: Page, results: Page) -> None:
        self.centre, self.worklist, self.results = centre, worklist, results
        self.seconds: dict[str, list[float]] = {name: [] for name in GOALS}
        self.technician, self.reader = signed_in(centre, "ma"), signed_in(centre, "chen")
        self.number = 0

    def note(self, name: str, seconds: float) -> None:
        self.seconds[name].append(seconds)

    def an_ecg(self) -> None:
        """An ECG settles with its one object; its row appears, its report is signed and appears."""
        self.number += 1
        order = placed_order(self.technician, self.number, modality="ECG")
        exam = replace(exam_of(order, self.number), station_ae="T01_ECG", description="静息十二导联心电图")
        sent(self.centre, [electrocardiogram(exam)], ae_title="T01_ECG")
        answered_at = time.time()
        self.worklist.wait_for_selector(f"tr[data-open] >> text={patient_of(order)}")
        seen_at = time.time()
        task = self._task(order)
        self.note("last C-STORE answered → task in the reader's open page (ECG)", seen_at - answered_at)
        opened_at = datetime.fromisoformat(task["opened_at"]).timestamp()
        self.note("task opened → task in the reader's open page (ECG)", seen_at - opened_at)
        self._signed(task, [], "ECG report: sign → answered (composed, sealed, stored)")

    def a_ct(self) -> None:
        """A CT whose report carries two key images."""
        self.number += 1
        order = placed_order(self.technician, self.number)
        images = list(thorax_of(exam_of(order, self.number), every=SLICES_APART))
        sent(self.centre, images)
        task = eventually(lambda: self._task(order), "a task for the CT")
        keys = [{"sop_instance_uid": str(image.SOPInstanceUID), "caption": "轴位"} for image in images[3:5]]
        self._signed(task, keys, "CT report with 2 key images: sign → answered (composed, sealed, stored)")

    def _task(self, order: dict[str, Any]) -> Any:
        tasks = self.reader.get("/api/reading-tasks").json()["items"]
        return next((one for one in tasks if one["accession_number"] == order["accession_number"]), None)

    def _signed(self, task: dict[str, Any], key_images: list[dict[str, str]], name: str) -> None:
        address = f"/api/reading-tasks/{task['id']}"
        fence = answer_of(self.reader.post(f"{address}/claim"))["fence"]
        draft = {
            "fence": fence,
            "findings": "胸廓对称，气管居中。两肺纹理清晰，右肺上叶尖段见一磨玻璃结节，大小约8mm×6mm。" * 4,
            "impression": "右肺上叶尖段磨玻璃结节，建议3个月后复查。\n两肺余未见明显活动性病变。",
            "key_images": key_images,
        }
        answer_of(self.reader.put(f"{address}/report", json=draft))
        pressed_at = time.time()
        said = {"fence": fence, "password": password_of("chen")}
        report = answer_of(self.reader.post(f"{address}/sign", json=said))["report_id"]
        answered_at = time.time()
        self.results.wait_for_selector(f"tr[data-open='/reports/{report}']")
        seen_at = time.time()
        self.note(name, answered_at - pressed_at)
        # It may well be on the screen before the reader's own answer is.
        self.note("signature answered → report in the township's open page", seen_at - answered_at)
        self.note("sign pressed → report in the township's open page", seen_at - pressed_at)


def patient_of(order: dict[str, Any]) -> str:
    name: str = order["patient"]["name"]
    return name


def answer_of(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise RuntimeError(response.text)
    answered: dict[str, Any] = response.json()
    return answered


def started_again(data: Path, repeats: int) -> list[float]:
    """Seconds from the command to a portal and a node that answer, on a data folder that has been used."""
    seconds = []
    for _ in range(repeats):
        began = time.monotonic()
        with AllInOne(data=data):
            seconds.append(time.monotonic() - began)
    return seconds


def repeated(verb: Callable[[], None], times: int) -> None:
    for _ in range(times):
        verb()


def main() -> None:
    parser = argparse.ArgumentParser(description="How long people wait for each other.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the figures as JSON here")
    arguments = parser.parse_args()
    board = Scoreboard("journey")
    with tempfile.TemporaryDirectory(prefix="journey-") as folder:
        with ExitStack() as stack:
            centre = stack.enter_context(county(Path(folder)))
            browser = stack.enter_context(chromium())
            worklist = Seat(browser, centre.url, "chen").open("/worklist")
            results = Seat(browser, centre.url, "li").open("/results")
            journey = Journey(centre, worklist, results)
            for page in (worklist, results):
                page.wait_for_selector("[data-live]:not([hidden])")
            repeated(journey.an_ecg, arguments.repeats)
            repeated(journey.a_ct, arguments.repeats)
        journey.seconds["second start → ready"] = started_again(centre.data, arguments.repeats)
    for name, seconds in journey.seconds.items():
        board.add(what=name, runs=len(seconds), median_s=median(seconds), worst_s=max(seconds))
        goal = GOALS[name]
        if goal is not None:
            board.goal(name, median(seconds), goal)
    board.show(arguments.out)


if __name__ == "__main__":
    main()
