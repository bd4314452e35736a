"""Single looks at the database on a connection that is kept open: each sees what was committed before it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from storage.database import Database

T = TypeVar("T")


class Looks:
    """For questions so short that a session costs more than the answer; may be shared by many threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def at(self, question: Callable[[Connection], T]) -> T:
        """`question(connection)`, which uses the driver's cursor only and begins nothing."""
        with self._lock:
            for is_last in (False, True):
                is_fresh = self._connection is None
                if self._connection is None:
                    self._connection = self._database.autocommitting()
                try:
                    return question(self._connection)
                except Exception:
                    self._close()
                    # A connection that was kept may have died meanwhile; a fresh one tells the truth.
                    if is_last or is_fresh:
                        raise
            raise AssertionError("unreachable")

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()
            self._connection = None
