"""The shared test data: real DICOM, ECG, charset and malformed files, beside the clone, never inside it."""

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "testdata"
ROOT = Path(os.environ.get("READING_CENTER_TESTDATA", _BESIDE))


def corpus(*parts: str) -> Path:
    """The folder or file `parts` of the shared test data; the test that asks is skipped without it."""
    path = ROOT.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs {path.name} of ../shared/testdata, which is not here")
    return path


def corpus_files(*parts: str, pattern: str = "*") -> list[Path]:
    """The files below a folder of the shared test data, sorted; none where it is absent (for parametrize)."""
    folder = ROOT.joinpath(*parts)
    return sorted(path for path in folder.rglob(pattern) if path.is_file()) if folder.is_dir() else []
