"""Bytes are written once, whole, under names that we make."""

import io
import os

import pytest

from storage.objects import FolderStore, ObjectExists, ObjectMissing, new_key


def _put(objects, key: str, content: bytes) -> None:
    objects.put(key, io.BytesIO(content), len(content))


def test_bytes_come_back_whole_and_in_part(objects):
    key, content = new_key("tests"), bytes(range(256)) * 40

    _put(objects, key, content)

    assert objects.get(key) == content
    assert objects.size(key) == len(content)
    with objects.open_range(key, 300, 700) as stream:
        assert stream.read() == content[300:1000]
    with objects.open_range(key, len(content) - 3) as stream:
        assert stream.read() == content[-3:]
    assert list(objects.keys("tests")) == [key]


def test_a_missing_object_is_said_to_be_missing(objects):
    for ask in (objects.get, objects.open_range, objects.size):
        with pytest.raises(ObjectMissing):
            ask("tests/2026/01/01/aa/nothing")


def test_a_discarded_object_is_gone(objects):
    key = new_key("tests")
    _put(objects, key, b"x")

    objects.discard(key)

    with pytest.raises(ObjectMissing):
        objects.get(key)


def test_an_empty_object_is_an_object(objects):
    key = new_key("tests")

    _put(objects, key, b"")

    assert objects.get(key) == b""


def test_a_folder_never_overwrites(tmp_path):
    store = FolderStore(tmp_path / "objects")
    _put(store, "a/b", b"first")

    with pytest.raises(ObjectExists):
        _put(store, "a/b", b"second")

    assert store.get("a/b") == b"first"


def test_a_folder_keeps_nothing_of_content_that_ended_early(tmp_path):
    store = FolderStore(tmp_path / "objects")

    with pytest.raises(ValueError):
        store.put("a/b", io.BytesIO(b"short"), 100)

    assert list(store.keys()) == []


@pytest.mark.parametrize("key", ["../../x", "/etc/passwd", "a/../../x", "a\\..\\x", "a\0b"])
def test_no_key_leads_out_of_the_folder(tmp_path, key):
    store = FolderStore(tmp_path / "objects")

    with pytest.raises(ValueError):
        _put(store, key, b"x")

    assert not (tmp_path / "x").exists()


def test_every_file_and_whatever_holds_a_new_folder_is_flushed_before_put_returns(tmp_path, monkeypatch):
    import os

    flushed: list[str] = []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: (flushed.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd))[1]
    )
    store = FolderStore(tmp_path / "objects")

    _put(store, "a/b/c", b"x")

    root = str(tmp_path / "objects")
    assert flushed == [root, f"{root}/a", f"{root}/a/b/c"]


def test_a_folder_goes_on_where_the_disk_took_only_a_part(tmp_path, monkeypatch):
    objects = FolderStore(tmp_path)
    write = os.writev
    monkeypatch.setattr(os, "writev", lambda descriptor, pieces: write(descriptor, [b"".join(pieces)[:7]]))
    for number, pieces in enumerate([(b"01234", b"56789"), (b"0123456", b"789"), (b"0123456789",)]):
        draft = objects.draft(f"in-part/{number}")
        draft.write(*pieces)
        draft.keep()
        draft.abandon()
        assert objects.get(f"in-part/{number}") == b"0123456789"
