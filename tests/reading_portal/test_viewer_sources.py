"""The viewer's own tests, which are written in its language, count here too."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

VIEWER = Path(__file__).resolve().parents[2] / "reading_portal" / "viewer"


@pytest.mark.skipif(
    not (VIEWER / "node_modules").is_dir(), reason="the viewer's packages are not installed here"
)
def test_what_the_viewer_computes_is_right() -> None:
    # Node may have come with the environment: then it stands beside this Python.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    run = subprocess.run(
        ["npm", "test"],
        cwd=VIEWER,
        env={**os.environ, "PATH": path, "CI": "1"},
        capture_output=True,
        text=True,
    )

    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    assert re.search(r"Tests\s+\S*[1-9]\d* passed", re.sub(r"\x1b\[[0-9;]*m", "", run.stdout)), run.stdout[
        -2000:
    ]
