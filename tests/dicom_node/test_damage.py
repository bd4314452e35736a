"""An object that has rotted leaves by no service, and its device's next sending mends it."""

import time

from storage.faults import open_faults
from storage.instances import find_instance
from tests.damage import flip_a_byte
from tests.dicom_node.devices import CT, a_ct, associated, encoded, send
from tests.dicom_node.test_commitment import ask, reports, work  # noqa: F401 - a fixture
from tests.dicom_node.test_corrections import moved_to_li_si
from tests.dicom_node.test_query_retrieve import EXPLICIT, IMPLICIT, keep
from tests.dicom_node.test_sub_operations import SIX, archive, get, move, study  # noqa: F401


def _damage(node, uid, *, at=-10):
    with node.database.reading() as session:
        key = find_instance(session, uid).object_key
    flip_a_byte(node.objects, key, at)
    return key


def _marked(node):
    with node.database.reading() as session:
        return {one.object_key for one in open_faults(session, limit=100)}


def test_a_move_counts_it_failed_and_brings_the_others(node, study, archive):  # noqa: F811
    uid = study[1][2]
    key = _damage(node, uid)

    first, second = move(node, study[0])[-1], move(node, study[0])[-1]

    assert first == second == (0xB000, (None, SIX - 1, 1, 0), [uid])
    assert archive.received == 2 * [one for one in study[1] if one != uid]
    assert _marked(node) == {key}


def test_a_get_counts_it_failed_also_where_the_peer_wants_another_encoding(node, study):  # noqa: F811
    uid = study[1][0]
    _damage(node, uid)
    taken = []

    said = get(node, study[0], lambda event: taken.append(event.request.AffectedSOPInstanceUID) or 0)
    implicit = get(node, study[0], lambda event: 0, syntax=IMPLICIT)

    assert said[-1] == implicit[-1] == (0xB000, (None, SIX - 1, 1, 0), [uid])
    assert uid not in taken


def test_what_was_whole_a_moment_ago_is_hashed_again_only_later(node, study, archive):  # noqa: F811
    uid = study[1][4]
    assert move(node, study[0])[-1][0] == 0
    _damage(node, uid)
    at_once = move(node, study[0])[-1][0]
    node.sound._sound = dict.fromkeys(node.sound._sound, time.monotonic())  # ten minutes later

    later = move(node, study[0])[-1]

    assert at_once == 0
    assert later == (0xB000, (None, SIX - 1, 1, 0), [uid])


def test_of_a_large_one_no_peer_gets_the_last_piece(node, archive):  # noqa: F811
    good, bad = a_ct(Rows=1024, Columns=1024), a_ct(Rows=1024, Columns=1024)
    bad.StudyInstanceUID, bad.SeriesInstanceUID = good.StudyInstanceUID, good.SeriesInstanceUID
    for number, one in enumerate((bad, good)):
        one.InstanceNumber, one.PixelData = number, bytes(2 * 1024 * 1024)
    keep(node, bad, good)
    key = _damage(node, bad.SOPInstanceUID)

    said = move(node, good.StudyInstanceUID)

    # The message that was begun cannot be taken back: its association ends, and the rest goes on another.
    assert said[-1] == (0xB000, (None, 1, 1, 0), [bad.SOPInstanceUID])
    assert archive.received == [good.SOPInstanceUID]
    assert _marked(node) == {key}


def test_a_corrected_one_is_looked_at_before_it_is_composed(node, study, archive):  # noqa: F811
    moved_to_li_si(node)
    assert move(node, study[0])[-1][0] == 0
    key = _damage(node, study[1][3])

    said = move(node, study[0])[-1]

    assert said == (0xB000, (None, SIX - 1, 1, 0), [study[1][3]])
    assert _marked(node) == {key}


def test_commitment_fails_for_it_until_its_device_sends_it_again(node, reports):  # noqa: F811
    dataset = a_ct()
    keep(node, dataset, calling="T01_PACS")
    _damage(node, dataset.SOPInstanceUID)

    ask(node, [(CT, dataset.SOPInstanceUID)])
    work(node)
    with associated(node, (CT, [EXPLICIT]), calling="T01_PACS") as association:
        status, _ = send(association, encoded(dataset), sop_instance_uid=dataset.SOPInstanceUID)
    marked = _marked(node)
    ask(node, [(CT, dataset.SOPInstanceUID)])
    work(node)

    assert [event_type for event_type, _ in reports] == [2, 1]
    assert reports[0][1].FailedSOPSequence[0].FailureReason == 0x0110
    assert status == 0
    assert marked == set()
