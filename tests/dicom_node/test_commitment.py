"""Storage commitment: promised for what is kept, re-read and whole; reported until the device has heard."""

import time
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from sqlalchemy import func, select

from dicom_node.commitment import GRACE, NotHeard
from dicom_node.deliveries import handlers
from dicom_node.outgoing import PeerUnreachable
from storage import jobs
from storage.database import utc_now
from storage.imaging import Study
from storage.instances import find_instance
from storage.jobs import Job
from tests.dicom_node.devices import CT, a_ct, associated, encoded, send
from worklist.arrivals import weigh_lists
from worklist.worker import run_job

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


def ask(node, references, *, calling="T01_PACS", transaction_uid=None):
    asked = Dataset()
    asked.TransactionUID = transaction_uid or generate_uid(prefix=None)
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
    job.created_at -= GRACE  # what was on its way then has arrived or is lost
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


@contextmanager
def staying(node, reference, hear):
    """A device that asks for this one instance and keeps its association open."""
    asked = Dataset()
    asked.TransactionUID = generate_uid(prefix=None)
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference
    asked.ReferencedSOPSequence = [item]
    handlers = [(evt.EVT_N_EVENT_REPORT, hear)]
    with associated(node, (COMMITMENT, [IMPLICIT]), (CT, [EXPLICIT]), evt_handlers=handlers) as association:
        answer, _ = association.send_n_action(asked, 1, COMMITMENT, INSTANCE)
        assert answer.Status == 0
        yield association


def state_of(node, *, expected):
    """The state of the one report, once it is what is expected, or after five seconds."""
    for _ in range(100):
        with node.database.reading() as session:
            job = session.scalar(select(Job).where(Job.kind == "commitment-report"))
            state = (job.state, job.attempts, job.due_at <= utc_now())
        if state == expected:
            break
        time.sleep(0.05)
    return state


def test_a_device_that_stays_is_told_on_its_own_association(node):
    dataset = a_ct()
    keep(node, dataset, calling="T01_CT")  # a device without a port: nobody could call it back
    heard = []

    def hear(event):
        heard.append((event.event_type, event.event_information))
        return 0, None

    with staying(node, (CT, dataset.SOPInstanceUID), hear) as association:
        assert state_of(node, expected=("done", 1, False))[0] == "done"
        # The association goes on as before.
        status, _ = send_on(association, a_ct())

    ((event_type, information),) = heard
    assert (event_type, status) == (1, 0)
    assert [one.ReferencedSOPInstanceUID for one in information.ReferencedSOPSequence] == [
        dataset.SOPInstanceUID
    ]


def send_on(association, dataset):
    answer = association.send_c_store(dataset_with_meta(dataset))
    return int(answer.Status), answer


def dataset_with_meta(dataset):
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = EXPLICIT
    return dataset


def test_a_device_that_refuses_the_report_on_its_association_is_called_back(node):
    dataset = a_ct()
    keep(node, dataset, calling="T01_CT")

    with staying(node, (CT, dataset.SOPInstanceUID), lambda event: (0x0110, None)):
        state = state_of(node, expected=("ready", 0, True))

    assert state == ("ready", 0, True)


def test_a_device_that_releases_at_once_is_called_back_at_once(node):
    dataset = a_ct()
    keep(node, dataset)

    ask(node, [(CT, dataset.SOPInstanceUID)])

    assert state_of(node, expected=("ready", 0, True)) == ("ready", 0, True)


def test_a_device_that_asks_again_is_told_again(node, reports):
    dataset = a_ct()
    keep(node, dataset)
    transaction_uid = generate_uid(prefix=None)

    for _ in range(2):
        ask(node, [(CT, dataset.SOPInstanceUID)], transaction_uid=transaction_uid)
        state_of(node, expected=("ready", 0, True))
        with node.database.reading() as session:
            assert session.scalar(select(func.count()).select_from(Job)) == 1
        assert run_job(node.database, handlers(node.database, node.objects, node.settings), owner="worker")

    assert [information.TransactionUID for _, information in reports] == [transaction_uid] * 2


def test_a_report_is_tried_for_three_days(node):
    dataset = a_ct()
    keep(node, dataset)
    ask(node, [(CT, dataset.SOPInstanceUID)])
    state_of(node, expected=("ready", 0, True))

    ran = run_job(node.database, handlers(node.database, node.objects, node.settings), owner="worker")

    with node.database.reading() as session:
        job = session.scalar(select(Job))
        assert (ran, job.state, job.attempts) == (True, "ready", 1)
        assert job.due_at > utc_now()
        assert timedelta(hours=71) < job.give_up_at - utc_now() < timedelta(hours=73)


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


def test_what_is_on_its_way_is_waited_for(node, reports):
    late = a_ct()

    ask(node, [(CT, late.SOPInstanceUID)])
    with node.database.reading() as session:
        job = session.scalar(select(Job).where(Job.kind == "commitment-report"))
        session.expunge_all()
    with pytest.raises(NotHeard):
        handlers(node.database, node.objects, node.settings)["commitment-report"](job)
    keep(node, late)
    handlers(node.database, node.objects, node.settings)["commitment-report"](job)

    ((event_type, _),) = reports
    assert event_type == 1


def test_a_device_that_stays_hears_of_an_image_that_came_after_it_asked(node):
    late, heard = a_ct(), []

    def hear(event):
        heard.append(event.event_type)
        return 0, None

    with staying(node, (CT, late.SOPInstanceUID), hear) as association:
        time.sleep(1.5)
        status, _ = send_on(association, late)
        state = state_of(node, expected=("done", 1, False))

    assert (status, heard, state[0]) == (0, [1], "done")


def test_a_transaction_uid_for_other_objects_is_another_transaction(node, reports):
    one, two = a_ct(), a_ct()
    keep(node, one, two)
    transaction_uid = generate_uid(prefix=None)

    for dataset in (one, two):
        ask(node, [(CT, dataset.SOPInstanceUID)], transaction_uid=transaction_uid)
    state_of(node, expected=("ready", 0, True))
    with node.database.reading() as session:
        found = session.scalars(select(Job).where(Job.kind == "commitment-report")).all()
        session.expunge_all()
    for job in found:
        handlers(node.database, node.objects, node.settings)["commitment-report"](job)

    told = [information.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for _, information in reports]
    assert sorted(told) == sorted([one.SOPInstanceUID, two.SOPInstanceUID])


def test_a_list_of_ten_thousand_is_answered_to_its_last_instance(node, reports):
    kept = a_ct()
    keep(node, kept)
    others = [(CT, f"1.2.3.{number}") for number in range(10_000)]

    _, status = ask(node, [*others, (CT, kept.SOPInstanceUID)])
    work(node)

    ((event_type, information),) = reports
    assert (status, event_type) == (0, 2)
    assert len(information.FailedSOPSequence) == 10_000
    assert [one.ReferencedSOPInstanceUID for one in information.ReferencedSOPSequence] == [
        kept.SOPInstanceUID
    ]


def test_a_request_beyond_any_real_one_is_refused_as_such(node):
    _, status = ask(node, [(CT, f"1.2.{'9' * 55}.{number}") for number in range(45_000)])

    assert status == 0x0213
    with node.database.reading() as session:
        assert session.scalar(select(Job)) is None


@pytest.mark.parametrize(
    ("action", "instance", "status"),
    [(2, INSTANCE, 0x0123), (1, "1.2.3.4", 0x0112), (1, INSTANCE, 0)],
)
def test_another_action_or_instance_has_the_standard_s_status(node, action, instance, status):
    asked = Dataset()
    asked.TransactionUID = generate_uid(prefix=None)
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CT, "1.2.3"
    asked.ReferencedSOPSequence = [reference]

    with associated(node, (COMMITMENT, [IMPLICIT]), calling="T01_PACS") as association:
        answer, _ = association.send_n_action(asked, action, COMMITMENT, instance)

    assert answer.Status == status


def test_a_device_that_is_away_for_days_is_called_with_a_growing_pause_until_the_third_is_over(node):
    dataset = a_ct()
    keep(node, dataset)
    ask(node, [(CT, dataset.SOPInstanceUID)])
    state_of(node, expected=("ready", 0, True))
    pauses, now = [], utc_now()
    began = now

    while True:
        with node.database.transaction() as session:
            job = jobs.claim(session, ["commitment-report"], owner="worker", now=now)
            jobs.retry(session, job, error=NotHeard("T01_PACS did not accept the report"), now=now)
        with node.database.reading() as session:
            job = session.scalar(select(Job))
            if job.state == "dead":
                break
            pauses.append(job.due_at - now)
            now = job.due_at

    assert pauses[0] < timedelta(seconds=6)
    assert all(later > earlier * 1.1 for earlier, later in pairwise(pauses[:8]))
    assert max(pauses) <= timedelta(minutes=38)
    assert timedelta(hours=71) < now - began < timedelta(hours=72, minutes=1)


def test_a_study_that_its_device_commits_whole_is_known_to_lack_what_it_lacks(node):
    here, lost = a_ct(), a_ct()
    keep(node, here)

    ask(node, [(CT, here.SOPInstanceUID), (CT, lost.SOPInstanceUID)])
    with node.database.transaction() as session:
        weigh_lists(session, now=utc_now())
        study = session.scalar(select(Study))

        assert (study.expected_instances, study.missing_instances) == (2, 1)
