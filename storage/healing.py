"""After a power cut: instances whose objects are durable and whose rows are not are indexed again.

The objects describe themselves (storage.part10), and lost rows are always the last ones, so only the days
from the newest row on are looked at.
"""

from __future__ import annotations

import logging
import tempfile
from datetime import date, timedelta

from blake3 import blake3
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.database import Database, utc_now
from storage.headers import read_header
from storage.holdings import IMAGES, unclaimed
from storage.imaging import Instance, Origin, QuarantinedInstance
from storage.indexing import Arrived, Outcome, Sender, Stored, index_instances
from storage.instances import seal
from storage.objects import IN_MEMORY, ObjectMissing, ObjectStore, StoreAway
from storage.part10 import LONGEST_META, read_meta
from storage.rejections import InstanceRejected
from storage.spool import SpoolFirst

log = logging.getLogger("reading_center.storage")

LONGEST_ABSENCE = timedelta(days=400)


def heal(database: Database, objects: ObjectStore) -> int:
    """Index every whole object of ours that has no row; return how many there were.

    What was being written when the power failed was never acknowledged: its hash does not fit, and it stays
    for the sweep. Harmless while others receive, and when done twice. Where the object store is away, what
    waits in this machine's spool is healed, and the rest by whoever drains it, once the store is back.
    """
    if isinstance(objects, SpoolFirst):
        try:
            objects.size("readiness/probe")
        except StoreAway:
            log.warning("the object store does not answer; only the spool was searched for lost rows")
            objects = objects.spool
        except ObjectMissing:
            pass
    with database.reading() as session:
        today = utc_now().date()
        since = max(_newest_day(session, today) - timedelta(days=1), today - LONGEST_ABSENCE)
    lost: list[Arrived] = []
    while since <= today:
        keys = _without_row(database, objects, f"instances/{since:%Y/%m/%d}/")
        lost += [found for key in keys if (found := read_found(objects, key)) is not None]
        since += timedelta(days=1)
    # In the order in which they came: the first content of a SOP Instance UID is the one that counts.
    healed = sum(index_found(database, one) for one in sorted(lost, key=lambda one: one.now))
    if healed:
        log.warning("indexed %d instances again whose rows were lost", healed)
    return healed


def _newest_day(session: Session, today: date) -> date:
    newest = session.scalar(select(func.max(Instance.received_at)))
    return min(newest.date(), today) if newest is not None else today


def _without_row(database: Database, objects: ObjectStore, prefix: str) -> list[str]:
    keys = set(objects.keys(prefix))
    if not keys:
        return []
    with database.reading() as session:
        for column in (Instance.object_key, QuarantinedInstance.object_key):
            after = select(column).where(column >= prefix, column < prefix + "\x7f")
            keys.difference_update(session.scalars(after))
    return sorted(keys)


def read_found(objects: ObjectStore, key: str) -> Arrived | None:
    """What the object says about itself, where that is true; None where it is not. Raises ObjectMissing."""
    size = objects.size(key)
    with objects.open_range(key, 0, min(size, LONGEST_META)) as stream:
        meta = read_meta(stream.read())
    if meta is None or meta.description is None or size != meta.dataset_offset + meta.description.length:
        return None
    said = meta.description
    digest = blake3()
    with objects.open_range(key) as stream, tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as dataset:
        head = stream.read(meta.dataset_offset)
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
            dataset.write(chunk)
        if digest.hexdigest() != said.digest:
            return None
        dataset.seek(0)
        try:
            header = read_header(dataset, meta.transfer_syntax_uid)  # type: ignore[arg-type]
        except InstanceRejected:
            return None
    stored = Stored(key, size, meta.dataset_offset, said.digest, seal(head, digest.digest()))
    sender = Sender(meta.calling_ae, said.institution_code)
    return Arrived(header, stored, sender, Origin.RECEIVED, said.received_at)


def index_found(database: Database, one: Arrived) -> bool:
    """Write the rows of a whole object without any; False where its content is kept under another key."""

    def index(session: Session) -> bool:
        if index_instances(session.connection(), [one])[0].outcome is Outcome.IDENTICAL:
            return False  # sent twice, and the second copy was never needed
        # Nor was a second copy of what is kept aside: that one has no row of its own either.
        return not unclaimed(session, [one.stored.key], IMAGES)

    return database.in_transaction(index)
