"""A disk that is full, or that cannot flush: nothing is acknowledged that is not durable."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.builders import put_object
from tests.faults.sender import OUT_OF_RESOURCES, SUCCESS, Told, lost, send_one, sending, wait_for
from tests.pairs import Pair


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=False)


def _fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        for size in (1 << 20, 4096, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
    return filler


def test_a_full_disk_is_said_within_two_seconds_and_work_goes_on_when_there_is_room(
    sqlite_pair: Pair, small_disk: Path, start
) -> None:
    shutil.copyfile(sqlite_pair.database_url.removeprefix("sqlite:///"), small_disk / "center.sqlite")
    node = start({}, data=small_disk)
    before, after = Told(), Told()
    assert send_one(node.port, before) == SUCCESS

    filler = _fill(small_disk)
    with sending(node.port) as small, sending(node.port, **_a_large_one()) as large:
        wait_for("refused", lambda: len(small.answers) > 5 and len(large.answers) > 2, within=15)
        refused = [*small.answers, *large.answers]
        filler.unlink()
        resumed = wait_for("resumed", lambda: bool(small.acknowledged) and bool(large.acknowledged), within=5)
    send_one(node.port, after)

    assert {status for status, _ in refused} == {OUT_OF_RESOURCES}
    assert max(seconds for _, seconds in refused) < 2
    assert resumed < 5
    everything = before.acknowledged | small.acknowledged | large.acknowledged | after.acknowledged
    assert lost(node.database, node.objects, everything) == []
    # What was refused left nothing half-written behind.
    assert len(list(node.objects.keys())) <= len(everything) + 1


def _a_large_one() -> dict[str, object]:
    """More than memory holds: it is written while it arrives."""
    return {"Rows": 1024, "Columns": 1024, "PixelData": np.zeros(1 << 20, "<u2").tobytes()}


def test_what_could_not_be_flushed_once_is_never_acknowledged_nor_flushed_again(
    sqlite_pair: Pair, tmp_path: Path, start, monkeypatch
) -> None:
    node = start(sqlite_pair.environment)
    good, bad = Told(), Told()
    send_one(node.port, good)
    flushed: list[str] = []
    flush = os.fsync

    def failing_once(descriptor: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        if len(flushed) == 1:
            raise OSError(errno.EIO, "the disk has lost a page")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", failing_once)
    first = send_one(node.port, bad)
    second = send_one(node.port, good)

    assert (first, second) == (OUT_OF_RESOURCES, SUCCESS)
    assert len(flushed) == len(set(flushed)) == 2, "a second flush that succeeds would prove nothing"
    assert not Path(flushed[0]).exists()
    assert lost(node.database, node.objects, good.acknowledged) == []


def test_a_folder_whose_flush_failed_is_flushed_before_anything_in_it_is_acknowledged(
    tmp_path: Path, monkeypatch
) -> None:
    from storage.objects import FolderStore

    store = FolderStore(tmp_path / "objects")
    flushed: list[str] = []
    flush = os.fsync

    def failing_once(descriptor: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        if len(flushed) == 1:
            raise OSError(errno.EIO, "the disk has lost a page")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", failing_once)
    with pytest.raises(OSError):
        put_object(store, "a/b/c", b"x")
    put_object(store, "a/b/d", b"x")

    root = str(tmp_path / "objects")
    assert flushed == [root, root, f"{root}/a", f"{root}/a/b/d"]
