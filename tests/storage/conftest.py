"""The county, on both pairs of memory."""

import pytest

from storage.database import Database
from storage.objects import ObjectStore
from tests.cast import settle_the_county
from tests.pairs import Pair


@pytest.fixture
def database(pair: Pair) -> Database:
    settle_the_county(pair.database)
    return pair.database


@pytest.fixture
def objects(pair: Pair) -> ObjectStore:
    return pair.objects
