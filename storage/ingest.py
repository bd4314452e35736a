"""The receiving path of devices: one flush for each object, one commit for all who wait at that moment.

An object describes itself (storage.part10), so on SQLite its rows need no flush of their own: an index that
lost its last rows at a power cut is healed from the objects (storage.healing) before anybody asks.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import BinaryIO

from blake3 import blake3
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from storage.charsets import pinyin_tokens
from storage.database import DEVICE_PATIENCE, Database, is_away, is_collision, utc_now
from storage.headers import Header
from storage.imaging import Origin
from storage.indexing import (
    Arrived,
    Kept,
    Outcome,
    Sender,
    Stored,
    index_instances,
    is_identical,
    prepare,
)
from storage.instances import seal
from storage.looks import Looks
from storage.objects import Draft, ObjectStore, new_key
from storage.part10 import DESCRIPTION_LENGTH, Description, filled_in, meta_bytes
from storage.returned import is_our_own

MOST_AT_ONCE = 64
HASTENED = 256 << 10  # from this length on the disk is told to begin
ATTEMPTS = 8
LONGEST_TURN = 0.05


class _Waiting:
    """One instance in the queue for the next commit; `bell` rings once when it is done or has to lead."""

    __slots__ = ("arrived", "bell", "error", "is_done", "kept")

    def __init__(self, arrived: Arrived) -> None:
        self.arrived = arrived
        self.kept: Kept | None = None
        self.error: BaseException | None = None
        self.is_done = False
        self.bell = threading.Lock()
        self.bell.acquire()

    def told(self, error: BaseException) -> _Waiting:
        self.error, self.is_done = error, True
        return self


class Writing:
    """A dataset that is written as it arrives; its hash and length are filled in at the end."""

    def __init__(self, draft: Draft, key: str, meta: bytes, sender: Sender, now: datetime) -> None:
        self._draft, self._key, self._meta = draft, key, meta
        self.sender, self.now = sender, now
        self.digest, self.length = blake3(), 0
        self._is_begun = False
        self._is_described = False  # in what was written

    def __enter__(self) -> Writing:
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """The next piece of a dataset of which more may come."""
        if self._is_begun:
            self._draft.write(piece)
        else:
            self._is_begun = True
            self._draft.write(self._meta, piece)
        self._draft.hasten()  # the disk works while the hash is made and the header read
        self._take(piece)

    def write_whole(self, dataset: bytes | bytearray | memoryview) -> None:
        """All of it at once. A small one is hashed sooner than the disk could begin."""
        if len(dataset) >= HASTENED:
            self.write(dataset)
            return
        self._take(dataset)
        self._meta = filled_in(self._meta, self._description())
        self._is_described = True
        self._draft.write(self._meta, dataset)

    def reading(self) -> AbstractContextManager[BinaryIO]:
        """The dataset as far as it was written, to read and seek in."""
        return self._draft.reading(len(self._meta))

    def keep(self) -> Stored:
        digest, offset = self.digest.digest(), len(self._meta)
        if not self._is_described:
            self._meta = filled_in(self._meta, self._description())
            self._draft.patch(offset - DESCRIPTION_LENGTH, self._meta[-DESCRIPTION_LENGTH:])
        self._draft.keep()
        return Stored(self._key, offset + self.length, offset, digest.hex(), seal(self._meta, digest))

    def abandon(self) -> None:
        """Forget what was not kept; harmless afterwards."""
        self._draft.abandon()

    def _take(self, piece: bytes | bytearray | memoryview) -> None:
        self.digest.update(piece)
        self.length += len(piece)

    def _description(self) -> Description:
        # It may have been on its way for minutes; it is received now.
        digest, self.now = self.digest.hexdigest(), utc_now()
        return Description(self.length, digest, self.sender.institution_code, self.now)


class Ingest:
    """Keeps what devices send; every method may be called by many threads at once."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects
        self._queue: list[_Waiting] = []
        self._queue_lock = threading.Lock()
        self._is_led = False
        self._turn = threading.Lock()
        self._writer: Connection | None = None
        self._looks = Looks(database)

    def warm_up(self) -> None:
        """Do beforehand what the first image of the day would otherwise wait for."""
        self._looks.at(prepare)
        pinyin_tokens("张三")

    def keep(
        self,
        header: Header,
        dataset: bytes | bytearray | memoryview,
        *,
        sender: Sender,
        is_likely_known: bool = True,
    ) -> Kept:
        """Keep a dataset that is in memory, byte for byte. Durable, object and rows, when this returns.

        A device that lost our answer sends again; where that is likely it is looked up before anything is
        written. The outcome is the same otherwise, at the price of an object that the sweep removes.
        Raises what the store and the database raise; then nothing is visible and the device sends again.
        """
        if is_likely_known and self._is_identical(header, blake3(dataset).hexdigest()):
            return Kept(Outcome.IDENTICAL, header.sop_instance_uid, header.study_instance_uid)
        names = header.sop_class_uid, header.sop_instance_uid, header.transfer_syntax_uid
        with self.begin(*names, sender=sender) as writing:
            writing.write_whole(dataset)
            return self.finish(writing, header, is_likely_known=False)

    def begin(
        self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, *, sender: Sender
    ) -> Writing:
        """Begin to keep a dataset of which more is to be known: the rest of it, or its header."""
        now = utc_now()
        key = new_key("instances", now)
        nothing = Description(0, "", sender.institution_code, now)
        meta = meta_bytes(sop_class_uid, sop_instance_uid, transfer_syntax_uid, sender.ae_title, nothing)
        return Writing(self._objects.draft(key), key, meta, sender, now)

    def finish(self, writing: Writing, header: Header, *, is_likely_known: bool = True) -> Kept:
        """Keep the dataset, whose header was read meanwhile."""
        if is_likely_known and self._is_identical(header, writing.digest.hexdigest()):
            return Kept(Outcome.IDENTICAL, header.sop_instance_uid, header.study_instance_uid)
        if is_our_own(self._database, self._objects, header, writing.reading):
            return Kept(Outcome.IDENTICAL, header.sop_instance_uid, header.study_instance_uid)
        return self._index(Arrived(header, writing.keep(), writing.sender, Origin.RECEIVED, writing.now))

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One thread at a time does what needs the interpreter: threads that hand it to one another at every
        call spend as long on that as on their images. Nobody waits long for it, or for one who is stuck.
        """
        is_mine = self._turn.acquire(timeout=LONGEST_TURN)
        try:
            yield
        finally:
            if is_mine:
                self._turn.release()

    def close(self) -> None:
        """When no device is connected any more."""
        self._forget_writer()
        self._looks.close()

    def _is_identical(self, header: Header, digest: str) -> bool:
        return self._looks.at(lambda connection: is_identical(connection, header, digest))

    def _index(self, arrived: Arrived) -> Kept:
        """Whoever finds nobody leading leads: he writes for all who wait, then hands the lead over."""
        mine = _Waiting(arrived)
        with self._queue_lock:
            self._queue.append(mine)
            is_led, self._is_led = self._is_led, True
        if is_led:
            mine.bell.acquire()
        if not mine.is_done:
            with self._queue_lock:
                batch = self._queue[:MOST_AT_ONCE]  # mine is the first
                del self._queue[:MOST_AT_ONCE]
            try:
                with self.turn():
                    self._write(batch)
            finally:
                with self._queue_lock:
                    if mine.error is not None and is_away(mine.error):
                        # Whoever came meanwhile would wait as long for the same answer.
                        batch += [waiting.told(mine.error) for waiting in self._queue]
                        self._queue.clear()
                    self._is_led = bool(self._queue)
                    if self._queue:
                        self._queue[0].bell.release()
            for waiting in batch[1:]:
                waiting.bell.release()
        if mine.error is not None:
            raise mine.error
        assert mine.kept is not None
        return mine.kept

    def _write(self, batch: list[_Waiting]) -> None:
        try:
            outcomes = self._in_one_commit([waiting.arrived for waiting in batch])
            for waiting, kept in zip(batch, outcomes, strict=True):
                waiting.kept = kept
        except BaseException as error:
            if len(batch) > 1 and not is_away(error):
                # One of them may be the cause; the others shall not suffer for it.
                for waiting in batch:
                    self._write([waiting])
                return
            for waiting in batch:
                waiting.error = error
        finally:
            for waiting in batch:
                waiting.is_done = True

    def _in_one_commit(self, batch: list[Arrived]) -> list[Kept]:
        until = time.monotonic() + DEVICE_PATIENCE
        for attempt in range(1, ATTEMPTS + 1):
            was_open = self._writer is not None
            try:
                if self._writer is None:
                    self._writer = self._database.unflushed()
                with self._database.brief_transaction(self._writer, patience=DEVICE_PATIENCE):
                    return index_instances(self._writer, batch)
            except Exception as error:
                is_raced = isinstance(error, DBAPIError) and is_collision(error)
                if not is_raced:
                    self._forget_writer()
                # A connection that was kept may have died meanwhile; a fresh one tells the truth. Where the
                # commit went through and only its answer was lost, the rows are found and are identical.
                may_pass = is_raced or (was_open and is_away(error))
                if not may_pass or attempt == ATTEMPTS or time.monotonic() > until:
                    self._forget_writer()
                    raise
                time.sleep(0.002 * 2**attempt)
            except BaseException:
                self._forget_writer()
                raise
        raise AssertionError("unreachable")

    def _forget_writer(self) -> None:
        if self._writer is not None:
            # Rolls back, and then really closes: it belongs to no pool.
            with contextlib.suppress(Exception):
                self._writer.close()
            self._writer = None
