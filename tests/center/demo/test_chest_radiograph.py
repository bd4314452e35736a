"""The chest radiograph: ten million pixels that obey Beer and Lambert."""

from pathlib import Path

import numpy as np
import pytest

from center.demo.phantoms import projection
from center.demo.phantoms.chest_radiograph import chest_radiograph
from center.demo.phantoms.projection import PathLengths
from tests.center.demo.people import exam


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the maps of path lengths are kept between the tests."""
    return tmp_path_factory.mktemp("phantoms")


def at(picture: np.ndarray, x: float, z: float) -> float:
    """Mean of a square centimetre around a point of the patient, in mm."""
    size = picture.shape[0] / projection.ROWS
    row = int((projection.TOP - z) / projection.PIXEL * size)
    column = int((x - projection.LEFT) / projection.PIXEL * size)
    return float(picture[row - 40 : row + 40, column - 40 : column + 40].mean())


def test_the_radiograph_has_ten_million_pixels_of_fourteen_bits(folder: Path) -> None:
    dataset = chest_radiograph(exam(station_ae="T01_DR"), folder)

    picture = dataset.pixel_array

    assert picture.shape == (3520, 2880)
    assert dataset.BitsStored == 14
    assert picture.max() < 1 << 14
    assert len(np.unique(picture)) > 4000
    assert dataset.ImagerPixelSpacing == [0.125, 0.125]
    assert dataset.PresentationIntentType == "FOR PRESENTATION"


def test_lungs_are_darker_than_the_heart_and_air_is_darkest(folder: Path) -> None:
    picture = chest_radiograph(exam(station_ae="T01_DR"), folder).pixel_array

    lung, heart, liver, air = (
        at(picture, -85, 110),
        at(picture, 40, 20),
        at(picture, -70, -60),
        at(picture, -150, 245),
    )

    assert air < lung < heart
    assert lung < liver


def test_lung_weighs_a_fifth_of_tissue_on_the_way_of_the_beam(folder: Path) -> None:
    paths: PathLengths = projection.open_path_lengths(folder, 1)

    row = int((projection.TOP - 110) / projection.PIXEL)
    through_lung = row, int((-85 - projection.LEFT) / projection.PIXEL)
    below = int((projection.TOP + 90) / projection.PIXEL), through_lung[1]

    lung = paths.lung[through_lung]
    assert 80 < lung < 190
    assert paths.soft[through_lung] < paths.soft[below]
    # Chest wall and lung: what remains when the lung's share is taken off is a few centimetres of wall.
    assert 25 < paths.soft[through_lung] - projection.LUNG * lung < 110


def test_pneumonia_is_whiter_than_the_healthy_lung_at_the_same_place(folder: Path) -> None:
    healthy = chest_radiograph(exam(), folder).pixel_array
    ill = chest_radiograph(exam(findings=("pneumonia(x=-80,z=40,size=34)",)), folder).pixel_array

    assert at(ill, -80, 40) > at(healthy, -80, 40) + 600
    assert at(ill, 80, 150) == pytest.approx(at(healthy, 80, 150), abs=150)


def test_the_same_exam_gives_the_same_bytes(folder: Path) -> None:
    once, again = (chest_radiograph(exam(), folder, modality="CR") for _ in range(2))

    assert once.PixelData == again.PixelData
    assert once.SOPInstanceUID == again.SOPInstanceUID
    assert (once.Rows, once.Columns, once.BitsStored) == (1760, 1440, 10)
