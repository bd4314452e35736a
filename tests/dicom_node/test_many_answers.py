"""Answers by the thousand: in pages, in pieces, until the peer has heard enough."""

import time
from datetime import date

import pytest
from sqlalchemy import insert

from storage import answers
from storage.database import utc_now
from storage.imaging import Patient, Series, Study
from tests.dicom_node.devices import associated, dcmtk, encoded
from tests.dicom_node.test_query_retrieve import EXPLICIT, IMPLICIT, STUDY_FIND, found, query
from tests.dicom_node.test_storage_association import Peer, _request
from tests.fuzzing.conversations import command

CANCEL = (  # C-CANCEL-RQ of the message 7
    b"\0\0\0\0\4\0\0\0\x1e\0\0\0\0\0\0\1\2\0\0\0\xff\x0f\0\0\x20\1\2\0\0\0\7\0\0\0\0\x08\2\0\0\0\1\1"
)


def a_county_of(database, number):
    """So many studies of one patient of Qingshi, the first of them the oldest."""
    now = utc_now()
    with database.transaction() as session:
        patient = Patient(issuer="T01", patient_id="P001", name="WANG^WU=王^五", sex="M", created_at=now)
        session.add(patient)
        session.flush()
        told = {
            "patient_pk": patient.id,
            "institution_code": "T01",
            "study_date": date(2026, 11, 22),
            "modality": "CT",
            "study_description": "胸部CT平扫",
            "first_instance_at": now,
            "last_instance_at": now,
        }
        numbers = range(1, number + 1)
        session.execute(
            insert(Study), [{"id": one, "study_instance_uid": f"1.2.{one}", **told} for one in numbers]
        )
        of_series = {"modality": "CT", "number_of_instances": 7}
        session.execute(
            insert(Series),
            [{"study_pk": one, "series_instance_uid": f"1.3.{one}", **of_series} for one in numbers],
        )


@pytest.mark.parametrize("page", [1, 2, 3, 500])
def test_pages_leave_nothing_out_and_say_nothing_twice(node_on_each, monkeypatch, page):
    a_county_of(node_on_each.database, 5)
    monkeypatch.setattr(answers, "PAGE", page)

    studies, status = found(
        node_on_each, query("STUDY", StudyInstanceUID="", NumberOfStudyRelatedInstances="", PatientName="")
    )

    assert [study.StudyInstanceUID for study in studies] == [f"1.2.{one}" for one in (5, 4, 3, 2, 1)]
    assert {study.NumberOfStudyRelatedInstances for study in studies} == {7}
    assert status == 0


def test_a_peer_with_small_pdus_gets_every_answer_whole(node):
    a_county_of(node.database, 300)
    asked = query("STUDY", StudyInstanceUID="", PatientName="", StudyDescription="")
    asked.SpecificCharacterSet = "ISO_IR 192"

    with associated(node, (STUDY_FIND, [IMPLICIT]), max_pdu=64) as association:
        told = [answer for _, answer in association.send_c_find(asked, STUDY_FIND) if answer is not None]

    assert {study.StudyInstanceUID for study in told} == {f"1.2.{one}" for one in range(1, 301)}
    assert {(str(study.PatientName), study.StudyDescription) for study in told} == {
        ("WANG^WU=王^五", "胸部CT平扫")
    }


def test_a_peer_that_has_heard_enough_is_told_no_more(node):
    a_county_of(node.database, 10_000)
    heard, last = 0, None

    with associated(node, (STUDY_FIND, [IMPLICIT])) as association:
        for status, answer in association.send_c_find(
            query("STUDY", StudyInstanceUID=""), STUDY_FIND, msg_id=7
        ):
            last = status.Status
            heard += answer is not None
            if heard == 1:
                association.send_c_cancel(7, None, STUDY_FIND)
        again = [
            one.Status
            for one, _ in association.send_c_find(query("STUDY", StudyInstanceUID="1.2.3"), STUDY_FIND)
        ]

    assert last == 0xFE00
    assert heard < 10_000
    assert again == [0xFF00, 0x0000]


def test_findscu_that_cancels_is_told_so_before_the_end(node_on_each):
    a_county_of(node_on_each.database, 10_000)
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID="]

    status, said = dcmtk("findscu", "-v", "-S", "--cancel", "3", *keys, node=node_on_each)

    assert status == 0, said
    assert "Received Final Find Response (Cancel" in said
    assert said.count("Find Response: ") < 2_000


def test_a_slow_peer_that_cancels_has_little_left_to_read(node):
    a_county_of(node.database, 20_000)
    peer = Peer(node, _request({1: (STUDY_FIND, [EXPLICIT])}))

    peer.send((1, 3, command(STUDY_FIND, 0x0020)))
    peer.send((1, 2, encoded(query("STUDY", StudyInstanceUID="", PatientName="", StudyDescription=""))))
    time.sleep(1.5)  # it reads nothing, and all that fits is under way
    peer.send((1, 3, CANCEL))
    statuses = []
    while not statuses or statuses[-1] == 0xFF00:
        statuses.append(peer.status())
        if statuses[-1] == 0xFF00:
            peer.pdu()
    peer.send((1, 3, command(STUDY_FIND, 0x0020)))
    peer.send((1, 2, encoded(query("STUDY", StudyInstanceUID="1.2.3"))))
    again = peer.status()
    peer.socket.close()

    assert statuses[-1] == 0xFE00
    assert len(statuses) < 3_000
    assert again == 0xFF00


def test_a_peer_that_goes_away_in_the_middle_leaves_the_node_as_it_was(node):
    a_county_of(node.database, 10_000)

    with associated(node, (STUDY_FIND, [IMPLICIT])) as association:
        for _ in association.send_c_find(query("STUDY", StudyInstanceUID=""), STUDY_FIND):
            association.abort()
            break
    studies, status = found(node, query("STUDY", StudyInstanceUID="1.2.3"))

    assert ([study.StudyInstanceUID for study in studies], status) == (["1.2.3"], 0)
