"""Every picture of the demo is a valid object of its kind, in every character set that the devices use."""

import io
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from center.demo.devices import CHARACTER_SETS
from center.demo.phantoms.repertoire import REPERTOIRE, draw
from tests.center.demo.people import exam
from tests.programs import program

WITH_FINDINGS = {
    "ecg": "inferior-stemi",
    "abdomen-us": "gallstone",
    "mammogram": "mass",
    "brain-mr": "infarct",
    "chest-cr": "bronchitis",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds a thorax of a few slices, so that no test draws all of it."""
    folder = tmp_path_factory.mktemp("phantoms")
    for part, kind in (("hounsfield", np.int16), ("label", np.uint8)):
        np.save(folder / f"thorax-1-{part}.npy", np.zeros((8, 512, 512), kind))
    return folder


def one_of_each_kind(instances: Iterator[Dataset]) -> list[Dataset]:
    """The first instance of each series and SOP class, as it would travel."""
    found: dict[tuple[str, str], Dataset] = {}
    for dataset in instances:
        found.setdefault((dataset.SOPClassUID, dataset.SeriesInstanceUID), dataset)
    return list(found.values())


@pytest.mark.parametrize("phantom", REPERTOIRE)
def test_every_object_satisfies_its_iod(phantom: str, folder: Path, tmp_path: Path) -> None:
    dciodvfy = program("dciodvfy", of="dicom3tools")
    findings = (WITH_FINDINGS[phantom],) if phantom in WITH_FINDINGS else ()

    for dataset in one_of_each_kind(draw(phantom, exam(findings=findings), folder)):
        path = tmp_path / f"{dataset.SOPInstanceUID}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        said = subprocess.run([dciodvfy, str(path)], capture_output=True, text=True, errors="replace").stderr

        assert [line for line in said.splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize("character_set", ["GB18030", *sorted(set(CHARACTER_SETS.values()))])
def test_chinese_names_come_back_from_every_character_set(character_set: str, folder: Path) -> None:
    dataset = next(draw("ecg", exam(character_set=character_set, patient_name="She^Yi=佘^懿"), folder))
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)

    read = dcmread(io.BytesIO(stream.getvalue()))

    assert read.SpecificCharacterSet == character_set
    assert str(read.PatientName) == "She^Yi=佘^懿"
    assert read.InstitutionName == "青石镇卫生院"
    assert read.IssuerOfPatientID == "T01"


def test_pictures_from_packages_carry_nobody_but_the_demos_patient(folder: Path) -> None:
    dataset = next(draw("heart-cine", exam(), folder))

    assert str(dataset.PatientName) == "Wang^Jianguo=王^建国"
    assert dataset.StudyInstanceUID == exam().study_instance_uid
    assert not [element for element in dataset if element.tag.is_private]
    assert dataset.pixel_array.shape[0] == dataset.NumberOfFrames == 120


def test_drawing_an_exam_again_gives_the_same_identity(folder: Path) -> None:
    once, again = (next(draw("abdomen-us", exam(findings=("gallstone",)), folder)) for _ in range(2))

    assert once.SOPInstanceUID == again.SOPInstanceUID
    assert once.PixelData == again.PixelData
