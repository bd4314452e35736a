"""The trace is append-only: whatever is changed, removed, inserted or reordered shows."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from storage import audit
from storage.audit import Act, Actor

EVENTS = 12


@pytest.fixture
def database(pair):
    with pair.database.transaction() as session:
        for number in range(EVENTS):
            audit.record(
                session, Act.VIEW, "open", f"study:{number}", by=Actor("chen", "C01", "10.0.0.1"), page=number
            )
    return pair.database


def _broken(database) -> list[int]:
    with database.reading() as session:
        return list(audit.broken_links(session))


def test_an_untouched_trace_is_whole(database):
    assert _broken(database) == []


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE audit_events SET actor = 'sun' WHERE seq = 5",
        "UPDATE audit_events SET verb = 'close' WHERE seq = 1",
        "DELETE FROM audit_events WHERE seq = 6",
        "UPDATE audit_events SET seq = 99 WHERE seq = 3",
        "UPDATE audit_events SET hash = previous_hash WHERE seq = 7",
        "UPDATE audit_events SET institution_code = NULL WHERE seq = 2",
    ],
)
def test_tampering_breaks_the_chain(database, tampering):
    with database.transaction() as session:
        session.execute(text(tampering))

    assert _broken(database) != []


def test_a_rolled_back_change_leaves_no_trace(database):
    with pytest.raises(RuntimeError), database.transaction() as session:
        audit.record(session, Act.VIEW, "open", "study:never")
        raise RuntimeError

    with database.reading() as session:
        assert audit.history(session, "study:never") == []
    assert _broken(database) == []


def test_many_writers_at_once_make_one_chain(database):
    def write(number: int) -> None:
        def work(session) -> None:
            audit.record(session, Act.TASK, "claim", f"task:{number}")

        database.in_transaction(work)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))

    assert _broken(database) == []
    with database.reading() as session:
        assert audit.count(session) == EVENTS + 40
