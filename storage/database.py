"""Rows: one engine, one transaction at a time per request, the same code on SQLite and PostgreSQL.

Only doors and the worker open transactions; functions below them take a session and never commit.
"""

from __future__ import annotations

import fcntl
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

import psycopg
from sqlalchemy import JSON, DateTime, Dialect, MetaData, create_engine, event
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import NullPool
from sqlalchemy.types import TypeDecorator

T = TypeVar("T")

# PostgreSQL answers a lost race with these; the whole transaction is simply told again.
COLLISIONS = {"40001", "40P01", "55P03", "23505"}

# Seconds. A device at the door is told to come again before it gives up by itself; a person waits longer.
CONNECT_PATIENCE = 5
DEVICE_PATIENCE = 8.0
PATIENCE = 60.0

_AWAY = (
    OperationalError,
    InterfaceError,
    NoConnectionFree,
    psycopg.OperationalError,
    psycopg.InterfaceError,
    sqlite3.OperationalError,
)


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

    def __init__(self, url: str, *, pool_size: int = 20, patience: float | None = None) -> None:
        """`patience` is how many seconds one statement may take; None is as long as it likes."""
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
            self._device_engine = self.engine
            self._lock_path = f"{self.url.database}.lock"
        else:
            self.engine = create_engine(
                url, hide_parameters=True, pool_size=pool_size, max_overflow=40, pool_pre_ping=True
            )
            event.listen(self.engine, "do_connect", _connector(patience))
            # Without a pool: to ask one of its connections whether it lives takes as long as a person waits.
            self._device_engine = create_engine(url, hide_parameters=True, poolclass=NullPool)
            event.listen(self._device_engine, "do_connect", _connector(DEVICE_PATIENCE))
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
        until = time.monotonic() + PATIENCE
        for attempt in range(1, attempts + 1):
            try:
                with self.transaction() as session:
                    return work(session)
            except (IntegrityError, OperationalError) as error:
                if attempt == attempts or not is_collision(error) or time.monotonic() > until:
                    raise
                time.sleep(random.uniform(0.0, 0.01 * 2**attempt))
        raise AssertionError("unreachable")

    def unflushed(self) -> Connection:
        """A connection whose commits survive a crash of ours but, on SQLite, not a power cut.

        For rows that can be made again from what is durable (`storage.healing`), and for these only, in a
        `brief_transaction`. On PostgreSQL the commit is flushed like any other: the server may lose its
        power without our noticing.
        """
        connection = self._for_devices()
        if self.is_sqlite:
            _driver(connection).execute("PRAGMA synchronous=NORMAL")
        return connection

    @contextmanager
    def brief_transaction(self, connection: Connection, *, patience: float = PATIENCE) -> Iterator[None]:
        """A transaction of statements that run on the driver's cursor, without SQLAlchemy's bookkeeping."""
        driver = _driver(connection)
        with self.one_writer(patience=patience):
            try:
                if self.is_sqlite:
                    driver.execute("BEGIN IMMEDIATE")
                yield
                driver.commit()
            except BaseException as error:
                with suppress(Exception):
                    driver.rollback()
                if isinstance(error, connection.dialect.loaded_dbapi.Error):
                    raise as_sqlalchemy(error, "", connection.dialect, driver) from error
                raise

    def autocommitting(self) -> Connection:
        """A connection for single looks, each of which sees what was committed before it."""
        connection = self._for_devices()
        if not self.is_sqlite:
            _driver(connection).autocommit = True
        return connection

    def _for_devices(self) -> Connection:
        connection = self._device_engine.connect()
        connection.detach()
        if self.is_sqlite:
            _driver(connection).execute(f"PRAGMA busy_timeout={int(DEVICE_PATIENCE * 1000)}")
        return connection

    def dispose(self) -> None:
        self.engine.dispose()
        self._device_engine.dispose()

    @contextmanager
    def one_writer(self, *, patience: float = PATIENCE) -> Iterator[None]:
        """Held by every transaction that writes. Raises OperationalError where another holds it too long."""
        if not self.is_sqlite:
            yield
            return
        descriptor = os.open(self._lock_path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _queue_for(descriptor, patience)
            yield
        finally:
            os.close(descriptor)


def before_commit(session: Session, last_word: Callable[[Session], None]) -> None:
    """Run `last_word(session)` after the last flush and before the commit of this transaction."""
    session.info.setdefault("before_commit", []).append(last_word)


def after_commit(session: Session, afterwards: Callable[[], None]) -> None:
    """Run `afterwards()` once the transaction has committed; never when it was rolled back."""
    session.info.setdefault("after_commit", []).append(afterwards)


def as_sqlalchemy(error: BaseException, statement: str, dialect: Dialect, connection: Any) -> BaseException:
    """The driver's error as SQLAlchemy's, without the values, which hold patients."""
    driver = dialect.loaded_dbapi.Error
    return DBAPIError.instance(
        statement,
        None,
        error,
        driver,
        hide_parameters=True,
        connection_invalidated=dialect.is_disconnect(error, connection, None),  # type: ignore[arg-type]
        dialect=dialect,
    )


def is_collision(error: DBAPIError) -> bool:
    """Whether another writer got there first: the transaction is simply told again."""
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return state in COLLISIONS
    text = str(error.orig)
    return "locked" in text or "UNIQUE constraint failed" in text


def is_away(error: BaseException) -> bool:
    """Whether it is the database that fails, rather than what it was asked."""
    return isinstance(error, _AWAY)


def silent(cause: BaseException) -> OperationalError:
    """The database does not answer, as SQLAlchemy says it."""
    return OperationalError("(no statement)", None, cause, hide_parameters=True)


class _Patient(psycopg.Connection[Any]):
    """A connection whose server may stop answering without closing it: a machine that hangs, a cut line."""

    patience: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        if timeout is not None or self.patience is None:
            return super().wait(gen, interval, timeout)
        until = time.monotonic() + self.patience
        try:
            return super().wait(gen, interval, self.patience)
        except psycopg.OperationalError:
            if time.monotonic() >= until:
                self.pgconn.finish()  # the answer may still come, to nobody
            raise


def _connector(patience: float | None) -> Callable[..., psycopg.Connection[Any]]:
    def connect(_dialect: Dialect, _record: Any, words: Any, named: Any) -> psycopg.Connection[Any]:
        connection = _Patient.connect(*words, **{"connect_timeout": CONNECT_PATIENCE, **named})
        connection.patience = patience
        return connection

    return connect


def _queue_for(descriptor: int, patience: float) -> None:
    """Wait in the kernel's queue, which is in order, but not for ever: a thread of its own can be left there.

    The duplicate shares the lock; where nobody waits any more, closing it is what gives the lock back.
    """
    own, is_ours = os.dup(descriptor), threading.Event()

    def wait() -> None:
        try:
            fcntl.flock(own, fcntl.LOCK_EX)
            is_ours.set()
        finally:
            os.close(own)

    threading.Thread(target=wait, name="writer-queue", daemon=True).start()
    if not is_ours.wait(patience):
        raise silent(TimeoutError("another process has been writing for too long"))


def _driver(connection: Connection) -> Any:
    return connection.connection.dbapi_connection


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    pragmas = (
        "journal_mode=WAL",
        "synchronous=FULL",  # with NORMAL a power cut forgets the rows of acknowledged images
        "busy_timeout=30000",
        "foreign_keys=ON",
        # Pages: every image dirties a score of them, mostly the same ones, and few are copied home twice.
        "wal_autocheckpoint=8000",
    )
    for pragma in pragmas:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
