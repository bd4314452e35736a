"""What is in a log line, and above all what is not."""

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from center import logs

NAME = "欧阳^小明"


@pytest.fixture
def lines() -> Iterator[Any]:
    stream = io.StringIO()
    root = logging.getLogger()
    kept = root.handlers[:], root.level, structlog.get_config()
    hooks = sys.excepthook, threading.excepthook
    logs.configure("node", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = kept[0]
    root.setLevel(kept[1])
    structlog.configure(**kept[2])
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(False)


def test_a_line_says_when_who_and_what(lines: Any) -> None:
    structlog.get_logger("center").info("study-settled", study_instance_uid="1.2.3")

    (line,) = lines()
    assert line["event"] == "study-settled"
    assert line["study_instance_uid"] == "1.2.3"
    assert line["role"] == "node"
    assert line["level"] == "info"
    assert line["timestamp"].endswith("Z")


def test_an_exception_is_told_by_type_and_place_never_by_its_message(lines: Any) -> None:
    try:
        try:
            raise KeyError(NAME)
        except KeyError as error:
            raise ValueError(f"{NAME} is not unique") from error
    except ValueError:
        structlog.get_logger("center").exception("failed")
        logging.getLogger("somebody.else").exception("failed too")

    assert len(lines()) == 2
    for line in lines():
        assert line["error"] == "ValueError"
        assert line["because"] == "KeyError"
        assert "test_logs.py" in line["at"]
        assert NAME not in json.dumps(line, ensure_ascii=False)


def test_an_operating_system_error_says_what_the_kernel_said(lines: Any) -> None:
    try:
        open("/proc/none/of/these")  # noqa: SIM115
    except OSError:
        structlog.get_logger("center").exception("failed")

    assert lines()[0]["reason"] == "No such file or directory"


def test_libraries_that_quote_datasets_stay_silent(lines: Any) -> None:
    logging.getLogger("pydicom").error("Invalid value for PN: %s", NAME)
    logging.getLogger("pynetdicom.acse").info("%s", NAME)
    logging.getLogger("uvicorn.access").info("GET /api/studies?patient_name=%s", NAME)
    warnings.warn(f"the value {NAME} is too long", stacklevel=1)

    assert lines() == []


def test_a_thread_that_dies_leaves_a_line(lines: Any) -> None:
    def fail() -> None:
        raise RuntimeError(NAME)

    thread = threading.Thread(target=fail, name="listener")
    thread.start()
    thread.join()

    (line,) = lines()
    assert (line["event"], line["thread"], line["error"]) == (
        "thread-ended-by-error",
        "listener",
        "RuntimeError",
    )
