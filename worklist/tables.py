"""Importing this module makes every table of the memory and the mind known to `Base.metadata`."""

from storage import audit, changes, imaging, institutions, jobs
from worklist import (
    agreements,
    critical_results,
    orders,
    people,
    performed_steps,
    policy,
    reading_tasks,
    recognition,
    recognition_items,
    reports,
)

__all__ = [
    "agreements",
    "audit",
    "changes",
    "critical_results",
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
]
