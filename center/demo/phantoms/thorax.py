"""A thorax as CT sees it: 200 × 512 × 512 voxels in Hounsfield units, and the series of slices."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from center.demo.phantoms import anatomy, skeleton
from center.demo.phantoms.bronchovascular_tree import Tree, grow_trees
from center.demo.phantoms.chest_findings import add_finding
from center.demo.phantoms.exam import Exam, set_pixels, start_instance
from center.demo.phantoms.noise import textured_noise

Field = NDArray[Any]
SLICES, SIZE = 200, 512
PIXEL, SPACING = 0.78, 1.5  # mm
LOWEST = -75.0  # z of slice 0; slices are counted from the feet
ORIGIN = (-0.5 * (SIZE - 1) * PIXEL, 8 - 0.5 * (SIZE - 1) * PIXEL)
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
OUTSIDE, RIGHT_LUNG, LEFT_LUNG = 0, 1, 2
# Only these rows ever hold the body; what is above and below is air and the couch.
BAND = slice(92, 416)
ROWS = BAND.stop - BAND.start
TOP = (ORIGIN[0], ORIGIN[1] + BAND.start * PIXEL)
X = (TOP[0] + PIXEL * np.arange(SIZE, dtype=np.float32))[None, :]
Y = (TOP[1] + PIXEL * np.arange(ROWS, dtype=np.float32))[:, None]
# Every second pixel: signed distances are so smooth that what lies between them is their mean.
COARSE_X = (TOP[0] + 2 * PIXEL * np.arange(SIZE // 2 + 1, dtype=np.float32))[None, :]
COARSE_Y = (TOP[1] + 2 * PIXEL * np.arange(ROWS // 2 + 1, dtype=np.float32))[:, None]

# Hounsfield units of what the body is made of.
AIR, LUNG, FAT, MUSCLE, BLOOD, LIVER, SPLEEN, SKIN = -1000, -868, -100, 50, 40, 60, 50, 20
SPONGY, CORTICAL, CARTILAGE, DISC, CORD = 210, 1000, 120, 75, 35


@dataclass(frozen=True)
class Volume:
    """`hounsfield`: int16, slices × rows × columns, without noise; `label`: uint8, which lung."""

    hounsfield: NDArray[np.int16]
    label: NDArray[np.uint8]


def voxel(x: float, y: float, z: float) -> tuple[int, int, int]:
    """The slice, row and column at a point in mm."""
    return round((z - LOWEST) / SPACING), round((y - ORIGIN[1]) / PIXEL), round((x - ORIGIN[0]) / PIXEL)


def _finer(coarse: Field) -> Field:
    coarse = np.broadcast_to(coarse, (ROWS // 2 + 1, SIZE // 2 + 1))
    rows = np.empty((ROWS, SIZE // 2 + 1), dtype=np.float32)
    rows[0::2], rows[1::2] = coarse[:-1], (coarse[:-1] + coarse[1:]) / 2
    whole = np.empty((ROWS, SIZE), dtype=np.float32)
    whole[:, 0::2], whole[:, 1::2] = rows[:, :-1], (rows[:, :-1] + rows[:, 1:]) / 2
    return whole


def _cover(distance: Field, soft: float = PIXEL) -> Field:
    """How much of each pixel a shape covers: the partial volume at its edge."""
    return np.clip(0.5 - distance / soft, 0, 1)


def _fill(image: Field, cover: Field, hounsfield: Any) -> None:
    change = np.asarray(hounsfield - image)
    change *= cover
    image += change


@dataclass(frozen=True)
class _Body:
    """What all slices share."""

    vessels: Tree
    bronchi: Tree
    bones: skeleton.Cloud
    blades: skeleton.Cloud
    cartilage: skeleton.Cloud
    couch: NDArray[np.int16]
    clouds: tuple[Field, Field, Field, Field]


def _couch() -> NDArray[np.int16]:
    """Air, and the shallow carbon shell on which the patient lies."""
    y = (ORIGIN[1] + PIXEL * np.arange(SIZE, dtype=np.float32))[:, None]
    shell = np.abs(np.sqrt(X * X + (y + 363) ** 2) - 500)
    couch = AIR + 360 * _cover(shell - 1.2) * (np.abs(X) < 195)
    return np.asarray(np.rint(couch), dtype=np.int16)


def _shared(seed: int) -> _Body:
    vessels, bronchi = grow_trees(seed)
    random = np.random.default_rng([seed, 12])
    a, b = (textured_noise(random, (SIZE, SIZE), cutoff=0.012)[BAND] for _ in range(2))
    c, d = (textured_noise(random, (SIZE, SIZE), cutoff=0.06)[BAND] for _ in range(2))
    return _Body(
        vessels,
        bronchi,
        skeleton.ribs(),
        skeleton.shoulders(),
        skeleton.cartilages(),
        _couch(),
        (a, b, c, d),
    )


def _paint(cloud: skeleton.Cloud, z: float, reach: int) -> Field:
    return skeleton.paint(cloud, z, shape=(ROWS, SIZE), origin=TOP, pixel=PIXEL, reach=reach)


def _paint_tree(tree: Tree, z: float, wall: float = 0.0) -> Field:
    radius = tree.radius + wall
    return skeleton.paint_balls(tree.centre, radius, z, shape=(ROWS, SIZE), origin=TOP, pixel=PIXEL)


def _vertebra(image: Field, z: float, cloud: Field) -> None:
    """Body with its end plates, disc, canal with the cord, and the processes behind, into the image."""
    rows, columns = slice(*_span(28, 114, TOP[1])), slice(*_span(-48, 48, TOP[0]))
    x, y = X[:, columns], Y[rows]
    part = image[rows, columns]
    y0 = anatomy.SPINE_Y
    pitch = skeleton.VERTEBRA_PITCH
    t = (z - skeleton.FIRST_VERTEBRA + pitch / 2) % pitch - pitch / 2
    size = float(np.interp(z, (-75, 215), (1.12, 0.82)))
    waist = size * (1 - 0.07 * (1 - (t / 9) ** 2))
    ratio = (np.abs(x) / (17.5 * waist)) ** 2.6 + (np.abs(y - y0) / (14 * waist)) ** 2.4
    body = (np.maximum(ratio, 1e-4) ** (1 / 2.5) - 1) * 14
    body = np.maximum(body, 0.9 * (11 - np.sqrt((x / 1) ** 2 + (y - y0 - 25) ** 2)))
    plate = abs(t) - (8.9 + 0.004 * (x * x + (y - y0) ** 2))
    _fill(part, _cover(body + 0.5), DISC)
    bone = np.maximum(body, plate)
    posterior: Any = np.float32(1e3)
    for shift in (0.0, pitch, -pitch):
        h = t - shift
        if abs(h) > 26:
            continue
        processes: list[Any] = [((0, y0 + 36, -3, 3.4), (0, y0 + 52, -17, 3.0), (0, y0 + 56, -21, 3.8))]
        for s in (1, -1):
            processes.append(((s * 12, y0 + 8, 4, 4.2), (s * 13, y0 + 22, 4, 4.0)))
            processes.append(((s * 13, y0 + 22, 2, 4.2), (s * 8, y0 + 33, -4, 3.2), (0, y0 + 37, -4, 3.4)))
            processes.append(((s * 14, y0 + 22, 2, 4.0), (s * 33, y0 + 31, 3, 4.6)))
            processes.append(((s * 14, y0 + 25, 11, 3.6), (s * 14, y0 + 28, -12, 3.6)))
        for line in processes:
            posterior = np.minimum(posterior, anatomy.tube(x, y, np.float32(h) + 0 * y, line))
    canal = np.sqrt(x * x + (y - y0 - 24.5) ** 2)
    _fill(part, _cover(canal - 9.5), -40)
    _fill(part, _cover(canal - 7.6), 12)
    _fill(part, _cover(canal - 4.6), CORD)
    posterior = np.maximum(posterior, 9 - canal)
    bone = np.minimum(bone, posterior)
    marrow = SPONGY + 45 * cloud[rows, columns]
    _fill(part, _cover(bone), CORTICAL * 0.62)
    _fill(part, _cover(bone + 1.1), marrow)


def _span(low: float, high: float, origin: float) -> tuple[int, int]:
    return max(0, round((low - origin) / PIXEL)), min(SIZE, round((high - origin) / PIXEL))


def _sternum(image: Field, z: float, cloud: Field) -> None:
    """Manubrium, body and xiphoid, in front of the cage."""
    if not 34 < z < 188:
        return
    half = float(np.interp(z, (34, 48, 60, 136, 143, 150, 178, 188), (5, 12, 18, 16, 20, 25, 31, 24)))
    middle = float(anatomy.cage_front(z)) - 8.5
    rows, columns = slice(*_span(middle - 14, middle + 14, TOP[1])), slice(*_span(-44, 44, TOP[0]))
    x, y = X[:, columns], Y[rows] - middle
    across = np.maximum(np.abs(x) - half + 4, 0)
    distance = np.sqrt(across**2 + np.maximum(np.abs(y + 0.004 * x * x) - 1.6, 0) ** 2) - 4
    part = image[rows, columns]
    _fill(part, _cover(distance), 520)
    _fill(part, _cover(distance + 1.2), 130 + 35 * cloud[rows, columns])


def _abdomen(image: Field, z: float, inside: Field, clouds: tuple[Field, ...]) -> None:
    """Liver with its veins, stomach with its bubble, spleen: what lies under the diaphragm."""
    x, y = X, Y
    wall = np.minimum(inside, 0) + 1.8
    hepatic = np.maximum(wall, (x - 20 + 0.5 * (y + 10) - 7 * np.sin(y / 17)) * 0.75)
    # The left lobe reaches over the stomach in front.
    hepatic = np.minimum(hepatic, np.maximum(wall, np.maximum(x - 62, y + 34 + 0.25 * x)))
    hepatic = np.maximum(hepatic, 30 - np.sqrt(x * x + (y - anatomy.SPINE_Y - 6) ** 2))
    _fill(image, _cover(hepatic), LIVER + 3 * clouds[2])
    for line in (
        ((-24, 12, -40, 5), (-50, 0, -25, 4), (-84, -12, -10, 2.5)),
        ((-24, 10, -34, 4.5), (-34, -28, -26, 3.5), (-30, -58, -20, 2)),
        ((-26, 14, -44, 4), (-70, 32, -48, 3.5), (-104, 40, -46, 2)),
        ((-10, -10, -70, 6), (-40, -8, -66, 5), (-74, 6, -62, 3.5), (-98, 12, -50, 2)),
    ):
        _fill(image, _cover(np.maximum(anatomy.tube(x, y, z, line), hepatic), 1.6), BLOOD)
    if z < 8:
        stomach = anatomy.ellipsoid(x, y, z, (66, -6, -48), (42, 44, 44), 20, 10)
        stomach = np.maximum(stomach, inside + 4)
        stomach = np.maximum(stomach, 3 - hepatic)
        _fill(image, _cover(stomach), MUSCLE - 5)
        _fill(image, _cover(stomach + 4), 12 + 22 * clouds[2])
        _fill(image, _cover(np.maximum(stomach + 4, y + 14)), AIR + 10)
        spleen = anatomy.ellipsoid(x, y, z, (97, 40, -52), (26, 38, 46), -35, 0)
        spleen = np.maximum(spleen, np.maximum(inside + 3, 3 - stomach))
        _fill(image, _cover(spleen), SPLEEN + 2 * clouds[2])


def slice_at(z: float, body: _Body) -> tuple[Field, Field]:
    """Hounsfield units (float32) and the lung label of the slice at a height, in the rows of BAND."""
    a, b, c, d = body.clouds
    turn = z / 45
    slow = np.cos(turn) * a + np.sin(turn) * b  # clouds that change along z, but slowly
    grain = np.cos(z / 4.5) * c + np.sin(z / 4.5) * d
    gx, gy = COARSE_X, COARSE_Y
    outer = _finer(anatomy.skin(gx, gy, z))
    coarse_cage = anatomy.cage(gx, gy, z)
    coarse_heart, coarse_vessels = anatomy.heart(gx, gy, z), anatomy.great_vessels(gx, gy, z)
    coarse_middle = anatomy.mediastinum(gx, gy, z, coarse_heart, coarse_vessels)
    inside = _finer(coarse_cage)
    lung = _finer(anatomy.lungs_between(gx, gy, z, coarse_cage, coarse_middle))
    vessels = _finer(coarse_vessels)

    image = body.couch[BAND].astype(np.float32)
    _fill(image, _cover(outer), SKIN)
    _fill(image, _cover(outer + 1.8), FAT + 4 * grain)
    # Muscle under a coat of fat that is thicker at the side, with the fasciae between its layers.
    coat = 8 + 5 * np.clip(np.abs(X) / 150, 0, 1) ** 2 + 2.5 * slow
    muscle = outer + np.clip(coat, 4, 20)
    _fill(image, _cover(muscle, 2.0), MUSCLE + 4 * grain)
    # One plane of fat under the outer muscles, another where there are shoulders; thin, and not everywhere.
    wide = np.where(np.abs(X) + 0 * Y > 45, 1.0, 0.35)
    for level, wave in ((13.0, 4.0), (31.0, 9.0), (58.0, 12.0)):
        plane = np.abs(inside - level - wave * slow - 0.05 * level * np.sin(Y / 21))
        thick = 0.9 + 0.8 * np.clip(b + 0.4 * d, -1, 1.5)
        _fill(image, _cover(np.maximum(plane - thick, muscle + 1), 1.8) * wide, FAT)
    streak = np.abs(slow + 0.5 * grain) * 9
    _fill(image, _cover(np.maximum(streak - 0.3, muscle + 2), 1.8) * (inside > 5) * 0.5, FAT)
    arms = np.sqrt(((np.abs(X) - 122) / 26) ** 2 + ((Y + 8) / 34) ** 2 + ((z - 172) / 42) ** 2)
    _fill(image, _cover(np.maximum((arms - 1) * 24, 6 - inside), 4.0), FAT + 6 * grain)

    _fill(image, _cover(inside), MUSCLE)
    _fill(image, _cover(inside + 1.2), FAT + 8 * grain)
    _fill(image, _cover(_finer(anatomy.spine_block(gx, gy, z)) + 0.5), MUSCLE - 4 + 5 * grain)
    if z < 16:
        below = (z - anatomy.diaphragm(X, Y)) * 0.7
        under = np.maximum(inside, below)
        _fill(image, _cover(np.maximum(under, -3.2 - under)), MUSCLE)
        cavity = np.maximum(inside + 2.5, below + 3.0)
        covered = _cover(cavity)
        belly = image.copy()
        _abdomen(belly, z, np.maximum(inside, below), body.clouds)
        _fill(image, covered, belly)
    muscle_of_heart = _finer(coarse_heart)
    _fill(image, _cover(muscle_of_heart), 46 + 2 * grain)
    _fill(image, _cover(muscle_of_heart + 9, 4.0), BLOOD + 2 * grain)
    _fill(image, _cover(vessels), BLOOD + 2 * grain)
    gullet = _finer(anatomy.tube(gx, gy, z, anatomy.OESOPHAGUS))
    _fill(image, _cover(gullet), MUSCLE - 8)
    if np.sin(z / 7) > 0.8:
        _fill(image, _cover(gullet + 4.6, 1.6), -450)

    airway = _finer(anatomy.airways(gx, gy, z))
    parenchyma = LUNG + 0.34 * (Y - 5) + 16 * slow + 9 * grain
    fissure = np.abs(z - (66 + 1.15 * Y + 7 * np.sin(X / 27))) / 1.52
    minor = np.abs(z - (64 - 0.0012 * (X + 60) ** 2 - 0.06 * (Y + 10)))
    minor = np.where((X < -20) & (z - 66 > 1.15 * Y), minor, 9)
    parenchyma = parenchyma + 120 * _cover(np.minimum(fissure, minor) - 0.5, 1.4)
    coverage = _cover(lung)
    _fill(image, coverage, parenchyma)
    beside_heart = muscle_of_heart > 4
    tree = np.maximum(_paint_tree(body.vessels, z), np.minimum(inside, 2) + 1)
    _fill(image, _cover(tree, 1.0) * beside_heart, BLOOD)
    _fill(image, _cover(airway - 1.6), 20)
    walls = _cover(_paint_tree(body.bronchi, z, 0.9), 1.0) * (airway > 0) * beside_heart
    _fill(image, walls, -60)
    _fill(image, _cover(airway), AIR + 8)
    _fill(image, _cover(_paint_tree(body.bronchi, z), 1.0) * beside_heart, AIR + 30)

    _fill(image, _cover(_paint(body.cartilage, z, 9)), CARTILAGE + 12 * grain)
    _sternum(image, z, grain)
    _vertebra(image, z, grain)
    ribs = _paint(body.bones, z, 10)
    _fill(image, _cover(ribs), CORTICAL)
    _fill(image, _cover(ribs + 1.3, 1.2), SPONGY + 60 * grain)
    blades = np.maximum(_paint(body.blades, z, 12), -np.minimum(inside - 3, 9))
    _fill(image, _cover(blades), CORTICAL * 0.85)
    _fill(image, _cover(blades + 1.5, 1.4), SPONGY + 40 * grain)
    label = np.where(lung < 0.8, np.where(X < 0, RIGHT_LUNG, LEFT_LUNG), OUTSIDE)
    return image, label.astype(np.uint8)


def build_volume(seed: int, *, slices: range = range(SLICES)) -> Volume:
    """The thorax of a seed without noise; some 10 s for all its slices."""
    body = _shared(seed)
    hounsfield = np.empty((len(slices), SIZE, SIZE), dtype=np.int16)
    label = np.zeros((len(slices), SIZE, SIZE), dtype=np.uint8)
    hounsfield[:] = body.couch
    for k, number in enumerate(slices):
        image, label[k, BAND] = slice_at(LOWEST + SPACING * number, body)
        hounsfield[k, BAND] = np.clip(np.rint(image), -1024, 3071)
    return Volume(hounsfield, label)


def open_volume(folder: Path, seed: int) -> Volume:
    """The thorax of a seed from the cache in `folder`, built and kept there the first time."""
    paths = [folder / f"thorax-{seed}-{part}.npy" for part in ("hounsfield", "label")]
    folder.mkdir(parents=True, exist_ok=True)
    # Two scanners of the county may want it at the same moment; one draws, the other waits.
    with (folder / f"thorax-{seed}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all(path.exists() for path in paths):
            volume = build_volume(seed)
            arrays: tuple[NDArray[Any], ...] = (volume.hounsfield, volume.label)
            for path, array in zip(paths, arrays, strict=True):
                unfinished = path.with_suffix(".part.npy")
                np.save(unfinished, array)
                unfinished.replace(path)
    return Volume(*(np.load(path, mmap_mode="r") for path in paths))


def noisy_slices(volume: Volume, exam: Exam) -> Iterator[tuple[int, NDArray[np.int16]]]:
    """Slice number (from the feet) and Hounsfield units with findings and noise, from head to feet."""
    random = np.random.default_rng([exam.seed, 13])
    tiles = [textured_noise(random, (SIZE, SIZE), cutoff=0.16, ramp=0.9) for _ in range(6)]
    hounsfield = np.array(volume.hounsfield)
    for finding in exam.findings:
        add_finding(hounsfield, volume.label, finding, seed=exam.seed)
    for k in range(len(hounsfield) - 1, -1, -1):
        z = LOWEST + SPACING * k
        # Fewer photons come through the shoulders and the liver than through the lungs.
        deviation = float(np.interp(z, (-75, 0, 40, 150, 200, 225), (17, 13, 11, 12, 18, 24)))
        one, two = (tiles[i] for i in random.choice(6, 2, replace=False))
        shift = tuple(random.integers(0, SIZE, 2))
        grain = (np.roll(one, shift, (0, 1)) + np.roll(two, shift[::-1], (0, 1))) * (deviation / 1.414)
        picture = hounsfield[k] + np.where(hounsfield[k] > -980, grain, grain * 0.8)
        yield k, np.clip(np.rint(picture), -1024, 3071).astype(np.int16)


def thorax(exam: Exam, folder: Path, *, every: int = 1) -> Iterator[Dataset]:
    """The slices of one chest CT, head first, as CT Image objects (PS3.3 A.3); `every` thins them out."""
    volume = open_volume(folder, 1 + exam.seed % 2)
    # The same phantom in a larger or smaller patient: the field of view follows the body.
    scale = 0.95 + 0.01 * (exam.seed % 9)
    wanted = range(0, SLICES, every)
    chosen = ((k, picture) for k, picture in noisy_slices(volume, exam) if k in wanted)
    for number, (k, picture) in enumerate(chosen, 1):
        z = (LOWEST + SPACING * k) * scale
        yield _ct_image(exam, picture, number=number, z=z, scale=scale, every=every)


def _ct_image(
    exam: Exam, picture: NDArray[np.int16], *, number: int, z: float, scale: float, every: int
) -> Dataset:
    dataset = start_instance(
        exam,
        sop_class_uid=CT_IMAGE,
        modality="CT",
        series=2,
        instance=number,
        series_description=f"胸部平扫 {SPACING * every:g}mm",
        equipment=("Yunling Demo", "CT-64"),
        protocol="Chest routine",
    )
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.BodyPartExamined = "CHEST"
    dataset.PatientPosition = "HFS"
    dataset.FrameOfReferenceUID = dataset.SeriesInstanceUID + ".1"
    dataset.PositionReferenceIndicator = "SN"
    dataset.KVP, dataset.XRayTubeCurrent, dataset.ExposureTime, dataset.Exposure = "120", 180, 500, 90
    dataset.ConvolutionKernel = "STANDARD"
    dataset.GantryDetectorTilt = "0"
    dataset.AcquisitionNumber = 1
    dataset.SliceThickness = f"{SPACING * every * scale:.4g}"
    dataset.SpacingBetweenSlices = f"{SPACING * every * scale:.6g}"
    dataset.ReconstructionDiameter = f"{SIZE * PIXEL * scale:.1f}"
    dataset.PixelSpacing = [f"{PIXEL * scale:.6g}"] * 2
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [f"{value:.3f}" for value in (ORIGIN[0] * scale, ORIGIN[1] * scale, z)]
    dataset.SliceLocation = f"{z:.3f}"
    set_pixels(dataset, rows=SIZE, columns=SIZE, bits=12, photometric="MONOCHROME2")
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "-1024", "1", "HU"
    dataset.WindowCenter, dataset.WindowWidth = [-600, 40], [1500, 400]
    dataset.WindowCenterWidthExplanation = ["LUNG", "MEDIASTINUM"]
    dataset.PixelData = (picture.astype(np.int32) + 1024).astype("<u2").tobytes()
    return dataset
