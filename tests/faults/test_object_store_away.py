"""An object store that refuses or hangs: with a spool devices do not notice, without one they are told."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydicom.uid import generate_uid
from pynetdicom import evt
from sqlalchemy import delete
from structlog.testing import capture_logs

from reading_portal.problems import problem_of
from storage.imaging import Instance
from storage.objects import ObjectMissing, StoreAway, open_store
from storage.s3 import S3_ANSWER, S3Store
from storage.spool import SpooledStore
from tests.dicom_node.devices import a_ct
from tests.dicom_node.test_query_retrieve import keep
from tests.dicom_node.test_sub_operations import Archive, get, move
from tests.faults.conftest import a_node
from tests.faults.gate import Gate
from tests.faults.sender import OUT_OF_RESOURCES, SUCCESS, Told, lost, send_one, sending, wait_for
from tests.pairs import SQLITE_AND_FOLDER, Pair, Pairs
from tests.reading_portal.dicomweb_objects import a_gradient, an_image
from tests.reading_portal.dicomweb_portal import file_of, open_portal
from tests.servers.lazy import LazyServers
from tests.servers.process import free_port

AWAY = float(os.environ.get("FAULT_SECONDS", "30"))


@pytest.fixture
def bucket(servers: LazyServers) -> Iterator[str]:
    name = servers.s3.create_bucket()
    yield name
    servers.s3.give_back(name)


@pytest.fixture
def gate(servers: LazyServers) -> Iterator[Gate]:
    with Gate(servers.s3.port) as line:
        yield line


@pytest.fixture
def near(pairs: Pairs, tmp_path: Path) -> Iterator[Pair]:
    """The database is here; only the object store is elsewhere."""
    with pairs.open(SQLITE_AND_FOLDER, tmp_path) as opened:
        yield opened


@pytest.fixture
def environment(near: Pair, servers: LazyServers, bucket: str, gate: Gate) -> dict[str, str]:
    url = servers.s3.url(bucket).replace(f":{servers.s3.port}/", f":{gate.port}/")
    return {"READING_CENTER_DATABASE_URL": near.database_url, "READING_CENTER_OBJECT_STORE": url}


@pytest.fixture
def far(servers: LazyServers, bucket: str) -> S3Store:
    """The object store as another machine sees it."""
    store = open_store(servers.s3.url(bucket))
    assert isinstance(store, S3Store)
    return store


@pytest.fixture
def free_receiver() -> int:
    return free_port()


WHOLE = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
SPOOL = {"READING_CENTER_INGEST": "spool"}


def _in_spool(node) -> int:
    assert isinstance(node.objects, SpooledStore)
    return node.objects.waiting().count


@pytest.mark.parametrize("how", ["cut", "silence"])
def test_with_a_spool_devices_do_not_notice_that_the_store_is_away(
    environment: dict[str, str], gate: Gate, far: S3Store, start, how: str
) -> None:
    node = start(environment | SPOOL)
    # Where it is away for half an hour (FAULT_SECONDS=1800) a device sends four images a second, not fifty.
    with sending(node.port, pause=0.05 if AWAY < 60 else 0.25) as device:
        wait_for("sent", lambda: len(device.acknowledged) > 3, within=15)
        getattr(gate, how)()
        time.sleep(AWAY)
        waiting = _in_spool(node)
        # Readers on this machine find what waits.
        assert lost(node.database, node.objects.spool, {}) == []
        gate.mend()
    # A put that hangs is given up and told again, so a silent store is missed a little longer than it was.
    within = max(60.0, AWAY / 3)
    drained = wait_for("drained", lambda: _in_spool(node) == 0, within=max(within, S3_ANSWER * 2 + 35))

    assert waiting > 3
    assert device.statuses == {SUCCESS}
    assert device.longest < 2
    assert lost(node.database, far, device.acknowledged) == []
    assert drained < within


def test_readers_find_an_object_while_it_waits_and_after(
    environment: dict[str, str], gate: Gate, far: S3Store, start
) -> None:
    node = start(environment | SPOOL)
    gate.cut()
    device = Told()
    send_one(node.port, device)

    assert lost(node.database, node.objects, device.acknowledged) == [], "on this machine, from the spool"
    (key,) = node.objects.spool.keys()
    with pytest.raises(ObjectMissing):
        far.get(key)  # on another machine, not yet
    gate.mend()
    wait_for("drained", lambda: _in_spool(node) == 0, within=10)

    assert lost(node.database, node.objects, device.acknowledged) == []
    assert lost(node.database, far, device.acknowledged) == []


@pytest.mark.parametrize("how", ["cut", "silence"])
def test_without_a_spool_devices_are_told_to_come_again_and_no_ack_is_false(
    environment: dict[str, str], gate: Gate, far: S3Store, start, monkeypatch, how: str
) -> None:
    from storage import s3

    monkeypatch.setattr(s3, "S3_ANSWER", 1.5)
    node = start(environment)
    with sending(node.port) as device:
        wait_for("sent", lambda: len(device.acknowledged) > 3, within=15)
        getattr(gate, how)()
        time.sleep(AWAY)
        wait_for("refused", lambda: OUT_OF_RESOURCES in device.statuses, within=5)
        gate.mend()
        kept = len(device.acknowledged)
        wait_for("resumed", lambda: len(device.acknowledged) > kept + 3, within=8)

    assert device.statuses == {SUCCESS, OUT_OF_RESOURCES}
    assert device.longest < 8
    assert lost(node.database, far, device.acknowledged) == []


def test_a_node_starts_while_the_store_is_away_and_heals_from_its_spool(
    environment: dict[str, str], gate: Gate, far: S3Store, near: Pair, tmp_path: Path
) -> None:
    device = Told()
    with a_node(environment | SPOOL, tmp_path / "data") as node:
        gate.cut()
        for _ in range(3):
            send_one(node.port, device)
    # What a power cut does to the end of an index whose commits are not flushed.
    with near.database.transaction() as session:
        session.execute(delete(Instance))

    with a_node(environment | SPOOL, tmp_path / "data", is_declared=True) as node:
        assert lost(node.database, node.objects, device.acknowledged) == []
        gate.mend()
        wait_for("drained", lambda: _in_spool(node) == 0, within=10)

        assert lost(node.database, far, device.acknowledged) == []


def test_what_waits_is_copied_also_when_the_spool_is_turned_off(
    environment: dict[str, str], gate: Gate, far: S3Store, tmp_path: Path
) -> None:
    device = Told()
    with a_node(environment | SPOOL, tmp_path / "data") as node:
        gate.cut()
        send_one(node.port, device)
    gate.mend()

    with a_node(environment, tmp_path / "data", is_declared=True) as node:
        wait_for("drained", lambda: not list(node.objects.spool.keys()), within=10)

    assert lost(node.database, far, device.acknowledged) == []


def test_a_reader_elsewhere_hears_that_an_object_is_on_its_way_not_that_we_failed() -> None:
    on_its_way, away = problem_of(ObjectMissing("instances/x")), problem_of(StoreAway("x"))

    assert (on_its_way.status, on_its_way.kind) == (503, "object-missing")
    assert (away.status, away.kind) == (503, "object-store")
    assert "Retry-After" in on_its_way.headers and "Retry-After" in away.headers
    assert "instances/x" not in on_its_way.detail


def test_a_line_says_how_many_wait_and_since_when(
    environment: dict[str, str], gate: Gate, start, caplog
) -> None:
    node = start(environment | SPOOL)
    gate.cut()
    send_one(node.port, Told())

    wait_for("said", lambda: "wait in the spool, the oldest for" in caplog.text, within=10)
    gate.mend()
    wait_for("said", lambda: "the object store is back" in caplog.text, within=10)


# --- what is asked for while it goes away -----------------------------------------------------------------


@pytest.mark.parametrize("how", ["cut", "silence"])
@pytest.mark.parametrize("service", ["get", "move"])
def test_a_retrieval_is_answered_with_true_counts_when_the_store_goes_half_way(
    environment: dict[str, str], gate: Gate, start, monkeypatch, free_receiver: int, service: str, how: str
) -> None:
    from storage import s3

    monkeypatch.setattr(s3, "S3_ANSWER", 1.5)
    node = start(environment, receiver_port=free_receiver)
    slices = [a_ct(InstanceNumber=number) for number in range(1, 9)]
    for one in slices[1:]:
        one.StudyInstanceUID, one.SeriesInstanceUID = slices[0].StudyInstanceUID, slices[0].SeriesInstanceUID
    keep(node, *slices)
    taken: list[str] = []

    def take(event) -> int:
        taken.append(str(event.request.AffectedSOPInstanceUID))
        if len(taken) == 3:
            getattr(gate, how)()
        return 0

    began = time.monotonic()
    status, (_, completed, failed, _), names = _retrieved(node, service, slices[0], take, free_receiver)
    lasted = time.monotonic() - began
    gate.mend()
    wait_for("back", lambda: _retrieved(node, service, slices[0], take, free_receiver)[0] == 0, within=20)

    assert status == 0xB000
    assert 3 <= completed <= 4, "the one that was read already goes out too"
    assert completed + failed == len(slices)
    assert len(names) == failed
    assert lasted < 15


def _retrieved(node, service: str, dataset, take, port: int):
    """The last answer of a C-GET or C-MOVE of this study."""
    if service == "get":
        return get(node, dataset.StudyInstanceUID, take)[-1]
    receiver = Archive(port)
    receiver.server.unbind(evt.EVT_C_STORE, receiver.take)
    receiver.server.bind(evt.EVT_C_STORE, take)
    try:
        return move(node, dataset.StudyInstanceUID)[-1]
    finally:
        receiver.server.shutdown()


@pytest.mark.parametrize("how", ["cut", "silence"])
def test_a_download_breaks_off_and_the_next_one_works_when_the_store_goes_half_way(
    near: Pair, environment: dict[str, str], gate: Gate, tmp_path: Path, monkeypatch, how: str
) -> None:
    from storage import s3

    monkeypatch.setattr(s3, "S3_ANSWER", 1.5)
    store = open_store(environment["READING_CENTER_OBJECT_STORE"])
    pair = Pair("near", near.database_url, environment["READING_CENTER_OBJECT_STORE"], near.database, store)
    with open_portal(pair, tmp_path) as portal, portal.client("chenyu") as chen, capture_logs():
        study = generate_uid(prefix=None)
        images = [
            an_image(a_gradient(1200, 1200), study=study, series=study + ".1", PatientID="P001")
            for _ in range(8)
        ]
        for image in images:
            portal.keep(file_of(image))
        path = f"/dicom-web/studies/{study}"
        one = f"{path}/series/{study}.1/instances/{images[0].SOPInstanceUID}"
        began, got = time.monotonic(), 0
        with pytest.raises(httpx.HTTPError), chen.stream("GET", path, headers=WHOLE) as answer:
            for piece in answer.iter_raw():
                if not got:
                    getattr(gate, how)()
                got += len(piece)
        refused = [chen.get(one + rest).status_code for rest in ("", "/frames/1", "/rendered")]
        lasted = time.monotonic() - began
        gate.mend()
        whole = chen.get(path, headers=WHOLE)

    assert 0 < got < len(whole.content)
    assert refused == [503, 503, 503]
    assert lasted < 40
    assert whole.status_code == 200
