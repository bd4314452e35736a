"""Devices that wait for a study hear that it is here (PS3.4 R), and nobody hears of a neighbour's."""

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from sqlalchemy import select

from dicom_node.deliveries import handlers
from storage.database import utc_now
from storage.imaging import Study
from storage.institutions import ApplicationEntity
from storage.jobs import Job
from tests.dicom_node.devices import CT, a_ct
from tests.dicom_node.test_query_retrieve import keep
from worklist.arrivals import settle
from worklist.worker import run_job

IMPLICIT = "1.2.840.10008.1.2"
AVAILABILITY = "1.2.840.10008.5.1.4.33"


class Listening:
    """Qingshi's archive, which waits for studies; `answer` is its status."""

    def __init__(self, port):
        self.heard: list[tuple[str, Dataset]] = []
        self.answer = 0
        entity = AE("T01_PACS")
        entity.add_supported_context(AVAILABILITY, [IMPLICIT])
        self.server = entity.start_server(
            ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_CREATE, self.hear)]
        )

    def hear(self, event):
        self.heard.append((str(event.request.AffectedSOPInstanceUID), event.attribute_list))
        return self.answer, Dataset() if self.answer == 0 else None


@pytest.fixture
def archive(node, receiver_port):
    with node.database.transaction() as session:
        for title in ("T01_PACS", "T02_CT"):
            device = session.get(ApplicationEntity, title)
            device.may, device.port = [*device.may, "notify"], device.port or receiver_port
    running = Listening(receiver_port)
    yield running
    running.server.shutdown()


def arrive(node, *datasets):
    keep(node, *datasets)
    with node.database.transaction() as session:
        study = session.scalar(select(Study))
        settle(session, study, "quiet", now=utc_now())


def jobs(node):
    with node.database.reading() as session:
        return [job.payload["ae_title"] for job in session.scalars(select(Job)) if "notify" in job.kind]


def work(node):
    return run_job(node.database, handlers(node.database, node.objects, node.settings), owner="worker")


def test_a_settled_study_is_announced_with_every_instance(node, archive):
    first = a_ct()
    second = a_ct(
        StudyInstanceUID=first.StudyInstanceUID, SeriesInstanceUID=first.SeriesInstanceUID, InstanceNumber=2
    )

    arrive(node, first, second)

    assert jobs(node) == ["T01_PACS"]  # Baishui's device waits too, but not for this
    assert work(node)
    ((uid, said),) = archive.heard
    (series,) = said.ReferencedSeriesSequence
    assert uid.startswith("2.25.")
    assert (said.StudyInstanceUID, series.SeriesInstanceUID) == (
        first.StudyInstanceUID,
        first.SeriesInstanceUID,
    )
    assert [
        (
            one.ReferencedSOPClassUID,
            one.ReferencedSOPInstanceUID,
            one.InstanceAvailability,
            one.RetrieveAETitle,
        )
        for one in series.ReferencedSOPSequence
    ] == [(CT, one.SOPInstanceUID, "ONLINE", "READINGCENTER") for one in (first, second)]
    assert list(said.ReferencedPerformedProcedureStepSequence) == []


@pytest.mark.parametrize(("answer", "state"), [(0x0111, "done"), (0x0110, "ready")])
def test_what_was_heard_before_is_not_told_again_and_what_was_not_is(node, archive, answer, state):
    arrive(node, a_ct())
    archive.answer = answer

    work(node)

    with node.database.reading() as session:
        assert session.scalar(select(Job.state)) == state


def test_a_device_that_is_not_to_be_told_any_more_is_let_be(node, archive):
    arrive(node, a_ct())
    with node.database.transaction() as session:
        device = session.get(ApplicationEntity, "T01_PACS")
        device.may = [service for service in device.may if service != "notify"]

    work(node)

    assert archive.heard == []
    with node.database.reading() as session:
        assert session.scalar(select(Job.state)) == "done"
