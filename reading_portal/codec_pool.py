"""Codec processes, kept at hand: started when first needed, replaced when one broke."""

from __future__ import annotations

import atexit
import math
import os
import queue
import subprocess
import sys
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from reading_portal.codec_process import receive, send
from reading_portal.image_format import CannotRender, ImageFormat, Pixels

# A mammogram of 20 megapixels takes the slowest codec two seconds.
SECONDS = 15.0
# What a codec process may answer with; it read a stranger's bytes, so its word is checked.
KINDS = {"|u1", "<u2", "<u4"}
ROOT = Path(__file__).resolve().parent.parent

Process = subprocess.Popen[bytes]


def decode_apart(
    data: bytes, transfer_syntax_uid: str, image: ImageFormat, *, seconds: float = SECONDS
) -> Pixels:
    """Decode a compressed frame in a codec process; after `seconds` it is given up. Raises CannotRender."""
    head = {"transfer_syntax_uid": transfer_syntax_uid, "image": asdict(image), "seconds": seconds}
    pool = _pool()
    process, answer = pool.get(), None
    try:
        if process is not None and process.poll() is not None:
            _end(process)
            process = None
        process = process or _start()
        answer = _ask(process, head, data)
    finally:
        # Whatever went wrong: a process that did not answer is not asked again.
        if answer is None and process is not None:
            _end(process)
            process = None
        pool.put(process)
    if answer is None:
        raise CannotRender("The pixels of this image broke their decoder.")
    said, body = answer
    if "failure" in said:
        raise CannotRender(str(said["failure"]))
    return _checked(said, body, image)


def _ask(process: Process, head: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes] | None:
    assert process.stdin is not None and process.stdout is not None
    try:
        send(process.stdin, head, data)
        return receive(process.stdout)
    except (OSError, ValueError):
        return None


def _start() -> Process:
    # Nothing of our environment goes along: it holds the keys of the centre.
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "reading_portal.codec_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )


def _end(process: Process) -> None:
    with process:
        process.kill()


@cache
def _pool() -> queue.LifoQueue[Process | None]:
    """As many places as processors; the one used last is used next, so a quiet portal keeps few alive."""
    pool: queue.LifoQueue[Process | None] = queue.LifoQueue()
    for _ in range(max(2, os.cpu_count() or 2)):
        pool.put(None)
    atexit.register(_end_all, pool)
    return pool


def _end_all(pool: queue.LifoQueue[Process | None]) -> None:
    while not pool.empty():
        process = pool.get()
        if process is not None:
            _end(process)


def _checked(said: dict[str, Any], body: bytes, image: ImageFormat) -> Pixels:
    shape, kind = tuple(said.get("shape", ())), said.get("dtype")
    shapes = {(image.rows, image.columns), *((image.rows, image.columns, samples) for samples in (3, 4))}
    if kind not in KINDS or shape not in shapes or len(body) != math.prod(shape) * np.dtype(kind).itemsize:
        raise CannotRender("The pixels of this image do not fit its header.")
    return np.frombuffer(body, kind).reshape(shape)
