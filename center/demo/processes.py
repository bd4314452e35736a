"""Child processes that never outlive their parent."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any, Generic, TypeVar

PR_SET_PDEATHSIG = 1
PATIENCE = 5.0  # seconds between asking to end and making it end

A = TypeVar("A")
R = TypeVar("R")


def die_with_parent() -> None:
    """From now on the kernel ends this process when its parent dies, by whatever means (prctl(2)).

    The kernel means the thread that started us, so parents start children from their main thread.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:
        sys.exit(0)  # it died before we could ask


def start(module: str, *words: str) -> subprocess.Popen[bytes]:
    """`python -m module words…`, which must call die_with_parent; it logs on our standard error."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and then make it end."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass
class Fork(Generic[R]):
    """A copy of this process that does one piece of work and answers once."""

    process: ForkProcess
    answers: Connection

    @property
    def has_ended(self) -> bool:
        return not self.process.is_alive()

    def answer(self) -> R | None:
        """What the work returned; None where it died before it could say."""
        try:
            return self.answers.recv() if self.answers.poll() else None
        except (EOFError, OSError):
            return None
        finally:
            self.answers.close()
            self.process.join()
            self.process.close()

    def stop(self) -> None:
        self.process.terminate()
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.answers.close()


def fork(work: Callable[[A], R], argument: A) -> Fork[R]:
    """Do work(argument) in a process of its own. A fork has loaded already what takes a second to load."""
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(work, argument, sending))
    process.start()
    sending.close()
    return Fork(process, receiving)


def _run(work: Callable[[Any], Any], argument: Any, answers: Connection) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)  # those of the parent only told it to stop
    die_with_parent()
    answers.send(work(argument))
