"""The database schema: brought up to date before anything starts, by whichever machine comes first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from importlib.resources import files
from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import text
from sqlalchemy.engine import Connection, make_url

from center.complaints import Complaint
from storage.database import Database

logger = structlog.get_logger("center")

_LOCK = 0x4D494752  # "MIGR": on PostgreSQL one machine migrates, the others wait


def migrate(database_url: str) -> None:
    """Bring the schema to the newest version. Doing it twice, or on several machines at once, is harmless."""
    with _connection(database_url) as connection:
        if _current(connection) == newest():
            return
        with _one_at_a_time(connection):
            before = _current(connection)
            alembic = configuration()
            alembic.attributes["connection"] = connection
            try:
                command.upgrade(alembic, "head")
            except CommandError:
                # Alembic found a revision that it does not know.
                raise Complaint(
                    "the database was migrated by a newer version of the centre; start that one"
                ) from None
            logger.info("migrated", before=before, now=_current(connection))


def is_current(database_url: str) -> bool:
    with _connection(database_url) as connection:
        return _current(connection) == newest()


class SchemaState(Enum):
    NONE = "none"  # there is no database, or nothing is in it
    CURRENT = "current"
    OTHER = "other"


def state_of(database_url: str) -> SchemaState:
    """How the schema stands. Looks only: where SQLite has no file, none is made."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        return SchemaState.NONE
    with _connection(database_url) as connection:
        current = _current(connection)
    if current is None:
        return SchemaState.NONE
    return SchemaState.CURRENT if current == newest() else SchemaState.OTHER


def newest() -> str | None:
    return ScriptDirectory.from_config(configuration()).get_current_head()


def _current(connection: Connection) -> str | None:
    with connection.begin():
        return MigrationContext.configure(connection).get_current_revision()


def configuration() -> Config:
    """Alembic's configuration; whoever runs a command on it sets `attributes["connection"]`."""
    made = Config()
    made.set_main_option("script_location", str(files("center").joinpath("migrations")).replace("%", "%%"))
    return made


@contextmanager
def _connection(database_url: str) -> Iterator[Connection]:
    database = Database(database_url, pool_size=1)
    try:
        with database.engine.connect() as connection:
            yield connection
    finally:
        database.dispose()


@contextmanager
def _one_at_a_time(connection: Connection) -> Iterator[None]:
    """PostgreSQL: a lock of the session, outside the migration's transaction. SQLite locks its file."""
    if connection.dialect.name != "postgresql":
        yield
        return
    with connection.begin():
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
    try:
        yield
    finally:
        with connection.begin():
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
