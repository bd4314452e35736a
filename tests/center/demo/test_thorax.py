"""The thorax phantom: tissues have their Hounsfield units, and findings are where they were asked for."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from center.demo.phantoms import thorax as phantom
from center.demo.phantoms.thorax import Volume, build_volume, thorax, voxel
from tests.center.demo.people import exam

HEIGHTS = (-60.0, 30.0, 60.0, 132.0)


@pytest.fixture(scope="module")
def slices() -> Iterator[dict[float, np.ndarray]]:
    """Four slices: upper abdomen, heart, hilum, aortic arch."""
    numbers = [voxel(0, 0, z)[0] for z in HEIGHTS]
    yield {
        z: build_volume(2, slices=range(number, number + 1)).hounsfield[0]
        for z, number in zip(HEIGHTS, numbers, strict=True)
    }


def mean_at(picture: np.ndarray, x: float, y: float, *, reach: int = 3) -> float:
    """Mean Hounsfield units in a square around a point given in mm."""
    _, row, column = voxel(x, y, 0)
    return float(picture[row - reach : row + reach + 1, column - reach : column + reach + 1].mean())


@pytest.mark.parametrize(
    ("tissue", "z", "x", "y", "low", "high"),
    [
        ("air outside", 60, -190, -180, -1000, -1000),
        ("right lung", 60, -85, 0, -930, -700),
        ("left lung", 60, 95, 20, -930, -700),
        ("heart", 30, 35, -20, 35, 50),
        ("blood in the descending aorta", 60, 26, 45, 30, 50),
        ("air in the trachea", 132, -1, 23, -1000, -900),
        ("liver", -60, -70, 10, 50, 70),
        ("spleen", -60, 100, 40, 40, 60),
        ("air in the stomach", -60, 66, -30, -1000, -950),
        ("muscle beside the spine", 30, 30, 88, 35, 60),
    ],
)
def test_each_tissue_has_its_hounsfield_units(
    slices: dict[float, np.ndarray], tissue: str, z: float, x: float, y: float, low: float, high: float
) -> None:
    assert low <= mean_at(slices[z], x, y) <= high, tissue


def test_bone_is_cortical_outside_and_spongy_inside(slices: dict[float, np.ndarray]) -> None:
    _, row, column = voxel(0, 50, 0)
    vertebra = slices[30.0][row - 22 : row + 22, column - 25 : column + 25]

    assert vertebra.max() > 450
    assert 120 < mean_at(slices[30.0], 0, 50) < 320
    assert slices[30.0].max() > 850


def test_subcutaneous_fat_surrounds_the_body(slices: dict[float, np.ndarray]) -> None:
    picture = slices[60.0]
    row = voxel(0, 5, 0)[1]
    inside = np.flatnonzero(picture[row] > -300)

    under_the_skin = picture[row, inside[0] + 5 : inside[0] + 9]

    assert -125 < under_the_skin.mean() < -75


def test_the_same_seed_gives_the_same_thorax_and_another_seed_another() -> None:
    middle = range(90, 91)

    one, same, other = (build_volume(seed, slices=middle).hounsfield for seed in (1, 1, 2))

    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_nodule_stands_in_the_lung_where_it_was_asked_for() -> None:
    number = voxel(0, 0, 132)[0]
    full = Volume(
        np.full((phantom.SLICES, 512, 512), -870, np.int16), np.ones((phantom.SLICES, 512, 512), np.uint8)
    )
    wanted = exam(findings=("nodule(x=-78,y=12,z=132,diameter=18)",))

    pictures = {k: picture for k, picture in phantom.noisy_slices(full, wanted) if k == number}

    assert 0 < mean_at(pictures[number], -78, 12) < 60
    assert mean_at(pictures[number], -78, 40) < -800


def test_an_unknown_finding_is_refused() -> None:
    full = Volume(np.zeros((2, 512, 512), np.int16), np.zeros((2, 512, 512), np.uint8))

    with pytest.raises(ValueError, match="no such finding"):
        list(phantom.noisy_slices(full, exam(findings=("broken heart",))))


def test_the_series_is_cut_evenly_from_head_to_feet(tmp_path: Path) -> None:
    for part, kind in (("hounsfield", np.int16), ("label", np.uint8)):
        np.save(tmp_path / f"thorax-1-{part}.npy", np.zeros((8, 512, 512), kind))

    series = list(thorax(exam(), tmp_path))

    heights = [float(one.ImagePositionPatient[2]) for one in series]
    steps = np.diff(heights)
    assert [one.InstanceNumber for one in series] == list(range(1, 9))
    assert np.allclose(steps, -float(series[0].SpacingBetweenSlices), atol=0.002)
    assert len({one.SOPInstanceUID for one in series}) == 8
    assert len({one.SeriesInstanceUID for one in series}) == 1
    assert series[0].pixel_array.shape == (512, 512)
    assert {str(one.PatientName.ideographic) for one in series} == {"王^建国"}
