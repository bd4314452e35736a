"""Announcements: which devices hear that a study has arrived and can be fetched."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage import jobs
from storage.imaging import Study
from storage.institutions import ApplicationEntity, Service
from worklist.people import visible_to_device

JOB = "notify-availability"


def announce(session: Session, study: Study, *, now: datetime) -> int:
    """A job for each device that is declared to be notified and may fetch this study; return how many.

    A study that settles again, with more images, is announced again.
    """
    told = 0
    for device in session.scalars(select(ApplicationEntity).where(ApplicationEntity.is_active)):
        if Service.NOTIFY not in device.may or not device.port:
            continue
        visible = visible_to_device(session, device, now=now)
        if session.scalar(select(Study.id).where(Study.id == study.id, visible)) is None:
            continue
        jobs.enqueue(
            session,
            JOB,
            f"{device.ae_title}:{study.study_instance_uid}:{study.version}",
            {
                "ae_title": device.ae_title,
                "study_instance_uid": study.study_instance_uid,
                "version": study.version,
            },
        )
        told += 1
    return told
