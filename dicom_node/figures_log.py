"""Carries what this node counts into the database, where pages of other machines find it."""

from __future__ import annotations

import logging
import socket
import threading
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from storage import device_figures
from storage.database import is_away, utc_now
from storage.device_figures import EDGES, NodeState
from storage.spool import SpoolFirst

if TYPE_CHECKING:
    from dicom_node.node import Node

log = logging.getLogger("reading_center.dicom")

WRITTEN_EVERY = 10.0
FORGOTTEN_EVERY = 360  # writings: about an hour


class FiguresLog:
    """Writes what has changed every ten seconds, and once more when it is stopped."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._started_at = utc_now()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="figures", daemon=True)
        # What was written already; counts only grow.
        self._stored: Counter[tuple[str, int]] = Counter()
        self._refused: Counter[tuple[str, str]] = Counter()
        self._latency: dict[str, list[int]] = {}
        self._seen: dict[str, float] = {}

    @property
    def name(self) -> str:
        """This node among others: its machine and port."""
        return f"{socket.gethostname()}:{self._node.port or self._node.tls_port or 0}"

    def start(self) -> None:
        self._name = self.name  # the ports are closed when the last figures are written
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        written = 0
        is_last = False
        while not is_last:
            is_last = self._stop.wait(0.5 if not written else WRITTEN_EVERY)
            try:
                self.write(forgets=written % FORGOTTEN_EVERY == 0)
            except Exception as error:
                # Counts stay what they are: the next writing takes them along.
                if not is_away(error):
                    log.error("the figures could not be written: %s", type(error).__name__)
            written += 1

    def write(self, *, forgets: bool = False) -> None:
        """What was counted since the last time. Raises what the database raises, and then forgets nothing."""
        counts, now = self._node.counts, utc_now()
        stored, refused = Counter(counts.stored), Counter(counts.refused)
        latency = {title: list(one.buckets) for title, one in list(counts.latency.items())}
        seen = dict(counts.seen)
        statuses, reasons = _by_title(stored - self._stored), _by_title(refused - self._refused)
        waiting = self._node.objects.waiting() if isinstance(self._node.objects, SpoolFirst) else None
        with self._node.database.transaction() as session:
            for title in statuses.keys() | reasons.keys():
                before = self._latency.get(title, [0] * (len(EDGES) + 1))
                device_figures.add(
                    session,
                    node=self._name,
                    ae_title=title,
                    statuses=statuses.get(title, Counter()),
                    refusals=reasons.get(title, Counter()),
                    latency=[new - old for new, old in zip(latency.get(title, before), before, strict=True)],
                    now=now,
                )
            news = {title: at for title, at in seen.items() if self._seen.get(title) != at}
            device_figures.see(
                session,
                node=self._name,
                seen={title: datetime.fromtimestamp(at, UTC) for title, at in news.items()},
            )
            session.merge(
                NodeState(
                    node=self._name,
                    at=now,
                    started_at=self._started_at,
                    associations=self._node.places.open,
                    waiting=self._node.waiting,
                    spool_objects=waiting.count if waiting else 0,
                    spool_seconds=waiting.oldest if waiting else 0.0,
                )
            )
            if forgets:
                device_figures.forget(session, now=now)
        self._stored, self._refused, self._latency, self._seen = stored, refused, latency, seen


def _by_title(counted: Counter[tuple[str, int]] | Counter[tuple[str, str]]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for (title, what), number in counted.items():
        word = f"{what:04X}" if isinstance(what, int) else str(what)
        found.setdefault(title, Counter())[word] += number
    return found
