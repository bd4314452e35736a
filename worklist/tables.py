"""Importing this module makes every table of the memory and the mind known to `Base.metadata`."""

from storage import audit, changes, device_figures, faults, imaging, institutions, jobs, rounds, unclaimed
from worklist import (
    agreements,
    assignment,
    critical_results,
    orders,
    people,
    performed_steps,
    policy,
    reading_tasks,
    recognition,
    recognition_items,
    reports,
    sessions,
)

__all__ = [
    "agreements",
    "assignment",
    "audit",
    "changes",
    "critical_results",
    "device_figures",
    "faults",
    "imaging",
    "institutions",
    "jobs",
    "orders",
    "people",
    "performed_steps",
    "policy",
    "reading_tasks",
    "recognition",
    "recognition_items",
    "reports",
    "rounds",
    "sessions",
    "unclaimed",
]
