"""What waits for a device or because of it: steps in progress, deliveries, objects kept aside."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.imaging import QuarantinedInstance
from storage.jobs import Job, JobState
from worklist.performed_steps import PerformedProcedureStep, StepState

# Jobs that bring something to a device.
DELIVERIES = ("commitment-report", "deliver-report", "notify-availability")
MOST_UNDELIVERED = 20_000


@dataclass(frozen=True)
class Queues:
    """How many, by AE title."""

    open_steps: dict[str, int]
    undelivered: dict[str, int]
    kept_aside: dict[str, int]


def device_queues(session: Session) -> Queues:
    steps = (
        select(PerformedProcedureStep.ae_title, func.count())
        .where(PerformedProcedureStep.state == StepState.IN_PROGRESS)
        .group_by(PerformedProcedureStep.ae_title)
    )
    undelivered = session.scalars(
        select(Job.payload)
        .where(Job.kind.in_(DELIVERIES), Job.state != JobState.DONE)
        .limit(MOST_UNDELIVERED)
    )
    aside = (
        select(QuarantinedInstance.calling_ae, func.count())
        .where(QuarantinedInstance.resolved_at.is_(None))
        .group_by(QuarantinedInstance.calling_ae)
    )
    return Queues(
        {row[0]: row[1] for row in session.execute(steps)},
        dict(Counter(str(payload.get("ae_title", "")) for payload in undelivered)),
        {row[0]: row[1] for row in session.execute(aside)},
    )
