"""A chest radiograph of ten million pixels: Beer and Lambert's law, scatter, quanta, then the processing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from center.demo.phantoms import projection
from center.demo.phantoms.exam import Exam, code, set_pixels, start_instance
from center.demo.phantoms.noise import textured_noise
from center.demo.phantoms.projection import PathLengths

Field = NDArray[Any]
FINER = 4  # detector pixels along one pixel of the path-length maps
ROWS, COLUMNS = projection.ROWS * FINER, projection.COLUMNS * FINER
SPACING = projection.PIXEL / FINER  # mm at the detector
ATTENUATION = 0.0178  # per mm of soft tissue at some 110 kV with filtration
BITS = 14
DX_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"
CR_IMAGE = "1.2.840.10008.5.1.4.1.1.1"


def _grid() -> tuple[Field, Field]:
    """x (a row) and z (a column) of the map's pixels, in mm."""
    x = projection.LEFT + projection.PIXEL * (np.arange(projection.COLUMNS) + 0.5)
    z = projection.TOP - projection.PIXEL * (np.arange(projection.ROWS) + 0.5)
    return x.astype(np.float32)[None, :], z.astype(np.float32)[:, None]


def _nodule(paths: PathLengths, seed: int, *, x: float, z: float, diameter: float) -> Field:
    gx, gz = _grid()
    gap = (gx - x) ** 2 + (gz - z) ** 2
    return 2 * np.sqrt(np.maximum((diameter / 2) ** 2 - gap, 0))


def _effusion(paths: PathLengths, seed: int, *, side: str = "L", height: float = 45) -> Field:
    """Fluid in one costophrenic angle, with the meniscus that climbs the lateral wall."""
    gx, gz = _grid()
    outwards = gx if side == "L" else -gx
    level = -40 + height * 0.6 + 52 * np.clip((outwards - 40) / 90, 0, 1.1) ** 2.2
    depth = np.clip((level - gz) / 26, 0, 1) * np.clip(outwards / 12, 0, 1)
    return np.asarray(depth * np.maximum(paths.lung * 0.92, 14 * (paths.lung > 2)))


def _pneumonia(paths: PathLengths, seed: int, *, x: float, z: float, size: float = 32) -> Field:
    gx, gz = _grid()
    cloud = textured_noise(np.random.default_rng([seed, 41]), (880, 720), cutoff=0.013)
    radius = np.sqrt((gx - x) ** 2 + ((gz - z) * 0.9) ** 2) / size
    return 62 * np.clip(1.1 - radius + 0.22 * cloud, 0, 1) ** 1.3


def _bronchitis(paths: PathLengths, seed: int) -> Field:
    """Markings that are coarser than they should be."""
    return 0.55 * paths.vessels


FINDINGS: dict[str, Any] = {
    "nodule": _nodule,
    "effusion": _effusion,
    "pneumonia": _pneumonia,
    "bronchitis": _bronchitis,
}


def _add_findings(paths: PathLengths, exam: Exam) -> Field:
    """Soft tissue (mm) where lung should be; never more than the lung that was there."""
    added = np.zeros_like(paths.soft)
    for finding in exam.findings:
        match = re.fullmatch(r"([a-z-]+)(?:\((.*)\))?", finding)
        if match is None or match[1] not in FINDINGS:
            raise ValueError(f"no such finding on a radiograph: {finding}")
        values: dict[str, Any] = {}
        for pair in filter(None, (match[2] or "").split(",")):
            name, _, value = pair.partition("=")
            values[name.strip()] = value.strip() if value.strip().isalpha() else float(value)
        added += FINDINGS[match[1]](paths, exam.seed, **values)
    return np.minimum(added, (1 - projection.LUNG) * paths.lung)


def _enlarge(field: Field, factor: int) -> Field:
    """Linear interpolation between the middles of the pixels, edges held: no stairs, no ringing."""
    for axis in (0, 1):
        padded = np.pad(field, [(1, 1) if k == axis else (0, 0) for k in (0, 1)], mode="edge")
        padded = padded if axis == 0 else padded.T
        size = padded.shape[0] - 2
        larger = np.empty((size * factor, padded.shape[1]), dtype=np.float32)
        for k in range(factor):
            share = (k + 0.5) / factor - 0.5
            first, second = (0, 1) if share < 0 else (1, 2)
            share += 1.0 if share < 0 else 0.0
            larger[k::factor] = (1 - share) * padded[first : first + size] + share * padded[
                second : second + size
            ]
        field = larger if axis == 0 else np.ascontiguousarray(larger.T)
    return field


def expose(paths: PathLengths, exam: Exam) -> Field:
    """What the detector sees, as a share of the open beam (float32, 3520 × 2880)."""
    random = np.random.default_rng([exam.seed, 42])
    length = paths.soft + paths.vessels + _add_findings(paths, exam)
    texture = textured_noise(random, (projection.ROWS, projection.COLUMNS), cutoff=0.16, ramp=0.4)
    bone = paths.bone * (1 + 0.06 * texture)
    # Nobody stands exactly alike: a shift of up to 8 mm, and a patient who is a little more or less stout.
    down, right = (int(v) for v in random.integers(-16, 17, 2))
    stout = random.uniform(0.94, 1.08)
    body = np.pad(stout * length + bone, 16, mode="edge")
    body = body[16 - down : 16 - down + projection.ROWS, 16 - right : 16 - right + projection.COLUMNS]
    primary = np.exp(-ATTENUATION * body).astype(np.float32)
    # Behind a grid some of what arrives has still been scattered; it comes from all around.
    small = primary.reshape(projection.ROWS // 8, 8, projection.COLUMNS // 8, 8).mean(axis=(1, 3))
    scatter = _enlarge(projection._blur(small, 9.0), 8)
    seen = _enlarge(primary + 0.10 * scatter, FINER)
    quanta = 5200.0
    tile = textured_noise(random, (880, 720), cutoff=0.32)
    grain = np.tile(tile, (FINER, FINER))
    seen += np.sqrt(np.maximum(seen, 1e-4) / quanta) * grain
    return np.maximum(seen, 1e-5)


def process(seen: Field) -> NDArray[np.uint16]:
    """The picture for presentation, MONOCHROME2, 14 bits: logarithm, harmonised, sharpened, curved."""
    density = -np.log(seen)
    small = density.reshape(ROWS // 16, 16, COLUMNS // 16, 16).mean(axis=(1, 3))
    veil = _enlarge(projection._blur(small, 11.0), 16)
    # The mediastinum is pulled towards the lungs, so that both have detail in one window.
    flat = density - 0.42 * (veil - 2.6)
    near = density[::4, ::4]
    flat += 0.55 * (density - _enlarge(projection._blur(near, 3.0), 4))
    curve = 1 / (1 + np.exp(-(flat - 2.45) * 2.2))
    top = (1 << BITS) - 1
    return np.rint(np.clip(0.02 + 0.96 * curve, 0, 1) * top).astype(np.uint16)


def _mark_side(picture: NDArray[np.uint16]) -> None:
    """The lead letter at the patient's left: an L, 14 mm high."""
    row, column, high, wide, stroke = 260, COLUMNS - 330, 112, 66, 17
    lead = int(0.985 * ((1 << BITS) - 1))
    picture[row : row + high, column : column + stroke] = lead
    picture[row + high - stroke : row + high, column : column + wide] = lead


def chest_radiograph(exam: Exam, folder: Path, *, modality: str = "DX") -> Dataset:
    """One PA view: Digital X-Ray for presentation (PS3.3 A.26), or CR (A.2) with pixels of twice the size."""
    paths = projection.open_path_lengths(folder, 1 + exam.seed % 2)
    picture = process(expose(paths, exam))
    _mark_side(picture)
    return _dx(exam, picture) if modality == "DX" else _cr(exam, picture)


def _cr(exam: Exam, picture: NDArray[np.uint16]) -> Dataset:
    dataset = start_instance(
        exam,
        sop_class_uid=CR_IMAGE,
        modality="CR",
        series=1,
        instance=1,
        series_description="胸部后前位",
        equipment=("Yunling Demo", "CR-35"),
    )
    small = picture.reshape(ROWS // 2, 2, COLUMNS // 2, 2).mean(axis=(1, 3))
    cells = np.rint(small / 16 + 0).astype("<u2")  # 10 bits, as the old readers had
    dataset.BodyPartExamined, dataset.ViewPosition = "CHEST", "PA"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.PixelSpacing = dataset.ImagerPixelSpacing = [f"{2 * SPACING:g}"] * 2
    dataset.PatientOrientation = ["L", "F"]
    dataset.KVP = "110"
    set_pixels(dataset, rows=ROWS // 2, columns=COLUMNS // 2, bits=10, photometric="MONOCHROME2")
    dataset.WindowCenter, dataset.WindowWidth = 512, 1024
    dataset.PixelData = cells.tobytes()
    return dataset


def _dx(exam: Exam, picture: NDArray[np.uint16]) -> Dataset:
    dataset = start_instance(
        exam,
        sop_class_uid=DX_FOR_PRESENTATION,
        modality="DX",
        series=1,
        instance=1,
        series_description="胸部后前位",
        equipment=("Yunling Demo", "DR-4336"),
        protocol="Chest PA",
    )
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.BodyPartExamined, dataset.ViewPosition = "CHEST", "PA"
    dataset.ImageLaterality = "U"
    dataset.AnatomicRegionSequence = Sequence([code("51185008", "SCT", "Chest")])
    view = code("399348003", "SCT", "postero-anterior")
    dataset.ViewCodeSequence = Sequence([view])
    dataset.PatientOrientation = ["L", "F"]
    dataset.KVP, dataset.XRayTubeCurrent, dataset.ExposureTime, dataset.Exposure = "110", 320, 8, 3
    dataset.ExposureInuAs = 2600
    dataset.DistanceSourceToDetector = "1800"
    dataset.PositionerType = "NONE"
    dataset.Grid = "FOCUSED"
    dataset.DetectorType = "SCINTILLATOR"
    dataset.DetectorConfiguration = "AREA"
    dataset.DetectorID = "FPD-1"
    dataset.FieldOfViewShape = "RECTANGLE"
    dataset.FieldOfViewDimensions = [round(ROWS * SPACING), round(COLUMNS * SPACING)]
    dataset.ImagerPixelSpacing = [f"{SPACING:g}"] * 2
    dataset.AcquisitionContextSequence = Sequence([])
    set_pixels(dataset, rows=ROWS, columns=COLUMNS, bits=BITS, photometric="MONOCHROME2")
    dataset.PixelIntensityRelationship, dataset.PixelIntensityRelationshipSign = "LOG", -1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"
    dataset.WindowCenter, dataset.WindowWidth = 8192, 16384
    dataset.PixelData = picture.astype("<u2").tobytes()
    return dataset
