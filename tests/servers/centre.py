"""The product itself as its users start it: `reading-center serve` or one role, in processes of their own."""

import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.servers.process import free_port, start, stop


class CentreProcess:
    """One `reading-center …` process; its output is in `log`. Use it as a context manager."""

    def __init__(
        self,
        *words: str,
        data: Path,
        environment: Mapping[str, str] | None = None,
        log_name: str = "centre.log",
    ) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self.data = data
        self.log = data / log_name
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("READING_CENTER_")}
        self.environment = {**inherited, "READING_CENTER_DATA": str(data), **(environment or {})}
        command = [sys.executable, "-m", "center.cli", *words]
        self.process = start(command, log=self.log, env=self.environment, cwd=Path.cwd())

    def __enter__(self) -> "CentreProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait(self, within: float = 30) -> int:
        return self.process.wait(within)

    def stop(self) -> int:
        stop(self.process, within=15)
        return self.process.returncode

    def kill(self) -> None:
        """End this one process, as a crash would: nothing is asked, its children are left to themselves."""
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait(10)

    def wait_until(self, what: str, question: Callable[[], bool], *, within: float = 60) -> None:
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if question():
                return
            if self.process.poll() is not None:
                raise AssertionError(
                    f"ended with {self.process.returncode} before {what}:\n{self.said[-4000:]}"
                )
            time.sleep(0.1)
        raise AssertionError(f"not {what} within {within} s:\n{self.said[-4000:]}")


def is_ready(url: str) -> bool:
    """The portal says on /readyz that everything it needs is there."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5):
            return True
    except (OSError, urllib.error.URLError):
        return False


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


class AllInOne(CentreProcess):
    """`reading-center serve` on free ports, ready when the block begins."""

    def __init__(self, *words: str, data: Path, environment: Mapping[str, str] | None = None) -> None:
        self.http_port, self.dicom_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        ports = [
            "--http-port",
            str(self.http_port),
            "--dicom-port",
            str(self.dicom_port),
            "--dicom-tls-port",
            "0",
        ]
        super().__init__("serve", *ports, *words, data=data, environment=environment)

    def __enter__(self) -> "AllInOne":
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def wait_until_ready(self, *, within: float = 90) -> None:
        self.wait_until("ready", lambda: is_ready(self.url), within=within)
        self.wait_until("listening", lambda: is_listening(self.dicom_port), within=within)


def children_of(pid: int) -> list[int]:
    """The process ids whose parent is `pid`, as the kernel tells it."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
