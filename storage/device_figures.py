"""What every node says of every device, in slots of five minutes: for pages that another machine serves.

A node writes rows of its own only, so nodes never fight over one; whoever reads adds them up.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, delete, exists, func, or_, select
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from storage.database import Base

# Upper ends of the buckets of answers, in seconds; beyond the last is one more.
EDGES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
SLOT = timedelta(minutes=5)
KEPT = timedelta(hours=48)
NODES_KEPT = timedelta(days=7)
LATE_AFTER = timedelta(minutes=2)  # a node that has said nothing for so long is not well


class DeviceFigures(Base):
    """What one node counted of one device in one slot."""

    __tablename__ = "device_figures"
    node: Mapped[str] = mapped_column(primary_key=True)
    ae_title: Mapped[str] = mapped_column(primary_key=True)  # empty for whoever is not declared
    begins_at: Mapped[datetime] = mapped_column(primary_key=True, index=True)
    statuses: Mapped[dict[str, Any]]  # "0000" → how many C-STOREs were answered so
    refusals: Mapped[dict[str, Any]]  # reason → associations
    latency: Mapped[dict[str, Any]]  # number of the bucket of EDGES → answers


class DeviceSeen(Base):
    """When one node last heard one device."""

    __tablename__ = "device_seen"
    ae_title: Mapped[str] = mapped_column(primary_key=True)
    node: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]


class NodeState(Base):
    """How one node is, in its own words."""

    __tablename__ = "node_states"
    node: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    started_at: Mapped[datetime]
    associations: Mapped[int]
    waiting: Mapped[int]  # connections that have not said who they are
    spool_objects: Mapped[int]
    spool_seconds: Mapped[float]  # age of the oldest of them

    def is_late(self, now: datetime) -> bool:
        return now - self.at > LATE_AFTER


@dataclass
class Figures:
    """One device over all nodes. `hour` and `day` end now, to the slot."""

    seen_at: datetime | None = None
    stored_hour: int = 0
    stored_day: int = 0
    statuses: Counter[str] = field(default_factory=Counter)  # of the day, what was not kept
    refusals: Counter[str] = field(default_factory=Counter)  # of the day
    latency: list[int] = field(default_factory=lambda: [0] * (len(EDGES) + 1))  # of the hour

    def answered_within(self, share: float) -> float | None:
        """Seconds within which this share of the last hour's objects was answered; None without any.

        Infinite where it is more than the last bucket holds.
        """
        wanted = share * sum(self.latency)
        if not wanted:
            return None
        so_far, low = 0, 0.0
        for number, edge in zip(self.latency, (*EDGES, float("inf")), strict=True):
            if number and so_far + number >= wanted:
                return low + (edge - low) * (wanted - so_far) / number
            so_far, low = so_far + number, edge
        return float("inf")


def add(
    session: Session,
    *,
    node: str,
    ae_title: str,
    statuses: Counter[str],
    refusals: Counter[str],
    latency: Sequence[int],
    now: datetime,
) -> None:
    """What this node counted since it last wrote."""
    seconds = SLOT.total_seconds()
    begins_at = datetime.fromtimestamp(now.timestamp() // seconds * seconds, now.tzinfo)
    row = session.get(DeviceFigures, (node, ae_title, begins_at))
    if row is None:
        row = DeviceFigures(
            node=node, ae_title=ae_title, begins_at=begins_at, statuses={}, refusals={}, latency={}
        )
        session.add(row)
    row.statuses = dict(Counter(row.statuses) + statuses)
    row.refusals = dict(Counter(row.refusals) + refusals)
    row.latency = dict(Counter(row.latency) + Counter({str(at): n for at, n in enumerate(latency)}))


def see(session: Session, *, node: str, seen: dict[str, datetime]) -> None:
    for ae_title, at in seen.items():
        session.merge(DeviceSeen(node=node, ae_title=ae_title, at=at))


def figures_by_device(session: Session, *, now: datetime) -> dict[str, Figures]:
    """AE title → figures, for every device that any node has heard; the empty title is the undeclared."""
    found: defaultdict[str, Figures] = defaultdict(Figures)
    rows = select(DeviceFigures).where(DeviceFigures.begins_at > now - timedelta(days=1))
    for row in session.scalars(rows):
        one = found[row.ae_title]
        stored = sum(number for status, number in row.statuses.items() if _is_kept(status))
        one.stored_day += stored
        one.statuses.update({status: n for status, n in row.statuses.items() if not _is_kept(status)})
        one.refusals.update(row.refusals)
        if row.begins_at > now - timedelta(hours=1):
            one.stored_hour += stored
            for bucket, number in row.latency.items():
                one.latency[int(bucket)] += number
    for title, at in last_seen(session).items():
        found[title].seen_at = at
    return dict(found)


def last_seen(session: Session) -> dict[str, datetime]:
    """AE title → when any node heard it last."""
    rows = select(DeviceSeen.ae_title, func.max(DeviceSeen.at)).group_by(DeviceSeen.ae_title)
    return {row[0]: row[1] for row in session.execute(rows)}


def nodes(session: Session) -> list[NodeState]:
    return list(session.scalars(select(NodeState).order_by(NodeState.node)))


def forget(session: Session, *, now: datetime) -> None:
    """Drop slots and nodes that nobody asks for any more, and what a node that is gone said of a device that
    another one, or a later one, has heard since."""
    session.execute(delete(DeviceFigures).where(DeviceFigures.begins_at < now - KEPT))
    session.execute(delete(NodeState).where(NodeState.at < now - NODES_KEPT))
    later = aliased(DeviceSeen)
    is_newer = or_(later.at > DeviceSeen.at, and_(later.at == DeviceSeen.at, later.node > DeviceSeen.node))
    gone = delete(DeviceSeen).where(
        DeviceSeen.at < now - NODES_KEPT,
        DeviceSeen.node.not_in(select(NodeState.node)),
        exists().where(later.ae_title == DeviceSeen.ae_title, is_newer),
    )
    session.execute(gone.execution_options(synchronize_session=False))


def _is_kept(status: str) -> bool:
    return status == "0000" or status.startswith("B")
