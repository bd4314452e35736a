"""The county, on both pairs of memory."""

from collections.abc import Iterator

import pytest

from storage.database import Database
from storage.objects import ObjectStore
from tests.cast import settle_the_county
from tests.pairs import SQLITE_AND_FOLDER, Pair, Pairs


@pytest.fixture
def database(pair: Pair) -> Database:
    settle_the_county(pair.database)
    return pair.database


@pytest.fixture
def objects(pair: Pair) -> ObjectStore:
    return pair.objects


@pytest.fixture(scope="module")
def sqlite_county(
    pairs: Pairs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Database, ObjectStore]]:
    """One county for many histories of a property test."""
    with pairs.open(SQLITE_AND_FOLDER, tmp_path_factory.mktemp("county")) as pair:
        settle_the_county(pair.database)
        yield pair.database, pair.objects
