"""Who looked at which study or patient, once for each person and hour; and who asked for which list."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import exists, select

from storage import audit
from storage.audit import Act, AuditEvent
from storage.database import Database
from worklist.people import Who

_told: set[tuple[str, str, str, str, datetime]] = set()
_lock = threading.Lock()


def note_query(
    database: Database, who: Who, kind: str, *, found: int, searched: Mapping[str, object], now: datetime
) -> None:
    """Audit that this person asked for a list that names patients: which, by what, how many rows.

    Of `searched` the names of the words that were given are kept, never the words: they name patients.
    An empty answer to no search told nothing. In a short transaction of its own, so that a long search
    keeps no writer waiting.
    """
    asked = [name for name, value in searched.items() if value not in (None, "", [])]
    if not found and not asked:
        return
    with database.transaction() as session:
        audit.record(
            session, Act.QUERY, "list", f"list:{kind}", by=who.actor, at=now, found=found, searched=asked
        )


def note_view(
    database: Database,
    who: Who,
    study_instance_uid: str,
    *,
    now: datetime,
    act: Act = Act.VIEW,
    verb: str = "view",
) -> None:
    """Audit that this person looked at this study, unless that stands there already for this hour."""
    _note(database, who, f"study:{study_instance_uid}", now=now, act=act, verb=verb)


def note_patient(database: Database, who: Who, patient_pk: int, *, now: datetime) -> None:
    """Audit that this person compared this patient with others, once an hour."""
    _note(database, who, f"patient:{patient_pk}", now=now, act=Act.PATIENT, verb="compare")


def _note(database: Database, who: Who, subject: str, *, now: datetime, act: Act, verb: str) -> None:
    hour = now.replace(minute=0, second=0, microsecond=0)
    seen = (str(database.url), who.username, subject, verb, hour)
    if seen in _told:
        return
    with database.transaction() as session:
        # Another process may have told it.
        is_known = session.scalar(
            select(
                exists().where(
                    AuditEvent.subject == subject,
                    AuditEvent.actor == who.actor.name,
                    AuditEvent.act == act.value,
                    AuditEvent.verb == verb,
                    AuditEvent.at >= hour,
                )
            )
        )
        if not is_known:
            audit.record(session, act, verb, subject, by=who.actor, at=now)
    with _lock:
        for old in [one for one in _told if one[4] != hour]:
            _told.discard(old)
        _told.add(seen)
