"""C-STORE as SCU for C-MOVE and C-GET: peers that take little, hang, die, and objects that are not there."""

import socket
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import RLELossless
from pynetdicom import AE, build_role, evt
from pynetdicom.dimse_primitives import C_ECHO
from sqlalchemy import select

from dicom_node import own_proposal
from dicom_node.own_proposal import MOST_CONTEXTS, association_request, plans_for, read_acceptance
from dicom_node.proposal import acceptance, agree, read_storage_proposal
from dicom_node.sub_operations import MOST_AWAY
from storage.audit import AuditEvent
from storage.imaging import Instance
from storage.objects import StoreAway
from tests.dicom_node.devices import CT, VERIFICATION, a_ct, associated, encoded, send
from tests.dicom_node.test_query_retrieve import EXPLICIT, IMPLICIT, STUDY_GET, STUDY_MOVE, keep, query
from tests.dicom_node.test_sub_operations import counts, get, move

MR = "1.2.840.10008.5.1.4.1.1.4"
SIDE = 1300  # of an image of 3.4 MB: more than the node sends in one go


class Archive:
    """Qingshi's archive; `taken` are the datasets by SOP Instance UID."""

    def __init__(self, port, *contexts):
        self.taken = {}
        entity = AE("T01_PACS")
        for sop_class, syntaxes in contexts:
            entity.add_supported_context(sop_class, syntaxes)
        handlers = [(evt.EVT_C_STORE, self.take)]
        self.server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)

    def take(self, event):
        self.taken[str(event.request.AffectedSOPInstanceUID)] = (
            event.request.DataSet.getvalue(),
            event.dataset,
        )
        return 0


@pytest.fixture
def archive(receiver_port, request):
    running = Archive(receiver_port, *getattr(request, "param", [(CT, [EXPLICIT])]))
    yield running
    running.server.shutdown()


def slices_of_one_study(number, **changes):
    first = a_ct(**changes)
    of_it = {"StudyInstanceUID": first.StudyInstanceUID, "SeriesInstanceUID": first.SeriesInstanceUID}
    return [first, *(a_ct(**of_it, InstanceNumber=at, **changes) for at in range(2, number + 1))]


def large(**changes):
    return a_ct(Rows=SIDE, Columns=SIDE, PixelData=bytes(range(250)) * (2 * SIDE * SIDE // 250), **changes)


def object_file(node, sop_instance_uid):
    with node.database.reading() as session:
        row = select(Instance.object_key).where(Instance.sop_instance_uid == sop_instance_uid)
        return node.objects.root / session.scalar(row)


def test_what_the_archive_does_not_take_fails_by_name_and_the_rest_arrives(node, archive):
    ct = a_ct()
    mr = a_ct(SOPClassUID=MR, StudyInstanceUID=ct.StudyInstanceUID)
    keep(node, ct)
    with associated(node, (MR, [EXPLICIT])) as association:
        assert send(association, encoded(mr), sop_instance_uid=mr.SOPInstanceUID, sop_class_uid=MR)[0] == 0

    said = move(node, ct.StudyInstanceUID)

    assert said[-1] == (0xB000, (None, 1, 1, 0), [mr.SOPInstanceUID])
    assert archive.taken[ct.SOPInstanceUID][0] == encoded(ct)


@pytest.mark.parametrize("archive", [[(CT, [EXPLICIT]), (MR, [EXPLICIT])]], indirect=True)
def test_what_one_association_cannot_name_comes_on_the_next(node, archive, monkeypatch):
    monkeypatch.setattr(own_proposal, "MOST_CONTEXTS", 2)
    associations = []
    archive.server.bind(evt.EVT_ACCEPTED, lambda event: associations.append(event))
    ct, other = slices_of_one_study(2)
    mr = a_ct(SOPClassUID=MR, StudyInstanceUID=ct.StudyInstanceUID)
    keep(node, ct)
    with associated(node, (MR, [EXPLICIT])) as association:
        assert send(association, encoded(mr), sop_instance_uid=mr.SOPInstanceUID, sop_class_uid=MR)[0] == 0
    keep(node, other)

    said = move(node, ct.StudyInstanceUID)

    assert said[-1][:2] == (0, (None, 3, 0, 0))
    assert len(associations) == 2
    assert set(archive.taken) == {ct.SOPInstanceUID, mr.SOPInstanceUID, other.SOPInstanceUID}


@pytest.mark.parametrize("archive", [[(CT, [IMPLICIT])]], indirect=True)
def test_an_archive_of_the_default_syntax_gets_the_same_image(node, archive):
    dataset = a_ct()
    keep(node, dataset)

    said = move(node, dataset.StudyInstanceUID)

    _, read = archive.taken[dataset.SOPInstanceUID]
    assert said[-1][0] == 0
    assert (read.PixelData, str(read.PatientName)) == (dataset.PixelData, "ZHANG^SAN=张^三")


@pytest.mark.parametrize("takes", [[RLELossless, EXPLICIT], [EXPLICIT]], ids=["compressed", "uncompressed"])
def test_a_compressed_image_is_unpacked_only_for_those_who_must_have_it_so(node, receiver_port, takes):
    dataset = a_ct()
    pixels = dataset.PixelData
    dataset.compress(RLELossless, np.frombuffer(pixels, "<u2").reshape(16, 16), encoding_plugin="pydicom")
    raw = encoded(dataset)
    with associated(node, (CT, [RLELossless])) as association:
        assert send(association, raw, sop_instance_uid=dataset.SOPInstanceUID)[0] == 0
    archive = Archive(receiver_port, (CT, takes))

    said = move(node, dataset.StudyInstanceUID)
    archive.server.shutdown()

    assert said[-1][0] == 0
    sent, read = archive.taken[dataset.SOPInstanceUID]
    if RLELossless in takes:
        assert sent == raw
    else:
        assert read.PixelData == pixels


def test_a_large_image_passes_in_pieces_and_whole(node, archive):
    dataset = large()
    keep(node, dataset)
    taken = {}

    def take(event):
        taken[event.request.AffectedSOPInstanceUID] = event.request.DataSet.getvalue()
        return 0

    moved = move(node, dataset.StudyInstanceUID)
    got = get(node, dataset.StudyInstanceUID, take)

    assert (moved[-1][0], got[-1][0]) == (0, 0)
    assert archive.taken[dataset.SOPInstanceUID][0] == encoded(dataset)
    assert taken == {dataset.SOPInstanceUID: encoded(dataset)}


def test_an_object_that_is_gone_fails_by_name_and_the_rest_arrives(node, archive):
    slices = slices_of_one_study(4)
    keep(node, *slices)
    object_file(node, slices[1].SOPInstanceUID).unlink()

    moved = move(node, slices[0].StudyInstanceUID)
    got = get(node, slices[0].StudyInstanceUID, lambda event: 0)

    assert moved[-1] == (0xB000, (None, 3, 1, 0), [slices[1].SOPInstanceUID])
    assert got[-1] == moved[-1]
    assert set(archive.taken) == {one.SOPInstanceUID for one in slices} - {slices[1].SOPInstanceUID}


def test_an_object_that_breaks_off_is_never_given_as_if_it_were_whole(node, archive):
    small = slices_of_one_study(3)
    torn = large(StudyInstanceUID=small[0].StudyInstanceUID, SeriesInstanceUID=small[0].SeriesInstanceUID)
    torn.InstanceNumber = 2
    keep(node, *small, torn)
    path = object_file(node, torn.SOPInstanceUID)
    with path.open("r+b") as file:
        file.truncate(2 << 20)

    moved = move(node, small[0].StudyInstanceUID)
    got = get(node, small[0].StudyInstanceUID, archive.take)

    assert moved[-1] == (0xB000, (None, 3, 1, 0), [torn.SOPInstanceUID])
    assert set(archive.taken) == {one.SOPInstanceUID for one in small}
    assert got[-1][0] is None  # the association was aborted


def test_a_store_that_is_away_is_not_asked_for_every_image(node, archive, monkeypatch):
    slices = slices_of_one_study(6)
    keep(node, *slices)
    asked = []

    def away(*words):
        asked.append(words)
        raise StoreAway("the object store does not answer")

    monkeypatch.setattr(node.objects, "read_into", away)

    said = move(node, slices[0].StudyInstanceUID)

    assert said[-1] == (0xA702, (None, 0, 6, 0), [one.SOPInstanceUID for one in slices])
    assert len(asked) == MOST_AWAY


@pytest.fixture
def hanging_archive(receiver_port):
    """Accepts an association and then neither reads nor says anything."""
    listener = socket.create_server(("127.0.0.1", receiver_port))
    kept = []

    def accept():
        connection, _ = listener.accept()
        kept.append(connection)
        head = connection.recv(6, socket.MSG_WAITALL)
        request = head + connection.recv(int.from_bytes(head[2:6], "big"), socket.MSG_WAITALL)
        proposal = read_storage_proposal(request)
        connection.sendall(acceptance(proposal, agree(proposal, ["store"]), maximum_length=16_384))

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield
    listener.close()
    for connection in kept:
        connection.close()


@pytest.mark.parametrize("image", [a_ct, large], ids=["that does not answer", "that does not read"])
def test_a_move_to_an_archive_that_hangs_is_cancelled(node, hanging_archive, image):
    first = image()
    keep(node, first, image(StudyInstanceUID=first.StudyInstanceUID))
    asked = query("STUDY", StudyInstanceUID=first.StudyInstanceUID)

    with associated(node, (STUDY_MOVE, [IMPLICIT])) as association:
        threading.Timer(1, association.send_c_cancel, (7,), {"query_model": STUDY_MOVE}).start()
        began = time.monotonic()
        answers = [status for status, _ in association.send_c_move(asked, "T01_PACS", STUDY_MOVE, msg_id=7)]
        waited = time.monotonic() - began

    assert (int(answers[-1].Status), counts(answers[-1])) == (0xFE00, (1, 0, 1, 0))
    assert 1 <= waited < 10  # not the minute that a silent archive is given


def test_a_requester_that_dies_under_a_get_leaves_its_place(node):
    slices = slices_of_one_study(6)
    keep(node, *slices)

    def die(event):
        event.assoc.dul.socket.socket.shutdown(socket.SHUT_RDWR)
        return 0

    get(node, slices[0].StudyInstanceUID, die)

    until = time.monotonic() + 10
    while node.places.open and time.monotonic() < until:
        time.sleep(0.05)
    assert node.places.open == 0


def test_what_is_asked_during_a_get_is_answered_after_it(node):
    slices = slices_of_one_study(3)
    keep(node, *slices)

    def take(event):
        if event.request.AffectedSOPInstanceUID == slices[0].SOPInstanceUID:
            echo = C_ECHO()
            echo.MessageID, echo.AffectedSOPClassUID = 99, VERIFICATION
            event.assoc.dimse.send_msg(echo, 5)
        return 0

    asked = query("STUDY", StudyInstanceUID=slices[0].StudyInstanceUID)
    with associated(
        node,
        (STUDY_GET, [IMPLICIT]),
        (CT, [EXPLICIT]),
        (VERIFICATION, [IMPLICIT]),
        ext_neg=[build_role(CT, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, take)],
    ) as association:
        answers = [status for status, _ in association.send_c_get(asked, STUDY_GET)]
        time.sleep(0.5)

    assert (answers[-1].Status, answers[-1].NumberOfCompletedSuboperations) == (0, 3)
    assert {"C-GET 0000": 1, "C-ECHO 0000": 1} in eventually_served(node)


def eventually_served(node):
    """What each association was answered, once the last one's end is in the trail."""
    until = time.monotonic() + 10
    while True:
        with node.database.reading() as session:
            rows = session.scalars(select(AuditEvent).where(AuditEvent.verb == "serve")).all()
            served = [row.detail["counts"] for row in rows]
        if any("C-GET 0000" in one for one in served) or time.monotonic() > until:
            return served
        time.sleep(0.1)


def test_more_kinds_than_an_association_can_name_take_several():
    kinds = [(f"1.2.{number}", syntax) for number in range(90) for syntax in (EXPLICIT, RLELossless)]

    plans = plans_for(kinds)

    assert {kind for plan in plans for kind in plan.kinds} == set(kinds)
    for plan in plans:
        assert len(plan.contexts) <= MOST_CONTEXTS
        offered = {(one.abstract_syntax, syntax) for one in plan.contexts for syntax in one.transfer_syntaxes}
        assert plan.kinds <= offered
        assert {(sop_class, IMPLICIT) for sop_class, _ in plan.kinds} <= offered


def test_what_a_peer_accepts_is_what_we_use():
    (plan,) = plans_for([(CT, RLELossless), (MR, EXPLICIT)])
    request = association_request(
        called="T01_PACS", calling="READINGCENTER", contexts=plan.contexts, maximum_length=131_072
    )
    proposal = read_storage_proposal(request)

    agreed = agree(proposal, ["store"])
    read = read_acceptance(acceptance(proposal, agreed, maximum_length=16_384), plan.contexts)

    assert proposal.contexts == plan.contexts
    assert read.contexts == tuple(agreed)
    assert read.maximum_length == 16_384


@given(st.binary(max_size=400), st.integers(0, 300))
def test_no_answer_of_a_peer_breaks_us(noise, at):
    (plan,) = plans_for([(CT, RLELossless)])
    request = association_request(called="A", calling="B", contexts=plan.contexts, maximum_length=0)
    proposal = read_storage_proposal(request)
    answer = bytearray(acceptance(proposal, agree(proposal, ["store"]), maximum_length=16_384))
    answer[at : at + len(noise)] = noise

    read = read_acceptance(bytes(answer), plan.contexts)

    assert read is None or {one.context_id for one in read.contexts} <= {1, 3}
