"""The rows that point at stored objects: which table, under what key, with what hash."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, null, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from storage.database import Base, Database
from storage.imaging import Instance, QuarantinedInstance
from storage.objects import ObjectStore

BATCH = 500


@dataclass(frozen=True)
class Holding:
    """A table whose rows point at objects: the name of the thing, its key, the hash of its bytes, its age.

    `offset` is where an instance's dataset begins: its hash is a seal over meta information and dataset.
    """

    table: type[Base]
    name: InstrumentedAttribute[Any]
    key: InstrumentedAttribute[Any]
    digest: InstrumentedAttribute[Any]
    since: InstrumentedAttribute[Any]
    offset: InstrumentedAttribute[Any] | None = None
    # What may be the same bytes, said by whoever knows where else they were put; by the object's key.
    elsewhere: Callable[[Database, ObjectStore, str], Iterator[bytes]] | None = None

    @property
    def title(self) -> str:
        return str(self.table.__tablename__)


@dataclass(frozen=True)
class Held:
    """One row's word about its object."""

    holding: Holding
    name: str
    key: str
    digest: str
    since: datetime
    offset: int | None


INSTANCES = Holding(
    Instance,
    Instance.sop_instance_uid,
    Instance.object_key,
    Instance.seal,
    Instance.received_at,
    Instance.dataset_offset,
)
QUARANTINED = Holding(
    QuarantinedInstance,
    QuarantinedInstance.sop_instance_uid,
    QuarantinedInstance.object_key,
    QuarantinedInstance.seal,
    QuarantinedInstance.received_at,
    QuarantinedInstance.dataset_offset,
)
IMAGES = (INSTANCES, QUARANTINED)


def held(session: Session, holding: Holding, key: str) -> Held | None:
    """What the row says that points at this object now."""
    row = session.execute(_asked(holding).where(holding.key == key)).first()
    return None if row is None else _held(holding, row)


def walk(database: Database, holding: Holding, *, after: str = "") -> Iterator[list[Held]]:
    """Every row in the order of their keys, a short look at a time; none is open while bytes are read."""
    while True:
        question = _asked(holding).where(holding.key > after).order_by(holding.key).limit(BATCH)
        with database.reading() as session:
            rows = [_held(holding, row) for row in session.execute(question)]
        if not rows:
            return
        yield rows
        after = rows[-1].key


def unclaimed(session: Session, keys: Collection[str], holdings: Iterable[Holding]) -> set[str]:
    """Those of these keys that no row points at."""
    left = set(keys)
    for holding in holdings:
        if left:
            left -= set(session.scalars(select(holding.key).where(holding.key.in_(left))))
    return left


def _asked(holding: Holding) -> Select[Any]:
    offset: Any = null() if holding.offset is None else holding.offset
    return select(holding.name, holding.key, holding.digest, holding.since, offset)


def _held(holding: Holding, row: Any) -> Held:
    return Held(holding, str(row[0]), str(row[1]), str(row[2]), row[3], row[4])
