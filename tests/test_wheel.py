"""Whoever installs the wheel has everything: no Node, no clone, no second download."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("reading_center-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.mark.parametrize(
    "name",
    [
        "center/demo/center.toml",
        "center/migrations/env.py",
        "center/migrations/versions/0001_the_first_tables.py",
        "reading_portal/print/report.typ",
        "reading_portal/static/vendor/htmx.js",
        "reading_portal/static/viewer/manifest.json",
    ],
)
def test_the_wheel_carries_what_runs(names: set[str], name: str) -> None:
    assert name in names


@pytest.mark.parametrize(
    "folder", ["reading_portal/templates", "reading_portal/locale", "reading_portal/print"]
)
def test_the_wheel_carries_every_file_of_the_pages(names: set[str], folder: str) -> None:
    here = {
        str(p.relative_to(ROOT))
        for p in (ROOT / folder).rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }

    assert here
    assert here - names == set()


def test_the_wheel_carries_no_sources_of_the_browser_and_no_tests(names: set[str]) -> None:
    stray = ("node_modules", "reading_portal/viewer/", "reading_portal/web/", "tests/")

    assert [name for name in names if any(part in name for part in stray)] == []
