"""The programs that tests call: DCMTK, GDCM, Orthanc and the like, as Debian packages them."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def program(name: str, *, of: str) -> str:
    """Its path. Without it the test is skipped; where `CI` is set, as `.ci/run` does, it fails: what CI does
    not have is not shown."""
    found = shutil.which(name)
    if found is None:
        _miss(f"needs {name} of {of}, which is not installed")
    return str(found)


def plugin(path: Path, *, of: str) -> str:
    """The same for what is no program but a file at a place of its own."""
    if not path.exists():
        _miss(f"needs {of}, which is not installed")
    return str(path)


def _miss(said: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(said, pytrace=False)
    pytest.skip(said)


def needs(name: str, *, of: str) -> pytest.MarkDecorator:
    """The mark of tests that call it by themselves; where `CI` is set they run, and fail at the call."""
    is_skipped = shutil.which(name) is None and not os.environ.get("CI")
    return pytest.mark.skipif(is_skipped, reason=f"needs {name} of {of}, which is not installed")
