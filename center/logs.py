"""One line for each event, on standard error: key=value for a person at a terminal, JSON for a machine.

What is never in a line: names, dates of birth, report text, query strings. Messages of exceptions and of
Python warnings carry values (a database says which name was not unique, pydicom which value was odd), so
an exception is logged as its type and the places it passed through, and foreign chatter stays off.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from types import TracebackType
from typing import Any, TextIO

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

# These log datasets or values when they are asked for more.
FOREIGN_LEVELS = {
    "pynetdicom": logging.WARNING,
    "pydicom": logging.CRITICAL + 1,
    "py.warnings": logging.CRITICAL + 1,
    "sqlalchemy": logging.WARNING,
    "alembic": logging.WARNING,
    "uvicorn": logging.WARNING,
    "uvicorn.access": logging.CRITICAL + 1,
    "urllib3": logging.WARNING,
    "asyncio": logging.WARNING,
    "fontTools": logging.ERROR,
    "pyhanko": logging.CRITICAL,
    "PIL": logging.WARNING,
    "pyhanko_certvalidator": logging.CRITICAL,
}

DEEPEST_FRAMES = 12


def configure(role: str, *, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send everything that this process logs through one formatter; `role` stands on every line."""
    stream = stream or sys.stderr

    def say_role(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["role"] = role
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        say_role,
        without_messages_of_exceptions,
    ]
    renderer: Processor = (
        structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "role", "event"])
        if stream.isatty()
        else structlog.processors.JSONRenderer(ensure_ascii=False, sort_keys=False)
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, foreign in FOREIGN_LEVELS.items():
        logging.getLogger(name).setLevel(max(foreign, root.level))
    logging.captureWarnings(True)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # a forked role is configured again
    )
    threading.excepthook = _log_lost_thread
    sys.excepthook = _log_lost_process


def without_messages_of_exceptions(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace an exception by its type, its causes' types and where it passed: `error`, `because`, `at`."""
    given = event.pop("exc_info", None)
    event.pop("exc_text", None)
    if given is True:
        given = sys.exc_info()
    error = given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event.update(describe(error))
    return event


def describe(error: BaseException) -> dict[str, Any]:
    """What may be told of an exception: the kernel's words and those of an import are harmless."""
    told: dict[str, Any] = {"error": _kind(error)}
    if isinstance(error, OSError) and error.strerror:
        told["reason"] = error.strerror
    elif isinstance(error, ImportError):
        told["reason"] = str(error)
    causes: list[str] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and len(causes) < 5:
        causes.append(_kind(cause))
        cause = cause.__cause__ or cause.__context__
    if causes:
        told["because"] = " < ".join(causes)
    told["at"] = _places(error.__traceback__)
    return told


def _kind(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _places(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)[-DEEPEST_FRAMES:]
    return " > ".join(f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames)


def _short(path: str) -> str:
    return "/".join(path.rsplit("/", 2)[-2:])


def _log_lost_thread(lost: threading.ExceptHookArgs) -> None:
    if lost.exc_type is SystemExit or lost.exc_value is None:
        return
    thread = lost.thread.name if lost.thread else "?"
    structlog.get_logger("center").error("thread-ended-by-error", thread=thread, exc_info=lost.exc_value)


def _log_lost_process(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        structlog.get_logger("center").critical("ended-by-error", exc_info=error)
