"""Headers of instances as DICOM JSON: read from the object, and kept in the row when there is time.

A device waits for its answer while we index; the JSON of its header is nobody's hurry. Until the worker has
filled it in, whoever asks reads it from the object.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select, update

from storage.database import Database
from storage.headers import read_header
from storage.imaging import Instance
from storage.objects import IN_MEMORY, ObjectMissing, ObjectStore
from storage.rejections import InstanceRejected

LONGEST_WAY = timedelta(days=7)  # after which a missing object is lost, and not on its way
AT_ONCE = 100
QUIET = timedelta(seconds=3)  # a series that is still arriving needs the processor more


@dataclass(frozen=True)
class HeaderPlace:
    """Where a header is read from: an object, where its dataset begins, and how that is encoded."""

    object_key: str
    size: int
    dataset_offset: int
    transfer_syntax_uid: str


PLACE = (Instance.object_key, Instance.size, Instance.dataset_offset, Instance.transfer_syntax_uid)


def attributes_of(objects: ObjectStore, place: HeaderPlace) -> dict[str, Any]:
    """DICOM JSON of the header: no pixels, no binary value above 1 kB; empty where the object is missing."""
    try:
        return _read(objects, place)
    except ObjectMissing:
        return {}


def fill_headers(database: Database, objects: ObjectStore, *, now: datetime) -> bool:
    """Keep the headers of instances that arrived without; whether there were any.

    An object may be in the spool of another machine still (storage.spool): its header waits for it.
    """
    waiting = (
        select(Instance.id, Instance.received_at, *PLACE)
        .where(Instance.header.is_(None), Instance.received_at < now - QUIET)
        .order_by(Instance.id)
        .limit(AT_ONCE)
    )
    with database.reading() as session:
        places = [(row[0], row[1], HeaderPlace(*row[2:])) for row in session.execute(waiting)]
    found: dict[int, dict[str, Any]] = {}
    for pk, received_at, place in places:
        try:
            found[pk] = _read(objects, place)
        except ObjectMissing:
            if received_at < now - LONGEST_WAY:
                found[pk] = {}
    if found:
        _keep(database, found.items())
    return bool(found)


def _read(objects: ObjectStore, place: HeaderPlace) -> dict[str, Any]:
    try:
        with objects.open_range(place.object_key, place.dataset_offset) as stream:
            is_large = place.size > IN_MEMORY and stream.seekable()
            return read_header(stream if is_large else stream.read(), place.transfer_syntax_uid).attributes
    except InstanceRejected:
        return {}


def _keep(database: Database, found: Iterable[tuple[int, dict[str, Any]]]) -> None:
    rows = [{"pk": pk, "attributes": attributes} for pk, attributes in found]
    filled = (
        update(Instance.__table__)  # type: ignore[arg-type]
        .where(Instance.id == bindparam("pk"))
        .values(header=bindparam("attributes"))
    )
    with database.transaction() as session:
        session.connection().execute(filled, rows)
