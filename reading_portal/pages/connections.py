"""What is connected and what is stuck: devices, jobs, quarantine, disk, and how the demo stands."""

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from reading_portal.dependencies import TheSettings, requires
from reading_portal.pages.visit import Acting, Looking, Visit
from storage import audit, device_figures, faults, jobs, rounds
from storage.audit import Act, AuditEvent
from storage.device_figures import Figures
from storage.imaging import ArrivalState, Study
from storage.jobs import Job, JobState
from storage.scrub import ROUND as SCRUB
from storage.settings import Settings
from worklist.conflicts import conflicts_for, count_open
from worklist.device_queues import device_queues
from worklist.devices import all_devices, last_seen
from worklist.holdings import damaged
from worklist.orders import ServiceRequest
from worklist.people import Role
from worklist.problems import WrongState
from worklist.reading_tasks import OPEN, ReadingTask
from worklist.shortfalls import shortfalls

router = APIRouter(prefix="/admin", dependencies=[Depends(requires(Role.ADMINISTRATOR, Role.DIRECTOR))])

SILENT_AFTER = timedelta(hours=24)
LATE_AFTER = timedelta(minutes=5)
FULL = 0.9


@router.get("/connections")
def show_connections(visit: Looking, settings: TheSettings) -> Response:
    return visit.page("connections.html", **_what_is(visit, settings))


@router.get("/connections/list")
def show_list(visit: Looking, settings: TheSettings) -> Response:
    return visit.part("_connection_list.html", **_what_is(visit, settings))


@router.post("/jobs/{job_id}/revive")
def revive(visit: Acting, job_id: int) -> Response:
    """Send a job that gave up round again."""
    if not jobs.revive(visit.session, job_id, now=visit.now):
        raise WrongState("this job is not one that gave up")
    audit.record(visit.session, Act.DECLARATION, "revive", f"job:{job_id}", by=visit.who.actor, at=visit.now)
    return visit.go("/admin/connections?said=job-revived")


def _what_is(visit: Visit, settings: Settings) -> dict[str, Any]:
    session, now, data = visit.session, visit.now, settings.data
    seen, counted = last_seen(session), device_figures.figures_by_device(session, now=now)
    queues = device_queues(session)
    disk = shutil.disk_usage(data)
    stuck = list(
        session.scalars(
            select(Job)
            .where(
                (Job.state == JobState.DEAD)
                | ((Job.state != JobState.DONE) & (Job.due_at < now - LATE_AFTER))
                | ((Job.state == JobState.READY) & (Job.attempts > 1))
            )
            .order_by(Job.state, Job.due_at)
            .limit(100)
        )
    )
    refused = list(
        session.scalars(
            select(AuditEvent)
            .where(
                AuditEvent.act == Act.ASSOCIATION.value,
                AuditEvent.outcome == "failure",
                AuditEvent.at > now - SILENT_AFTER,
            )
            .order_by(AuditEvent.seq.desc())
            .limit(20)
        )
    )
    return {
        "shortfalls": shortfalls(session, now=now),
        "devices": [
            {
                "device": one,
                "seen": seen.get(one.ae_title),
                "state": _state_of(seen.get(one.ae_title), now),
                "figures": counted.get(one.ae_title, Figures()),
                "open_steps": queues.open_steps.get(one.ae_title, 0),
                "undelivered": queues.undelivered.get(one.ae_title, 0),
                "kept_aside": queues.kept_aside.get(one.ae_title, 0),
            }
            for one in all_devices(session, by=visit.who)
            if one.is_active
        ],
        "strangers": counted.get("", Figures()).refusals,
        "nodes": device_figures.nodes(session),
        "stuck": stuck,
        "quarantined": conflicts_for(session, visit.who, limit=10),
        "quarantined_count": count_open(session, visit.who),
        "damaged": damaged(session),
        "damaged_count": faults.count_open(session),
        "scrub": rounds.look(session, SCRUB),
        "scrub_rate": settings.scrub_rate,
        "refused": refused,
        "own_title": settings.ae_title,
        "figures": _figures(session),
        "disk": {"used": disk.used, "total": disk.total, "share": disk.used / disk.total},
        "is_full": disk.used / disk.total > FULL,
        "demo": demo_state(data),
        "may_revive": visit.who.has(Role.ADMINISTRATOR),
    }


def _figures(session: Session) -> dict[str, int]:
    unmatched = (
        select(func.count())
        .select_from(Study)
        .where(
            Study.arrival_state == ArrivalState.SETTLED,
            ~select(ServiceRequest.id).where(ServiceRequest.study_pk == Study.id).exists(),
        )
    )
    receiving = select(func.count()).select_from(Study).where(Study.arrival_state == ArrivalState.RECEIVING)
    waiting = select(func.count()).select_from(ReadingTask).where(ReadingTask.state.in_(OPEN))
    return {
        "studies": session.scalar(select(func.count()).select_from(Study)) or 0,
        "unmatched": session.scalar(unmatched) or 0,
        "receiving": session.scalar(receiving) or 0,
        "waiting": session.scalar(waiting) or 0,
    }


def _state_of(seen: datetime | None, now: datetime) -> str:
    if seen is None:
        return "never"
    return "silent" if now - seen > SILENT_AFTER else "seen"


def demo_state(data: Path) -> dict[str, Any] | None:
    """How the demo county stands, from the file that it keeps; None where there is no demo."""
    try:
        said = json.loads((data / "demo.json").read_text(encoding="utf-8"))
        return {
            "state": str(said["state"]),
            "reason": str(said.get("reason") or ""),
            "studies": int(said.get("sent_studies", 0)),
            "bytes": int(said.get("sent_bytes", 0)),
            "until": datetime.fromisoformat(said["until"]) if said.get("until") else None,
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None
