"""Child processes that never outlive their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from typing import IO

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """From now on the kernel ends this process when its parent dies, by whatever means (prctl(2)).

    The kernel means the thread that started us, so parents start children from their main thread.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:
        sys.exit(0)  # it died before we could ask


def start(
    module: str,
    *words: str,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """`python -m module words…`, which must call die_with_parent; it logs on our standard error."""
    return subprocess.Popen([sys.executable, "-m", module, *words], stdin=stdin, stdout=stdout)


def stop(process: subprocess.Popen[bytes], *, patience: float = 5.0) -> None:
    """Ask it to end, and make it end after `patience` seconds."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()
