"""Which stored instances a person may see, with their headers; what was read once is remembered for a while.

Objects and what their headers say never change, so remembering them is safe. What has been corrected since,
and whether they may be seen, is asked every time.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from pydicom import dcmread
from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session

from reading_portal.frames import FrameTable, StoredPixels, describe_pixels, find_frames, read_frame
from storage.attributes import values_of
from storage.composing import Composed, compose_stored
from storage.corrections import overlays
from storage.imaging import Instance, Series, Study
from storage.instance_headers import HeaderPlace, attributes_of
from storage.objects import ObjectStore
from storage.overlays import Overlay, overlaid
from storage.places import InflatedDataset, StoredDataset, Unreadable, locate, open_dataset
from storage.sound import SoundObjects
from worklist.people import Who, visible_to
from worklist.problems import Missing

T = TypeVar("T")
LONGEST_BULK, LONGEST_HEADER = 64 << 20, 32 << 20
PER_FRAME = "52009230"


class Recent(Generic[T]):
    """The last `size` values that were made; shared by threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return made


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """What retrieving takes from the rows of an instance, its series and its study."""

    id: int
    study_pk: int
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str
    series_number: int | None
    instance_number: int | None
    number_of_frames: int
    rows: int | None
    object_key: str
    size: int
    dataset_offset: int
    digest: str
    seal: str
    damage: str | None
    series_pk: int = 0
    text_charset: str | None = None  # by which a person found its text to be written
    overlay: Overlay | None = None  # what has been corrected since it came

    @property
    def tag(self) -> str:
        """Stands for the bytes as they leave in an ETag."""
        return self.stored_tag if self.overlay is None else f"{self.stored_tag}-{self.overlay.key}"

    @property
    def stored_tag(self) -> str:
        """Stands for the bytes as they are stored."""
        return self.digest[:20]


_COLUMNS: tuple[Any, ...] = (
    Instance.id,
    Study.id,
    Study.study_instance_uid,
    Series.series_instance_uid,
    Instance.sop_instance_uid,
    Instance.sop_class_uid,
    Instance.transfer_syntax_uid,
    Series.modality,
    Series.series_number,
    Instance.instance_number,
    Instance.number_of_frames,
    Instance.rows,
    Instance.object_key,
    Instance.size,
    Instance.dataset_offset,
    Instance.digest,
    Instance.seal,
    Instance.damage,
    Series.id,
    Study.text_charset,
)
_headers: Recent[dict[str, Any]] = Recent(512)
_per_frame: Recent[dict[str, Any]] = Recent(16)
_tables: Recent[tuple[StoredPixels, FrameTable]] = Recent(4096)


def find_visible(
    session: Session, who: Who, study: str, series: str | None = None, instance: str | None = None
) -> list[StoredInstance]:
    """The instances of a study, a series or one, in the order of their numbers. Raises Missing."""
    statement = _selected(session, who).where(Study.study_instance_uid == study)
    if series is not None:
        statement = statement.where(Series.series_instance_uid == series)
    if instance is not None:
        statement = statement.where(Instance.sop_instance_uid == instance)
    found = [_stored(row) for row in session.execute(statement)]
    if not found:
        raise Missing("there is no such study, series or instance here")
    laid = overlays(session, {one.series_pk for one in found})
    return [replace(one, overlay=laid[one.series_pk]) if one.series_pk in laid else one for one in found]


def header_of(session: Session, objects: ObjectStore, instance: StoredInstance) -> dict[str, Any]:
    """The header as it leaves, as DICOM JSON without long values. Shared: do not change it."""

    def find() -> dict[str, Any]:
        kept = session.scalars(select(Instance.header).where(Instance.id == instance.id)).one()
        return kept if kept is not None else attributes_of(objects, _place_of(instance))

    header = _headers.get((instance.object_key, instance.text_charset), find)
    return overlaid(header, instance.overlay)


def full_header_of(session: Session, objects: ObjectStore, instance: StoredInstance) -> dict[str, Any]:
    """The header with the functional groups of every frame, which a row leaves out where they are many."""
    return _completed(objects, instance, header_of(session, objects, instance))


def headers_of(
    session: Session, objects: ObjectStore, instances: Sequence[StoredInstance]
) -> list[dict[str, Any]]:
    """The full headers of many, in their order; read in bunches and not remembered."""
    found: dict[int, dict[str, Any] | None] = {}
    for start in range(0, len(instances), 500):
        ids = [instance.id for instance in instances[start : start + 500]]
        rows = session.execute(select(Instance.id, Instance.header).where(Instance.id.in_(ids)))
        found |= {row[0]: row[1] for row in rows}
    return [
        _completed(objects, instance, overlaid(header, instance.overlay))
        for instance in instances
        for header in [found.get(instance.id) or attributes_of(objects, _place_of(instance))]
    ]


def pixels_of(
    session: Session, objects: ObjectStore, instance: StoredInstance
) -> tuple[StoredPixels, FrameTable]:
    """How the frames of an instance are found. Raises NoSuchFrame, Unreadable."""

    def make() -> tuple[StoredPixels, FrameTable]:
        pixels = describe_pixels(
            header_of(session, objects, instance),
            key=instance.object_key,
            size=instance.size,
            offset=instance.dataset_offset,
            transfer_syntax_uid=instance.transfer_syntax_uid,
            number_of_frames=instance.number_of_frames,
        )
        return pixels, find_frames(objects, pixels)

    return _tables.get(instance.object_key, make)


def frame_of(
    session: Session, objects: ObjectStore, instance: StoredInstance, number: int
) -> tuple[bytes, str]:
    """Frame `number` (from 1) and the transfer syntax that it is in. Raises NoSuchFrame, Unreadable."""
    pixels, table = pixels_of(session, objects, instance)
    return read_frame(objects, pixels, table, number), pixels.served_transfer_syntax_uid


def bulk_of(objects: ObjectStore, instance: StoredInstance, path: tuple[int, ...]) -> bytes | None:
    """A long value that the header left out, as stored; None where it is absent."""
    with closing(dataset_of(objects, instance)) as dataset:
        place = locate(dataset, instance.transfer_syntax_uid, path)
        if place is None or place.length is None or place.length > LONGEST_BULK:
            return None
        return dataset.read(place.at, place.length)


def has_bulk(objects: ObjectStore, instance: StoredInstance, path: tuple[int, ...]) -> bool:
    """Whether the object holds a value at this path."""
    try:
        with closing(dataset_of(objects, instance)) as dataset:
            return locate(dataset, instance.transfer_syntax_uid, path) is not None
    except Unreadable:
        return False


def dataset_of(objects: ObjectStore, instance: StoredInstance) -> StoredDataset | InflatedDataset:
    """Random access to the dataset as stored. Close it."""
    return open_dataset(
        objects,
        instance.object_key,
        size=instance.size,
        offset=instance.dataset_offset,
        transfer_syntax_uid=instance.transfer_syntax_uid,
    )


def composed_of(objects: SoundObjects, instance: StoredInstance) -> Composed | None:
    """The dataset with what has been corrected since it came; None where nothing has. Close it.

    Raises ObjectMissing, Unreadable.
    """
    if instance.overlay is None:
        return None
    objects.assure(instance.object_key, instance.dataset_offset, instance.digest)
    return compose_stored(
        objects,
        instance.object_key,
        size=instance.size,
        offset=instance.dataset_offset,
        transfer_syntax_uid=instance.transfer_syntax_uid,
        overlay=instance.overlay,
    )


def _place_of(instance: StoredInstance) -> HeaderPlace:
    return HeaderPlace(
        instance.object_key,
        instance.size,
        instance.dataset_offset,
        instance.transfer_syntax_uid,
        instance.text_charset,
    )


def _completed(objects: ObjectStore, instance: StoredInstance, header: dict[str, Any]) -> dict[str, Any]:
    groups = values_of(header, PER_FRAME)
    if not groups or (len(groups) >= instance.number_of_frames and groups[-1].keys() == groups[0].keys()):
        return header
    return header | _per_frame.get(instance.object_key, lambda: _read_per_frame(objects, instance))


def _read_per_frame(objects: ObjectStore, instance: StoredInstance) -> dict[str, Any]:
    with objects.open_range(instance.object_key) as stream:
        head = io.BytesIO(stream.read(min(instance.size, LONGEST_HEADER)))
    try:
        dataset = dcmread(head, stop_before_pixels=True, specific_tags=[int(PER_FRAME, 16)])
        told: dict[str, Any] = dataset.to_json_dict(suppress_invalid_tags=True)
    except Exception:  # a damaged header shows what its row knows
        return {}
    return {PER_FRAME: told[PER_FRAME]} if PER_FRAME in told else {}


def _selected(session: Session, who: Who) -> Select[Any]:
    return (
        select(*_COLUMNS)
        .join(Series, Series.id == Instance.series_pk)
        .join(Study, Study.id == Series.study_pk)
        .where(visible_to(session, who, Study))
        .order_by(Series.series_number, Series.id, Instance.instance_number, Instance.id)
    )


def _stored(row: Row[Any]) -> StoredInstance:
    return StoredInstance(*tuple(row))
