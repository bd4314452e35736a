"""One reader of the table of changes per process, and everyone who listens to it by server-sent events.

A change is told only to those who may see what changed; `visible_to` is asked, for each set of rights once.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog
from sqlalchemy import func, or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from reading_portal import measures
from storage import changes
from storage.changes import Change, Topic
from storage.database import Database
from worklist.people import Role, Who, visible_to

POLL_SECONDS = 0.25
# Ids commit out of order on PostgreSQL: a change may appear behind ones that were told already.
OVERLAP = 200
QUEUE_LENGTH = 500
# Open streams of one session: a stream for every tab that somebody can look after.
MOST_STREAMS = 8

_log = structlog.get_logger("reading_portal")


@dataclass(frozen=True)
class Told:
    """What a listener hears: where to look again, never what is there."""

    id: int
    topic: str
    subject: str
    verb: str
    institution: str
    modality: str


# The listener missed something and should look at everything again.
LOOK_AGAIN = Told(0, "reload", "", "reload", "", "")
FAREWELL = Told(0, "farewell", "", "farewell", "", "")
# The session opened more streams than it may; this one makes room and should come back later.
CROWDED = Told(0, "crowded", "", "crowded", "", "")


@dataclass(eq=False)
class Listener:
    """One open stream of one session. `queue` belongs to `loop`; only the loop's own thread touches it."""

    who: Who
    loop: asyncio.AbstractEventLoop
    session: str = ""
    queue: asyncio.Queue[Told] = field(default_factory=lambda: asyncio.Queue(QUEUE_LENGTH))

    def hear(self, told: Iterable[Told]) -> None:
        """Called from the reader's thread."""
        try:
            self.loop.call_soon_threadsafe(self._keep, list(told))
        except RuntimeError:
            return  # the loop has closed, and with it the stream

    def end(self, last: Told = FAREWELL) -> None:
        """Called in the loop: nothing more will be told."""
        self._forget()
        self.queue.put_nowait(last)

    def make_room(self) -> None:
        """Called from any thread: a newer stream of the same session takes this one's place."""
        with contextlib.suppress(RuntimeError):  # the loop has closed, and with it the stream
            self.loop.call_soon_threadsafe(self.end, CROWDED)

    def _keep(self, told: list[Told]) -> None:
        for one in told:
            if self.queue.full():
                # Too slow to hear everything: forget the rest and look at all of it again.
                self._forget()
                self.queue.put_nowait(LOOK_AGAIN)
                return
            self.queue.put_nowait(one)

    def _forget(self) -> None:
        while not self.queue.empty():
            self.queue.get_nowait()


class Broadcast:
    """Reads changes in one thread and tells every listener within about a quarter of a second."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: dict[Listener, None] = {}  # the oldest first
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._last = 0
        self._window = (-1, 0)
        self._seen: set[int] = set()

    def start(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="changes", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)

    @property
    def is_stopping(self) -> bool:
        return self._stop.is_set()

    def join(self, listener: Listener) -> None:
        """Listen from now on. Beyond MOST_STREAMS of one session, its oldest stream makes room."""
        with self._lock:
            same = [one for one in self._listeners if one.session == listener.session]
            crowded = same[: max(0, len(same) + 1 - MOST_STREAMS)]
            for one in crowded:
                del self._listeners[one]
            self._listeners[listener] = None
            measures.LISTENERS.set(len(self._listeners))
        for one in crowded:
            one.make_room()

    def leave(self, listener: Listener) -> None:
        with self._lock:
            self._listeners.pop(listener, None)
            measures.LISTENERS.set(len(self._listeners))

    def missed(self, who: Who, last_id: int) -> list[Told]:
        """What this person did not hear since `last_id` (Last-Event-ID), or LOOK_AGAIN where that is much."""
        with self._database.reading() as session:
            rows = changes.since(session, last_id, overlap=0)
            if len(rows) >= QUEUE_LENGTH or (not rows and changes.newest(session) < last_id):
                return [LOOK_AGAIN]
            return _for(session, who, rows)

    def _run(self) -> None:
        quiet = False
        while not self._stop.is_set():
            try:
                self._tell_news()
                quiet = False
            except SQLAlchemyError as error:
                if not quiet:
                    _log.warning("changes-unreadable", exc_info=error)
                quiet = True
                self._stop.wait(2)
            self._stop.wait(POLL_SECONDS)

    def _tell_news(self) -> None:
        with self._database.reading() as session:
            window = session.execute(
                select(func.max(Change.id), func.count()).where(Change.id > self._last - OVERLAP)
            ).one()
            found = (window[0] or 0, window[1])
            if found == self._window:
                return
            is_first = self._window == (-1, 0)
            rows = changes.since(session, self._last, overlap=OVERLAP)
            news = [row for row in rows if row.id not in self._seen]
            self._last = max([self._last, *(row.id for row in rows)])
            self._seen = {seen for seen in self._seen if seen > self._last - 2 * OVERLAP}
            self._seen.update(row.id for row in rows)
            count = session.scalar(select(func.count()).where(Change.id > self._last - OVERLAP)) or 0
            self._window = (self._last, count)
            # What happened before this process began is nobody's news.
            if news and not is_first:
                self._tell(session, news)

    def _tell(self, session: Session, news: list[Change]) -> None:
        with self._lock:
            listeners = list(self._listeners)
        heard: dict[tuple[str, frozenset[str], frozenset[str]], list[Told]] = {}
        for listener in listeners:
            who = listener.who
            rights = (who.institution_code, who.roles, who.reads)
            if rights not in heard:
                heard[rights] = _for(session, who, news)
            listener.hear(heard[rights])


def _for(session: Session, who: Who, rows: list[Change]) -> list[Told]:
    """Those of the changes that this person may hear of."""
    ways = [visible_to(session, who, Change)]
    if who.has(Role.ADMINISTRATOR):
        ways.append(Change.topic == Topic.DEVICE)
    query = select(Change.id).where(Change.id.in_([row.id for row in rows]), or_(*ways))
    allowed = set(session.scalars(query))
    return [
        Told(row.id, row.topic, row.subject, row.verb, row.institution_code, row.modality)
        for row in rows
        if row.id in allowed
    ]
