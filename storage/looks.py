"""Single looks at the database on a connection that is kept open: each sees what was committed before it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from storage.database import Database, is_away, silent

T = TypeVar("T")

# A database that did not answer is not asked again for so long: who waits meanwhile is told so at once.
PAUSE = 1.0


class Looks:
    """For questions so short that a session costs more than the answer; may be shared by many threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._asked_again_at = 0.0

    def at(self, question: Callable[[Connection], T]) -> T:
        """`question(connection)`, which uses the driver's cursor only and begins nothing.

        Raises OperationalError, within the patience of a device, where the database does not answer.
        """
        with self._lock:
            if self._asked_again_at:
                if time.monotonic() < self._asked_again_at:
                    raise silent(TimeoutError("the database did not answer a moment ago"))
                self._asked_again_at = 0.0
            if self._connection is None:
                return self._on_a_fresh_one(question)
            started = time.monotonic()
            try:
                return question(self._connection)
            except Exception:
                self._close()
                if time.monotonic() - started > PAUSE:
                    self._pause()
                    raise
                # It may have died meanwhile, which shows at once; a fresh connection tells the truth.
                return self._on_a_fresh_one(question)

    def _on_a_fresh_one(self, question: Callable[[Connection], T]) -> T:
        try:
            self._connection = self._database.autocommitting()
            return question(self._connection)
        except Exception as error:
            self._close()
            if is_away(error):
                self._pause()
            raise

    def _pause(self) -> None:
        self._asked_again_at = time.monotonic() + PAUSE

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()
            self._connection = None
