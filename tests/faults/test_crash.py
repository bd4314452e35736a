"""The node is killed in the middle of a group commit: what was acknowledged is there, whole, and once."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pydicom.uid import generate_uid
from sqlalchemy import func, select

from center import compose, inventory
from storage.imaging import Instance, Study
from storage.settings import from_environment
from storage.spool import SpoolFirst
from tests.dicom_node.conftest import declare
from tests.faults.sender import Told, lost, sending, wait_for
from tests.pairs import POSTGRESQL_AND_S3, SQLITE_AND_FOLDER, Pair, Pairs
from tests.servers.centre import CentreProcess, is_listening
from tests.servers.process import free_port

SENDERS = 8
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "1"))


@contextmanager
def _a_node_process(
    environment: dict[str, str], data: Path, number: int
) -> Iterator[tuple[CentreProcess, int]]:
    port = free_port()
    words = ["node", "--dicom-port", str(port), "--dicom-tls-port", "0"]
    with CentreProcess(*words, data=data, environment=environment, log_name=f"node{number}.log") as process:
        process.wait_until("listening", lambda: is_listening(port))
        yield process, port


MODES = {
    "sqlite+folder": (SQLITE_AND_FOLDER, "store"),
    "postgresql+s3": (POSTGRESQL_AND_S3, "store"),
    "postgresql+s3, spooled": (POSTGRESQL_AND_S3, "spool"),
}


@pytest.mark.parametrize("mode", MODES)
def test_what_eight_devices_were_told_survives_the_death_of_the_node(
    pairs: Pairs, tmp_path: Path, mode: str
) -> None:
    name, ingest = MODES[mode]
    data = tmp_path / "data"
    with pairs.open(name, tmp_path) as pair:
        declare(pair.database)
        environment = pair.environment | {"READING_CENTER_INGEST": ingest}
        study = generate_uid(prefix=None)
        acknowledged: dict[str, bytes] = {}
        for number in range(ROUNDS):
            acknowledged |= _killed_while_eight_send(environment, data, number, study)

        with _a_node_process(environment, data, ROUNDS):
            _check(pair, environment, data, acknowledged)


def _killed_while_eight_send(
    environment: dict[str, str], data: Path, number: int, study: str
) -> dict[str, bytes]:
    devices: list[Told] = []
    with _a_node_process(environment, data, number) as (process, port), ExitStack() as stack:
        for _ in range(SENDERS):
            changes = {"StudyInstanceUID": study, "SeriesInstanceUID": generate_uid(prefix=None)}
            devices.append(stack.enter_context(sending(port, pause=0.0, **changes)))
        try:
            wait_for("all sent", lambda: min(len(one.acknowledged) for one in devices) > 2, within=20)
        except AssertionError:
            print([(one.answers, one.ended) for one in devices], process.said[-4000:])
            raise
        time.sleep(random.uniform(0.2, 1.2))
        process.kill()
    assert {status for one in devices for status in one.statuses} == {0}
    return {uid: raw for one in devices for uid, raw in one.acknowledged.items()}


def _check(pair: Pair, environment: dict[str, str], data: Path, acknowledged: dict[str, bytes]) -> None:
    objects = compose.open_objects(from_environment(environment, data=str(data)))
    if isinstance(objects, SpoolFirst):
        wait_for("drained", lambda: objects.waiting().count == 0 or _only_torn(objects), within=60)
    assert lost(pair.database, objects, acknowledged) == []
    with pair.database.reading() as session:
        kept = session.scalar(select(func.count()).select_from(Instance))
        assert session.scalar(select(func.count()).select_from(Study)) == 1
        assert session.scalar(select(Study.number_of_instances)) == kept
    # A device that was not told may have been kept; more than one each, never.
    assert len(acknowledged) <= kept <= len(acknowledged) + SENDERS * ROUNDS
    with (data / "verified.txt").open("w") as out:
        assert inventory.report(pair.database, objects, out=out) == 0


def _only_torn(objects: SpoolFirst) -> bool:
    """What was being written when the node died stays, and is not an instance."""
    return all(objects._whole(key) is None for key in objects.spool.keys("instances"))
