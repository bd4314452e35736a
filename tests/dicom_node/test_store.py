"""C-STORE: kept byte for byte before it is acknowledged, or refused with a status that says why."""

import struct
import threading

import pytest
from pydicom import dcmread
from sqlalchemy import func, select

from storage.imaging import Instance, QuarantinedInstance, Study
from storage.instances import find_instance
from tests.corpora import corpus_files
from tests.dicom_node.devices import CT, a_ct, associated, dcmtk, encoded, part_10, send

EXPLICIT = ["1.2.840.10008.1.2.1"]


def kept_bytes(node, sop_instance_uid):
    """The dataset as it lies in the store, or None."""
    with node.database.reading() as session:
        instance = find_instance(session, sop_instance_uid)
        if instance is None:
            return None
        return node.objects.get(instance.object_key)[instance.dataset_offset :]


def count_of(node, table):
    with node.database.reading() as session:
        return session.scalar(select(func.count()).select_from(table))


def test_what_a_device_sends_is_kept_byte_for_byte(node_on_each, tmp_path):
    node, dataset = node_on_each, a_ct()

    status, said = dcmtk("storescu", "-v", str(part_10(dataset, tmp_path / "ct.dcm")), node=node)

    assert status == 0, said
    assert kept_bytes(node, dataset.SOPInstanceUID) == encoded(dataset)
    with node.database.reading() as session:
        study = session.scalar(select(Study))
        instance = find_instance(session, dataset.SOPInstanceUID)
        whole = node.objects.get(instance.object_key)
        assert (study.institution_code, study.patient.issuer, study.patient.name) == (
            "T01",
            "T01",
            "ZHANG^SAN=张^三",
        )
        assert (instance.calling_ae, instance.source) == ("T01_CT", "127.0.0.1")
    assert whole[128:132] == b"DICM"


def test_many_associations_may_bring_one_new_study_at_once(node_on_each):
    node, first = node_on_each, a_ct()
    slices = [
        a_ct(StudyInstanceUID=first.StudyInstanceUID, SeriesInstanceUID=first.SeriesInstanceUID)
        for _ in range(8)
    ]
    statuses = []

    def bring(dataset):
        with associated(node, (CT, EXPLICIT)) as association:
            answer = send(association, encoded(dataset), sop_instance_uid=dataset.SOPInstanceUID)
            statuses.append(answer[0])

    threads = [threading.Thread(target=bring, args=(dataset,)) for dataset in slices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert statuses == [0] * 8
    with node.database.reading() as session:
        study = session.scalar(select(Study))
        assert (study.number_of_series, study.number_of_instances) == (1, 8)


def test_the_same_bytes_again_are_the_same_instance(node):
    dataset = a_ct()
    raw = encoded(dataset)

    with associated(node, (CT, EXPLICIT)) as association:
        answers = [send(association, raw, sop_instance_uid=dataset.SOPInstanceUID) for _ in range(2)]

    assert [status for status, _ in answers] == [0, 0]
    assert count_of(node, Instance) == 1


def test_other_bytes_under_the_same_uid_are_put_aside_and_the_sender_is_warned(node):
    first = a_ct()
    second = a_ct(
        SOPInstanceUID=first.SOPInstanceUID,
        StudyInstanceUID=first.StudyInstanceUID,
        PixelData=bytes(512),
    )

    with associated(node, (CT, EXPLICIT)) as association:
        send(association, encoded(first), sop_instance_uid=first.SOPInstanceUID)
        status, comment = send(association, encoded(second), sop_instance_uid=first.SOPInstanceUID)

    assert status == 0xB000
    assert comment and len(comment) <= 64
    assert kept_bytes(node, first.SOPInstanceUID) == encoded(first)
    assert count_of(node, QuarantinedInstance) == 1


def nested(depth):
    sequence = struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF)
    return (sequence + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)) * depth


def bad_input():
    good = a_ct()
    without_pixels = a_ct(SOPInstanceUID=good.SOPInstanceUID, PixelData=None)
    traversal = a_ct(SOPInstanceUID=good.SOPInstanceUID)
    traversal["StudyInstanceUID"]._value = "../../x"
    yield "no-study", encoded(a_ct(SOPInstanceUID=good.SOPInstanceUID, StudyInstanceUID=None)), good, 0xA900
    yield "traversal", encoded(traversal), good, 0xA900
    yield "another-instance", encoded(a_ct()), good, 0xA900
    another_class = a_ct(SOPInstanceUID=good.SOPInstanceUID, SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    yield "another-class", encoded(another_class), good, 0xA900
    yield "nested", encoded(without_pixels) + nested(60_000), good, 0xC000
    yield "truncated", encoded(good)[:-100], good, 0xC000
    yield "empty", b"", good, 0xC000
    yield "noise", bytes(range(256)) * 20, good, 0xC000


@pytest.mark.parametrize(("raw", "claimed", "expected"), [pytest.param(*c[1:], id=c[0]) for c in bad_input()])
def test_bad_input_gets_its_status_and_leaves_nothing_behind(node, raw, claimed, expected):
    with associated(node, (CT, EXPLICIT)) as association:
        status, comment = send(association, raw, sop_instance_uid=claimed.SOPInstanceUID)
        again, _ = send(association, encoded(claimed), sop_instance_uid=claimed.SOPInstanceUID)

    assert status == expected
    assert 0 < len(comment) <= 64 and comment.isascii()
    assert again == 0
    assert count_of(node, Instance) == 1
    assert kept_bytes(node, claimed.SOPInstanceUID) == encoded(claimed)


def test_pixels_shorter_than_they_should_be_are_kept_and_the_sender_is_warned(node):
    dataset = a_ct(PixelData=bytes(100))

    with associated(node, (CT, EXPLICIT)) as association:
        status, comment = send(association, encoded(dataset), sop_instance_uid=dataset.SOPInstanceUID)

    assert status == 0xB007
    assert "pixel data of 100 bytes" in comment
    with node.database.reading() as session:
        assert find_instance(session, dataset.SOPInstanceUID).damage


def test_a_device_that_may_not_store_is_told_so(node):
    from storage.institutions import ApplicationEntity

    with node.database.transaction() as session:
        session.get(ApplicationEntity, "T01_CT").may = ["get"]
    dataset = a_ct()

    with associated(node, (CT, EXPLICIT)) as association:
        status, _ = send(association, encoded(dataset), sop_instance_uid=dataset.SOPInstanceUID)

    assert status == 0x0124


def test_an_object_that_stops_half_way_is_invisible(node):
    dataset = a_ct(PixelData=bytes(2_000_000), Rows=1000, Columns=1000)
    raw = encoded(dataset)

    for end in ("abort", "close"):
        with associated(node, (CT, EXPLICIT)) as association:
            connection = association.dul.socket.socket
            piece = raw[:60_000]
            command = _command(dataset.SOPInstanceUID)
            pdv = struct.pack(">LBB", len(command) + 2, 1, 3) + command
            connection.sendall(struct.pack(">BBL", 4, 0, len(pdv)) + pdv)
            pdv = struct.pack(">LBB", len(piece) + 2, 1, 0) + piece
            connection.sendall(struct.pack(">BBL", 4, 0, len(pdv)) + pdv)
            association.abort() if end == "abort" else connection.close()

    assert dcmtk("echoscu", node=node)[0] == 0
    assert count_of(node, Instance) == 0
    assert list(node.spool.iterdir()) == []


def _command(sop_instance_uid):
    def element(number, value):
        return struct.pack("<HHL", 0, number, len(value)) + value

    uid = sop_instance_uid.encode() + b"\0" * (len(sop_instance_uid) % 2)
    body = b"".join(
        [
            element(0x0002, CT.encode() + b"\0" * (len(CT) % 2)),
            element(0x0100, struct.pack("<H", 1)),
            element(0x0110, struct.pack("<H", 1)),
            element(0x0700, struct.pack("<H", 2)),
            element(0x0800, struct.pack("<H", 0)),
            element(0x1000, uid),
        ]
    )
    return element(0, struct.pack("<L", len(body))) + body


def test_a_large_object_passes_through_the_spool(node):
    dataset = a_ct(PixelData=bytes(12_000_000), Rows=2000, Columns=3000)

    with associated(node, (CT, EXPLICIT)) as association:
        status, comment = send(association, encoded(dataset), sop_instance_uid=dataset.SOPInstanceUID)

    assert (status, comment) == (0, "")
    assert kept_bytes(node, dataset.SOPInstanceUID) == encoded(dataset)


@pytest.mark.parametrize(
    "path",
    [*corpus_files("transfer_syntax", "cornerstone_ct_matrix"), *corpus_files("ecg_dicom", pattern="*.dcm")]
    or [None],
    ids=lambda path: path.name[-50:] if path else "absent",
)
def test_real_objects_of_every_transfer_syntax_are_kept_byte_for_byte(node, path):
    if path is None:
        pytest.skip("needs ../shared/testdata")
    file = dcmread(path, stop_before_pixels=True)
    raw = path.read_bytes()
    start = 132 + 12 + int.from_bytes(raw[140:144], "little")
    context = (str(file.SOPClassUID), [str(file.file_meta.TransferSyntaxUID)])

    with associated(node, context) as association:
        status, comment = send(
            association,
            raw[start:],
            sop_instance_uid=str(file.SOPInstanceUID),
            sop_class_uid=context[0],
        )

    assert (status, comment) == (0, "")
    assert kept_bytes(node, str(file.SOPInstanceUID)) == raw[start:]


def test_pixels_that_would_have_to_be_fetched_elsewhere_are_not_accepted(node):
    jpip = ["1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.204", "1.2.840.10008.1.2.4.205"]

    with associated(node, (CT, jpip), ("1.2.840.10008.1.1", EXPLICIT)) as association:
        accepted = [str(context.abstract_syntax) for context in association.accepted_contexts]

    assert CT not in accepted
