"""One process that starts the roles, restarts the one that dies, and takes all of them along when it goes.

Signals are not handled but waited for, so nothing races: the main thread sleeps in sigtimedwait until a
child ends, somebody wants to stop, or it is time to look again.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import structlog

STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
WATCHED = STOP_SIGNALS | {signal.SIGCHLD}
PR_SET_PDEATHSIG = 1

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
HEALTHY_AFTER = 60.0  # a role that lived so long has earned a quick restart
PATIENCE = 10.0  # between asking to stop and making it stop
GIVE_UP_AFTER = 3  # starts that a role may waste before the centre was ready for the first time

logger = structlog.get_logger("center")


class Exit(IntEnum):
    STOPPED = 0
    FAILED = 1


@dataclass
class Role:
    """One child: how it is started, and what became of it."""

    name: str
    command: Sequence[str]
    is_essential: bool = True  # the centre is not ready without it, and it runs for ever
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    pause: float = FIRST_PAUSE
    deaths: int = field(default=0)

    @property
    def is_running(self) -> bool:
        return self.process is not None

    @property
    def has_finished(self) -> bool:
        """It said that its work is done; only a role that is not essential may."""
        return self.start_at == float("inf")


class Supervisor:
    """Run `roles` until a stop signal; `is_ready` is asked until it says yes, then `on_ready` is told."""

    def __init__(
        self,
        roles: list[Role],
        *,
        environment: Mapping[str, str],
        is_ready: Callable[[], bool],
        on_ready: Callable[[], None],
        inherited: Sequence[int] = (),
    ) -> None:
        self.roles = roles
        self._environment = dict(environment)
        self._is_ready = is_ready
        self._on_ready = on_ready
        self._inherited = tuple(inherited)
        self._was_ready = False

    def run(self) -> Exit:
        """Block until stopped. Children are gone when this returns."""
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        try:
            return self._watch()
        finally:
            self._stop_all()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)

    def _watch(self) -> Exit:
        while True:
            self._start_due()
            caught = signal.sigtimedwait(WATCHED, self._time_until_next_look())
            if caught is not None and caught.si_signo in STOP_SIGNALS:
                logger.info("stopping", signal=signal.Signals(caught.si_signo).name)
                return Exit.STOPPED
            for role in self.roles:
                self._bury(role)
                if not self._was_ready and role.deaths >= GIVE_UP_AFTER:
                    logger.error("giving-up", child=role.name, starts=role.deaths)
                    return Exit.FAILED
            if not self._was_ready and self._is_ready():
                self._was_ready = True
                self._on_ready()

    def _start_due(self) -> None:
        now = time.monotonic()
        for role in self.roles:
            if not role.is_running and role.start_at <= now and (role.is_essential or self._was_ready):
                self._start(role)

    def _start(self, role: Role) -> None:
        supervisor = os.getpid()
        libc = ctypes.CDLL(None)

        def before_exec() -> None:
            # Dies with us, even by kill -9; the second look covers a death before the first call.
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != supervisor:
                os._exit(1)
            # Ctrl-C reaches the whole process group; only the supervisor acts on it and asks the children.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)

        role.started_at = time.monotonic()
        role.process = subprocess.Popen(
            list(role.command),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            preexec_fn=before_exec,
            pass_fds=self._inherited,
        )
        logger.info("started", child=role.name, pid=role.process.pid)

    def _bury(self, role: Role) -> None:
        if role.process is None or (status := role.process.poll()) is None:
            return
        now = time.monotonic()
        role.process = None
        if status == 0 and not role.is_essential:
            role.start_at = float("inf")
            logger.info("finished", child=role.name)
            return
        role.deaths += 1
        if now - role.started_at > HEALTHY_AFTER:
            role.pause = FIRST_PAUSE
        role.start_at = now + role.pause
        logger.warning("ended", child=role.name, status=_say_status(status), starts_again_in=role.pause)
        role.pause = min(LONGEST_PAUSE, role.pause * 2)

    def _time_until_next_look(self) -> float:
        now = time.monotonic()
        waiting = [r.start_at - now for r in self.roles if not r.is_running and r.start_at > now]
        return max(0.0, min([*waiting, 1.0 if self._was_ready else 0.1]))

    def _stop_all(self) -> None:
        """Ask all at once, wait, then insist. Nothing waits for the slowest before the others are asked."""
        running = [role for role in self.roles if role.process is not None]
        for role in running:
            assert role.process is not None
            role.process.terminate()
        deadline = time.monotonic() + PATIENCE
        for role in running:
            assert role.process is not None
            try:
                role.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger.warning("killed", child=role.name)
                role.process.kill()
                role.process.wait()
            role.process = None
        logger.info("stopped")


def _say_status(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else str(status)
