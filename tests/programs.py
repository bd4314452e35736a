"""The programs that tests call: DCMTK, GDCM, Orthanc and the like, as Debian packages them."""

import os
import shutil

import pytest


def program(name: str, *, of: str) -> str:
    """Its path. Without it the test is skipped; where `CI` is set, as `.ci/run` does, it fails: what CI does
    not have is not shown."""
    found = shutil.which(name)
    if found is None:
        said = f"needs {name} of {of}, which is not installed"
        pytest.fail(said, pytrace=False) if os.environ.get("CI") else pytest.skip(said)
    return found


def needs(name: str, *, of: str) -> pytest.MarkDecorator:
    """The mark of tests that call it by themselves; where `CI` is set they run, and fail at the call."""
    is_skipped = shutil.which(name) is None and not os.environ.get("CI")
    return pytest.mark.skipif(is_skipped, reason=f"needs {name} of {of}, which is not installed")
