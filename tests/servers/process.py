"""Child processes that cannot outlive the test run, and the ports they listen on."""

import contextlib
import ctypes
import itertools
import os
import random
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
# Which of pytest-xdist's workers this is; each has a share of the ports below those of outgoing connections.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
_OURS = range(12_000 + 950 * WORKER, 12_950 + 950 * WORKER)
# From anywhere in it: another run of the tests may be under way on this machine.
_next_port = itertools.islice(itertools.cycle(_OURS), random.randrange(len(_OURS)), None)
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """For `preexec_fn`: the kernel kills this child when the thread that started it ends, however it ends."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, its output in `log`; it dies with the caller's thread."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )


def stop(process: subprocess.Popen[bytes], *, politely: int = signal.SIGTERM, within: float = 10.0) -> None:
    """Ask once, then kill the whole session: nothing that a test started is left behind."""
    if process.poll() is None:
        process.send_signal(politely)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(within)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def free_port() -> int:
    """A port of this worker's own share that nobody listens on; none is given twice within hundreds of calls.

    The kernel's own choice may be handed to another worker, or to a connection, before its owner listens.
    """
    for _ in range(len(_OURS)):
        port = next(_next_port)
        if _is_free(port):
            return port
    raise RuntimeError("no free port was found")


def free_ports_from(candidates: Sequence[int], needed: Callable[[int], Sequence[int]]) -> int:
    """The first base port of `candidates` for which every port in `needed(base)` is free."""
    for base in candidates:
        if all(_is_free(port) for port in needed(base)):
            return base
    raise RuntimeError("no run of free ports was found")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do it: what only lingers of an earlier connection stands in nobody's way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
