"""C-FIND, C-MOVE and C-GET: a device finds and fetches what it may see, in its own characters."""

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import CTImageStorage

from tests.dicom_node.devices import CT, a_ct, associated, dcmtk, encoded, send

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
STUDY_FIND, PATIENT_FIND = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.1.1"
STUDY_MOVE, STUDY_GET = "1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.5.1.4.1.2.2.3"


def keep(node, *datasets, calling="T01_CT"):
    with associated(node, (CT, [EXPLICIT]), calling=calling) as association:
        for dataset in datasets:
            status, comment = send(association, encoded(dataset), sop_instance_uid=dataset.SOPInstanceUID)
            assert status == 0, comment


def query(level, **keys):
    asked = Dataset()
    asked.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(asked, keyword, value)
    return asked


def found(node, asked, *, model=STUDY_FIND, calling="T01_CT", syntax=IMPLICIT):
    """The answers to a query, and its last status."""
    with associated(node, (model, [syntax]), calling=calling) as association:
        answers = list(association.send_c_find(asked, model))
    return [dataset for _, dataset in answers if dataset is not None], int(answers[-1][0].Status)


def test_a_study_is_found_at_every_level(node):
    first = a_ct()
    second = a_ct(
        StudyInstanceUID=first.StudyInstanceUID, SeriesInstanceUID=first.SeriesInstanceUID, InstanceNumber=2
    )
    keep(node, first, second)

    studies, status = found(
        node, query("STUDY", StudyInstanceUID="", NumberOfStudyRelatedInstances="", ModalitiesInStudy="")
    )
    series, _ = found(node, query("SERIES", StudyInstanceUID=first.StudyInstanceUID, SeriesInstanceUID=""))
    images, _ = found(
        node,
        query(
            "IMAGE",
            StudyInstanceUID=first.StudyInstanceUID,
            SeriesInstanceUID=first.SeriesInstanceUID,
            SOPInstanceUID="",
            InstanceNumber="",
        ),
    )
    patients, _ = found(node, query("PATIENT", PatientID="", PatientName=""), model=PATIENT_FIND)

    assert status == 0
    assert [study.StudyInstanceUID for study in studies] == [first.StudyInstanceUID]
    assert (studies[0].NumberOfStudyRelatedInstances, studies[0].ModalitiesInStudy) == (2, "CT")
    assert (studies[0].RetrieveAETitle, studies[0].InstanceAvailability) == ("READINGCENTER", "ONLINE")
    assert [one.SeriesInstanceUID for one in series] == [first.SeriesInstanceUID]
    assert [image.SOPInstanceUID for image in images] == [first.SOPInstanceUID, second.SOPInstanceUID]
    assert [patient.PatientID for patient in patients] == ["P001"]


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, "1.2.840.10008.1.2.2"])
@pytest.mark.parametrize(
    ("asked_in", "answered_in"),
    [("ISO_IR 192", "ISO_IR 192"), ("GB18030", "GB18030"), (None, "GB18030")],
)
def test_a_name_comes_back_in_the_characters_that_the_device_can_show(node, asked_in, answered_in, syntax):
    keep(node, a_ct())
    asked = query("STUDY", PatientName="", StudyInstanceUID="", StudyDescription="")
    if asked_in is not None:
        asked.SpecificCharacterSet = asked_in

    (study,), _ = found(node, asked, syntax=syntax)

    assert study.SpecificCharacterSet == answered_in
    assert str(study.PatientName) == "ZHANG^SAN=张^三"
    assert study.StudyDescription == "胸部CT平扫"


def test_a_chinese_name_is_matched_in_the_characters_it_is_asked_in(node):
    keep(node, a_ct(), a_ct(PatientID="P002", PatientName="LI^SI=李^四"))

    for charset in ("GB18030", "ISO_IR 192"):
        asked = query("STUDY", PatientID="")
        asked.SpecificCharacterSet = charset
        asked.PatientName = "*=李*"
        answers, _ = found(node, asked)

        assert [answer.PatientID for answer in answers] == ["P002"]


def test_a_neighbour_sees_nothing(node):
    dataset = a_ct()
    keep(node, dataset)

    answers, status = found(node, query("STUDY", StudyInstanceUID=""), calling="T02_CT")
    unseen, _ = found(node, query("STUDY", StudyInstanceUID=dataset.StudyInstanceUID), calling="T02_CT")

    assert (answers, unseen, status) == ([], [], 0)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (query("NOWHERE", StudyInstanceUID=""), 0xA900),
        (query("PATIENT", PatientID=""), 0xA900),
        (query("STUDY", StudyInstanceUID="", PatientName="*?" * 1000), 0xA900),
        (query("STUDY", StudyInstanceUID="", StudyDate="yesterday"), 0xA900),
    ],
    ids=["level", "patient-in-study-root", "monstrous-wildcard", "no-date"],
)
def test_a_query_that_cannot_be_understood_gets_its_status(node, asked, expected):
    keep(node, a_ct())

    answers, status = found(node, asked)

    assert (answers, status) == ([], expected)


def test_findscu_finds(node, tmp_path):
    keep(node, a_ct())

    status, said = dcmtk(
        "findscu",
        "-S",
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        "PatientID=P0*",
        "-k",
        "StudyDate=20261101-",
        node=node,
    )

    assert status == 0
    assert "[P001" in said


def test_getscu_fetches_the_very_same_bytes(node, tmp_path):
    dataset = a_ct()
    keep(node, dataset)

    status, said = dcmtk(
        "getscu",
        "-S",
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        f"StudyInstanceUID={dataset.StudyInstanceUID}",
        "-od",
        str(tmp_path),
        node=node,
    )

    assert status == 0, said
    (file,) = tmp_path.glob("CT*")
    assert dcmread(file).PixelData == dataset.PixelData


def test_a_get_gives_back_what_was_sent_and_counts_truly(node):
    datasets = [a_ct(), a_ct()]
    for dataset in datasets[1:]:
        dataset.StudyInstanceUID = datasets[0].StudyInstanceUID
    keep(node, *datasets)
    received = {}

    def take(event):
        received[str(event.request.AffectedSOPInstanceUID)] = event.request.DataSet.getvalue()
        return 0

    with associated(
        node,
        (STUDY_GET, [IMPLICIT]),
        (CTImageStorage, [EXPLICIT]),
        ext_neg=[build_role(CTImageStorage, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, take)],
    ) as association:
        asked = query("STUDY", StudyInstanceUID=datasets[0].StudyInstanceUID)
        answers = [status for status, _ in association.send_c_get(asked, STUDY_GET)]

    assert received == {dataset.SOPInstanceUID: encoded(dataset) for dataset in datasets}
    assert answers[-1].Status == 0
    assert (answers[-1].NumberOfCompletedSuboperations, answers[-1].NumberOfFailedSuboperations) == (2, 0)


def test_a_peer_that_reads_only_implicit_gets_the_image_re_encoded(node):
    dataset = a_ct()
    keep(node, dataset)
    received = []

    def take(event):
        received.append(event.dataset)
        return 0

    with associated(
        node,
        (STUDY_GET, [IMPLICIT]),
        (CTImageStorage, [IMPLICIT]),
        ext_neg=[build_role(CTImageStorage, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, take)],
    ) as association:
        asked = query("STUDY", StudyInstanceUID=dataset.StudyInstanceUID)
        answers = [status for status, _ in association.send_c_get(asked, STUDY_GET)]

    assert answers[-1].Status == 0
    assert received[0].PixelData == dataset.PixelData
    assert str(received[0].PatientName) == "ZHANG^SAN=张^三"


@pytest.fixture
def archive(receiver_port):
    """Qingshi's own archive: a receiver that keeps what it is sent."""
    received = {}

    def take(event):
        received[str(event.request.AffectedSOPInstanceUID)] = event.request.DataSet.getvalue()
        return 0

    entity = AE("T01_PACS")
    entity.add_supported_context(CTImageStorage, [EXPLICIT])
    server = entity.start_server(
        ("127.0.0.1", receiver_port), block=False, evt_handlers=[(evt.EVT_C_STORE, take)]
    )
    yield received
    server.shutdown()


def test_a_move_reaches_a_declared_device(node, archive):
    dataset = a_ct()
    keep(node, dataset)

    with associated(node, (STUDY_MOVE, [IMPLICIT])) as association:
        asked = query("STUDY", StudyInstanceUID=dataset.StudyInstanceUID)
        answers = [status for status, _ in association.send_c_move(asked, "T01_PACS", STUDY_MOVE)]

    assert answers[-1].Status == 0
    assert answers[-1].NumberOfCompletedSuboperations == 1
    assert archive == {dataset.SOPInstanceUID: encoded(dataset)}


def test_movescu_moves(node, archive):
    dataset = a_ct()
    keep(node, dataset)

    status, said = dcmtk(
        "movescu",
        "-v",
        "-S",
        "-aem",
        "T01_PACS",
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        f"StudyInstanceUID={dataset.StudyInstanceUID}",
        node=node,
    )

    assert status == 0, said
    assert list(archive) == [dataset.SOPInstanceUID]


@pytest.mark.parametrize("destination", ["NOSUCHAE", "127.0.0.1:104", "T01_SENDER"])
def test_a_move_to_whoever_is_not_declared_with_an_address_is_refused(node, destination):
    dataset = a_ct()
    keep(node, dataset)

    with associated(node, (STUDY_MOVE, [IMPLICIT])) as association:
        asked = query("STUDY", StudyInstanceUID=dataset.StudyInstanceUID)
        (answer,) = [status for status, _ in association.send_c_move(asked, destination, STUDY_MOVE)]

    assert answer.Status == 0xA801


def test_a_move_is_no_way_past_a_neighbours_door(node, archive):
    dataset = a_ct()
    keep(node, dataset, calling="T02_CT")
    asked = query("STUDY", StudyInstanceUID=dataset.StudyInstanceUID)

    with associated(node, (STUDY_MOVE, [IMPLICIT]), calling="T02_CT") as association:
        answers = [status for status, _ in association.send_c_move(asked, "T01_PACS", STUDY_MOVE)]

    assert answers[-1].Status == 0
    assert answers[-1].NumberOfCompletedSuboperations == 0
    assert archive == {}


def test_a_destination_that_does_not_answer_is_a_failure_with_names(node):
    dataset = a_ct()
    keep(node, dataset)

    with associated(node, (STUDY_MOVE, [IMPLICIT])) as association:
        asked = query("STUDY", StudyInstanceUID=dataset.StudyInstanceUID)
        answers = list(association.send_c_move(asked, "T01_PACS", STUDY_MOVE))

    status, names = answers[-1]
    assert status.Status == 0xA702
    assert status.NumberOfFailedSuboperations == 1
    assert names.FailedSOPInstanceUIDList == dataset.SOPInstanceUID


def test_a_query_can_be_cancelled(node):
    keep(node, *(a_ct(PatientID=f"P{n}") for n in range(30)))

    with associated(node, (STUDY_FIND, [IMPLICIT])) as association:
        statuses = []
        for status, _ in association.send_c_find(query("STUDY", StudyInstanceUID=""), STUDY_FIND, msg_id=7):
            statuses.append(int(status.Status))
            if len(statuses) == 1:
                association.send_c_cancel(7, query_model=STUDY_FIND)

    assert statuses[-1] in (0xFE00, 0x0000)
    assert statuses[-1] == 0xFE00 or len(statuses) == 31
