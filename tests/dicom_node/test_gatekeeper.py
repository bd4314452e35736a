"""Who may associate: declared devices, from their own address. Everyone else is told why, and noted."""

import socket
import struct
import subprocess
import time
from urllib.request import urlopen

import pytest
from sqlalchemy import select

from dicom_node import listener
from dicom_node.gatekeeper import (
    MOST_ASSOCIATIONS,
    RESERVED_FOR_KNOWN,
    SHARE_PER_ADDRESS,
    SHARE_PER_DEVICE,
    SHARE_PER_INSTITUTION,
    Places,
    is_at_home,
    titles,
)
from dicom_node.node import Node, build_node
from storage.audit import Act, AuditEvent
from storage.institutions import ApplicationEntity
from tests.dicom_node.conftest import declare, settings_for
from tests.dicom_node.devices import (
    CT,
    VERIFICATION,
    a_ct,
    associated,
    dcmtk,
    encoded,
    part_10,
    send,
)
from tests.programs import program
from tests.servers.process import free_port


def audited(node: Node, count: int) -> list[AuditEvent]:
    """The association rows, once there are `count` of them: they are written a fifth of a second later."""
    for _ in range(100):
        with node.database.reading() as session:
            rows = list(
                session.scalars(
                    select(AuditEvent).where(AuditEvent.act == Act.ASSOCIATION).order_by(AuditEvent.seq)
                )
            )
            session.expunge_all()
        if len(rows) >= count:
            return rows
        time.sleep(0.05)
    return rows


def test_a_declared_device_is_heard(node):
    status, said = dcmtk("echoscu", "-v", node=node)

    assert status == 0
    assert "Received Echo Response (Success)" in said
    (row,) = audited(node, 1)
    assert (row.verb, row.actor, row.institution_code, row.outcome) == (
        "serve",
        "ae:T01_CT",
        "T01",
        "success",
    )
    assert row.detail["counts"] == {"C-ECHO 0000": 1}
    assert row.source == "127.0.0.1"


@pytest.mark.parametrize("deed", ["--echo", "--store"])
def test_gdcm_is_heard(node, tmp_path, deed):
    tool = program("gdcmscu", of="libgdcm-tools")
    dataset = a_ct()
    file = part_10(dataset, tmp_path / "one.dcm")
    words = [tool, deed, "--aetitle", "T01_CT", "--call", "READINGCENTER", "-H", "127.0.0.1"]

    # GDCM 3.0.21 throws once it has released, whoever its peer was: what it did before is what counts.
    file_if_sent = ["-i", str(file)] if deed == "--store" else []
    subprocess.run([*words, "-p", str(node.port), *file_if_sent], capture_output=True, timeout=30)

    (row,) = audited(node, 1)
    assert row.detail["counts"] == {"C-ECHO 0000" if deed == "--echo" else "C-STORE 0000": 1}


@pytest.mark.parametrize(
    ("calling", "called", "reason"),
    [
        ("STRANGER", "READINGCENTER", "Calling AE Title Not Recognized"),
        ("T01_CT", "SOMEONE_ELSE", "Called AE Title Not Recognized"),
        ("ELSEWHERE", "READINGCENTER", "Calling AE Title Not Recognized"),
    ],
)
def test_anyone_else_is_refused_and_noted(node, calling, called, reason):
    status, said = dcmtk("echoscu", "-v", node=node, calling=calling, called=called)

    assert status != 0
    assert reason in said
    (row,) = audited(node, 1)
    assert (row.verb, row.actor, row.outcome) == ("refuse", f"ae:{calling}", "failure")
    assert row.detail["called"] == called


def test_a_device_that_was_ended_is_a_stranger(node):
    with node.database.transaction() as session:
        session.get(ApplicationEntity, "T01_CT").is_active = False

    status, _ = dcmtk("echoscu", node=node)

    assert status != 0


def test_a_device_negotiates_only_what_it_may(node):
    with associated(
        node,
        (VERIFICATION, ["1.2.840.10008.1.2"]),
        ("1.2.840.10008.5.1.4.31", ["1.2.840.10008.1.2"]),
        calling="T01_SENDER",
    ) as association:
        accepted = [str(context.abstract_syntax) for context in association.accepted_contexts]

    assert accepted == [VERIFICATION]


def a_device(title, *, institution="T01", host="10.0.0.1", certificate=None):
    return ApplicationEntity(
        ae_title=title, institution_code=institution, host=host, certificate_sha256=certificate
    )


def test_no_device_takes_every_place():
    places = Places()

    taken = [places.take(f"10.0.0.{n % 3}", a_device("T01_CT")) for n in range(SHARE_PER_DEVICE + 1)]
    another = places.take("10.0.1.1", a_device("T02_CT", institution="T02"))

    assert taken[:-1] == [None] * SHARE_PER_DEVICE
    assert taken[-1] is not None
    assert another is None


def test_no_institution_takes_every_place_however_many_lines_it_has():
    places = Places()

    taken = [places.take(f"10.0.0.{n}", a_device(f"T01_{n}")) for n in range(SHARE_PER_INSTITUTION + 1)]

    assert taken.count(None) == SHARE_PER_INSTITUTION
    assert "of T01" in (taken[-1] or "")
    assert places.take("10.0.1.1", a_device("T02_CT", institution="T02")) is None


def test_titles_that_call_from_anywhere_leave_the_reserve_to_the_known():
    places = Places()

    strangers = [
        places.take(f"203.0.113.{n % 250}", a_device(f"X{n}", institution=f"T{n % 9}", host="*"))
        for n in range(MOST_ASSOCIATIONS)
    ]
    known = [
        places.take("10.0.0.1", a_device(f"K{n}", institution=f"T{n % 9}")) for n in range(RESERVED_FOR_KNOWN)
    ]

    assert strangers.count(None) == MOST_ASSOCIATIONS - RESERVED_FOR_KNOWN
    assert known == [None] * RESERVED_FOR_KNOWN


def test_devices_with_certificates_may_share_the_address_of_a_proxy():
    places = Places()

    taken = [
        places.take("10.9.9.9", a_device(f"K{n}", institution=f"T{n % 9}", host="*", certificate="ab"))
        for n in range(SHARE_PER_ADDRESS + 50)
    ]
    left = a_device("K0", institution="T0", host="*", certificate="ab")
    places.leave("10.9.9.9", left)

    assert taken == [None] * (SHARE_PER_ADDRESS + 50)
    assert places.open == SHARE_PER_ADDRESS + 49


@pytest.mark.parametrize(("address", "is_crowded"), [("127.0.0.1", True), ("127.0.0.2", False)])
def test_half_open_connections_never_shut_the_door(node, monkeypatch, address, is_crowded):
    # T01_CT is declared at 127.0.0.1; the crowd calls from there too, or from an address that nobody knows.
    monkeypatch.setattr(listener, "MOST_WAITING", 60)
    monkeypatch.setattr(listener, "RESERVED_FOR_KNOWN", 20)
    monkeypatch.setattr(listener, "MOST_WAITING_PER_ADDRESS", 50)
    for _ in range(100):
        if "127.0.0.1" in node.known:
            break
        time.sleep(0.02)
    silent = [
        socket.create_connection(("127.0.0.1", node.port), source_address=(address, 0)) for _ in range(90)
    ]
    time.sleep(0.3)

    waiting = node.waiting
    status, _ = dcmtk("echoscu", node=node)

    for connection in silent:
        connection.close()
    assert waiting == (50 if is_crowded else 40)
    assert status == 0


def test_the_figures_say_who_stored_what_and_who_was_refused(sqlite_pair, tmp_path):
    declare(sqlite_pair.database)
    settings = settings_for(sqlite_pair, tmp_path, metrics_port=str(free_port()))
    node = build_node(settings, sqlite_pair.database, sqlite_pair.objects)
    node.start()
    try:
        dataset = a_ct()
        with associated(node, (CT, ["1.2.840.10008.1.2.1"])) as association:
            send(association, encoded(dataset), sop_instance_uid=dataset.SOPInstanceUID)
            send(association, b"", sop_instance_uid=dataset.SOPInstanceUID)
        other = a_ct(SOPInstanceUID=dataset.SOPInstanceUID)
        with associated(
            node, (CT, ["1.2.840.10008.1.2.1"]), (VERIFICATION, ["1.2.840.10008.1.2"])
        ) as association:
            send(association, encoded(other), sop_instance_uid=dataset.SOPInstanceUID)
        dcmtk("echoscu", node=node, calling="STRANGER")
        dcmtk("echoscu", node=node, calling="ELSEWHERE")

        said = urlopen(f"http://127.0.0.1:{node.metrics_port}/metrics", timeout=10).read().decode()
    finally:
        node.stop()

    lines = dict(line.rsplit(" ", 1) for line in said.splitlines() if not line.startswith("#"))
    assert lines['reading_node_instances_total{ae="T01_CT",status="0000"}'] == "1.0"
    assert lines['reading_node_instances_total{ae="T01_CT",status="C000"}'] == "1.0"
    assert lines['reading_node_instances_total{ae="T01_CT",status="B000"}'] == "1.0"
    assert lines['reading_node_refusals_total{ae="",reason="not-declared"}'] == "1.0"
    assert lines['reading_node_refusals_total{ae="ELSEWHERE",reason="elsewhere"}'] == "1.0"
    assert lines['reading_node_store_seconds_count{ae="T01_CT"}'] == "3.0"
    assert lines['reading_node_quarantined{ae="T01_CT"}'] == "1.0"
    assert float(lines['reading_node_last_seen_timestamp_seconds{ae="T01_CT"}']) > time.time() - 60
    assert lines["reading_node_spool_age_seconds"] == "0.0"
    assert lines["reading_node_damaged_objects"] == "0.0"
    assert "STRANGER" not in said
    assert "ZHANG" not in said


def test_titles_are_harmless_to_a_log():
    request = (
        struct.pack(">BBLHH", 1, 0, 68, 1, 0) + b"READINGCENTER   " + b"\x1b[2J\nEVIL       " + bytes(32)
    )

    assert titles(request) == ("", "READINGCENTER")


@pytest.mark.parametrize(
    ("host", "address", "expected"),
    [
        ("*", "203.0.113.9", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("localhost", "127.0.0.1", True),
        ("192.0.2.7", "127.0.0.1", False),
        ("no.such.host.invalid", "127.0.0.1", False),
    ],
)
def test_a_device_calls_from_its_own_host(host, address, expected):
    assert is_at_home(host, address) is expected


def test_silent_and_babbling_connections_cost_nobody_anything(node):
    silent = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(60)]
    babbling = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(3)]
    babbling[0].sendall(b"GET / HTTP/1.1\r\n\r\n")
    babbling[1].sendall(struct.pack(">BBL", 1, 0, 0xFFFFFFFF))
    babbling[2].sendall(struct.pack(">BBL", 4, 0, 100))

    started = time.monotonic()
    status, _ = dcmtk("echoscu", node=node)
    elapsed = time.monotonic() - started
    for connection in babbling:
        connection.settimeout(3)

    assert status == 0
    assert elapsed < 2
    assert all(is_closed(connection) for connection in babbling)
    for connection in silent + babbling:
        connection.close()


def is_closed(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_pdu_longer_than_agreed_ends_the_association(node):
    with associated(node, (VERIFICATION, ["1.2.840.10008.1.2"])) as association:
        raw = association.dul.socket.socket
        raw.sendall(struct.pack(">BBL", 4, 0, 0xFFFFFFFF) + bytes(1000))
        for _ in range(100):
            if not association.is_established:
                break
            time.sleep(0.05)

        assert not association.is_established
    assert dcmtk("echoscu", node=node)[0] == 0


def test_a_node_stops_at_once_although_devices_are_connected(node):
    with (
        associated(node, (VERIFICATION, ["1.2.840.10008.1.2"])) as idle,
        associated(node, (VERIFICATION, ["1.2.840.10008.1.2"])) as stuck,
    ):
        stuck.dul.socket.socket.sendall(struct.pack(">BBL", 4, 0, 1000) + b"half a PDU")
        time.sleep(0.2)

        started = time.monotonic()
        node.stop()
        elapsed = time.monotonic() - started

        for _ in range(100):
            if idle.is_aborted:
                break
            time.sleep(0.02)
    assert elapsed < 3
    assert idle.is_aborted
    assert node.places.open == 0
