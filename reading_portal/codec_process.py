"""The process in which codecs run: it may crash, hang or grow, and costs one picture when it does.

`python -m reading_portal.codec_process` reads jobs from its standard input and writes pixels to its standard
output, until the input ends. Started by `codec_pool`, with nothing of the portal's environment.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import sys
import threading
import time
from typing import IO, Any

import numpy as np

from reading_portal.codecs import decode_compressed
from reading_portal.image_format import CannotRender, ImageFormat

MOST_MEMORY = 4 << 30
LENGTHS = struct.Struct("<LQ")  # bytes of the JSON head, bytes of the body


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    jobs, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # A codec that writes to standard output must not be taken for pixels.
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    while (job := receive(jobs)) is not None:
        head, data = job
        # The kernel ends this process when a codec does not come back; no code of ours has to run for that.
        signal.setitimer(signal.ITIMER_REAL, float(head["seconds"]))
        try:
            pixels = decode_compressed(data, head["transfer_syntax_uid"], ImageFormat(**head["image"]))
            pixels = np.ascontiguousarray(pixels)
            answer: dict[str, Any] = {"shape": pixels.shape, "dtype": pixels.dtype.str}
            body = pixels.tobytes()
        except (CannotRender, MemoryError) as error:
            answer, body = {"failure": str(error) or "The image takes more memory than there is."}, b""
        signal.setitimer(signal.ITIMER_REAL, 0)
        send(answers, answer, body)


def send(stream: IO[bytes], head: dict[str, Any], body: bytes) -> None:
    said = json.dumps(head).encode()
    stream.write(LENGTHS.pack(len(said), len(body)) + said)
    stream.write(body)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """The next message; None where the stream ends."""
    lengths = stream.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    said_length, body_length = LENGTHS.unpack(lengths)
    said, body = stream.read(said_length), stream.read(body_length)
    if len(said) < said_length or len(body) < body_length:
        return None
    head: dict[str, Any] = json.loads(said)
    return head, body


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


if __name__ == "__main__":
    main()
