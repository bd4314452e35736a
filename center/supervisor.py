"""One process that starts the roles, restarts the one that dies, and takes all of them along when it goes.

Roles are forked, not executed: what several of them need is imported once. The one that takes longest to
load is forked first and loads while the supervisor prepares. Forking is safe because importing does nothing
(house law 11) and the supervisor has one thread and no engine that lasts.

Signals are not handled but waited for, so nothing races: the main thread sleeps in sigtimedwait until a
child ends, somebody wants to stop, or it is time to look again.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import NoReturn

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
    """One child: what it does (`main` returns its exit status, in the child), and what became of it."""

    name: str
    main: Callable[[], int]
    load: Callable[[], None] | None = None  # what it can do while the supervisor still prepares
    is_essential: bool = True  # the centre is not ready without it, and it runs for ever
    pid: int = 0
    started_at: float = 0.0
    start_at: float = 0.0  # infinity: it said that its work is done
    pause: float = FIRST_PAUSE
    deaths: int = 0


class Gate:
    """Closed while the supervisor prepares what every role relies on; a role that came early waits at it."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self._is_open = False

    def open(self) -> None:
        os.close(self._writer)
        self._is_open = True

    def pass_through(self) -> None:
        """In a child: return when the gate is open. It waits for the end of what nobody writes."""
        if not self._is_open:
            os.close(self._writer)
        os.read(self._reader, 1)


class Supervisor:
    """Prepare, then run `roles` until a stop signal; once `is_ready` says yes, `on_ready` is told."""

    def __init__(
        self,
        roles: list[Role],
        *,
        prepare: Callable[[], None],
        is_ready: Callable[[], bool],
        on_ready: Callable[[], None],
    ) -> None:
        self.roles = roles
        self._gate = Gate()
        self._prepare = prepare
        self._is_ready = is_ready
        self._on_ready = on_ready
        self._was_ready = False

    def run(self) -> Exit:
        """Block until stopped. Children are gone when this returns; raises what `prepare` raises."""
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        try:
            for role in self.roles:
                if role.load is not None:
                    self._start(role)
            self._prepare()
            self._gate.open()
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
            if not role.pid and role.start_at <= now and (role.is_essential or self._was_ready):
                self._start(role)

    def _start(self, role: Role) -> None:
        supervisor = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        role.started_at = time.monotonic()
        pid = os.fork()
        if pid == 0:
            _become(role, supervisor, self._gate)
        role.pid = pid
        logger.info("started", child=role.name, pid=pid)

    def _bury(self, role: Role) -> None:
        if not role.pid:
            return
        pid, ending = os.waitpid(role.pid, os.WNOHANG)
        if not pid:
            return
        now, status = time.monotonic(), os.waitstatus_to_exitcode(ending)
        role.pid = 0
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
        waiting = [role.start_at - now for role in self.roles if not role.pid and role.start_at > now]
        return max(0.0, min([*waiting, 1.0 if self._was_ready else 0.1]))

    def _stop_all(self) -> None:
        """Ask all at once, wait, then insist. Nobody waits for the slowest before being asked."""
        for role in self.roles:
            if role.pid:
                os.kill(role.pid, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        for role in self.roles:
            if role.pid and not _wait(role.pid, until=deadline):
                logger.warning("killed", child=role.name)
                os.kill(role.pid, signal.SIGKILL)
                os.waitpid(role.pid, 0)
            role.pid = 0
        logger.info("stopped")


def _become(role: Role, supervisor: int, gate: Gate) -> NoReturn:
    """The child's life, from the fork to its end; it never returns into the supervisor's code."""
    status = 1
    try:
        # Dies with the supervisor, even by kill -9; the second look covers a death before the first call.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:
            os._exit(1)
        # Ctrl-C reaches the whole process group; only the supervisor acts on it and asks the children.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if role.load is not None:
            role.load()
        gate.pass_through()
        status = role.main()
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait(pid: int, *, until: float) -> bool:
    """Whether the child has ended before `until`; its status is of no interest any more."""
    while time.monotonic() < until:
        ended, _ = os.waitpid(pid, os.WNOHANG)
        if ended:
            return True
        signal.sigtimedwait({signal.SIGCHLD}, 0.05)
    return False


def _say_status(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else str(status)
