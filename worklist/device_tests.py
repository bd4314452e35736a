"""Tests of devices: asked for by an administrator, done by the worker, found in the trail."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage import audit, jobs
from storage.audit import Act, AuditEvent
from storage.institutions import ApplicationEntity, Service
from storage.jobs import Job, JobState
from worklist.devices import find_device
from worklist.initials import initials_of
from worklist.people import Who
from worklist.scheduling import worklist_items

JOB = "test-device"
PATIENCE = timedelta(minutes=5)
SAMPLE = 20


@dataclass(frozen=True)
class LastTest:
    """The newest outcome, if any; `is_waiting` while another was asked for and is not done."""

    at: datetime | None
    is_good: bool
    milliseconds: int | None
    reason: str
    is_waiting: bool


def ask_for_test(session: Session, ae_title: str, *, by: Who, now: datetime) -> None:
    """A C-ECHO to the device, as soon as the worker comes to it. Raises Missing, Refused."""
    find_device(session, ae_title, by=by)
    key = f"{ae_title}:{uuid.uuid4().hex}"
    jobs.enqueue(session, JOB, key, {"ae_title": ae_title}, patience=PATIENCE)
    audit.record(session, Act.DECLARATION, "test", f"device:{ae_title}", by=by.actor, at=now)


def last_test(session: Session, ae_title: str) -> LastTest:
    event = session.scalar(
        select(AuditEvent)
        .where(
            AuditEvent.subject == f"device:{ae_title}",
            AuditEvent.act == Act.DELIVERY.value,
            AuditEvent.verb == "test-device",
        )
        .order_by(AuditEvent.seq.desc())
        .limit(1)
    )
    waiting = session.scalar(
        select(Job.id)
        .where(
            Job.kind == JOB,
            Job.key.startswith(f"{ae_title}:", autoescape=True),
            Job.state.in_((JobState.READY, JobState.RUNNING)),
        )
        .limit(1)
    )
    detail: dict[str, Any] = event.detail if event is not None else {}
    return LastTest(
        at=event.at if event is not None else None,
        is_good=event is not None and event.outcome == "success",
        milliseconds=detail.get("milliseconds"),
        reason=str(detail.get("reason", "")),
        is_waiting=waiting is not None,
    )


def worklist_sample(session: Session, device: ApplicationEntity) -> list[dict[str, str]] | None:
    """What the worklist answers to this device when it asks for its own title, now; names as initials.

    None where the device may not ask.
    """
    if Service.WORKLIST not in device.may or not device.is_active:
        return None
    items = worklist_items(session, device, {"ScheduledStationAETitle": device.ae_title})
    return [_shown(item) for item in items[:SAMPLE]]


def _shown(item: dict[str, Any]) -> dict[str, str]:
    step = item["00400100"]["Value"][0]

    def text(where: dict[str, Any], tag: str) -> str:
        return str((where.get(tag, {}).get("Value") or [""])[0])

    name = (item.get("00100010", {}).get("Value") or [{}])[0]
    return {
        "accession_number": text(item, "00080050"),
        "initials": initials_of(name.get("Ideographic") or name.get("Alphabetic") or ""),
        "modality": text(step, "00080060"),
        "description": text(step, "00400007"),
        "date": text(step, "00400002"),
        "time": text(step, "00400003"),
    }
