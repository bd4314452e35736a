"""Headers of instances as DICOM JSON: read from the object, and kept in the row when there is time.

A device waits for its answer while we index; the JSON of its header is nobody's hurry. Until the worker has
filled it in, whoever asks reads it from the object.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, select, update

from storage.attributes import read_as, to_dicom_json, values_of
from storage.database import Database
from storage.headers import read_header
from storage.imaging import Instance, Series, Study
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
    text_charset: str | None = None  # by which a person found its text to be written


# Of a statement that joins Series and Study.
PLACE = (
    Instance.object_key,
    Instance.size,
    Instance.dataset_offset,
    Instance.transfer_syntax_uid,
    Study.text_charset,
)


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
        .join(Series, Series.id == Instance.series_pk)
        .join(Study, Study.id == Series.study_pk)
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
        if pk in found and place.text_charset is not None:
            _name_series(database, pk, place, objects)
    if found:
        charsets = {pk: place.text_charset for pk, _, place in places}
        _keep(database, found.items(), charsets)
    return bool(found)


def _read(objects: ObjectStore, place: HeaderPlace) -> dict[str, Any]:
    try:
        with objects.open_range(place.object_key, place.dataset_offset) as stream:
            is_large = place.size > IN_MEMORY and stream.seekable()
            header = read_header(stream if is_large else stream.read(), place.transfer_syntax_uid)
            if place.text_charset is not None:
                return to_dicom_json(header.walked.elements, read_as(header.encoding, place.text_charset))
            return header.attributes
    except InstanceRejected:
        return {}


def _name_series(database: Database, pk: int, place: HeaderPlace, objects: ObjectStore) -> None:
    """A series that came after a person had found how its study is written is named by that too."""
    before = _read(objects, replace(place, text_charset=None))
    names = [_series_description(one) for one in (before, _read(objects, place))]
    if names[0] == names[1]:
        return
    owner = select(Instance.series_pk).where(Instance.id == pk).scalar_subquery()
    named = update(Series).where(Series.id == owner, Series.series_description == names[0])
    with database.transaction() as session:
        session.execute(
            named.values(series_description=names[1]).execution_options(synchronize_session=False)
        )


def _series_description(header: dict[str, Any]) -> str:
    return str(next(iter(values_of(header, "0008103E")), None) or "")


def _keep(
    database: Database, found: Iterable[tuple[int, dict[str, Any]]], charsets: dict[int, str | None]
) -> None:
    rows = [{"pk": pk, "attributes": attributes, "by": charsets[pk] or ""} for pk, attributes in found]
    # Not over what a person has found meanwhile to be written in another character set.
    same = (
        select(Study.id)
        .join(Series, Series.study_pk == Study.id)
        .where(Series.id == Instance.series_pk, func.coalesce(Study.text_charset, "") == bindparam("by"))
    )
    filled = (
        update(Instance.__table__)  # type: ignore[arg-type]
        .where(Instance.id == bindparam("pk"), same.exists())
        .values(header=bindparam("attributes"))
    )
    with database.transaction() as session:
        session.connection().execute(filled, rows)
