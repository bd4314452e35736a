"""A head in the magnet: T1, T2, FLAIR and diffusion in axial slices, of one and the same brain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from center.demo.phantoms.anatomy import ellipsoid, smooth_min, tube
from center.demo.phantoms.exam import Exam, set_pixels, start_instance
from center.demo.phantoms.noise import textured_noise

Field = NDArray[Any]
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
SIZE, PIXEL = 320, 0.67  # mm
SLICES, SPACING, LOWEST = 22, 6.0, -52.0  # z = 0 is the level of the basal ganglia
X = ((np.arange(SIZE, dtype=np.float32) - (SIZE - 1) / 2) * PIXEL)[None, :]
Y = ((np.arange(SIZE, dtype=np.float32) - (SIZE - 1) / 2) * PIXEL)[:, None]


@dataclass(frozen=True)
class Weighting:
    """One series: its parameters, and how bright each tissue is (1 is the brightest brain)."""

    number: int
    name: str
    repetition_time: float
    echo_time: float
    inversion_time: float | None
    grey: float
    white: float
    fluid: float
    fat: float
    muscle: float
    infarct: float
    blur: int = 0


WEIGHTINGS = (
    Weighting(2, "T1WI", 480, 9, None, 0.60, 0.84, 0.17, 1.10, 0.50, 0.48),
    Weighting(3, "T2WI", 4200, 98, None, 0.60, 0.44, 1.05, 0.80, 0.24, 0.86),
    Weighting(4, "T2 FLAIR", 8500, 92, 2400, 0.66, 0.54, 0.10, 0.72, 0.28, 0.98),
    Weighting(5, "DWI b=1000", 3600, 84, None, 0.50, 0.44, 0.12, 0.10, 0.10, 1.30, blur=1),
)


def _cover(distance: Field, soft: float = PIXEL) -> Field:
    return np.clip(0.5 - distance / soft, 0, 1)


@dataclass(frozen=True)
class _Slice:
    """How much of each pixel is which tissue; the rest is air or bone."""

    grey: Field
    white: Field
    fluid: Field
    fat: Field
    muscle: Field
    infarct: Field


def _ventricles(z: float) -> Field:
    """Lateral ventricles, third and fourth: signed distance."""
    whole: Any = np.float32(1e3)
    for s in (1, -1):
        horn = ((s * 7, -32, 8, 4.5), (s * 9, -22, 16, 5.5), (s * 10, 0, 24, 5.5), (s * 15, 22, 20, 6.5))
        back = ((s * 15, 22, 20, 6.5), (s * 24, 34, 10, 6), (s * 22, 50, 8, 3))
        temporal = ((s * 24, 34, 10, 5), (s * 32, 20, -12, 3), (s * 30, 2, -22, 2))
        for line in (horn, back, temporal):
            whole = np.minimum(whole, tube(X, Y, np.float32(z) + 0 * Y, line))
    third = ellipsoid(X, Y, z, (0, 2, 0), (2.6, 15, 11))
    fourth = ellipsoid(X, Y, z, (0, 36, -36), (8, 6, 10))
    return np.asarray(np.minimum(np.minimum(whole, third), fourth))


def _slice(z: float, folds: Field, fine: Field, *, infarct: bool) -> _Slice:
    head = ellipsoid(X, Y, z, (0, 2, 4), (77, 96, 92))
    if z < -10:
        head = smooth_min(head, ellipsoid(X, Y, z, (0, -18, -60), (66, 74, 60)), 20)
    skull = head + 6.5 + 0.02 * np.abs(Y)
    inner = skull + 5.5 + 0.6 * folds
    cerebrum = np.maximum(inner + 2.0, -(z + 36 - 0.30 * Y) * 0.8)  # above the tentorium and the skull base
    cerebellum = smooth_min(
        ellipsoid(X, Y, z, (24, 47, -40), (34, 32, 27)), ellipsoid(X, Y, z, (-24, 47, -40), (34, 32, 27)), 10
    )
    cerebellum = np.maximum(cerebellum, inner + 2)
    stem = ellipsoid(X, Y, z, (0, 20, -40), (15, 13, 40))
    depth = -cerebrum
    gap = np.abs(X - 1.2 * folds)  # the longitudinal fissure
    midline = np.where((Y < -26) | (Y > 42) | (z > 34), gap, 99)
    sylvius = np.where((z < 14) & (z > -22), np.abs(Y + 14 - 0.25 * z + 3 * folds) * 0.7, 99)
    sylvius = np.where((np.abs(X) > 34) & (np.abs(X) < 66), sylvius, 99)
    # The zero lines of a smooth field wander like sulci; near the surface they are open, deeper they close.
    crease = np.minimum(np.abs(folds) * 5.2, np.minimum(midline, sylvius))
    reach = np.clip((26 - depth) / 26, 0, 1)
    open_water = _cover(crease - 1.5 * reach + 0.25, 1.0) * (reach > 0)
    ribbon = 4.4 * np.clip((34 - depth) / 16, 0, 1) - 0.5  # the cortex ends at the floor of its sulcus
    cortex = np.minimum(np.minimum(crease - ribbon, depth - 4.2), midline - 3.5)
    nuclei: Any = np.float32(1e3)
    for s in (1, -1):
        for centre, radii, turn in (
            ((s * 14, -18, 10), (6, 11, 10), s * 12),
            ((s * 25, -4, 2), (6, 17, 13), s * 16),
            ((s * 11, 12, 4), (9, 14, 11), s * 22),
        ):
            nuclei = np.minimum(nuclei, ellipsoid(X, Y, z, centre, radii, turn))
    inside = _cover(cerebrum)
    ventricle = _cover(_ventricles(z), 1.2)
    grey = np.maximum(_cover(cortex, 1.2), 0.9 * _cover(np.asarray(nuclei), 2.0)) * inside
    water = np.maximum(open_water * inside, ventricle * _cover(np.minimum(cerebrum, stem) + 1))
    leaves = 0.5 + 0.5 * np.sin((np.sqrt(X * X * 0.4 + (Y - 38) ** 2) + 1.5 * fine) * 2.1)
    small_brain = _cover(cerebellum) * (1 - inside)
    trunk = _cover(stem) * (1 - inside) * (1 - small_brain)
    grey = grey + small_brain * np.clip(leaves * 1.2, 0, 1)
    white = inside * (1 - np.clip(grey, 0, 1)) + small_brain * (1 - np.clip(leaves * 1.2, 0, 1)) + trunk
    # Around the brain runs water; what is further from it, at the base, is bone.
    near = _cover(np.minimum(np.minimum(cerebrum, cerebellum), stem) - 3.0, 2.0)
    fluid = np.maximum(water, _cover(inner) * near * (1 - inside) * (1 - small_brain) * (1 - trunk))
    grey, white = grey * (1 - water), np.clip(white, 0, 1) * (1 - water)
    fat = _cover(head) * (1 - _cover(skull - 1)) * 0.95
    marrow = _cover(skull + 1.6, 1.5) * (1 - _cover(inner - 1.6, 1.5)) * 0.35
    muscle = np.zeros_like(fat)
    if z < -20:
        neck = ellipsoid(X, Y, z, (0, 78, -60), (52, 22, 36))
        face = ellipsoid(X, Y, z, (0, -52, -56), (50, 34, 34))
        muscle = np.maximum(_cover(neck), _cover(face)) * _cover(head + 5) * (1 - np.clip(grey + white, 0, 1))
        fat = fat * (1 - muscle) + 0.3 * muscle * (fine > 0.4)
        for s in (1, -1):
            eye = _cover(ellipsoid(X, Y, z, (s * 31, -68, -34), (12, 12, 12)))
            fluid, muscle, fat = np.maximum(fluid, eye), muscle * (1 - eye), fat * (1 - eye)
    core = np.zeros_like(fat)
    if infarct:
        core = ellipsoid(X, Y, z, (27, 6, 16), (11, 19, 15), 14) + 2.2 * fine
        core = _cover(core, 3) * np.clip(grey + white, 0, 1)
    return _Slice(grey, white, fluid, np.maximum(fat, marrow), muscle, core)


def brain(exam: Exam, folder: Path) -> Iterator[Dataset]:
    """The series of WEIGHTINGS as MR Image objects (PS3.3 A.4), 22 slices each; finding: `infarct`."""
    random = np.random.default_rng([exam.seed, 71])
    low = textured_noise(random, (24, SIZE, SIZE), cutoff=0.03)
    fine = textured_noise(random, (SIZE, SIZE), cutoff=0.05)
    bias = 1 + 0.10 * textured_noise(random, (SIZE, SIZE), cutoff=0.003)
    slices = [
        _slice(LOWEST + SPACING * k, low[k % 24], fine, infarct="infarct" in exam.findings)
        for k in range(SLICES)
    ]
    for weighting in WEIGHTINGS:
        for k, tissue in enumerate(slices):
            picture = (
                tissue.grey * weighting.grey
                + tissue.white * weighting.white
                + tissue.fluid * weighting.fluid
                + tissue.fat * weighting.fat
                + tissue.muscle * weighting.muscle
            )
            picture += tissue.infarct * (weighting.infarct - picture)
            for _ in range(2 * weighting.blur):
                picture = (picture + np.roll(picture, 1, 0) + np.roll(picture, 1, 1)) / 3
            picture = picture * bias
            # The magnitude of a complex signal: noise that is never negative (Rice).
            noise = random.normal(0, 0.018, (2, SIZE, SIZE))
            picture = np.hypot(picture + noise[0], noise[1])
            yield _mr_image(exam, picture, weighting, k)


def _mr_image(exam: Exam, picture: Field, weighting: Weighting, k: int) -> Dataset:
    dataset = start_instance(
        exam,
        sop_class_uid=MR_IMAGE,
        modality="MR",
        series=weighting.number,
        instance=k + 1,
        series_description=f"颅脑轴位 {weighting.name}",
        equipment=("Yunling Demo", "MR-15T"),
        protocol="Brain routine",
    )
    z = LOWEST + SPACING * k
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    dataset.BodyPartExamined = "BRAIN"
    dataset.PatientPosition = "HFS"
    dataset.ScanningSequence = ["SE", "IR"] if weighting.inversion_time else ["SE"]
    dataset.SequenceVariant = "SK"
    dataset.ScanOptions = ""
    dataset.MRAcquisitionType = "2D"
    dataset.SequenceName = weighting.name.replace(" ", "_").replace("=", "")[:16]
    dataset.RepetitionTime, dataset.EchoTime = f"{weighting.repetition_time:g}", f"{weighting.echo_time:g}"
    if weighting.inversion_time:
        dataset.InversionTime = f"{weighting.inversion_time:g}"
    dataset.EchoTrainLength = 16 if weighting.repetition_time > 1000 else 1
    dataset.MagneticFieldStrength = "1.5"
    dataset.FlipAngle = "90"
    dataset.SliceThickness, dataset.SpacingBetweenSlices = "5", f"{SPACING:g}"
    dataset.AcquisitionNumber = 1
    # One frame of reference for the whole exam: the series can be compared slice by slice.
    dataset.FrameOfReferenceUID = f"{exam.study_instance_uid}.9"[:64].rstrip(".")
    dataset.PositionReferenceIndicator = ""
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    edge = float(X[0, 0])
    dataset.ImagePositionPatient = [f"{edge:.3f}", f"{edge:.3f}", f"{z:.3f}"]
    dataset.SliceLocation = f"{z:.3f}"
    dataset.PixelSpacing = [f"{PIXEL:g}"] * 2
    set_pixels(dataset, rows=SIZE, columns=SIZE, bits=12, photometric="MONOCHROME2")
    cells = np.clip(np.rint(picture * 1400), 0, 4095).astype("<u2")
    dataset.WindowCenter, dataset.WindowWidth = 760, 1500
    dataset.PixelData = cells.tobytes()
    return dataset
