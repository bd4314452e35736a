"""The receiving path on the wire, bit by bit: our own upper layer against PS3.8, with raw sockets."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from sqlalchemy import func, select

from dicom_node.node import Node
from dicom_node.proposal import read_storage_proposal
from storage.imaging import Instance
from storage.instances import find_instance
from tests.dicom_node.devices import CT, VERIFICATION, a_ct, encoded

EXPLICIT, IMPLICIT, JPIP = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.94"
MR = "1.2.840.10008.5.1.4.1.1.4"
RELEASE = b"\x05\0\0\0\0\x04\0\0\0\0"


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def _request(
    contexts: dict[int, tuple[str, list[str]]], *, user: bytes = b"", calling: str = "T01_CT"
) -> bytes:
    titles = b"READINGCENTER".ljust(16) + calling.encode().ljust(16) + bytes(32)
    items = _item(0x10, b"1.2.840.10008.3.1.1.1")
    for number, (abstract, syntaxes) in contexts.items():
        inner = _item(0x30, abstract.encode()) + b"".join(_item(0x40, one.encode()) for one in syntaxes)
        items += _item(0x20, bytes([number, 0, 0, 0]) + inner)
    items += _item(0x50, _item(0x51, struct.pack(">L", 16384)) + _item(0x52, b"1.2.3") + user)
    body = struct.pack(">HH", 1, 0) + titles + items
    return struct.pack(">BxL", 1, len(body)) + body


CONTEXTS = {1: (CT, [EXPLICIT]), 3: (VERIFICATION, [IMPLICIT]), 5: (MR, [EXPLICIT])}


class Peer:
    """A device that says exactly what it is told to."""

    def __init__(self, node: Node, request: bytes, *, address: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(
            ("127.0.0.1", node.port), timeout=20, source_address=(address, 0)
        )
        self.socket.sendall(request)
        self.answer = self.pdu()

    def pdu(self) -> bytes:
        """The next PDU, whole; empty when the node has closed."""
        head = self._exactly(6)
        return head + self._exactly(int.from_bytes(head[2:6], "big")) if head else b""

    def send(self, *values: tuple[int, int, bytes]) -> None:
        """One P-DATA-TF of these (context, control, fragment)."""
        body = b"".join(
            struct.pack(">LBB", len(piece) + 2, context, control) + piece
            for context, control, piece in values
        )
        self.socket.sendall(struct.pack(">BxL", 4, len(body)) + body)

    def status(self) -> int:
        """The status of the next response."""
        answer = self.pdu()
        assert answer[:1] == b"\x04", f"no answer but {answer[:12]!r}"
        at = answer.index(b"\0\0\0\x09\x02\0\0\0")
        return int.from_bytes(answer[at + 8 : at + 10], "little")

    def _exactly(self, length: int) -> bytes:
        found = b""
        while len(found) < length:
            piece = self.socket.recv(length - len(found))
            if not piece:
                return found
            found += piece
        return found


@contextmanager
def associated(node: Node, request: bytes | None = None, *, address: str = "127.0.0.1") -> Iterator[Peer]:
    peer = Peer(node, request or _request(CONTEXTS), address=address)
    try:
        yield peer
    finally:
        peer.socket.close()


def _command(dataset: Dataset | None, *, field: int = 1, message: int = 7) -> bytes:
    def element(number: int, value: bytes) -> bytes:
        value += b"\0" * (len(value) % 2)
        return struct.pack("<HHL", 0, number, len(value)) + value

    sop_class = str(dataset.SOPClassUID) if dataset is not None else VERIFICATION
    parts = [element(0x0002, sop_class.encode())]
    parts += [element(0x0100, struct.pack("<H", field)), element(0x0110, struct.pack("<H", message))]
    if dataset is not None:
        parts.append(element(0x0700, struct.pack("<H", 0)))
    parts.append(element(0x0800, struct.pack("<H", 0x0101 if dataset is None else 0)))
    if dataset is not None:
        parts.append(element(0x1000, str(dataset.SOPInstanceUID).encode()))
    body = b"".join(parts)
    return element(0x0000, struct.pack("<L", len(body))) + body


def eventually(question: Callable[[], bool], *, within: float = 10) -> bool:
    until = time.monotonic() + within
    while not question() and time.monotonic() < until:
        time.sleep(0.02)
    return question()


def _kept(node: Node, dataset: Dataset) -> bytes | None:
    """The dataset as the store has it."""
    with node.database.reading() as session:
        instance = find_instance(session, str(dataset.SOPInstanceUID))
    return node.objects.get(instance.object_key)[instance.dataset_offset :] if instance is not None else None


def test_an_association_that_only_stores_is_ours_and_any_other_is_not():
    assert read_storage_proposal(_request(CONTEXTS)) is not None
    find = {1: ("1.2.840.10008.5.1.4.1.2.2.1", [IMPLICIT])}
    roles = _item(0x54, struct.pack(">H", len(CT)) + CT.encode() + b"\x01\x01")
    identity = _item(0x58, b"\x01\x01\0\x03abc\0\0")

    assert read_storage_proposal(_request({**CONTEXTS, **find})) is None
    assert read_storage_proposal(_request(CONTEXTS, user=roles)) is None
    assert read_storage_proposal(_request(CONTEXTS, user=identity)) is None
    assert read_storage_proposal(_request({2: CONTEXTS[1]})) is None
    assert read_storage_proposal(_request(CONTEXTS)[:-3]) is None


def test_each_context_is_answered_by_itself(node):
    contexts = {1: (CT, [IMPLICIT, EXPLICIT]), 3: (MR, [JPIP]), 5: (VERIFICATION, [IMPLICIT])}

    with associated(node, _request(contexts)) as peer:
        answer = peer.answer

    assert answer[0] == 2
    assert answer[10:74] == _request(contexts)[10:74], "titles and reserved bytes come back as they were sent"
    assert _item(0x21, bytes([1, 0, 0, 0]) + _item(0x40, EXPLICIT.encode())) in answer
    assert bytes([3, 0, 4, 0]) in answer
    assert _item(0x21, bytes([5, 0, 0, 0]) + _item(0x40, IMPLICIT.encode())) in answer


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_however_a_message_is_cut_it_is_kept_byte_for_byte(node, data):
    dataset = a_ct()
    raw, command = encoded(dataset), _command(dataset)

    def cut(whole: bytes, control: int) -> list[tuple[int, int, bytes]]:
        at = sorted(point % len(whole) for point in data.draw(st.lists(st.integers(0, 5000), max_size=5)))
        pieces = [whole[a:b] for a, b in zip([0, *at], [*at, len(whole)], strict=True)]
        last = len(pieces) - 1
        return [(1, control | (2 if n == last else 0), piece) for n, piece in enumerate(pieces)]

    values = cut(command, 1) + cut(raw, 0)
    with associated(node) as peer:
        for taken in data.draw(st.lists(st.integers(1, 4), min_size=12, max_size=12)):
            if not values:
                break
            peer.send(*values[:taken])
            values = values[taken:]
        status = peer.status()

    assert status == 0
    assert _kept(node, dataset) == raw


def test_echoes_and_images_take_turns_on_one_association(node):
    first, second = a_ct(), a_ct()
    with associated(node) as peer:
        peer.send((3, 3, _command(None, field=0x30)))
        assert peer.status() == 0
        for dataset in (first, second):
            peer.send((1, 3, _command(dataset)), (1, 2, encoded(dataset)))
            assert peer.status() == 0
        peer.socket.sendall(RELEASE)
        assert peer.pdu() == b"\x06\0\0\0\0\x04\0\0\0\0"

    assert _kept(node, first) == encoded(first)
    assert _kept(node, second) == encoded(second)


def test_a_large_object_goes_straight_into_its_file_and_comes_back_byte_for_byte(node):
    dataset = a_ct(Rows=2048, Columns=1024)
    dataset.PixelData = np.random.default_rng(3).integers(0, 4096, 2048 * 1024, dtype="<u2").tobytes()
    raw = encoded(dataset)

    with associated(node) as peer:
        peer.send((1, 3, _command(dataset)))
        for at in range(0, len(raw), 100_000):
            peer.send((1, 2 if at + 100_000 >= len(raw) else 0, raw[at : at + 100_000]))
        assert peer.status() == 0

    assert _kept(node, dataset) == raw


def test_a_large_object_under_a_false_name_is_refused_and_leaves_no_file(node):
    dataset, other = a_ct(Rows=2048, Columns=512), a_ct()
    dataset.PixelData = bytes(2048 * 1024)
    raw = encoded(dataset)

    with associated(node) as peer:
        peer.send((1, 3, _command(other)))
        for at in range(0, len(raw), 100_000):
            peer.send((1, 2 if at + 100_000 >= len(raw) else 0, raw[at : at + 100_000]))
        assert peer.status() == 0xA900

    assert list(node.objects.keys("instances/")) == []


@pytest.mark.parametrize(
    "say",
    [
        lambda peer: peer.socket.sendall(b"\x09\0\0\0\0\x04\0\0\0\0"),
        lambda peer: peer.socket.sendall(_request(CONTEXTS)),
        lambda peer: peer.socket.sendall(b"\x04\0\x7f\xff\xff\xff"),
        lambda peer: peer.socket.sendall(b"\x05\0\0\0\0\x05\0\0\0\0\0"),
        lambda peer: peer.send((9, 3, _command(None, field=0x30))),
        lambda peer: peer.send((1, 2, b"a dataset without a command")),
        lambda peer: peer.send((1, 3, b"\x08\0\x05\0\x04\0\0\0abcd")),
        lambda peer: peer.send((1, 3, b"\0\0\0\x01\xff\xff\xff\x7f")),
        lambda peer: peer.send((1, 3, _command(a_ct())), (1, 3, _command(a_ct()))),
        lambda peer: peer.send((1, 3, _command(a_ct())), (3, 2, b"in another context")),
        lambda peer: [peer.send((1, 1, bytes(4096))) for _ in range(5)],
        lambda peer: peer.socket.sendall(b"\x04\0\0\0\0\x0a\0\0\0\x02\x01\x03" + bytes(4)),
    ],
)
def test_what_breaks_the_protocol_is_answered_with_an_abort_and_the_node_lives(node, say):
    with associated(node) as peer:
        say(peer)
        answer = peer.pdu()
    assert answer[:1] == b"\x07", "A-ABORT"
    assert answer[8] == 2, "by the service provider"

    with associated(node) as peer:
        peer.send((3, 3, _command(None, field=0x30)))
        assert peer.status() == 0
    with node.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Instance)) == 0


@pytest.mark.parametrize(
    ("context", "dataset", "field", "expected"),
    [
        (3, a_ct(), 1, 0x0122),  # an image in a context for echoes
        (5, a_ct(), 1, 0x0122),  # a CT in a context for MR
        (1, None, 0x20, 0x0211),  # a query where only storage was agreed
    ],
)
def test_what_was_not_agreed_is_said_and_the_association_goes_on(node, context, dataset, field, expected):
    good = a_ct()
    with associated(node) as peer:
        peer.send((context, 3, _command(dataset, field=field)))
        if dataset is not None:
            peer.send((context, 2, encoded(dataset)))
        assert peer.status() == expected
        peer.send((1, 3, _command(good)), (1, 2, encoded(good)))
        assert peer.status() == 0
    assert _kept(node, good) == encoded(good)


def test_a_disk_that_is_full_is_said_at_the_end_and_the_next_image_is_kept(node, monkeypatch):
    large, small = a_ct(Rows=2048, Columns=512), a_ct()
    large.PixelData = bytes(2048 * 1024)
    raw = encoded(large)
    put = node.objects.draft

    def full(_key: str):
        raise OSError(28, "No space left on device")

    with associated(node) as peer:
        monkeypatch.setattr(node.objects, "draft", full)
        peer.send((1, 3, _command(large)))
        for at in range(0, len(raw), 100_000):
            peer.send((1, 2 if at + 100_000 >= len(raw) else 0, raw[at : at + 100_000]))
        assert peer.status() == 0xA700
        monkeypatch.setattr(node.objects, "draft", put)
        peer.send((1, 3, _command(small)), (1, 2, encoded(small)))
        assert peer.status() == 0
    assert _kept(node, large) is None
    assert _kept(node, small) == encoded(small)


def test_a_device_that_goes_away_within_an_image_leaves_no_file(node):
    first, second = a_ct(), a_ct()
    with associated(node) as peer:
        peer.send((1, 3, _command(first)), (1, 2, encoded(first)))
        assert peer.status() == 0
        # The second one's file is there before its bytes are.
        peer.send((1, 3, _command(second)))
        assert eventually(lambda: len(list(node.objects.keys("instances/"))) == 2)
        peer.send((1, 0, encoded(second)[:300]))
    assert eventually(lambda: len(list(node.objects.keys("instances/"))) == 1)
    assert _kept(node, first) == encoded(first)


def test_a_device_whose_association_broke_off_sends_again_and_nothing_is_written_twice(node):
    dataset = a_ct()
    for ends_in_order in (False, True, False):
        with associated(node) as peer:
            peer.send((1, 3, _command(dataset)), (1, 2, encoded(dataset)))
            assert peer.status() == 0
            if ends_in_order:
                peer.socket.sendall(RELEASE)
                assert peer.pdu()[:1] == b"\x06"
        assert eventually(lambda: node.places.open == 0)
    assert len(list(node.objects.keys("instances/"))) == 1


def test_a_device_that_goes_on_after_its_release_may_be_wrong_and_one_instance_is_kept(node):
    dataset = a_ct()
    for _ in range(2):
        with associated(node) as peer:
            peer.send((1, 3, _command(dataset)), (1, 2, encoded(dataset)))
            assert peer.status() == 0
            peer.socket.sendall(RELEASE)
            assert peer.pdu()[:1] == b"\x06"
        assert eventually(lambda: node.places.open == 0)
    with node.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Instance)) == 1
    assert _kept(node, dataset) == encoded(dataset)


def test_forty_devices_at_once_lose_nothing(node):
    datasets = [a_ct() for _ in range(40)]
    statuses: list[int] = []

    def send(dataset: Dataset) -> None:
        with associated(node) as peer:
            peer.send((1, 3, _command(dataset)), (1, 2, encoded(dataset)))
            statuses.append(peer.status())

    threads = [threading.Thread(target=send, args=(one,)) for one in datasets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert statuses == [0] * 40
    assert all(_kept(node, one) == encoded(one) for one in datasets)
