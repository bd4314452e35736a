"""C-MOVE and C-GET to the letter (PS3.4 C.4.2, C.4.3): counts that are true, failures by name, cancelling."""

import re
import time

import pytest
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import CTImageStorage

from tests.dicom_node.devices import CT, a_ct, associated, dcmtk
from tests.dicom_node.test_query_retrieve import EXPLICIT, IMPLICIT, STUDY_GET, STUDY_MOVE, keep, query

SIX = 6


@pytest.fixture
def study(node):
    """A study of six slices, by their SOP Instance UIDs in the order in which they are sent."""
    first = a_ct()
    slices = [
        first,
        *(
            a_ct(
                StudyInstanceUID=first.StudyInstanceUID,
                SeriesInstanceUID=first.SeriesInstanceUID,
                InstanceNumber=number,
            )
            for number in range(2, SIX + 1)
        ),
    ]
    keep(node, *slices)
    return first.StudyInstanceUID, [one.SOPInstanceUID for one in slices]


class Archive:
    """Qingshi's archive; `answers` are its statuses, one for each image in turn, then Success."""

    def __init__(self, port):
        self.answers: list[int] = []
        self.received: list[str] = []
        self.pause = 0.0
        entity = AE("T01_PACS")
        entity.add_supported_context(CTImageStorage, [EXPLICIT])
        self.server = entity.start_server(
            ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, self.take)]
        )

    def take(self, event):
        time.sleep(self.pause)
        self.received.append(str(event.request.AffectedSOPInstanceUID))
        return self.answers.pop(0) if self.answers else 0


@pytest.fixture
def archive(receiver_port):
    running = Archive(receiver_port)
    yield running
    running.server.shutdown()


def counts(status):
    names = ("Remaining", "Completed", "Failed", "Warning")
    return tuple(getattr(status, f"NumberOf{name}Suboperations", None) for name in names)


def move(node, study_instance_uid, *, cancel_after=None):
    """The answers to a C-MOVE: status, (remaining, completed, failed, warning), names of what failed."""
    asked = query("STUDY", StudyInstanceUID=study_instance_uid)
    said = []
    with associated(node, (STUDY_MOVE, [IMPLICIT])) as association:
        for status, names in association.send_c_move(asked, "T01_PACS", STUDY_MOVE, msg_id=7):
            listed = getattr(names, "FailedSOPInstanceUIDList", [])
            said.append(
                (int(status.Status), counts(status), [listed] if isinstance(listed, str) else list(listed))
            )
            if len(said) == cancel_after:
                association.send_c_cancel(7, query_model=STUDY_MOVE)
    return said


def test_pending_counts_are_true_after_each_image(node, study, archive):
    archive.pause = 0.1

    said = move(node, study[0])

    assert [answer[:2] for answer in said] == [
        *((0xFF00, (SIX - done, done, 0, 0)) for done in range(1, SIX)),
        (0x0000, (None, SIX, 0, 0)),
    ]


def test_some_failures_are_a_warning_that_names_them(node, study, archive):
    archive.answers = [0, 0xA700, 0xB000, 0xC000]
    archive.pause = 0.1

    said = move(node, study[0])

    uids = study[1]
    assert said[-1] == (0xB000, (None, 3, 2, 1), [uids[1], uids[3]])
    assert [answer[1] for answer in said[:4]] == [(5, 1, 0, 0), (4, 1, 1, 0), (3, 1, 1, 1), (2, 1, 2, 1)]


def test_warnings_alone_are_not_failures(node, study, archive):
    archive.answers = [0xB007] * SIX

    said = move(node, study[0])

    assert said[-1] == (0xB000, (None, 0, 0, SIX), [])


def test_nothing_but_failures_is_a_failure(node, study, archive):
    archive.answers = [0xA700] * SIX

    said = move(node, study[0])

    assert said[-1] == (0xA702, (None, 0, SIX, 0), study[1])


def test_a_move_is_cancelled_with_what_remains(node, study, archive):
    archive.pause = 0.2

    said = move(node, study[0], cancel_after=2)

    status, (remaining, completed, failed, warning), _ = said[-1]
    assert status == 0xFE00
    assert (failed, warning) == (0, 0)
    assert 0 < remaining < SIX
    assert remaining + completed == SIX
    time.sleep(0.5)
    assert len(archive.received) == completed


def test_an_archive_that_aborts_at_one_image_gets_the_others(node, study, archive):
    def choke(event):
        if event.request.AffectedSOPInstanceUID == study[1][2]:
            event.assoc.abort()
        return archive.take(event)

    archive.server.unbind(evt.EVT_C_STORE, archive.take)
    archive.server.bind(evt.EVT_C_STORE, choke)

    said = move(node, study[0])

    assert said[-1] == (0xB000, (None, SIX - 1, 1, 0), [study[1][2]])


def test_an_archive_that_goes_away_half_way_leaves_names(node, study, archive):
    def vanish(event):
        if len(archive.received) == 2:
            archive.server.socket.close()
            event.assoc.abort()
        return archive.take(event)

    archive.server.unbind(evt.EVT_C_STORE, archive.take)
    archive.server.bind(evt.EVT_C_STORE, vanish)

    said = move(node, study[0])

    status, (_, completed, failed, _), names = said[-1]
    assert status == 0xB000
    assert (completed, failed) == (2, 4)
    assert names == study[1][completed:]


def test_movescu_tells_an_unknown_destination_from_a_failure(node, study):
    words = ["-v", "-S", "-aem", "NOWHERE", "-k", "QueryRetrieveLevel=STUDY"]

    _, said = dcmtk("movescu", *words, "-k", f"StudyInstanceUID={study[0]}", node=node)

    assert re.search("MoveDestinationUnknown|Move ?Destination ?Unknown|0xa801", said, re.IGNORECASE), said


def test_movescu_cancels(node, study, archive):
    archive.pause = 0.3
    words = ["-d", "-S", "-aem", "T01_PACS", "--cancel", "1", "-k", "QueryRetrieveLevel=STUDY"]

    _, said = dcmtk("movescu", *words, "-k", f"StudyInstanceUID={study[0]}", node=node)

    assert re.search("0xfe00|Cancel", said), said
    assert len(archive.received) < SIX


def get(node, study_instance_uid, take, *, syntax=EXPLICIT, cancel_after=None):
    asked = query("STUDY", StudyInstanceUID=study_instance_uid)
    said = []
    with associated(
        node,
        (STUDY_GET, [IMPLICIT]),
        (CT, [syntax]),
        ext_neg=[build_role(CT, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, take)],
    ) as association:
        for status, names in association.send_c_get(asked, STUDY_GET, msg_id=9):
            listed = getattr(names, "FailedSOPInstanceUIDList", [])
            said.append(
                (status.get("Status"), counts(status), [listed] if isinstance(listed, str) else list(listed))
            )
            if len(said) == cancel_after:
                association.send_c_cancel(9, query_model=STUDY_GET)
    return said


def test_a_get_counts_as_truly(node, study):
    answers = [0, 0xB000, 0xA700]

    def take(event):
        time.sleep(0.1)
        return answers.pop(0) if answers else 0

    said = get(node, study[0], take)

    assert [answer[1] for answer in said[:3]] == [(5, 1, 0, 0), (4, 1, 0, 1), (3, 1, 1, 1)]
    assert said[-1] == (0xB000, (None, 4, 1, 1), [study[1][2]])


def test_a_get_is_cancelled_with_what_remains(node, study):
    taken = []

    def take(event):
        time.sleep(0.1)
        taken.append(str(event.request.AffectedSOPInstanceUID))
        return 0

    said = get(node, study[0], take, cancel_after=2)

    status, (remaining, completed, _, _), _ = said[-1]
    assert status == 0xFE00
    assert remaining + completed == SIX
    assert completed == len(taken) < SIX


def test_a_get_without_a_context_for_the_images_is_a_failure(node, study):
    asked = query("STUDY", StudyInstanceUID=study[0])

    with associated(node, (STUDY_GET, [IMPLICIT])) as association:
        answers = list(association.send_c_get(asked, STUDY_GET))

    assert answers[-1][0].Status == 0xA702
    assert list(answers[-1][1].FailedSOPInstanceUIDList) == study[1]


def test_getscu_receives_each_image_once(node, study, tmp_path):
    words = ["-v", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study[0]}"]

    folder = tmp_path / "received"
    folder.mkdir()
    status, said = dcmtk("getscu", *words, "-od", str(folder), node=node)

    assert status == 0, said
    assert len(list(folder.iterdir())) == SIX
