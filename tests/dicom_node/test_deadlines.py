"""Whoever stops in the middle of anything is let go, on either upper layer, whatever state that leaves."""

import contextlib
import socket
import threading
import time

import pytest

from dicom_node import association, line, listener, pace, storage_association, upper_layer
from tests.dicom_node.devices import a_ct, dcmtk, encoded
from tests.dicom_node.test_storage_association import CONTEXTS, RELEASE, Peer, _command, _request

FIND = {7: ("1.2.840.10008.5.1.4.1.2.2.1", ["1.2.840.10008.1.2"])}
OURS, PYNETDICOM = _request(CONTEXTS), _request({**CONTEXTS, **FIND})
# PS3.8 table 9-10: which state a peer stops in, and what it has said by then.
BEFORE = {"Sta2, silent": b"", "Sta2, half an A-ASSOCIATE-RQ": OURS[:100], "Sta2, no length": OURS[:3]}
AFTER = {
    "Sta6, idle": b"",
    "Sta6, half a header": b"\x04\0\0",
    "Sta6, half a P-DATA-TF": b"\x04\0\0\0\x01\0" + bytes(20),
    "Sta13, released and never closed": RELEASE,
}


@pytest.fixture
def hasty(monkeypatch, node):
    """The node, with every deadline a second or two."""
    monkeypatch.setattr(listener, "FIRST_PDU_SECONDS", 1.0)
    for module in (upper_layer, storage_association, line):
        monkeypatch.setattr(module, "PDU_SECONDS", 1.0)
    for module in (association, storage_association):
        monkeypatch.setattr(module, "IDLE_SECONDS", 2.0)
    return node


def seconds_until_closed(connection):
    began = time.monotonic()
    connection.settimeout(25)
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return time.monotonic() - began


def test_no_state_lasts_for_ever(hasty):
    peers = {}
    for state, said in BEFORE.items():
        peers[state] = socket.create_connection(("127.0.0.1", hasty.port))
        peers[state].sendall(said)
    for layer, request in {"ours": OURS, "pynetdicom": PYNETDICOM}.items():
        for state, said in AFTER.items():
            peer = Peer(hasty, request)
            peer.socket.sendall(said)
            peers[f"{state}, {layer}"] = peer.socket
        announced = Peer(hasty, request)
        announced.send((1, 3, _command(a_ct())))
        peers[f"Sta6, a dataset that never comes, {layer}"] = announced.socket
    lasted = {}

    def watch(state, connection):
        lasted[state] = seconds_until_closed(connection)

    watchers = [threading.Thread(target=watch, args=one, daemon=True) for one in peers.items()]
    for one in watchers:
        one.start()
    for one in watchers:
        one.join(30)
    for connection in peers.values():
        connection.close()

    assert set(lasted) == set(peers), "these were never let go"
    assert {state: took for state, took in lasted.items() if took > 20} == {}
    assert dcmtk("echoscu", node=hasty)[0] == 0
    until = time.monotonic() + 10  # a place is given back after its connection was closed
    while (hasty.places.open or hasty.waiting) and time.monotonic() < until:
        time.sleep(0.05)
    assert hasty.places.open == 0
    assert hasty.waiting == 0


@pytest.mark.parametrize(
    ("layer", "context", "field"),
    [(OURS, 1, 0x01), (PYNETDICOM, 1, 0x01), (PYNETDICOM, 7, 0x20)],
    ids=["an image, ours", "an image, pynetdicom", "a query, pynetdicom"],
)
def test_a_message_that_drips_ends_its_association_though_each_of_its_pieces_is_in_time(
    node, monkeypatch, layer, context, field
):
    monkeypatch.setattr(pace, "GRACE_SECONDS", 1.0)
    peer = Peer(node, layer)
    peer.send((context, 3, _command(a_ct(), field=field)))
    peer.socket.settimeout(0.25)
    began, heard = time.monotonic(), b""

    while not heard and time.monotonic() - began < 15:
        peer.send((context, 0, b"\x08\0\x05\0"))
        with contextlib.suppress(TimeoutError):
            heard = peer.socket.recv(10)

    assert heard[:1] == b"\x07", "an A-ABORT"
    assert 1.0 < time.monotonic() - began < 8
    peer.socket.close()
    assert dcmtk("echoscu", node=node)[0] == 0


@pytest.mark.parametrize("layer", [OURS, PYNETDICOM], ids=["ours", "pynetdicom"])
def test_a_slow_line_has_all_the_time_that_it_needs(node, monkeypatch, layer):
    monkeypatch.setattr(pace, "GRACE_SECONDS", 0.5)
    image = a_ct()
    whole = encoded(image)
    peer = Peer(node, layer)
    for _ in range(2):  # a pause between two messages is nobody's lateness
        peer.send((1, 3, _command(image)))
        pieces = [whole[at : at + 2048] for at in range(0, len(whole), 2048)][:8]
        for piece in pieces:
            peer.send((1, 0, piece))
            time.sleep(0.25)
        peer.send((1, 2, whole[8 * 2048 :]))

        assert peer.status() == 0
        time.sleep(1)
    peer.socket.close()


def test_a_proposal_that_cannot_be_read_gives_its_place_back_at_once(node):
    whole = PYNETDICOM
    for cut in range(80, len(whole) - 6, 7):
        said = bytearray(whole)
        said[cut] ^= 0xFF
        with socket.create_connection(("127.0.0.1", node.port), timeout=10) as peer:
            peer.sendall(bytes(said))
            peer.settimeout(0.05)
            with contextlib.suppress(OSError):
                peer.recv(1000)
    until = time.monotonic() + 3  # pynetdicom waits for ten
    while (node.places.open or node.waiting) and time.monotonic() < until:
        time.sleep(0.02)
    assert (node.places.open, node.waiting) == (0, 0)
