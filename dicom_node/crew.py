"""Threads that wait for work: to start one costs a device more than to be answered."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Thing = TypeVar("Thing")

IDLE_SECONDS = 10.0


class Crew(Generic[Thing]):
    """`take(thing)` has `work(thing)` done at once: by a thread that waits, or else by a new one."""

    def __init__(self, name: str, work: Callable[[Thing], None]) -> None:
        """`work` raises nothing."""
        self._name, self._work = name, work
        self._things: queue.SimpleQueue[Thing] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0  # threads that wait and are not spoken for

    def take(self, thing: Thing) -> None:
        with self._lock:
            if self._idle:
                self._idle -= 1
                self._things.put(thing)
                return
        threading.Thread(target=self._run, args=(thing,), name=self._name, daemon=True).start()

    def _run(self, thing: Thing) -> None:
        while True:
            self._work(thing)
            with self._lock:
                self._idle += 1
            try:
                thing = self._things.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if self._idle:
                        self._idle -= 1
                        return
                # Spoken for at the last moment: what is meant for this thread is there.
                thing = self._things.get()
