"""A device that sends on and on, and writes down what it was told and how long it waited."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from sqlalchemy import select

from storage.database import Database
from storage.imaging import Instance
from storage.objects import ObjectStore
from tests.dicom_node.devices import CT, a_ct, associated, encoded, send

EXPLICIT = ["1.2.840.10008.1.2.1"]
SUCCESS, OUT_OF_RESOURCES = 0x0000, 0xA700


@dataclass
class Told:
    """What one device sent and heard: bytes by SOP Instance UID, and (status, seconds) in order."""

    acknowledged: dict[str, bytes] = field(default_factory=dict)
    answers: list[tuple[int, float]] = field(default_factory=list)
    ended: str = ""  # why it sends no more

    @property
    def statuses(self) -> set[int]:
        return {status for status, _ in self.answers}

    @property
    def longest(self) -> float:
        return max((seconds for _, seconds in self.answers), default=0.0)


def send_one(port: int, told: Told, **changes: Any) -> int:
    """One CT slice on an association of its own."""
    with associated(SimpleNamespace(port=port), (CT, EXPLICIT)) as association:
        assert association.is_established, "the association was not accepted"
        return _send(association, told, **changes)


def _send(association: Any, told: Told, **changes: Any) -> int:
    dataset = a_ct(**changes)
    raw, uid = encoded(dataset), str(dataset.SOPInstanceUID)
    began = time.monotonic()
    status, _ = send(association, raw, sop_instance_uid=uid)
    told.answers.append((status, time.monotonic() - began))
    if status == SUCCESS:
        told.acknowledged[uid] = raw
    return status


@contextmanager
def sending(port: int, *, pause: float = 0.05, **changes: Any) -> Any:
    """A device that sends on one association while the block runs; yields what it is told."""
    told, stop = Told(), threading.Event()
    begun = threading.Event()

    def run() -> None:
        with associated(SimpleNamespace(port=port), (CT, EXPLICIT)) as association:
            association.dimse_timeout = 60
            begun.set()
            while not stop.is_set():
                try:
                    _send(association, told, **changes)
                except (AttributeError, RuntimeError, OSError) as error:
                    told.ended = repr(error)
                    return  # the node is gone
                stop.wait(pause)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert begun.wait(15)
    try:
        yield told
    finally:
        stop.set()
        thread.join(70)
        assert not thread.is_alive(), "a device was never answered"


def wait_for(what: str, question: Callable[[], bool], *, within: float) -> float:
    """Seconds until it was true."""
    began = time.monotonic()
    while time.monotonic() - began < within:
        if question():
            return time.monotonic() - began
        time.sleep(0.05)
    raise AssertionError(f"not {what} within {within} s")


def lost(database: Database, objects: ObjectStore, acknowledged: dict[str, bytes]) -> list[str]:
    """Acknowledged instances that are not found, or not given back byte for byte."""
    with database.reading() as session:
        rows = {row.sop_instance_uid: row for row in session.scalars(select(Instance))}
    return [
        uid
        for uid, raw in acknowledged.items()
        if uid not in rows or objects.get(rows[uid].object_key)[rows[uid].dataset_offset :] != raw
    ]
