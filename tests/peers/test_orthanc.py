"""Orthanc, as townships have it: sends to us, asks us, fetches from us, and is sent to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.node import Node
from tests.dicom_node.devices import a_ct, encoded, part_10
from tests.dicom_node.test_query_retrieve import keep
from tests.dicom_node.test_store import kept_bytes
from tests.peers.orthanc import Orthanc
from tests.peers.real_files import meta_of


@pytest.fixture(scope="module")
def orthanc(node: Node, receiver_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    folder = tmp_path_factory.mktemp("orthanc")
    with Orthanc(folder, dicom_port=receiver_port, centre_port=node.port or 0) as running:
        yield running


def test_it_is_answered_when_it_echoes(orthanc: Orthanc) -> None:
    orthanc.echo()


def test_what_it_sends_is_kept(node: Node, orthanc: Orthanc, tmp_path: Path) -> None:
    dataset = a_ct()
    identifier = orthanc.add(part_10(dataset, tmp_path / "ct.dcm").read_bytes())

    said = orthanc.send(identifier)

    assert said["FailedInstancesCount"] == 0
    sent = orthanc.file(identifier)
    assert kept_bytes(node, dataset.SOPInstanceUID) == sent[meta_of(sent)[1] :]


def test_it_finds_by_chinese_characters_and_fetches_by_c_move(node: Node, orthanc: Orthanc) -> None:
    dataset = a_ct(PatientID="P7001", PatientName="OUYANG^XIU=欧阳^修")
    keep(node, dataset)

    query, answers = orthanc.find("Study", PatientID="P7001", StudyInstanceUID="", PatientName="")
    orthanc.retrieve(query)

    assert [one["StudyInstanceUID"] for one in answers] == [dataset.StudyInstanceUID]
    assert "欧阳" in answers[0]["PatientName"]
    (identifier,) = orthanc.holds(dataset.SOPInstanceUID)
    fetched = orthanc.file(identifier)
    assert fetched[meta_of(fetched)[1] :] == encoded(dataset)
