"""Rows: one engine, one transaction at a time per request, the same code on SQLite and PostgreSQL.

Only doors and the worker open transactions; functions below them take a session and never commit.
"""

from __future__ import annotations

import fcntl
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import JSON, DateTime, Dialect, MetaData, create_engine, event
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.types import TypeDecorator

T = TypeVar("T")

# PostgreSQL answers a lost race with these; the whole transaction is simply told again.
COLLISIONS = {"40001", "40P01", "55P03", "23505"}


def utc_now() -> datetime:
    return datetime.now(UTC)


class Moment(TypeDecorator[datetime]):
    """A point in time, aware and UTC in Python, whatever the database keeps."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone is a guess; use utc_now()")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Json = JSON().with_variant(JSONB(), "postgresql")
# None is "not known yet", and so NULL in SQL, not the word null in JSON.
LateJson = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        datetime: Moment(),
        dict[str, Any]: Json,
        list[str]: Json,
        list[dict[str, Any]]: Json,
    }


class Database:
    """The engine and the two ways to speak to it: `transaction()` to write, `reading()` to look.

    On SQLite every writer takes one kernel lock before BEGIN IMMEDIATE: the kernel queues waiters in
    order, where SQLite's own busy handler polls and starves some of them, also between processes.
    """

    def __init__(self, url: str, *, pool_size: int = 20) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine: Engine
        if self.is_sqlite:
            self.engine = create_engine(
                url,
                hide_parameters=True,  # an error message may be logged, and parameters hold patients
                connect_args={"timeout": 30, "check_same_thread": False},
                pool_size=pool_size,
                max_overflow=40,
            )
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
            self._lock_path = f"{self.url.database}.lock"
        else:
            self.engine = create_engine(
                url, hide_parameters=True, pool_size=pool_size, max_overflow=40, pool_pre_ping=True
            )
        self._sessions: Callable[..., Session] = lambda: Session(self.engine, expire_on_commit=False)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """One unit of work: committed whole when the block ends, gone whole when it raises."""
        with self.one_writer(), self._sessions() as session:
            try:
                yield session
                session.flush()
                for last_word in session.info.pop("before_commit", []):
                    last_word(session)
                session.commit()
            except BaseException:
                session.rollback()
                raise
        for afterwards in session.info.pop("after_commit", []):
            afterwards()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A consistent look that blocks no writer and keeps nothing."""
        with self._sessions() as session:
            session.connection(execution_options={"reading": True})
            try:
                yield session
            finally:
                session.expunge_all()  # or the rollback would forget what was just read
                session.rollback()

    def in_transaction(self, work: Callable[[Session], T], *, attempts: int = 8) -> T:
        """Run `work(session)` in a transaction; tell it again when another writer got there first.

        A new study arrives on many associations at once and its first rows collide (house law 5).
        """
        for attempt in range(1, attempts + 1):
            try:
                with self.transaction() as session:
                    return work(session)
            except (IntegrityError, OperationalError) as error:
                if attempt == attempts or not is_collision(error):
                    raise
                time.sleep(random.uniform(0.0, 0.01 * 2**attempt))
        raise AssertionError("unreachable")

    def unflushed(self) -> Connection:
        """A connection whose commits survive a crash of ours but, on SQLite, not a power cut.

        For rows that can be made again from what is durable (`storage.healing`), and for these only. Begin
        its transactions inside `one_writer()`. On PostgreSQL it is a connection like any other: the server
        may lose its power without our noticing.
        """
        connection = self.engine.connect()
        connection.detach()
        if self.is_sqlite:
            _driver(connection).execute("PRAGMA synchronous=NORMAL")
        return connection

    def autocommitting(self) -> Connection:
        """A connection for single looks, each of which sees what was committed before it."""
        connection = self.engine.connect()
        connection.detach()
        if not self.is_sqlite:
            _driver(connection).autocommit = True
        return connection

    def dispose(self) -> None:
        self.engine.dispose()

    @contextmanager
    def one_writer(self) -> Iterator[None]:
        """Held by every transaction that writes."""
        if not self.is_sqlite:
            yield
            return
        descriptor = os.open(self._lock_path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def before_commit(session: Session, last_word: Callable[[Session], None]) -> None:
    """Run `last_word(session)` after the last flush and before the commit of this transaction."""
    session.info.setdefault("before_commit", []).append(last_word)


def after_commit(session: Session, afterwards: Callable[[], None]) -> None:
    """Run `afterwards()` once the transaction has committed; never when it was rolled back."""
    session.info.setdefault("after_commit", []).append(afterwards)


def is_collision(error: DBAPIError) -> bool:
    """Whether another writer got there first: the transaction is simply told again."""
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return state in COLLISIONS
    text = str(error.orig)
    return "locked" in text or "UNIQUE constraint failed" in text


def _driver(connection: Connection) -> Any:
    return connection.connection.dbapi_connection


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    # FULL: with NORMAL a power cut forgets the rows of acknowledged images.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
