"""An upper abdomen by ultrasound: speckle from scatterers that interfere, scan-converted to a sector."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit

from center.demo.phantoms.exam import Exam, set_pixels, start_instance

Field = NDArray[Any]
US_IMAGE = "1.2.840.10008.5.1.4.1.1.6.1"
US_MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.3.1"
ROWS, COLUMNS = 600, 800
DEPTH, RADIUS, HALF_ANGLE = 160.0, 60.0, 0.56  # mm below the skin, of the curved probe, rad
SCALE = DEPTH / 540  # mm per pixel
APEX = (COLUMNS / 2, 30 - (RADIUS * np.cos(HALF_ANGLE)) / SCALE)  # column and row of the arc's centre
SAMPLES, LINES = 900, 256
FRAMES = 20


def _echo(angle: Field, depth: Field, finding: str, plane: int, breath: float) -> tuple[Field, Field]:
    """Echogenicity and what weakens the beam on (depth × angle); x to the right of the probe, y down, mm."""
    radius = RADIUS + depth
    x, y = radius * np.sin(angle), radius * np.cos(angle) - RADIUS
    y = y - breath
    echo = 0.34 * (1 + 0.25 * np.sin(x / 17 + 1) * np.sin(y / 13)) * np.exp(-y / 260)
    loss = np.full_like(echo, 1.0)
    wall = 16 + 2 * np.sin(x / 30)
    layers = 0.5 * np.exp(0.8 * np.sin(y * 0.9 + 0.05 * x) + 0.6 * np.sin(y * 2.3))
    echo = np.where(y < wall, layers, echo)
    diaphragm = np.abs(y - (128 - 0.004 * (x - 8) ** 2 + 6 * plane))
    echo = np.maximum(echo, 7.0 * np.exp(-((diaphragm / 1.5) ** 2)))
    echo = np.where(y > 131 - 0.004 * (x - 8) ** 2 + 6 * plane, 0.03, echo)
    for cx, cy, length, thick, turn in (
        (-24, 62, 34, 4.5, 0.5),
        (14, 74, 30, 3.6, -0.6),
        (-40, 92, 22, 3.0, 0.2),
        (34, 100, 24, 3.4, 0.9),
        (2, 104, 18, 8.0, 1.2),
    ):
        along = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
        across = -(x - cx) * np.sin(turn) + (y - cy) * np.cos(turn) + 2 * np.sin(along / 9 + plane)
        gap = np.hypot(np.maximum(np.abs(along) - length / 2, 0), across)
        echo = np.where(gap < thick, 0.004, np.where(gap < thick + 1.1, 1.6 if thick > 4 else 0.5, echo))
    if plane == 1:  # the gall bladder
        bladder = np.hypot((x - 18) / 31, (y - 66 - 0.25 * x) / 12.5) - 1
        echo = np.where(bladder < 0, 0.0006, np.where(bladder < 0.14, 1.4, echo))
        loss = np.where(bladder < 0, 0.25, loss)
        if finding == "gallstone":
            stone = np.hypot((x - 22) / 7.5, (y - 77) / 5) - 1
            echo = np.where(stone < 0, np.where(y < 76, 14.0, 1.2), echo)
            loss = np.where(stone < 0, 46.0, loss)
    if plane == 2:  # the right kidney under the liver
        kidney = np.hypot((x + 6) / 50, (y - 92 - 0.12 * x) / 23) - 1
        sinus = np.hypot((x + 6) / 29, (y - 93 - 0.12 * x) / 8) - 1
        echo = np.where(kidney < 0, 0.13, np.where(kidney < 0.045, 1.5, echo))
        echo = np.where(sinus < 0.15 * np.sin(x / 4), 1.9, echo)
    if plane == 0 and finding == "cyst":
        cyst = np.hypot(x + 12, y - 88) - 15
        echo = np.where(cyst < 0, 0.0006, np.where(cyst < 1.0, 1.3, echo))
        loss = np.where(cyst < 0, 0.2, loss)
    return echo, loss


def _sector(random: np.random.Generator, finding: str, plane: int, breath: float) -> NDArray[np.uint8]:
    """One grey picture (600 × 800)."""
    depth = (np.arange(SAMPLES) / SAMPLES * DEPTH)[:, None]
    angle = ((np.arange(LINES) / (LINES - 1) * 2 - 1) * HALF_ANGLE)[None, :]
    echo, loss = _echo(angle, depth, finding, plane, breath)
    # Many scatterers in one resolution cell: a complex Gaussian, smoothed by the pulse and by the beam.
    parts = random.standard_normal((2, SAMPLES, LINES), dtype=np.float32)
    field = (parts[0] + 1j * parts[1]).astype(np.complex64)
    pulse = np.exp(-((np.arange(-6, 7) / 2.4) ** 2))
    beam = np.exp(-((np.arange(-3, 4) / 1.15) ** 2))
    field = _filter(_filter(field * np.sqrt(echo).astype(np.float32), pulse, 0), beam, 1)
    envelope = np.abs(field) / np.sqrt((pulse**2).sum() * (beam**2).sum() * 2)
    # What tissue takes away, the gain gives back; a cyst takes nothing, so it shines behind, a stone all.
    surplus = np.cumsum(loss - 1, axis=0) * (DEPTH / SAMPLES)
    envelope *= 10 ** (-np.clip(surplus, -40, 400) * 0.009)
    decibels = 20 * np.log10(envelope + 1e-5)
    grey = np.clip((decibels + 27) / 50, 0, 1) ** 1.1
    return _scan_convert(grey)


def _filter(field: Field, kernel: Field, axis: int) -> Field:
    reach = len(kernel) // 2
    padded = np.pad(field, [(reach, reach) if k == axis else (0, 0) for k in (0, 1)], mode="reflect")
    size = field.shape[axis]
    parts = (
        np.take(padded, range(k, k + size), axis) * np.float32(weight) for k, weight in enumerate(kernel)
    )
    return np.asarray(sum(parts, np.zeros_like(field)))


@cache
def _geometry() -> tuple[Field, ...]:
    """For each pixel: its sample and line, how far it is towards the next ones, whether it is in the fan."""
    column, row = np.meshgrid(np.arange(COLUMNS), np.arange(ROWS))
    dx, dy = (column - APEX[0]) * SCALE, (row - APEX[1]) * SCALE
    radius, angle = np.hypot(dx, dy), np.arctan2(dx, dy)
    sample = (radius - RADIUS) / DEPTH * SAMPLES
    line = (angle / HALF_ANGLE + 1) / 2 * (LINES - 1)
    inside = (sample >= 0) & (sample < SAMPLES - 1) & (line >= 0) & (line < LINES - 1)
    s, n = np.where(inside, sample, 0), np.where(inside, line, 0)
    s0, n0 = s.astype(int), n.astype(int)
    fs, fn = s - s0, n - n0
    return s0, n0, fs, fn, inside


def _scan_convert(grey: Field) -> NDArray[np.uint8]:
    """From lines and samples to the fan on the screen, with its depth marks and grey bar."""
    s0, n0, fs, fn, inside = _geometry()
    value = (
        grey[s0, n0] * (1 - fs) * (1 - fn)
        + grey[s0 + 1, n0] * fs * (1 - fn)
        + grey[s0, n0 + 1] * (1 - fs) * fn
        + grey[s0 + 1, n0 + 1] * fs * fn
    )
    picture = np.where(inside, value * 235, 0)
    picture[80:336, 24:38] = np.linspace(250, 0, 256)[:, None]
    for centimetre in range(int(DEPTH / 10) + 1):
        at = round(30 + centimetre * 10 / SCALE)
        if at < ROWS - 2:
            picture[at : at + 2, COLUMNS - 24 : COLUMNS - (8 if centimetre % 5 == 0 else 16)] = 200
    return np.rint(picture).astype(np.uint8)


def _region() -> Dataset:
    """The calibration of the sector (PS3.3 C.8.5.5): centimetres per pixel."""
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 60, 10
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = COLUMNS - 30, ROWS - 10
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX = region.PhysicalDeltaY = SCALE / 10
    region.ReferencePixelX0, region.ReferencePixelY0 = COLUMNS // 2 - 60, 20
    region.ReferencePixelPhysicalValueX = region.ReferencePixelPhysicalValueY = 0.0
    region.TransducerFrequency = 3500
    return region


def abdomen(exam: Exam) -> Iterator[Dataset]:
    """Three stills (PS3.3 A.6) and a cine of 20 frames in JPEG (A.7); findings: `gallstone`, `cyst`."""
    finding = next(iter(exam.findings), "")
    for plane in range(3):
        random = np.random.default_rng([exam.seed, 51, plane])
        dataset = _start(exam, US_IMAGE, plane + 1)
        set_pixels(dataset, rows=ROWS, columns=COLUMNS, bits=8, photometric="MONOCHROME2")
        dataset.BitsAllocated = 8
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "ABDOMINAL"]
        dataset.LossyImageCompression = "00"
        dataset.PixelData = _sector(random, finding, plane, 0).tobytes()
        yield dataset
    yield _cine(exam, finding)


def _start(exam: Exam, sop_class_uid: str, number: int) -> Dataset:
    dataset = start_instance(
        exam,
        sop_class_uid=sop_class_uid,
        modality="US",
        series=1,
        instance=number,
        series_description="肝胆胰脾双肾",
        equipment=("Yunling Demo", "US-30"),
    )
    dataset.BodyPartExamined = "ABDOMEN"
    dataset.PatientOrientation = ""
    dataset.SequenceOfUltrasoundRegions = Sequence([_region()])
    dataset.BurnedInAnnotation = "NO"
    return dataset


def _cine(exam: Exam, finding: str) -> Dataset:
    """The gall bladder while the patient breathes: the same scatterers, moving."""
    dataset = _start(exam, US_MULTI_FRAME, 4)
    frames = []
    for k in range(FRAMES):
        random = np.random.default_rng([exam.seed, 51, 1])
        grey = _sector(random, finding, 1, 3.5 * np.sin(2 * np.pi * k / FRAMES))
        stream = io.BytesIO()
        colour = Image.fromarray(grey).convert("RGB")
        colour.save(stream, "JPEG", quality=88, subsampling="4:2:2")
        frames.append(stream.getvalue())
    set_pixels(dataset, rows=ROWS, columns=COLUMNS, bits=8, photometric="YBR_FULL_422")
    dataset.BitsAllocated = 8
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.NumberOfFrames = FRAMES
    dataset.FrameTime = "66.7"
    dataset.FrameIncrementPointer = 0x00181063
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "ABDOMINAL"]
    dataset.LossyImageCompression = "01"
    dataset.LossyImageCompressionRatio = f"{ROWS * COLUMNS * 3 * FRAMES / sum(map(len, frames)):.1f}"
    dataset.LossyImageCompressionMethod = "ISO_10918_1"
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    return dataset
