"""A database that hangs, restarts, or is locked: a device is told in time, never falsely, and goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select

from dicom_node import association_log
from storage import database as databases
from storage import ingest
from storage.audit import AuditEvent
from storage.database import CONNECT_PATIENCE
from tests.dicom_node.devices import CT, associated
from tests.faults.sender import EXPLICIT, OUT_OF_RESOURCES, SUCCESS, Told, lost, send_one, sending, wait_for
from tests.pairs import Pair, _make_schema
from tests.servers.centre import children_of
from tests.servers.postgresql import PostgresServer

AWAY = float(os.environ.get("FAULT_SECONDS", "10"))
SLACK = 3.0  # of a busy machine
DEVICE_PATIENCE = 2.0  # in place of eight seconds, or the test would have to wait as long


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (databases, ingest):
        monkeypatch.setattr(module, "DEVICE_PATIENCE", DEVICE_PATIENCE)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A server of its own: it is stopped and killed."""
    with tempfile.TemporaryDirectory(prefix="centre-faults-") as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer(Path(folder) / "postgresql")
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def environment(postgres: PostgresServer, tmp_path: Path) -> dict[str, str]:
    url = postgres.url(postgres.create_database())
    _make_schema(url)
    return {
        "READING_CENTER_DATABASE_URL": url,
        "READING_CENTER_OBJECT_STORE": f"file://{tmp_path / 'objects'}",
    }


@contextmanager
def _hanging(server: PostgresServer) -> Iterator[None]:
    """Every process of the cluster stops where it is; its sockets stay open."""
    everyone = [server.process.pid, *children_of(server.process.pid)]
    try:
        for pid in everyone:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in reversed(everyone):
            os.kill(pid, signal.SIGCONT)


def test_while_the_database_hangs_devices_are_told_to_come_again_and_no_ack_is_false(
    environment: dict[str, str], postgres: PostgresServer, start
) -> None:
    node = start(environment)
    with sending(node.port) as first, sending(node.port) as second:
        wait_for("sent", lambda: len(first.acknowledged) > 3 and len(second.acknowledged) > 3, within=15)

        with _hanging(postgres):
            # Longer than any answer may take, or one that waits for the whole of it would pass.
            time.sleep(max(AWAY, DEVICE_PATIENCE + CONNECT_PATIENCE + 2 * SLACK))
            told = [*first.answers, *second.answers]
        kept = len(first.acknowledged)
        resumed = wait_for("resumed", lambda: len(first.acknowledged) > kept + 3, within=CONNECT_PATIENCE + 3)

    assert OUT_OF_RESOURCES in {status for status, _ in told}
    for device in (first, second):
        assert device.statuses == {SUCCESS, OUT_OF_RESOURCES}
        assert device.longest < DEVICE_PATIENCE + CONNECT_PATIENCE + SLACK
        assert lost(node.database, node.objects, device.acknowledged) == []
    assert resumed < CONNECT_PATIENCE + SLACK


def test_a_database_that_restarts_costs_a_device_at_most_a_few_refusals(
    environment: dict[str, str], postgres: PostgresServer, start
) -> None:
    node = start(environment)
    with sending(node.port) as device:
        wait_for("sent", lambda: len(device.acknowledged) > 3, within=15)

        postgres.stop()
        time.sleep(1)
        wait_for("refused", lambda: OUT_OF_RESOURCES in device.statuses, within=5)
        postgres.run()
        kept = len(device.acknowledged)
        wait_for("resumed", lambda: len(device.acknowledged) > kept + 3, within=5)

    assert device.statuses == {SUCCESS, OUT_OF_RESOURCES}
    assert device.longest < CONNECT_PATIENCE
    assert lost(node.database, node.objects, device.acknowledged) == []


def test_a_new_association_is_refused_for_the_moment_while_the_database_is_away(
    environment: dict[str, str], postgres: PostgresServer, start
) -> None:
    node = start(environment)
    send_one(node.port, Told())

    postgres.stop()
    with associated(node, (CT, EXPLICIT)) as association:
        refused = association.is_rejected
        answer = association.acceptor.primitive
    postgres.run()
    wait_for("admitted", lambda: _is_admitted(node), within=5)

    assert refused
    assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 1), "transient: try again later"


def _is_admitted(node) -> bool:
    with associated(node, (CT, EXPLICIT)) as association:
        return bool(association.is_established)


def test_an_association_that_ended_while_the_database_was_away_is_in_the_trace_afterwards(
    environment: dict[str, str], postgres: PostgresServer, start, monkeypatch
) -> None:
    monkeypatch.setattr(association_log, "ATTEMPTS", 1)
    node = start(environment)
    with associated(node, (CT, EXPLICIT)) as association:
        assert association.is_established
        postgres.stop()
    time.sleep(2.5)
    postgres.run()

    wait_for("in the trace", lambda: _traces(node) == 1, within=8)


def _traces(node) -> int:
    with node.database.reading() as session:
        return session.scalar(select(func.count()).select_from(AuditEvent).where(AuditEvent.verb == "serve"))


def test_a_node_whose_database_goes_while_it_starts_goes_on_unprepared(
    environment: dict[str, str], postgres: PostgresServer, start, caplog
) -> None:
    node = start(environment)

    postgres.stop()
    with caplog.at_level("INFO", logger="reading_center.dicom"):
        node._warm_up()
    postgres.run()

    assert "nothing was prepared beforehand" in caplog.text
    wait_for("kept", lambda: send_one(node.port, Told()) == SUCCESS, within=5)


def test_connections_that_died_while_nobody_sent_are_replaced_unnoticed(
    environment: dict[str, str], postgres: PostgresServer, start
) -> None:
    node = start(environment)
    device = Told()
    send_one(node.port, device)

    postgres.stop()
    postgres.run()
    again = send_one(node.port, device)

    assert again == SUCCESS
    assert lost(node.database, node.objects, device.acknowledged) == []


LOCK = """
import fcntl, os, sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None)
if sys.argv[2] == "queue":
    file = os.open(sys.argv[1] + ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(file, fcntl.LOCK_EX)
else:
    database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def _locked(path: Path, how: str) -> Iterator[None]:
    command = [sys.executable, "-c", LOCK, str(path), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"locked\n"
        try:
            yield
        finally:
            process.stdin.close()
            process.wait(10)


@pytest.mark.parametrize("how", ["queue", "database"])
def test_a_process_that_holds_the_only_writers_place_does_not_make_devices_wait_for_ever(
    sqlite_pair: Pair, start, how: str
) -> None:
    node = start(sqlite_pair.environment)
    path = Path(sqlite_pair.database_url.removeprefix("sqlite:///"))
    with sending(node.port) as first, sending(node.port) as second:
        wait_for("sent", lambda: len(first.acknowledged) > 3 and len(second.acknowledged) > 3, within=15)

        with _locked(path, how):
            wait_for("refused", lambda: OUT_OF_RESOURCES in first.statuses, within=DEVICE_PATIENCE + SLACK)
        kept = len(first.acknowledged)
        wait_for("resumed", lambda: len(first.acknowledged) > kept + 3, within=5)

    for device in (first, second):
        assert device.longest < DEVICE_PATIENCE + SLACK
        assert lost(node.database, node.objects, device.acknowledged) == []


def test_two_who_wait_in_line_for_the_only_writers_place_both_get_it(sqlite_pair: Pair) -> None:
    database = sqlite_pair.database
    order: list[str] = []

    def write(name: str) -> None:
        with database.one_writer():
            order.append(name)
            time.sleep(0.05)

    with database.one_writer():
        threads = [threading.Thread(target=write, args=(name,)) for name in ("first", "second")]
        for thread in threads:
            thread.start()
            time.sleep(0.1)
        assert order == []
    for thread in threads:
        thread.join(5)

    assert order == ["first", "second"]
