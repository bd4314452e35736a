"""Figures for Prometheus, labelled by route template: a path would carry identifiers."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

registry = CollectorRegistry()
REQUESTS = Counter(
    "reading_portal_requests_total", "Requests answered", ["method", "route", "status"], registry=registry
)
SECONDS = Histogram(
    "reading_portal_request_seconds",
    "Time to the end of an answer",
    ["route"],
    buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
    registry=registry,
)
LISTENERS = Gauge("reading_portal_event_listeners", "Open streams of server-sent events", registry=registry)
TASKS = Gauge("reading_center_tasks", "Reading tasks by state", ["state"], registry=registry)
OVERDUE = Gauge("reading_center_tasks_overdue", "Open reading tasks past their due time", registry=registry)
JOBS = Gauge("reading_center_jobs", "Jobs by kind and state", ["kind", "state"], registry=registry)
UNMATCHED = Gauge("reading_center_studies_unmatched", "Settled studies without an order", registry=registry)

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


def observe(method: str, route: str, status: int, seconds: float) -> None:
    REQUESTS.labels(method if method in METHODS else "other", route, str(status)).inc()
    SECONDS.labels(route).observe(seconds)


def exposition() -> bytes:
    return generate_latest(registry)
