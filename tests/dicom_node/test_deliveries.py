"""A signed report goes home: into its study in the archive, and to the institution's own receiver."""

import io

import pytest
from pydicom import dcmread
from pynetdicom import AE, evt
from pynetdicom.sop_class import BasicTextSRStorage, EncapsulatedPDFStorage
from sqlalchemy import select

from dicom_node.deliveries import NotDelivered, handlers
from dicom_node.outgoing import PeerUnreachable
from storage.faults import Fault, ObjectFault
from storage.imaging import ArrivalState, Instance, Origin, Series, Study
from storage.institutions import ApplicationEntity, Institution
from storage.jobs import Job
from storage.scrub import examine
from tests.builders import an_exam
from tests.cast import settle_the_county
from tests.damage import flip_a_byte
from tests.dicom_node.conftest import EVERYTHING, settings_for
from tests.signing import sign
from worklist.holdings import HOLDINGS
from worklist.reports import ReportVersion

SYNTAXES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]


@pytest.fixture
def county(pair, receiver_port):
    """The county of the tests, where Qingshi wants its reports at its own archive."""
    settle_the_county(pair.database)
    with pair.database.transaction() as session:
        session.get(Institution, "T01").reports_to = "T01_PACS"
        session.add(
            ApplicationEntity(
                ae_title="T01_PACS",
                institution_code="T01",
                modality=None,
                host="127.0.0.1",
                port=receiver_port,
                may=EVERYTHING,
            )
        )
    return pair


@pytest.fixture
def archive(receiver_port):
    """Qingshi's archive; `refuses` makes it answer that it is full."""
    received, refuses = [], []

    def take(event):
        if refuses:
            return 0xA700
        received.append(event.dataset)
        return 0

    entity = AE("T01_PACS")
    entity.add_supported_context(EncapsulatedPDFStorage, SYNTAXES)
    entity.add_supported_context(BasicTextSRStorage, SYNTAXES)
    server = entity.start_server(
        ("127.0.0.1", receiver_port), block=False, evt_handlers=[(evt.EVT_C_STORE, take)]
    )
    yield received, refuses
    server.shutdown()


def work(pair, folder, kind):
    with pair.database.reading() as session:
        job = session.scalar(select(Job).where(Job.kind == kind).order_by(Job.id.desc()))
        session.expunge_all()
    handlers(pair.database, pair.objects, settings_for(pair, folder))[kind](job)


def test_the_archive_holds_the_report_in_its_study_and_the_study_stays_settled(county, tmp_path):
    exam = an_exam(county.database, county.objects)
    version = sign(county.database, county.objects, exam.task_id, "chen")

    work(county, tmp_path, "archive-report")
    work(county, tmp_path, "archive-report")

    with county.database.reading() as session:
        study = session.scalar(select(Study))
        made = list(session.scalars(select(Instance).where(Instance.origin == Origin.MADE)))
        series = {session.get(Series, one.series_pk).study_pk for one in made}
        files = [dcmread(io.BytesIO(county.objects.get(one.object_key))) for one in made]
        assert (study.arrival_state, study.number_of_instances) == (ArrivalState.SETTLED, 2)
        assert series == {study.id}
    modalities = {file.Modality: file for file in files}
    assert set(modalities) == {"DOC", "SR"}
    document = modalities["DOC"]
    sealed = document.EncapsulatedDocument[: document.EncapsulatedDocumentLength]
    assert sealed == county.objects.get(version.pdf_key)
    assert str(document.PatientName) == "Zhang^San=张三" or "张" in str(document.PatientName)
    assert document.StudyInstanceUID == exam.study_instance_uid


def test_the_institution_s_receiver_gets_document_and_words(county, archive, tmp_path):
    received, _ = archive
    exam = an_exam(county.database, county.objects)
    sign(county.database, county.objects, exam.task_id, "chen")

    work(county, tmp_path, "deliver-report")

    assert [one.Modality for one in received] == ["DOC", "SR"]
    assert {one.AccessionNumber for one in received} == {exam.accession_number}


def test_a_receiver_that_is_away_or_full_is_tried_again(county, tmp_path, request):
    exam = an_exam(county.database, county.objects)
    sign(county.database, county.objects, exam.task_id, "chen")

    with pytest.raises(PeerUnreachable):
        work(county, tmp_path, "deliver-report")
    received, refuses = request.getfixturevalue("archive")
    refuses.append(True)
    with pytest.raises(NotDelivered):
        work(county, tmp_path, "deliver-report")
    refuses.clear()
    work(county, tmp_path, "deliver-report")

    assert len(received) == 2


@pytest.mark.parametrize("is_archived_well", [True, False], ids=["archived", "damaged there too"])
def test_a_report_whose_document_is_damaged_has_it_again_from_its_study(county, tmp_path, is_archived_well):
    exam = an_exam(county.database, county.objects)
    version = sign(county.database, county.objects, exam.task_id, "chen")
    work(county, tmp_path, "archive-report")
    sealed = county.objects.get(version.pdf_key)
    with county.database.reading() as session:
        copy = session.scalar(select(Instance).where(Instance.sop_class_uid == EncapsulatedPDFStorage))
        copy_key = copy.object_key
    if not is_archived_well:
        flip_a_byte(county.objects, copy_key, at=county.objects.get(copy_key).index(sealed) + 5)

    flip_a_byte(county.objects, version.pdf_key)
    fault = examine(county.database, county.objects, version.pdf_key, holdings=HOLDINGS)

    assert fault is Fault.CHANGED
    with county.database.reading() as session:
        now = session.scalar(select(ReportVersion))
        (mark,) = session.scalars(select(ObjectFault))
        marked = mark.mended_by
    if is_archived_well:
        assert county.objects.get(now.pdf_key) == sealed
        assert (now.pdf_sha256, now.content_hash) == (version.pdf_sha256, version.content_hash)
        assert now.pdf_key != version.pdf_key, "what is damaged is not touched"
        assert marked == "copy"
    else:
        assert (now.pdf_key, marked) == (version.pdf_key, None)
