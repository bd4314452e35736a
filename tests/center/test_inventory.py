"""`verify` finds what is missing, what has changed and what nobody points at, and leaves the rest alone."""

import io
from collections.abc import Iterator

import pytest
from sqlalchemy import select, update

from center import inventory
from storage.imaging import Instance
from tests import builders
from tests.cast import settle_the_county
from tests.pairs import Pair


@pytest.fixture
def kept(pair: Pair) -> Iterator[Pair]:
    """A centre that keeps one exam of three instances."""
    settle_the_county(pair.database)
    order = builders.an_order(pair.database)
    for number in range(3):
        dataset = builders.a_dataset(accession_number=order.accession_number, number=number)
        builders.keep(pair.database, pair.objects, dataset)
    yield pair


def verified(pair: Pair) -> tuple[int, list[str]]:
    out = io.StringIO()
    status = inventory.report(pair.database, pair.objects, out=out)
    return status, out.getvalue().splitlines()


def first_instance(pair: Pair) -> Instance:
    with pair.database.reading() as session:
        return session.scalars(select(Instance).order_by(Instance.id)).first() or pytest.fail(
            "nothing is kept"
        )


def test_a_sound_centre_has_nothing_missing_and_nothing_corrupt(kept: Pair) -> None:
    status, lines = verified(kept)

    assert status == 0
    assert lines == ["3 objects checked: 0 missing, 0 corrupt; 0 orphaned (bytes without a row)"]


def test_an_object_that_is_gone_is_missing(kept: Pair) -> None:
    lost = first_instance(kept)
    kept.objects.discard(lost.object_key)

    status, lines = verified(kept)

    assert status == 1
    assert lines[0] == f"missing   instances {lost.sop_instance_uid} {lost.object_key}"
    assert lines[-1].startswith("3 objects checked: 1 missing, 0 corrupt")


def test_an_object_whose_bytes_differ_is_corrupt(kept: Pair) -> None:
    changed = first_instance(kept)
    with kept.database.transaction() as session:
        session.execute(update(Instance).where(Instance.id == changed.id).values(seal="0" * 64))

    status, lines = verified(kept)

    assert status == 1
    assert lines[0] == f"corrupt   instances {changed.sop_instance_uid} {changed.object_key}"


def test_bytes_without_a_row_are_told_and_do_no_harm(kept: Pair) -> None:
    kept.objects.put("instances/2026/01/01/aa/stray", io.BytesIO(b"stray"), 5)

    status, lines = verified(kept)

    assert status == 0
    assert lines[0] == "orphaned  instances/2026/01/01/aa/stray"
