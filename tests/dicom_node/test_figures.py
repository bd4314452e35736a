"""What nodes count reaches whoever looks, on whichever machine: two nodes, one database, one sum."""

from datetime import timedelta

import pytest

from dicom_node.node import build_node
from storage import device_figures
from storage.database import utc_now
from storage.device_figures import EDGES, DeviceFigures, DeviceSeen, Figures, NodeState
from tests.dicom_node.conftest import declare, settings_for
from tests.dicom_node.devices import CT, a_ct, associated, dcmtk, encoded, send
from worklist.devices import last_seen
from worklist.worker import sweep_changes

EXPLICIT = "1.2.840.10008.1.2.1"


@pytest.fixture
def two_nodes(pair, tmp_path):
    declare(pair.database)
    nodes = []
    for number in (1, 2):
        settings = settings_for(pair, tmp_path / str(number))
        nodes.append(build_node(settings, pair.database, pair.objects))
        nodes[-1].start()
    yield nodes
    for node in nodes:
        node.stop()


def looked(node, *, now=None):
    with node.database.reading() as session:
        found = device_figures.figures_by_device(session, now=now or utc_now())
        states = device_figures.nodes(session)
        session.expunge_all()
    return found, states


def store(node, *datasets):
    with associated(node, (CT, [EXPLICIT])) as association:
        for dataset in datasets:
            send(association, encoded(dataset), sop_instance_uid=dataset.SOPInstanceUID)


def test_what_two_nodes_count_of_a_device_is_added_up(two_nodes):
    first, second = two_nodes
    store(first, a_ct(), a_ct(StudyInstanceUID=None))
    store(second, a_ct())
    dcmtk("echoscu", node=second, calling="ELSEWHERE")
    dcmtk("echoscu", node=second, calling="STRANGER")
    for node in two_nodes:
        node.figures.write()

    found, states = looked(first)

    ours = found["T01_CT"]
    assert (ours.stored_hour, ours.stored_day, dict(ours.statuses)) == (2, 2, {"A900": 1})
    assert sum(ours.latency) == 3
    assert 0 < ours.answered_within(0.5) <= ours.answered_within(0.95)
    assert utc_now() - ours.seen_at < timedelta(minutes=1)
    assert dict(found["ELSEWHERE"].refusals) == {"elsewhere": 1}
    assert dict(found[""].refusals) == {"not-declared": 1}
    assert "STRANGER" not in found
    assert {state.node.rsplit(":", 1)[1] for state in states} == {str(node.port) for node in two_nodes}
    assert not any(state.is_late(utc_now()) for state in states)


def test_writing_again_adds_nothing_and_a_stop_leaves_nothing_behind(two_nodes):
    first, second = two_nodes
    store(first, a_ct())
    first.figures.write()
    first.figures.write()
    store(first, a_ct())

    first.stop()

    found, states = looked(second, now=utc_now() + timedelta(minutes=3))
    assert found["T01_CT"].stored_hour == 2
    assert all(state.is_late(utc_now() + timedelta(minutes=3)) for state in states)
    with second.database.reading() as session:
        assert set(last_seen(session)) == {"T01_CT"}


def test_counts_outlive_a_database_that_is_away(node, monkeypatch):
    store(node, a_ct())
    with monkeypatch.context() as patch:
        patch.setattr(node.database, "transaction", _away)
        with pytest.raises(OSError, match="away"):
            node.figures.write()

    node.figures.write()

    assert looked(node)[0]["T01_CT"].stored_hour == 1


def _away():
    raise OSError("away")


def test_old_slots_are_forgotten_and_the_last_word_is_not(node):
    store(node, a_ct())
    node.figures.write()
    later = utc_now() + timedelta(hours=49)

    with node.database.transaction() as session:
        device_figures.forget(session, now=later)

    with node.database.reading() as session:
        assert session.query(DeviceFigures).count() == 0
        assert "T01_CT" in device_figures.last_seen(session)


def test_what_dead_nodes_said_of_a_device_goes_when_another_has_heard_it_since(node):
    now = utc_now()
    weeks = {"dead": 3, "dead later": 2, "dead with the last word": 2, "alive": 2}
    told = [("dead", "T01_CT"), ("dead later", "T01_CT"), ("alive", "T01_CT")]
    told.append(("dead with the last word", "T02_CT"))
    with node.database.transaction() as session:
        for name, title in told:
            device_figures.see(session, node=name, seen={title: now - timedelta(weeks=weeks[name])})
        state = {"started_at": now, "associations": 0, "waiting": 0, "spool_objects": 0, "spool_seconds": 0.0}
        session.add(NodeState(node="alive", at=now, **state))
        session.add(NodeState(node="dead", at=now - timedelta(weeks=3), **state))
        before = device_figures.last_seen(session)

    sweep_changes(node.database)

    with node.database.reading() as session:
        left = {(one.node, one.ae_title) for one in session.query(DeviceSeen)}
        assert device_figures.last_seen(session) == before
    assert ("dead", "T01_CT") not in left
    assert {("dead with the last word", "T02_CT"), ("alive", "T01_CT")} <= left


@pytest.mark.parametrize(
    ("answers", "share", "seconds"),
    [
        ({}, 0.5, None),
        ({2: 10}, 0.5, 0.00375),
        ({0: 95, 9: 5}, 0.95, 0.001),
        ({len(EDGES): 1}, 0.5, float("inf")),
    ],
)
def test_a_share_of_the_answers_is_read_from_the_buckets(answers, share, seconds):
    figures = Figures()
    for bucket, number in answers.items():
        figures.latency[bucket] += number

    within = figures.answered_within(share)

    assert within == (pytest.approx(seconds) if seconds is not None else None)
