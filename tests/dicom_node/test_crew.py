"""Threads that wait for the next connection: whatever is taken is begun at once, by one thread, once."""

import threading
import time

import pytest

from dicom_node import crew
from dicom_node.crew import Crew


@pytest.fixture(autouse=True)
def short_idleness(monkeypatch):
    monkeypatch.setattr(crew, "IDLE_SECONDS", 0.002)


def _threads(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())


def test_what_is_taken_while_others_work_does_not_wait_for_them():
    free, begun = threading.Event(), threading.Semaphore(0)

    def work(_: int) -> None:
        begun.release()
        free.wait(10)

    hands = Crew("busy", work)
    for number in range(50):
        hands.take(number)

    assert all(begun.acquire(timeout=5) for _ in range(50))
    free.set()


def test_a_thread_that_waits_is_used_again():
    done = threading.Semaphore(0)
    hands = Crew("again", lambda _: done.release())
    seen = set()

    for number in range(200):
        hands.take(number)
        assert done.acquire(timeout=5)
        seen |= {thread.ident for thread in threading.enumerate() if thread.name == "again"}

    assert len(seen) < 200


def test_at_the_moment_when_a_thread_gives_up_waiting_nothing_is_lost_or_done_twice():
    done: list[int] = []
    hands = Crew("edge", done.append)

    for number in range(600):
        hands.take(number)
        time.sleep(0.0015 + (number % 10) * 0.0001)  # around the end of the wait

    until = time.monotonic() + 5
    while len(done) < 600 and time.monotonic() < until:
        time.sleep(0.01)
    assert sorted(done) == list(range(600))


def test_threads_that_nobody_needs_go():
    hands = Crew("gone", lambda _: None)
    for number in range(20):
        hands.take(number)

    until = time.monotonic() + 5
    while _threads("gone") and time.monotonic() < until:
        time.sleep(0.01)
    assert _threads("gone") == 0
