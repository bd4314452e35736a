"""The two pairs of memory that every test of storage runs on: SQLite with a folder, PostgreSQL with S3."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from center import migrate
from storage.database import Base, Database
from storage.objects import ObjectStore, open_store
from tests.servers.object_store import SeaweedServer
from tests.servers.postgresql import PostgresServer

SQLITE_AND_FOLDER = "sqlite+folder"
POSTGRESQL_AND_S3 = "postgresql+s3"
NAMES = [SQLITE_AND_FOLDER, POSTGRESQL_AND_S3]


@dataclass(frozen=True)
class Pair:
    """An empty, migrated database and an empty object store, for one test alone."""

    name: str
    database_url: str
    object_store_url: str
    database: Database
    objects: ObjectStore

    @property
    def environment(self) -> dict[str, str]:
        """The settings that make a role use this pair."""
        return {
            "READING_CENTER_DATABASE_URL": self.database_url,
            "READING_CENTER_OBJECT_STORE": self.object_store_url,
        }


class Servers(Protocol):
    """The servers behind the second pair; each starts when it is first asked for."""

    @property
    def postgres(self) -> PostgresServer: ...

    @property
    def s3(self) -> SeaweedServer: ...


class Pairs:
    """Migrates each kind of database once; a test's own database is a copy of that one."""

    def __init__(self, folder: Path, servers: Servers) -> None:
        self._folder = folder
        self._servers = servers
        self._migrated_postgres: str | None = None

    @contextmanager
    def open(self, name: str, folder: Path) -> Iterator[Pair]:
        """A fresh pair; `folder` is the test's own place for files."""
        if name == POSTGRESQL_AND_S3:
            with self._postgres() as url, self._s3() as store, self._opened(name, url, store) as pair:
                yield pair
        else:
            with self._opened(name, self._sqlite(folder), f"file://{folder / 'objects'}") as pair:
                yield pair

    @contextmanager
    def _opened(self, name: str, database_url: str, object_store_url: str) -> Iterator[Pair]:
        database = Database(database_url)
        try:
            yield Pair(name, database_url, object_store_url, database, open_store(object_store_url))
        finally:
            database.dispose()

    def _sqlite(self, folder: Path) -> str:
        template = self._folder / "template.sqlite"
        if not template.exists():
            _make_schema(f"sqlite:///{template}")
        path = folder / "center.sqlite"
        shutil.copyfile(template, path)
        return f"sqlite:///{path}"

    @contextmanager
    def _postgres(self) -> Iterator[str]:
        server = self._servers.postgres
        if self._migrated_postgres is None:
            self._migrated_postgres = server.create_database(name="migrated")
            _make_schema(server.url(self._migrated_postgres))
        name = server.create_database(template=self._migrated_postgres)
        try:
            yield server.url(name)
        finally:
            server.drop_database(name)

    @contextmanager
    def _s3(self) -> Iterator[str]:
        server = self._servers.s3
        bucket = server.create_bucket()
        try:
            yield server.url(bucket)
        finally:
            server.give_back(bucket)


def _make_schema(url: str) -> None:
    # Quicker than the migrations, whose equality with the code tests/center/test_migrations.py proves.
    import worklist.tables  # noqa: F401

    database = Database(url)
    Base.metadata.create_all(database.engine)
    with database.engine.begin() as connection:
        script = ScriptDirectory.from_config(migrate.configuration())
        MigrationContext.configure(connection).stamp(script, "head")
    database.dispose()
