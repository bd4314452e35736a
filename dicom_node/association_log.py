"""Every association leaves one audit row: refused and why, or served, with what was done on it.

Rows are written together, a few times a second: a flood of refusals costs one commit, not a thousand.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from storage import audit
from storage.audit import Act, Actor
from storage.database import Database, is_away, utc_now

log = logging.getLogger("reading_center.dicom")

MOST_WAITING = 20_000
GATHER_SECONDS = 0.2
ATTEMPTS = 5


@dataclass(frozen=True)
class Entry:
    """What happened to one association."""

    verb: str  # "serve" | "refuse"
    actor: Actor
    outcome: str
    detail: dict[str, Any]
    at: datetime = field(default_factory=utc_now)


class AssociationLog:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._entries: queue.Queue[Entry | None] = queue.Queue(MOST_WAITING)
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="association-log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write what is waiting, then end."""
        self._is_stopping = True
        self._entries.put(None)
        if self._thread.is_alive():
            self._thread.join(30)

    def note(self, entry: Entry) -> None:
        try:
            self._entries.put_nowait(entry)
        except queue.Full:
            log.error("the audit of associations cannot keep up; one entry is only here: %s", entry.detail)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            gathered: list[Entry] = []
            first = self._entries.get()
            is_last = first is None
            if first is not None:
                gathered.append(first)
                threading.Event().wait(GATHER_SECONDS)
            while len(gathered) < 1000:
                try:
                    entry = self._entries.get_nowait()
                except queue.Empty:
                    break
                if entry is None:
                    is_last = True
                else:
                    gathered.append(entry)
            self._write(gathered)

    def _write(self, gathered: list[Entry]) -> None:
        if not gathered:
            return
        for attempt in itertools.count(1):
            try:
                with self._database.transaction() as session:
                    for entry in gathered:
                        audit.record(
                            session,
                            Act.ASSOCIATION,
                            entry.verb,
                            "association",
                            by=entry.actor,
                            outcome=entry.outcome,
                            at=entry.at,
                            **entry.detail,
                        )
                return
            except Exception as error:
                log.error("associations could not be audited (%s), attempt %d", type(error).__name__, attempt)
                # A database that is away comes back, and the trace has no gap then.
                if attempt >= ATTEMPTS and (self._is_stopping or not is_away(error)):
                    break
                threading.Event().wait(min(attempt, ATTEMPTS))
        for entry in gathered:
            log.error("not audited: %s %s %s", entry.verb, entry.actor.name, entry.detail)
