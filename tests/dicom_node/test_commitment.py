"""Storage commitment: promised for what is kept, re-read and whole; reported until the device has heard."""

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from sqlalchemy import select

from dicom_node.commitment import NotHeard
from dicom_node.deliveries import handlers
from dicom_node.outgoing import PeerUnreachable
from storage.instances import find_instance
from storage.jobs import Job
from tests.dicom_node.devices import CT, a_ct, associated, encoded, send

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
COMMITMENT, INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"


@pytest.fixture
def reports(receiver_port):
    """Qingshi's archive, listening for reports of its commitments."""
    heard = []

    def hear(event):
        heard.append((event.event_type, event.event_information))
        return 0, None

    entity = AE("T01_PACS")
    entity.add_supported_context(COMMITMENT, [IMPLICIT], scu_role=True, scp_role=True)
    server = entity.start_server(
        ("127.0.0.1", receiver_port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, hear)]
    )
    yield heard
    server.shutdown()


def keep(node, *datasets, calling="T01_PACS"):
    with associated(node, (CT, [EXPLICIT]), calling=calling) as association:
        return [send(association, encoded(one), sop_instance_uid=one.SOPInstanceUID)[0] for one in datasets]


def ask(node, references, *, calling="T01_PACS"):
    asked = Dataset()
    asked.TransactionUID = generate_uid(prefix=None)
    asked.ReferencedSOPSequence = []
    for sop_class_uid, sop_instance_uid in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
        asked.ReferencedSOPSequence.append(item)
    with associated(node, (COMMITMENT, [IMPLICIT]), calling=calling) as association:
        answer, _ = association.send_n_action(asked, 1, COMMITMENT, INSTANCE)
    return asked.TransactionUID, int(answer.Status)


def work(node):
    """Do the one job that waits."""
    with node.database.reading() as session:
        job = session.scalar(select(Job).where(Job.kind == "commitment-report"))
        session.expunge_all()
    handlers(node.database, node.objects, node.settings)["commitment-report"](job)


def test_what_is_kept_is_committed_to(node, reports):
    dataset = a_ct()
    keep(node, dataset)

    transaction_uid, status = ask(node, [(CT, dataset.SOPInstanceUID)])
    work(node)

    assert status == 0
    ((event_type, information),) = reports
    assert event_type == 1
    assert information.TransactionUID == transaction_uid
    assert [one.ReferencedSOPInstanceUID for one in information.ReferencedSOPSequence] == [
        dataset.SOPInstanceUID
    ]
    assert "FailedSOPSequence" not in information


def test_what_is_not_kept_whole_is_named_with_its_reason(node, reports):
    kept, foreign, corrupt, disputed = a_ct(), a_ct(PatientID="P9"), a_ct(), a_ct()
    keep(node, kept, corrupt, disputed)
    keep(node, foreign, calling="T02_CT")
    keep(node, a_ct(SOPInstanceUID=disputed.SOPInstanceUID, StudyInstanceUID=disputed.StudyInstanceUID))
    with node.database.reading() as session:
        key = find_instance(session, corrupt.SOPInstanceUID).object_key
    path = node.settings.data.parent / "objects" / key
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")

    ask(
        node,
        [
            (CT, kept.SOPInstanceUID),
            (CT, "1.2.3.4.5"),
            (CT, foreign.SOPInstanceUID),
            (CT, corrupt.SOPInstanceUID),
            (CT, disputed.SOPInstanceUID),
            ("1.2.840.10008.5.1.4.1.1.4", kept.SOPInstanceUID),
        ],
    )
    work(node)

    ((event_type, information),) = reports
    reasons = [(one.ReferencedSOPInstanceUID, one.FailureReason) for one in information.FailedSOPSequence]
    assert event_type == 2
    assert [one.ReferencedSOPInstanceUID for one in information.ReferencedSOPSequence] == [
        kept.SOPInstanceUID
    ]
    assert reasons == [
        ("1.2.3.4.5", 0x0112),
        (foreign.SOPInstanceUID, 0x0112),
        (corrupt.SOPInstanceUID, 0x0110),
        (disputed.SOPInstanceUID, 0x0110),
        (kept.SOPInstanceUID, 0x0119),
    ]


def test_a_device_that_does_not_listen_is_told_later(node):
    dataset = a_ct()
    keep(node, dataset)
    ask(node, [(CT, dataset.SOPInstanceUID)])

    with pytest.raises((PeerUnreachable, NotHeard)):
        work(node)


@pytest.mark.parametrize("references", [[], [(CT, "1.2.3")]])
def test_a_request_without_references_is_refused(node, references):
    _, status = ask(node, references)

    assert status == (0 if references else 0x0106)
