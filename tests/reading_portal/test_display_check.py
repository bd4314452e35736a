"""The test pattern of a display in a real browser: exact levels, in the display's own pixels."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser

from tests.browser import Seat, chromium
from tests.cast import settle_the_county
from tests.pairs import SQLITE_AND_FOLDER, Pairs
from tests.servers.centre import AllInOne


@pytest.fixture(scope="module")
def room(pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Browser, str]]:
    folder: Path = tmp_path_factory.mktemp("display_check")
    with pairs.open(SQLITE_AND_FOLDER, folder) as pair:
        settle_the_county(pair.database)
        with (
            AllInOne(data=folder / "data", environment=pair.environment) as centre,
            chromium() as browser,
        ):
            yield browser, centre.url


def _pattern(seat: Seat) -> NDArray[np.uint8]:
    """The grey level of each pixel of the pattern; fails where it has a colour."""
    page = seat.open("/display-check")
    page.locator("#pattern[data-drawn]").wait_for()
    data = page.evaluate("() => document.querySelector('#pattern').toDataURL().split(',')[1]")
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
    assert (picture == picture[..., :1]).all()
    return picture[..., 0]


@pytest.mark.parametrize("scale", [1, 2])
def test_lines_are_as_wide_as_the_display_s_own_pixels_at_every_scale(
    room: tuple[Browser, str], scale: int
) -> None:
    browser, url = room
    pattern = _pattern(Seat(browser, url, "chen", width=1280, height=800, scale=scale))
    unit = min(pattern.shape) // 16
    middle, right = pattern.shape[0] // 2, pattern.shape[1] - unit

    one = pattern[round(middle - 1.5 * unit), right - 2 * unit : right - 4]
    two = pattern[round(middle + 1.5 * unit), right - 2 * unit : right - 4]

    assert set(one) == set(two) == {0, 255}
    assert (one[:-1] != one[1:]).all()
    assert (two[:-2] != two[2:]).all()


def test_five_percent_stand_in_black_and_ninety_five_in_white_and_every_step_has_its_level(
    room: tuple[Browser, str],
) -> None:
    browser, url = room
    pattern = _pattern(Seat(browser, url, "chen", width=1280, height=800))
    unit, middle = min(pattern.shape) // 16, pattern.shape[0] // 2

    assert [pattern[round(middle + at * 1.5 * unit), 2 * unit] for at in (-1, 1)] == [13, 242]
    steps = [round(255 * step / 17) for step in range(18)]
    counted = np.bincount(pattern.ravel(), minlength=256)
    assert all(counted[level] > unit * unit / 2 for level in steps)
    # The ramp has every level that eight bits have.
    assert set(range(256)) == set(pattern[pattern.shape[0] - round(1.5 * unit)])
