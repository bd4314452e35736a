"""Server-sent events on a real socket: who hears what, how soon; and a stopping server waits for nobody."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest
import uvicorn

from reading_portal.broadcast import MOST_STREAMS
from storage import changes
from storage.changes import Topic
from storage.database import utc_now
from tests.cast import password_of
from tests.reading_portal.conftest import Portal


@dataclass
class Stream:
    """One open stream, read in a thread of its own."""

    events: list[dict[str, Any]] = field(default_factory=list)
    is_listening: threading.Event = field(default_factory=threading.Event)
    has_ended: threading.Event = field(default_factory=threading.Event)
    connection: socket.socket | None = None

    def hang_up(self) -> None:
        if self.connection is not None and not self.has_ended.is_set():
            self.connection.shutdown(socket.SHUT_RDWR)

    def wait_for(self, topic: str, subject: str, within: float = 5.0) -> float:
        """Seconds until the event came."""
        began = time.monotonic()
        while time.monotonic() < began + within:
            if any(one["event"] == topic and one["subject"] == subject for one in list(self.events)):
                return time.monotonic() - began
            time.sleep(0.02)
        raise AssertionError(f"{topic} {subject} was not heard; only {self.events}")


@dataclass
class Server:
    url: str
    uvicorn: uvicorn.Server

    def token(self, username: str) -> str:
        answer = httpx.post(
            f"{self.url}/api/sessions", json={"username": username, "password": password_of(username)}
        )
        return str(answer.json()["token"])

    @contextmanager
    def listening(self, token: str, **headers: str) -> Iterator[Stream]:
        stream = Stream()
        client = httpx.Client(timeout=httpx.Timeout(10, read=30))

        def read() -> None:
            try:
                with client.stream(
                    "GET", f"{self.url}/api/events", headers={"authorization": f"Bearer {token}"} | headers
                ) as answer:
                    stream.connection = answer.extensions["network_stream"].get_extra_info("socket")
                    said: dict[str, Any] = {}
                    for line in answer.iter_lines():
                        name, _, value = line.partition(": ")
                        if line.startswith(": "):
                            stream.is_listening.set()
                        elif line == "" and "data" in said:
                            stream.events.append(said | json.loads(said["data"]))
                            said = {}
                        elif name in ("event", "data", "id"):
                            said[name] = value
            except (httpx.HTTPError, OSError):
                pass
            finally:
                stream.has_ended.set()

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        assert stream.is_listening.wait(10)
        try:
            yield stream
        finally:
            stream.hang_up()
            thread.join(5)
            client.close()


@pytest.fixture
def server(portal: Portal) -> Iterator[Server]:
    with serving(portal) as opened:
        yield opened


@pytest.fixture
def quick_server(quick_portal: Portal) -> Iterator[Server]:
    with serving(quick_portal) as opened:
        yield opened


@contextmanager
def serving(portal: Portal) -> Iterator[Server]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = uvicorn.Config(
            portal.app, log_level="warning", access_log=False, timeout_graceful_shutdown=3, lifespan="on"
        )
        opened = Server(f"http://127.0.0.1:{listener.getsockname()[1]}", uvicorn.Server(config))
        thread = threading.Thread(target=opened.uvicorn.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 10
        while not opened.uvicorn.started and time.monotonic() < deadline:
            time.sleep(0.02)
        yield opened
        opened.uvicorn.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def test_a_new_task_is_on_every_readers_screen_within_two_seconds(portal: Portal, server: Server) -> None:
    with server.listening(server.token("chen")) as chen, server.listening(server.token("wu")) as wu:
        exam = portal.an_exam()

        heard = [stream.wait_for("task", f"task:{exam.task_id}") for stream in (chen, wu)]

    assert max(heard) < 2.0
    (told,) = [one for one in chen.events if one["event"] == "task"]
    assert told | {"id": "", "data": ""} == {
        "event": "task", "id": "", "data": "", "subject": f"task:{exam.task_id}", "verb": "open",
        "institution": "T01", "modality": "CT",
    }  # fmt: skip


def test_a_signed_report_is_heard_at_home_and_nowhere_else(
    quick_portal: Portal, quick_server: Server
) -> None:
    exam = quick_portal.an_exam()
    with (
        quick_server.listening(quick_server.token("li")) as li,
        quick_server.listening(quick_server.token("he")) as he,
    ):
        report = quick_portal.signed(exam)["report_id"]

        seconds = li.wait_for("report", f"report:{report}")
        time.sleep(0.6)

    assert seconds < 2.0
    assert he.events == []


def test_whoever_was_cut_off_hears_what_was_missed(quick_portal: Portal, quick_server: Server) -> None:
    token = quick_server.token("chen")
    with quick_server.listening(token) as before:
        first = quick_portal.an_exam()
        before.wait_for("task", f"task:{first.task_id}")
    last_id = before.events[-1]["id"]
    second = quick_portal.an_exam()

    with quick_server.listening(token, **{"last-event-id": last_id}) as after:
        after.wait_for("task", f"task:{second.task_id}")

    assert not any(one["subject"] == f"task:{first.task_id}" for one in after.events)


def test_a_change_that_commits_late_under_an_earlier_number_is_still_told(
    portal: Portal, server: Server
) -> None:
    if portal.database.is_sqlite:
        pytest.skip("SQLite has one writer: numbers commit in their order")
    with server.listening(server.token("chen")) as chen:
        with portal.database.transaction() as slow:
            changes.publish(slow, Topic.TASK, "task:early", "open", institution_code="T01", modality="CT")
            slow.flush()
            with portal.database.transaction() as quick:
                changes.publish(quick, Topic.TASK, "task:late", "open", institution_code="T01", modality="CT")
            chen.wait_for("task", "task:late")
        chen.wait_for("task", "task:early")

    assert [one["subject"] for one in chen.events] == ["task:late", "task:early"]


def test_the_stream_of_somebody_who_was_locked_out_ends(
    quick_portal: Portal, quick_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reading_portal.routes.events.RECHECK_SECONDS", 0.3)
    with quick_server.listening(quick_server.token("chen")) as chen:
        quick_portal.app.state.clock = lambda: utc_now() + timedelta(days=1)

        assert chen.has_ended.wait(5)


def test_a_ninth_stream_of_one_session_ends_its_oldest_and_nobody_elses(
    quick_portal: Portal, quick_server: Server
) -> None:
    token, other = quick_server.token("chen"), quick_server.token("chen")
    with contextlib.ExitStack() as open_tabs:
        beside = open_tabs.enter_context(quick_server.listening(other))
        tabs = [open_tabs.enter_context(quick_server.listening(token)) for _ in range(MOST_STREAMS)]
        assert not tabs[0].has_ended.is_set()

        open_tabs.enter_context(quick_server.listening(token))

        assert tabs[0].has_ended.wait(5)
        assert [tab.has_ended.is_set() for tab in (*tabs[1:], beside)] == [False] * MOST_STREAMS


def test_a_stopping_server_ends_its_streams(quick_portal: Portal, quick_server: Server) -> None:
    with quick_server.listening(quick_server.token("chen")) as chen:
        began = time.monotonic()
        quick_server.uvicorn.should_exit = True

        assert chen.has_ended.wait(5)

    assert time.monotonic() - began < 4
