"""A device against the real node: it finds its order, reports what it does, and everything arrives."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import select

from center import declaration
from center.demo import county
from center.demo.devices import Assignment, DeviceFailed, perform, work
from dicom_node.node import Node, build_node
from storage.database import Database, utc_now
from storage.imaging import Instance, Study
from storage.settings import from_environment
from tests.pairs import Pair
from tests.servers.process import free_port
from worklist.orders import NewOrder, NewPatient, find_by_accession, place_order
from worklist.people import Practitioner, who
from worklist.performed_steps import PerformedProcedureStep


@pytest.fixture
def node(sqlite_pair: Pair, tmp_path: Path) -> Iterator[Node]:
    """The node of the demo county."""
    declaration.apply(sqlite_pair.database, county.text())
    settings = from_environment(
        sqlite_pair.environment, data=str(tmp_path / "data"), dicom_port=str(free_port()), dicom_tls_port="0"
    )
    node = build_node(settings, sqlite_pair.database, sqlite_pair.objects)
    node.start()
    try:
        yield node
    finally:
        node.stop()


def an_order(database: Database, *, username: str, institution: str, modality: str, body_part: str) -> str:
    """The accession number of a new order for 欧阳婧."""
    patient = NewPatient(
        patient_id="100777",
        name="欧阳婧",
        name_phonetic="Ouyang Jing",
        sex="F",
        birth_date=date(1975, 4, 18),
    )
    with database.transaction() as session:
        by = who(session.get_one(Practitioner, username))
        order = place_order(
            session,
            NewOrder(institution=institution, patient=patient, modality=modality, body_part=body_part),
            by=by,
            now=utc_now(),
        )
        return order.accession_number


def an_assignment(node: Node, folder: Path, **words: object) -> Assignment:
    plain = Assignment(
        device="T01_US",
        phantom="abdomen-us",
        accession_number="",
        seed=5,
        host="127.0.0.1",
        port=node.port,
        aet="READINGCENTER",
        folder=str(folder),
    )
    return replace(plain, **words)  # type: ignore[arg-type]


def test_a_device_takes_its_order_from_the_worklist_and_sends_under_it(node: Node, tmp_path: Path) -> None:
    accession = an_order(node.database, username="li", institution="T01", modality="US", body_part="ABDOMEN")

    performed = perform(an_assignment(node, tmp_path, accession_number=accession, findings=("gallstone",)))

    assert performed.instances == 4
    with node.database.reading() as session:
        order = find_by_accession(session, issuer="T01", accession_number=accession)
        assert order is not None
        study = session.scalars(select(Study)).one()
        assert study.study_instance_uid == order.study_instance_uid
        assert study.accession_number == accession
        assert study.patient.name == "Ouyang^Jing=欧阳婧"
        assert study.patient.issuer == "T01"
        step = session.scalars(select(PerformedProcedureStep)).one()
        assert step.state == "COMPLETED"
        kept = set(session.scalars(select(Instance.sop_instance_uid)))
        assert set(step.instance_uids) == kept
        assert len(kept) == 4


def test_a_cart_without_mpps_only_sends(node: Node, tmp_path: Path) -> None:
    accession = an_order(node.database, username="li", institution="T01", modality="ECG", body_part="HEART")

    performed = perform(
        an_assignment(node, tmp_path, device="T01_ECG", phantom="ecg", accession_number=accession)
    )

    assert performed.instances == 1
    with node.database.reading() as session:
        assert session.scalars(select(PerformedProcedureStep)).first() is None
        assert session.scalars(select(Study)).one().accession_number == accession


def test_a_hurried_operator_types_the_patient_and_no_order_is_named(node: Node, tmp_path: Path) -> None:
    typed = {"patient_id": "100777-1", "patient_name": "Ouyang^Jing", "sex": "F", "birth_date": "19750418"}

    perform(an_assignment(node, tmp_path, device="T01_ECG", phantom="ecg", typed=typed))

    with node.database.reading() as session:
        study = session.scalars(select(Study)).one()
        assert study.accession_number in (None, "")
        assert study.patient.name == "Ouyang^Jing"


def test_a_device_sends_as_its_maker_taught_it(node: Node, tmp_path: Path) -> None:
    accession = an_order(node.database, username="deng", institution="T04", modality="CR", body_part="CHEST")

    perform(an_assignment(node, tmp_path, device="T04_CR", phantom="chest-cr", accession_number=accession))

    with node.database.reading() as session:
        instance = session.scalars(select(Instance)).one()
        assert instance.transfer_syntax_uid == "1.2.840.10008.1.2"
        assert session.scalars(select(Study)).one().patient.name == "Ouyang^Jing=欧阳婧"


def test_an_order_of_another_institution_is_not_on_the_worklist(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("center.demo.devices.ATTEMPTS", 1)
    accession = an_order(node.database, username="he", institution="T02", modality="US", body_part="ABDOMEN")

    with pytest.raises(DeviceFailed, match="not on the worklist"):
        perform(an_assignment(node, tmp_path, accession_number=accession))


# A process of its own forks the device: this one has the node's threads, and a fork copies their locks.
_PARENT = """
import sys, time
from center.demo import processes
from center.demo.devices import Assignment, work
device = processes.fork(work, eval(sys.argv[1]))
while not device.has_ended:
    time.sleep(0.05)
print(device.answer())
"""


def test_a_device_is_a_process_that_answers_and_ends(node: Node, tmp_path: Path) -> None:
    accession = an_order(node.database, username="li", institution="T01", modality="ECG", body_part="HEART")
    assignment = an_assignment(node, tmp_path, device="T01_ECG", phantom="ecg", accession_number=accession)

    done = subprocess.run(
        [sys.executable, "-c", _PARENT, repr(assignment)], capture_output=True, text=True, timeout=60
    )

    assert done.stdout.startswith("Performed(instances=1, ")
    assert "failed=None" in done.stdout


def test_a_device_that_cannot_reach_the_centre_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("center.demo.devices.ATTEMPTS", 1)
    nowhere = Assignment("T01_ECG", "ecg", "1", 5, "127.0.0.1", free_port(), "READINGCENTER", str(tmp_path))

    assert work(nowhere).failed == "no association with the centre"
