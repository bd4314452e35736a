"""A byte that changed on the disk is found, said, and never committed to or copied on."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from center import inventory
from storage.instances import find_instance, is_kept
from storage.objects import FolderStore
from storage.spool import SpooledStore
from tests.builders import put_object
from tests.dicom_node.devices import CT
from tests.faults.sender import SUCCESS, Told, send_one
from tests.pairs import Pair


def _flip_a_byte(path: Path, at: int) -> None:
    whole = bytearray(path.read_bytes())
    whole[at] ^= 1
    path.write_bytes(whole)


@pytest.mark.parametrize("where", ["pixels", "header", "meta information"])
def test_one_flipped_byte_is_found_wherever_it_is(
    sqlite_pair: Pair, tmp_path: Path, start, where: str
) -> None:
    node = start(sqlite_pair.environment)
    device = Told()
    for _ in range(3):
        assert send_one(node.port, device) == SUCCESS
    uid = list(device.acknowledged)[1]
    with node.database.reading() as session:
        row = find_instance(session, uid)
    at = {"pixels": row.size - 10, "header": row.dataset_offset + 40, "meta information": 200}[where]

    assert inventory.report(node.database, node.objects, out=io.StringIO()) == 0
    _flip_a_byte(node.objects.root / row.object_key, at)
    said = io.StringIO()

    assert inventory.report(node.database, node.objects, out=said) == 1
    assert f"corrupt   instances {uid} {row.object_key}" in said.getvalue()
    assert "3 objects checked: 0 missing, 1 corrupt" in said.getvalue()
    with node.database.reading() as session:
        assert not is_kept(session, node.objects, sop_class_uid=CT, sop_instance_uid=uid)


def test_what_changed_in_the_spool_is_not_copied_over_the_truth(
    sqlite_pair: Pair, tmp_path: Path, start
) -> None:
    node = start(sqlite_pair.environment)
    send_one(node.port, Told())
    (key,) = node.objects.keys()
    good = node.objects.get(key)
    spooled = SpooledStore(FolderStore(tmp_path / "unsent"), FolderStore(tmp_path / "elsewhere"))
    put_object(spooled, key, good)
    _flip_a_byte(tmp_path / "unsent" / key, len(good) - 10)

    copied = spooled.drain()

    assert copied == 0
    assert list(spooled.store.keys()) == []
    assert list(spooled.spool.keys()) == [key]


def test_what_the_store_gives_back_otherwise_stays_in_the_spool(
    sqlite_pair: Pair, tmp_path: Path, start
) -> None:
    class Forgetful(FolderStore):
        """A store whose disk lies."""

        def put(self, key, content, length):
            super().put(key, io.BytesIO(content.read(length)[:-1] + b"?"), length)

    node = start(sqlite_pair.environment)
    send_one(node.port, Told())
    (key,) = node.objects.keys()
    spooled = SpooledStore(FolderStore(tmp_path / "unsent"), Forgetful(tmp_path / "elsewhere"))
    put_object(spooled, key, node.objects.get(key))

    assert spooled.drain() == 0
    assert list(spooled.spool.keys()) == [key]
    assert spooled.get(key) == node.objects.get(key)
