"""Whoever stops in the middle of anything is let go, on either upper layer, whatever state that leaves."""

import socket
import threading
import time

import pytest

from dicom_node import association, line, listener, storage_association, upper_layer
from tests.dicom_node.devices import a_ct, dcmtk
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
    assert hasty.places.open == 0
    assert hasty.waiting == 0
