"""From the click to the picture: a CT of 200 slices over a county's line, against prebuilt OHIF.

    script/bench first_image [--repeats 3] [--out FILE] [--notes FOLDER]

Both contenders are used as a reader uses them: the list of exams is open and has been for some seconds, she
clicks, and we wait for

- the first picture: ours, the server's JPEG preview, when the browser says that it was painted;
- the first diagnostic image: all lossless pixels of a slice, windowed, on the screen. For OHIF that is when
  Cornerstone has drawn. For us it is the earlier of Cornerstone and of our first frame's canvas, which a
  worker paints before Cornerstone is up: it can be looked at but not worked with;
- the viewer: Cornerstone has drawn, in both, and the image can be scrolled, windowed and measured;
- all 200 slices.

Images are recognised by the pixels of the visible canvas (benchmarks/picture_watch.js), the same way for
both. `cold` is the same without the list: the address is opened with an empty cache. Every run has a browser
profile of its own; the contenders alternate. The line is benchmarks/county_line.py.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from benchmarks.county import county, eventually, exam_of, placed_order, sent, signed_in, thorax_of
from benchmarks.county_line import county_line
from benchmarks.ohif import VERSION, ohif
from benchmarks.scoreboard import Scoreboard, median, ratio, version_of
from tests.browser import Seat, chromium
from tests.servers.centre import AllInOne

WATCH = Path(__file__).with_name("picture_watch.js")
SLICES = 200
NUMBER, PATIENT = 1, "Q00001"
DWELL = 8.0  # seconds that the list is open before the click
LINE = {"bits_per_second": 8e6, "round_trip": 0.040}
SCREEN = {"width": 1500, "height": 950}


@dataclass
class Run:
    """Seconds after the click; None for what did not happen."""

    contender: str
    way: str
    preview: float | None
    image: float | None
    viewer: float | None
    all_images: float | None
    code_kb: float
    failures: int


@dataclass(frozen=True)
class Study:
    task_id: int
    study_instance_uid: str


def the_study(centre: AllInOne) -> Study:
    """The CT is sent, settled, and waits to be read."""
    order = placed_order(signed_in(centre, "ma"), NUMBER)
    sent(centre, thorax_of(exam_of(order, NUMBER)))
    reader = signed_in(centre, "chen")

    def tasks() -> Any:
        return reader.get("/api/reading-tasks").json().get("items")

    (task,) = eventually(tasks, "a task for the study", within=60)
    return Study(task["id"], order["study_instance_uid"])


@contextmanager
def fresh_page(browser: Browser, url: str, *, is_portal: bool) -> Iterator[tuple[Page, list[str]]]:
    """A page in a profile of its own; of the portal, signed in; and the failures of its requests."""
    failures: list[str] = []
    if is_portal:
        seat = Seat(browser, url, "chen", **SCREEN)
        context, page = seat.context, seat.page
    else:
        context = browser.new_context(viewport=SCREEN, locale="en-US")  # type: ignore[arg-type]
        page = context.new_page()
    page.on("response", lambda one: failures.append(one.url) if one.status >= 400 else None)
    context.add_init_script(path=WATCH)
    try:
        yield page, failures
    finally:
        context.close()


def watched(page: Page, key: str, *, within: float, is_enough: Callable[[Any], bool] = bool) -> Any:
    """What the watch saw, once it is enough; None when the time is over. (wait_for_function needs eval.)"""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        found = page.evaluate("window.__seen ?? {}").get(key)
        if found is not None and is_enough(found):
            return found
        time.sleep(0.2)
    return None


def measured(page: Page, contender: str, way: str, clicked_at: float | None, failures: list[str]) -> Run:
    viewer = watched(page, "viewer", within=120)
    image = page.evaluate("window.__seen.image ?? null")
    preview = page.evaluate("window.__seen.preview ?? null")
    watched(page, "frames", within=150, is_enough=lambda count: count >= SLICES)
    seen = page.evaluate("window.__seen")
    resources = page.evaluate(
        "performance.getEntriesByType('resource').map(r => [r.name, r.transferSize, r.responseEnd])"
    )
    ends = sorted(end for name, _, end in resources if re.search(r"/frames/1$", name))
    began = clicked_at or seen["clicked"] or seen["began"]
    origin = page.evaluate("performance.timeOrigin")
    code = sum(size for name, size, _ in resources if re.search(r"\.(js|css|wasm)(\?|$)", name))

    def after(moment: float | None) -> float | None:
        return (moment - began) / 1000 if moment else None

    last = origin + ends[SLICES - 1] if len(ends) >= SLICES else None
    moments = (after(preview), after(image), after(viewer), after(last))
    return Run(contender, way, *moments, code / 1024, len(failures))


def ours(browser: Browser, url: str, study: Study, way: str, notes: Notes) -> Run:
    with fresh_page(browser, url, is_portal=True) as (page, failures):
        clicked = None
        if way == "from the list":
            page.goto(f"{url}/worklist")
            row = page.wait_for_selector(f"tr[data-open='/reading/{study.task_id}'] a")
            time.sleep(DWELL)
            assert row is not None
            row.click(no_wait_after=True)
        else:
            # Signing in has left something in the cache; a cold visit has nothing.
            cdp = page.context.new_cdp_session(page)
            cdp.send("Network.clearBrowserCache")
            clicked = time.time() * 1000
            page.goto(f"{url}/reading/{study.task_id}", wait_until="commit")
        page.wait_for_url(re.compile(r"/reading/\d+"), wait_until="commit")
        run = measured(page, "ours", way, clicked, failures)
        notes.keep(page, run)
        return run


def theirs(browser: Browser, url: str, study: Study, way: str, notes: Notes) -> Run:
    address = f"{url}/viewer?StudyInstanceUIDs={study.study_instance_uid}"
    with fresh_page(browser, url, is_portal=False) as (page, failures):
        clicked = None
        if way == "from the list":
            page.goto(url, wait_until="commit")
            page.wait_for_selector(f"text={PATIENT}", timeout=60_000)
            time.sleep(DWELL)
            # The row fills a panel beside the list; the click that counts is the one on its button.
            page.click(f"text={PATIENT}")
            page.click("text=Basic Viewer", no_wait_after=True)
        else:
            clicked = time.time() * 1000
            page.goto(address, wait_until="commit")
        run = measured(page, f"OHIF {VERSION}", way, clicked, failures)
        notes.keep(page, run)
        return run


class Notes:
    """Pictures of the screens, and where the time went; kept where a folder was named."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.number = 0

    def keep(self, page: Page, run: Run) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.number += 1
        name = f"{self.number:02}-{run.contender.split()[0]}-{run.way.replace(' ', '-')}"
        page.screenshot(path=self.folder / f"{name}.png")
        entries = page.evaluate(
            "performance.getEntries().filter(e => ['resource', 'navigation'].includes(e.entryType)).map(e =>"
            " [Math.round(e.startTime), Math.round(e.requestStart), Math.round(e.responseStart),"
            " Math.round(e.responseEnd), e.transferSize, e.name])"
        )
        marks = page.evaluate("[window.__seen, performance.timeOrigin, window.readingViewer?.T ?? null]")
        lines = [
            f"{run}",
            f"{marks}",
            "  start request   first     end   bytes",
            *(
                f"{start:7}{asked:8}{first:8}{end:8}{size:8}  {re.sub(r'[0-9.]{20,}', '…', url)[-110:]}"
                for start, asked, first, end, size, url in entries
            ),
        ]
        (self.folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ways", default="from the list,cold", help="which ways to the image")
    parser.add_argument("--contenders", default="ours,ohif")
    parser.add_argument("--out", type=Path, help="write the figures as JSON here")
    parser.add_argument("--notes", type=Path, help="a folder for screenshots and waterfalls")
    arguments = parser.parse_args()
    board = Scoreboard("first image")
    board.about = {
        "line": "8 Mbit/s, 40 ms, HTTP/1.1, shaped by a TCP relay",
        "study": f"CT, {SLICES} × 512 × 512, 12 bit",
        "browser": version_of("chromium"),
        "rival": f"@ohif/app {VERSION}, prebuilt, same DICOMweb, frames as HTJ2K, Brotli",
    }
    runs: list[Run] = []
    notes = Notes(arguments.notes)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="first-image-")))
        centre = stack.enter_context(county(folder))
        study = the_study(centre)
        line = stack.enter_context(county_line(centre.http_port, **LINE))
        measure = {"ours": (ours, f"http://127.0.0.1:{line}")}
        if "ohif" in arguments.contenders:
            token = signed_in(centre, "chen").headers["Authorization"].removeprefix("Bearer ")
            port = stack.enter_context(ohif(centre, token, folder))
            line = stack.enter_context(county_line(port, **LINE))
            measure["ohif"] = (theirs, f"http://127.0.0.1:{line}")
        for _ in range(arguments.repeats):
            for way in arguments.ways.split(","):
                for name in arguments.contenders.split(","):
                    look, url = measure[name]
                    with chromium() as browser:
                        runs.append(look(browser, url, study, way, notes))
                    print(runs[-1], flush=True)
    for way in arguments.ways.split(","):
        report(board, [run for run in runs if run.way == way], way)
    board.show(arguments.out)


def report(board: Scoreboard, runs: list[Run], way: str) -> None:
    """Medians of each contender on this way, their ratio, and the goals."""
    names = list(dict.fromkeys(run.contender for run in runs))
    middle: dict[str, dict[str, float | None]] = {}
    for name in names:
        own = [run for run in runs if run.contender == name]
        middle[name] = {
            "first picture s": median([run.preview for run in own]) or median([run.image for run in own]),
            "first diagnostic image s": median([run.image for run in own]),
            "viewer ready s": median([run.viewer for run in own]),
            "all 200 s": median([run.all_images for run in own]),
            "code KiB": median([run.code_kb for run in own]),
        }
        board.add(
            way=way, contender=name, runs=len(own), **middle[name], failures=sum(run.failures for run in own)
        )
    if "ours" in middle:
        board.goal(f"{way}: first picture (s)", middle["ours"]["first picture s"], 1.5)
    if len(names) == 2:
        one, other = (middle[name] for name in names)
        board.add(way=way, contender="ratio", **{key: ratio(one[key], other[key]) for key in one})
        share = ratio(one["first diagnostic image s"], other["first diagnostic image s"])
        board.goal(f"{way}: first diagnostic image, share of OHIF's", share, 0.6)


if __name__ == "__main__":
    main()
