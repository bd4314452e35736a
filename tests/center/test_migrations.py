"""The migrations make exactly the tables that the code describes, on both databases, once and again."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

import worklist.tables  # noqa: F401
from center import migrate
from center.complaints import Complaint
from storage.database import Base, Database
from tests.servers.centre import CentreProcess
from tests.servers.lazy import LazyServers


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database without a single table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'center.sqlite'}"
        return
    servers: LazyServers = request.getfixturevalue("servers")
    name = servers.postgres.create_database()
    yield servers.postgres.url(name)
    servers.postgres.drop_database(name)


@pytest.fixture
def inside(empty: str) -> Iterator[Callable[[str], object]]:
    """Say a statement in the database and hear the first value."""
    database = Database(empty)

    def say(statement: str) -> object:
        with database.transaction() as session:
            result = session.execute(text(statement))
            return result.scalar() if result.returns_rows else None  # type: ignore[attr-defined]

    yield say
    database.dispose()


def test_the_migrations_make_the_tables_that_the_code_describes(empty: str) -> None:
    migrate.migrate(empty)

    database = Database(empty)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, Base.metadata)
    database.dispose()
    assert differences == []


def test_migrating_twice_changes_nothing(empty: str) -> None:
    migrate.migrate(empty)
    migrate.migrate(empty)

    assert migrate.is_current(empty)


def test_machines_that_start_together_all_find_the_schema_up_to_date(empty: str, tmp_path: Path) -> None:
    settings = {"READING_CENTER_DATABASE_URL": empty}

    machines = [
        CentreProcess("migrate", data=tmp_path, environment=settings, log_name=f"{number}.log")
        for number in range(3)
    ]

    assert [machine.wait(90) for machine in machines] == [0, 0, 0], [machine.said for machine in machines]
    assert migrate.is_current(empty)


def test_a_database_of_a_newer_version_is_refused_in_one_sentence(
    empty: str, inside: Callable[[str], object]
) -> None:
    migrate.migrate(empty)
    inside("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(Complaint, match="newer version"):
        migrate.migrate(empty)

    assert not migrate.is_current(empty)
