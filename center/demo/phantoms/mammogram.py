"""Both breasts in two views each: compressed tissue, ducts and ligaments towards the nipple, the muscle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from center.demo.phantoms.anatomy import smooth_min
from center.demo.phantoms.exam import Exam, code, set_pixels, start_instance
from center.demo.phantoms.noise import textured_noise

Field = NDArray[Any]
MG_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.2"
ROWS, COLUMNS, PIXEL = 2294, 1914, 0.1  # mm
COARSE = 2  # the picture is composed on every second pixel
BITS = 12
# Side and view as PS3.16 CID 4014 says, and the order in which they are hung.
VIEWS = (
    ("R", "CC", code("399162004", "SCT", "cranio-caudal")),
    ("L", "CC", code("399162004", "SCT", "cranio-caudal")),
    ("R", "MLO", code("399368009", "SCT", "medio-lateral oblique")),
    ("L", "MLO", code("399368009", "SCT", "medio-lateral oblique")),
)


def _cloud(random: np.random.Generator, shape: tuple[int, int], power: float) -> Field:
    """Noise whose power falls as 1/f^power, as breast tissue does."""
    white = np.fft.rfft2(random.standard_normal(shape))
    fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
    field = np.fft.irfft2(white / (np.sqrt(fx * fx + fy * fy) + 0.002) ** (power / 2), s=shape)
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)


def _compose(exam: Exam, view: str, seed: int, *, mass: bool) -> Field:
    """The picture (0..1) of a left breast: chest wall at the left edge, nipple to the right."""
    random = np.random.default_rng([exam.seed, 61, seed])
    body = np.random.default_rng([exam.seed, 60])  # the same woman in all four views
    rows, columns = ROWS // COARSE, COLUMNS // COARSE
    step = PIXEL * COARSE
    x = ((np.arange(columns) + 0.5) * step).astype(np.float32)[None, :]
    y = ((np.arange(rows) - rows / 2) * step).astype(np.float32)[:, None]
    size = body.uniform(0.9, 1.12)
    density = body.uniform(0.35, 0.75)
    middle = 6.0 if view == "CC" else 19.0
    reach, half = 96 * size, (82 if view == "CC" else 80) * size
    drop = (y - middle) / half
    edge = reach * np.clip(1 - np.abs(drop) ** (2.3 if view == "CC" else 2.1), 0, None) ** 0.62
    if view == "MLO":
        # Above, the skin runs on over the armpit, which is wider towards the top.
        armpit = (50 + 0.0042 * np.clip(-40 - y, 0, None) ** 2) * size * np.clip((30 - y) / 60, 0, 1)
        edge = np.where(y < 20, -smooth_min(-edge, -armpit, 16), edge)
    nipple = np.hypot(x - reach + 1, (y - middle)) - 6.5
    inside = np.maximum(x - edge, -60.0)
    outline = np.minimum(inside * 0.9, nipple)
    # Compressed flat, round at the rim: the rays there pass through less and less.
    thickness = np.clip(-outline / 14, 0, 1) ** 0.45
    tissue = _cloud(random, (rows, columns), 3.0)
    fine = _cloud(random, (rows, columns), 2.2)
    angle = np.arctan2(y - middle, reach + 6 - x)
    radius = np.hypot(x - reach - 6, y - middle)
    # Ducts and ligaments converge on the nipple: noise drawn out along the rays towards it.
    rays = _polar(random, angle, radius)
    centre = np.exp(-(((x - 46 * size) / (36 * size)) ** 2) - ((y - middle + 8) / (44 * size)) ** 2)
    gland = np.clip(1.5 * centre * (0.55 + density) + 0.42 * tissue + 0.30 * rays - 0.62, 0, 1.3)
    strands = np.clip(1 - np.abs(rays + 0.35 * fine) * 5.5, 0, 1) * np.clip(-outline / 9, 0, 1)
    picture = 0.30 + 0.035 * tissue + 0.44 * np.tanh(gland * 1.2) + 0.05 * fine + 0.05 * strands
    picture = picture * thickness + 0.20 * np.exp(-((outline + 1.1) ** 2) / 0.9)
    picture += 0.20 * np.clip(0.5 - nipple / 1.5, 0, 1) * thickness
    vessel = np.abs(_polar(random, angle * 0.6, radius) - 0.8) * 9
    picture += 0.07 * np.clip(1 - vessel, 0, 1) * thickness
    if view == "MLO":
        muscle = (x / (52 * size)) + (y + rows * step / 2) / (132 * size) - 1
        muscle = muscle + 0.05 * np.sin((y + 60) / 40)
        inner = np.clip(0.5 - muscle * 26, 0, 1) * np.clip(-inside / 3, 0, 1)
        fibres = textured_noise(random, (rows, columns), cutoff=0.03)
        picture += inner * (0.70 + 0.03 * fibres - picture) * 0.86
    if mass:
        picture += _mass(random, x, y, (52 * size, middle - 30 * size)) * thickness
    if random.random() < 0.5:
        spots = random.uniform((20, middle - 45), (80 * size, middle + 45), (5, 2))
        for px, py in spots:
            picture += 0.4 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 0.12) * thickness
    return np.asarray(picture * np.clip(-outline / 0.5 + 0.5, 0, 1))


def _polar(random: np.random.Generator, angle: Field, radius: Field) -> Field:
    """Noise on (angle, distance to the nipple), much longer along the ray than across it."""
    table = _cloud(random, (256, 48), 1.8)
    a = (angle / np.pi * 300) % 256
    r = np.clip(radius / 3.2, 0, 46)
    low, inner = a.astype(int) % 256, r.astype(int)
    fa, fr = a - a.astype(int), r - inner
    one = table[low, inner] * (1 - fr) + table[low, inner + 1] * fr
    two = table[(low + 1) % 256, inner] * (1 - fr) + table[(low + 1) % 256, inner + 1] * fr
    return np.asarray(one * (1 - fa) + two * fa)


def _mass(random: np.random.Generator, x: Field, y: Field, at: tuple[float, float]) -> Field:
    """A dense mass of 15 mm with spicules, and a few fine calcifications in it."""
    dx, dy = x - at[0], y - at[1]
    radius, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    border: Field = np.full_like(radius, 7.2)
    for k in range(2, 7):
        border = border + random.normal(0, 0.55) * np.cos(k * angle + random.uniform(0, 6))
    whole = 0.30 * np.clip(0.5 - (radius - border) / 2.2, 0, 1)
    for _ in range(17):
        way, length = random.uniform(-np.pi, np.pi), random.uniform(9, 19)
        across = np.abs(np.sin(angle - way)) * radius
        along = np.cos(angle - way) * radius
        thin = np.clip(1 - across / 0.45, 0, 1) * np.clip((length - along) / length, 0, 1) * (along > 4)
        whole = np.maximum(whole, 0.19 * thin)
    for _ in range(9):
        px, py = random.normal(0, 3, 2)
        whole = whole + 0.5 * np.exp(-((dx - px) ** 2 + (dy - py) ** 2) / random.uniform(0.02, 0.06))
    return whole


def mammogram(exam: Exam) -> Iterator[Dataset]:
    """RCC, LCC, RMLO, LMLO for presentation (PS3.3 A.27); finding: `mass` in the left breast."""
    for number, (side, view, view_code) in enumerate(VIEWS, 1):
        picture = _compose(exam, view, number, mass="mass" in exam.findings and side == "L")
        if side == "R":
            picture = picture[:, ::-1]
        picture = np.repeat(np.repeat(picture, COARSE, 0), COARSE, 1)
        padded = np.pad(picture, ((1, 0), (1, 0)), mode="edge")
        picture = (padded[1:, 1:] + padded[:-1, 1:] + padded[1:, :-1] + padded[:-1, :-1]) / 4
        random = np.random.default_rng([exam.seed, 62, number])
        grain = textured_noise(random, (512, 512), cutoff=0.3)
        grain = np.tile(grain, (5, 4))[:ROWS, :COLUMNS]
        picture = picture + 0.008 * grain * (picture > 0.02)
        yield _mg_image(exam, picture, number, side, view, view_code)


def _mg_image(exam: Exam, picture: Field, number: int, side: str, view: str, view_code: Dataset) -> Dataset:
    dataset = start_instance(
        exam,
        sop_class_uid=MG_FOR_PRESENTATION,
        modality="MG",
        series=1,
        instance=number,
        series_description="双乳 CC MLO",
        equipment=("Yunling Demo", "MG-FD"),
    )
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.BodyPartExamined = "BREAST"
    dataset.ImageLaterality = side
    dataset.ViewPosition = view
    modified = Dataset()
    modified.update(view_code)
    modified.ViewModifierCodeSequence = Sequence([])
    dataset.ViewCodeSequence = Sequence([modified])
    dataset.AnatomicRegionSequence = Sequence([code("76752008", "SCT", "Breast")])
    dataset.PatientOrientation = ["P" if side == "R" else "A", _DOWN[view, side]]
    dataset.OrganExposed = "BREAST"
    dataset.BreastImplantPresent = "NO"
    dataset.PositionerType = "MAMMOGRAPHIC"
    dataset.PositionerPrimaryAngle = "0" if view == "CC" else ("45" if side == "L" else "-45")
    dataset.KVP, dataset.ExposureInuAs = "28", 68000
    dataset.BodyPartThickness, dataset.CompressionForce = "52", "110"
    dataset.AnodeTargetMaterial, dataset.FilterMaterial = "TUNGSTEN", "RHODIUM"
    dataset.DetectorType, dataset.DetectorConfiguration = "DIRECT", "AREA"
    dataset.DetectorID = "FPD-MG"
    dataset.ImagerPixelSpacing = [f"{PIXEL:g}"] * 2
    dataset.EstimatedRadiographicMagnificationFactor = "1"
    dataset.AcquisitionContextSequence = Sequence([])
    set_pixels(dataset, rows=ROWS, columns=COLUMNS, bits=BITS, photometric="MONOCHROME2")
    dataset.PixelIntensityRelationship, dataset.PixelIntensityRelationshipSign = "LOG", -1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"
    dataset.WindowCenter, dataset.WindowWidth = 2000, 3400
    top = (1 << BITS) - 1
    dataset.PixelData = np.rint(np.clip(picture, 0, 1) * top).astype("<u2").tobytes()
    return dataset


# Where the columns run (PS3.3 C.8.11.7.1): to the outside in CC, to the feet in MLO.
_DOWN = {("CC", "R"): "L", ("CC", "L"): "R", ("MLO", "R"): "FL", ("MLO", "L"): "FR"}
