"""Due times: how long each class of exam may wait for its report."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum


class Priority(StrEnum):
    """FHIR request-priority."""

    ROUTINE = "routine"
    URGENT = "urgent"
    ASAP = "asap"
    STAT = "stat"


class Pathway(StrEnum):
    """Green channels and screening: they change the clock, not the order."""

    CHEST_PAIN = "chest_pain"
    STROKE = "stroke"
    TRAUMA = "trauma"
    SCREENING = "screening"


# The most urgent first; lists and "next" sort by the place in this table.
ORDER = (Priority.STAT, Priority.ASAP, Priority.URGENT, Priority.ROUTINE)

# (pathway, priority, modality) → minutes until the report is due; None matches anything; the first row
# that fits counts.
# Sources: chest-pain and stroke centre practice, hospital report rules; a county may change them.
MINUTES: tuple[tuple[str | None, str | None, str | None, int], ...] = (
    (Pathway.CHEST_PAIN, None, "ECG", 10),
    (Pathway.STROKE, None, "CT", 15),
    (Pathway.CHEST_PAIN, None, None, 30),
    (Pathway.STROKE, None, None, 30),
    (Pathway.TRAUMA, None, None, 30),
    (None, Priority.STAT, "ECG", 10),
    (None, Priority.STAT, None, 30),
    (None, Priority.ASAP, None, 45),
    (None, Priority.URGENT, "ECG", 20),
    (None, Priority.URGENT, None, 60),
    (Pathway.SCREENING, None, None, 24 * 60),
    (None, None, "ECG", 60),
    (None, None, "DX", 120),
    (None, None, "CR", 120),
    (None, None, "US", 120),
    (None, None, None, 240),
)


class Urgency(StrEnum):
    """How a task stands to its due time: words for people who do not see colours."""

    IN_TIME = "in-time"
    HALF = "half"  # half of the time has gone
    SOON = "soon"  # three quarters
    CLOSE = "close"  # nine tenths
    OVERDUE = "overdue"


_STEPS = ((1.0, Urgency.OVERDUE), (0.9, Urgency.CLOSE), (0.75, Urgency.SOON), (0.5, Urgency.HALF))


def minutes_for(*, priority: str, pathway: str | None, modality: str) -> int:
    for row_pathway, row_priority, row_modality, minutes in MINUTES:
        if (
            row_pathway in (None, pathway)
            and row_priority in (None, priority)
            and row_modality in (None, modality)
        ):
            return minutes
    raise AssertionError("the last row matches anything")


def due_at(opened_at: datetime, *, priority: str, pathway: str | None, modality: str) -> datetime:
    """When the report is due for a study that became readable at `opened_at`."""
    return opened_at + timedelta(minutes=minutes_for(priority=priority, pathway=pathway, modality=modality))


def urgency(opened_at: datetime, due: datetime, now: datetime) -> Urgency:
    share = (now - opened_at) / max(due - opened_at, timedelta(seconds=1))
    return next((word for limit, word in _STEPS if share >= limit), Urgency.IN_TIME)


def rank(priority: str, pathway: str | None) -> int:
    """0 for what comes first. Green channels rank with stat; screening after routine."""
    if pathway in (Pathway.CHEST_PAIN, Pathway.STROKE, Pathway.TRAUMA):
        return 0
    if pathway == Pathway.SCREENING:
        return len(ORDER)
    return ORDER.index(Priority(priority))
