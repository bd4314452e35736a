"""What every room's tests share: the two pairs of database and object store, and the servers behind them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.database import Database
from storage.objects import ObjectStore
from tests import pairs as pairs_module
from tests.pairs import Pair, Pairs
from tests.servers.lazy import LazyServers

# The files that take longest come first: begun last, one of them would run while the other processes wait.
LONG = [
    "faults/test_object_store_away.py",
    "reading_portal/test_reader_desk.py",
    "story/test_journey.py",
    "center/test_serve.py",
    "peers/test_orthanc.py",
    "center/test_cli.py",
    "story/test_topology.py",
    "reading_portal/test_pages.py",
    "peers/test_real_files.py",
    "reading_portal/test_fhir.py",
    "reading_portal/test_first_frame.py",
    "faults",
]
HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("dist", "no") == "no" and "PYTEST_XDIST_WORKER" not in os.environ:
        return
    items.sort(key=lambda item: _place_in_line(item.path.relative_to(HERE).as_posix()))


def _place_in_line(path: str) -> int:
    return next((place for place, start in enumerate(LONG) if path.startswith(start)), len(LONG))


@pytest.fixture(scope="session")
def servers() -> Iterator[LazyServers]:
    """A real PostgreSQL and a real S3 server, each started when a test first needs it."""
    lazy = LazyServers()
    yield lazy
    lazy.stop()


@pytest.fixture(scope="session")
def pairs(servers: LazyServers, tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    return Pairs(tmp_path_factory.mktemp("pairs"), servers)


@pytest.fixture(params=pairs_module.NAMES)
def pair(request: pytest.FixtureRequest, pairs: Pairs, tmp_path: Path) -> Iterator[Pair]:
    """An empty centre's memory; the test runs once on SQLite with a folder and once on PostgreSQL with S3."""
    with pairs.open(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def sqlite_pair(pairs: Pairs, tmp_path: Path) -> Iterator[Pair]:
    """For tests of something else than the memory: the quick pair only."""
    with pairs.open(pairs_module.SQLITE_AND_FOLDER, tmp_path) as opened:
        yield opened


@pytest.fixture
def database(pair: Pair) -> Database:
    return pair.database


@pytest.fixture
def objects(pair: Pair) -> ObjectStore:
    return pair.objects
