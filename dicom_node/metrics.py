"""The node's figures for Prometheus, by AE title: what this process counts, and what the rows say.

Only declared titles are labels: a stranger's is his own invention, and there is no end to them.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from sqlalchemy.orm import Session

from storage import faults, rounds
from storage.device_figures import EDGES
from storage.scrub import ROUND as SCRUB
from storage.spool import SpoolFirst
from storage.unclaimed import count_unclaimed
from worklist.device_queues import device_queues
from worklist.devices import last_seen

if TYPE_CHECKING:
    from dicom_node.node import Node


class Latency:
    """Answers by how long they took; the last bucket is the rest."""

    def __init__(self) -> None:
        self.buckets = [0] * (len(EDGES) + 1)
        self.total = 0.0


class Counts:
    """What one process counts. Cheap enough for every object: no lock but the interpreter's own."""

    def __init__(self) -> None:
        self.stored: Counter[tuple[str, int]] = Counter()  # AE title, status
        self.refused: Counter[tuple[str, str]] = Counter()  # declared AE title or nothing, reason
        self.latency: dict[str, Latency] = {}
        self.seen: dict[str, float] = {}  # AE title → seconds since 1970

    def store(self, ae_title: str, status: int, seconds: float) -> None:
        """One C-STORE was answered, `seconds` after its last byte."""
        self.stored[ae_title, status] += 1
        latency = self.latency.get(ae_title)
        if latency is None:
            latency = self.latency.setdefault(ae_title, Latency())
        latency.buckets[bisect_left(EDGES, seconds)] += 1
        latency.total += seconds
        self.seen[ae_title] = time.time()

    def refuse(self, ae_title: str, reason: str) -> None:
        self.refused[ae_title, reason] += 1

    def see(self, ae_title: str) -> None:
        self.seen[ae_title] = time.time()


class Figures:
    """Answers Prometheus; the registry of `serve` asks it at every scrape."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._before: dict[str, float] | None = None  # last seen before this process began

    def collect(self) -> Iterator[Metric]:
        node, counts = self._node, self._node.counts
        yield _counter(
            "reading_node_instances",
            "C-STORE requests answered, by status",
            ("ae", "status"),
            (((title, f"{status:04X}"), number) for (title, status), number in list(counts.stored.items())),
        )
        yield _counter(
            "reading_node_refusals",
            "Associations refused, by reason; ae is empty for a title that is not declared",
            ("ae", "reason"),
            list(counts.refused.items()),
        )
        yield _latencies(counts)
        yield _gauge("reading_node_associations", "Open associations", (), [((), node.places.open)])
        yield _gauge(
            "reading_node_waiting", "Connections that have not said who they are", (), [((), node.waiting)]
        )
        waiting = node.objects.waiting() if isinstance(node.objects, SpoolFirst) else None
        yield _gauge(
            "reading_node_spool_objects",
            "Objects that the object store does not have yet",
            (),
            [((), waiting.count if waiting else 0)],
        )
        yield _gauge(
            "reading_node_spool_age_seconds",
            "Age of the oldest of them",
            (),
            [((), waiting.oldest if waiting else 0.0)],
        )
        with node.database.reading() as session:
            yield from self._rows(session)

    def _rows(self, session: Session) -> Iterator[Metric]:
        if self._before is None:
            self._before = {title: at.timestamp() for title, at in last_seen(session).items()}
        seen = self._before | self._node.counts.seen
        yield _by_ae(
            "reading_node_last_seen_timestamp_seconds", "When it was last heard, seconds since 1970", seen
        )
        queues = device_queues(session)
        for name, text, numbers in (
            ("open_steps", "Performed procedure steps that are in progress", queues.open_steps),
            (
                "undelivered",
                "Reports, commitments and notifications that the device has not taken",
                queues.undelivered,
            ),
            ("quarantined", "Objects kept aside that wait for a decision", queues.kept_aside),
        ):
            yield _by_ae(f"reading_node_{name}", text, numbers)
        yield _gauge(
            "reading_node_damaged_objects",
            "Stored objects that are missing or have changed, and are given to nobody",
            (),
            [((), faults.count_open(session))],
        )
        yield _gauge(
            "reading_node_unclaimed_objects",
            "Objects that no row points at, by what they seem to be",
            ("why",),
            [((why,), number) for why, number in sorted(count_unclaimed(session).items())],
        )
        scrub = rounds.look(session, SCRUB)
        ended = scrub.finished_at.timestamp() if scrub and scrub.finished_at else 0.0
        yield _gauge(
            "reading_node_scrub_timestamp_seconds",
            "When every object had been read again, seconds since 1970; 0 before the first time",
            (),
            [((), ended)],
        )


def serve(node: Node, host: str, port: int) -> tuple[Any, threading.Thread]:
    """The server that answers at /metrics, and its thread. Raises OSError where the port is taken."""
    registry = CollectorRegistry()
    registry.register(Figures(node))
    return start_http_server(port, addr=host, registry=registry)


def _latencies(counts: Counts) -> Metric:
    family = HistogramMetricFamily(
        "reading_node_store_seconds", "From the last byte of an object to its answer", labels=("ae",)
    )
    for title, latency in list(counts.latency.items()):
        so_far, buckets = 0, []
        for edge, number in zip((*EDGES, float("inf")), latency.buckets, strict=True):
            so_far += number
            buckets.append(("+Inf" if edge == float("inf") else str(edge), so_far))
        family.add_metric((title,), buckets, latency.total)
    return family


Row = tuple[tuple[str, ...], float]


def _counter(name: str, text: str, labels: tuple[str, ...], rows: Iterable[Row]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family


def _gauge(name: str, text: str, labels: tuple[str, ...], rows: Iterable[Row]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family


def _by_ae(name: str, text: str, values: dict[str, float] | dict[str, int]) -> Metric:
    return _gauge(name, text, ("ae",), (((title,), number) for title, number in sorted(values.items())))
