"""What X-rays meet on their way through the chest, front to back: maps of path lengths.

Lengths are millimetres of soft tissue that would weaken the beam as much. The maps have pixels of 0.5 mm,
rows from head to feet, columns from the patient's right to left.
"""

from __future__ import annotations

import os
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from center.demo.phantoms import anatomy, skeleton
from center.demo.phantoms.bronchovascular_tree import grow_trees

Field = NDArray[Any]
PIXEL = 0.5
ROWS, COLUMNS = 880, 720
TOP, LEFT = 262.0, -180.0  # z of the upper edge, x of the left edge, mm
STEP = 3  # mm between samples along a ray
# How much each tissue weakens, relative to water-like soft tissue; bone at some 110 kV.
FAT, MUSCLE, LUNG, CORTICAL, SPONGY = 0.90, 1.04, 0.21, 2.3, 0.45
# The patient stands, arms down: other shoulders than in CT. z, half width, middle and half depth.
_STANDING = np.array(
    [(-200, 150, 8, 100), (-60, 154, 6, 104), (60, 160, 4, 112), (120, 166, 8, 112), (150, 176, 12, 104),
     (176, 178, 17, 94), (192, 168, 21, 84), (204, 142, 25, 76), (214, 112, 27, 70), (224, 86, 29, 65),
     (236, 68, 30, 62), (250, 60, 30, 61), (300, 58, 30, 60)],
    dtype=float,
).T  # fmt: skip


@dataclass(frozen=True)
class PathLengths:
    """float32 maps, 880 × 720: everything but bone and vessels; bone; vessels; how much lung is passed."""

    soft: Field
    bone: Field
    vessels: Field
    lung: Field


def _cover(distance: Field, soft: float) -> Field:
    return np.clip(0.5 - distance / soft, 0, 1)


def _soft_rows(z: float, x: Field, y: Field) -> tuple[Field, Field]:
    """Soft tissue and lung (mm) along the rays of one height."""
    half, middle, deep = (np.interp(z, _STANDING[0], row) for row in _STANDING[1:])
    ratio = (np.abs(x / half) ** 2.4 + np.abs((y - middle) / deep) ** 2.4) ** (1 / 2.4)
    outer = (ratio - 1) * np.minimum(deep, 80)
    arm = np.interp(z, (-200, 60, 190, 206), (38, 43, 44, 20)) if z < 206 else 0.0
    outer = np.minimum(outer, np.sqrt((np.abs(x) - 196) ** 2 + (y - 14) ** 2) - arm)
    outer = np.minimum(outer, np.sqrt((np.abs(x) - 168) ** 2 + (y - 14) ** 2 + (z - 176) ** 2) - 40)
    density = _cover(outer, STEP) * FAT
    density += _cover(outer + 11, STEP) * (MUSCLE - FAT)
    inside = anatomy.cage(x, y, z)
    lung = anatomy.lungs(x, y, z)
    within = _cover(lung, 2.0)
    parenchyma = LUNG * (1 + 0.0006 * (60 - z))
    density += within * (parenchyma - density)
    air = _cover(anatomy.airways(x, y, z), 2.5)
    density *= 1 - air * 0.97
    if z < 12:  # the bubble of the stomach rises under the left dome when one stands
        bubble = anatomy.ellipsoid(x, y, z, (74, -10, -28), (34, 30, 20), 0, 8)
        bubble = np.maximum(bubble, np.maximum(inside + 4, z - anatomy.diaphragm(x, y) + 5))
        density *= 1 - 0.95 * _cover(bubble, STEP)
        fat = anatomy.ellipsoid(x, y, z, (60, 20, -150), (60, 60, 60))
        density -= 0.08 * _cover(fat, 12)
    return density.sum(axis=0) * STEP, within.sum(axis=0) * STEP


def _finer(coarse: Field, factor: int) -> Field:
    """Linear interpolation between cell centres, edges held."""
    for axis in (0, 1):
        size = coarse.shape[axis]
        at = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
        low = np.minimum(at.astype(int), size - 2)
        share = (at - low).astype(np.float32).reshape((-1, 1) if axis == 0 else (1, -1))
        coarse = np.take(coarse, low, axis) * (1 - share) + np.take(coarse, low + 1, axis) * share
    return coarse


def _soft() -> tuple[Field, Field]:
    cell = 1.0  # mm between rays
    rows, columns = int(ROWS * PIXEL / cell), int(COLUMNS * PIXEL / cell)
    x = (LEFT + cell * (np.arange(columns, dtype=np.float32) + 0.5))[None, :]
    y = (-118 + STEP * np.arange(82, dtype=np.float32))[:, None]
    soft, lung = np.empty((rows, columns), np.float32), np.empty((rows, columns), np.float32)
    for row in range(rows):
        soft[row], lung[row] = _soft_rows(TOP - cell * (row + 0.5), x, y)
    factor = int(cell / PIXEL)
    return _finer(soft, factor), _finer(lung, factor)


def _splat(points: Field, weight: Field) -> Field:
    """Volume (mm³, one per point) that falls on each pixel, as a length (mm)."""
    column = np.floor((points[:, 0] - LEFT) / PIXEL).astype(np.int64)
    row = np.floor((TOP - points[:, 2]) / PIXEL).astype(np.int64)
    kept = (column >= 0) & (column < COLUMNS) & (row >= 0) & (row < ROWS)
    flat = np.bincount((row * COLUMNS + column)[kept], weight[kept], ROWS * COLUMNS)
    return (flat.reshape(ROWS, COLUMNS) / PIXEL**2).astype(np.float32)


def _blur(field: Field, sigma: float) -> Field:
    """Gaussian of sigma pixels, along both axes."""
    reach = int(3 * sigma + 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    for axis in (0, 1):
        padded = np.pad(field, [(reach, reach) if k == axis else (0, 0) for k in (0, 1)], mode="edge")
        size = field.shape[axis]
        parts = (np.take(padded, range(k, k + size), axis) * kernel[k] for k in range(2 * reach + 1))
        field = sum(parts, np.zeros_like(field))
    return field


def _rods(cloud: skeleton.Cloud, random: np.random.Generator, wall: float, count: int) -> Field:
    """Bone (mm) of hollow rods given as dense points with two half axes: a cortical wall, marrow inside."""
    gaps = np.linalg.norm(np.diff(cloud.centre, axis=0, append=cloud.centre[-1:]), axis=1)
    length = np.where(gaps > 5, 0, gaps)  # from one rod to the next
    total = np.zeros((ROWS, COLUMNS), np.float32)
    along = np.diff(cloud.centre, axis=0, append=cloud.centre[-1:]) * (gaps <= 5)[:, None]
    offset, ahead = random.random((2, len(gaps)))
    for k in range(count):
        # Evenly over the section, not at random: bone must not look like sand.
        turn = 2 * np.pi * (k * 0.6180339887 + offset)
        root = np.full(len(gaps), np.sqrt((k + 0.5) / count))
        out = np.stack([np.cos(turn), np.sin(turn)], axis=1) * cloud.radii
        size = np.linalg.norm(out, axis=1)
        point = cloud.centre + along * ((k * 0.7548776662 + ahead) % 1)[:, None]
        point = point + ((out * root[:, None])[:, :, None] * cloud.axes).sum(axis=1)
        area = np.pi * cloud.radii[:, 0] * cloud.radii[:, 1]
        bone = np.where((1 - root) * size < wall, CORTICAL, SPONGY)
        total += _splat(point, area * length / count * bone)
    return total


def _spine(random: np.random.Generator) -> Field:
    """The column (mm): one vertebra as random points, repeated and scaled down the back."""
    n = 700_000
    x, y, t = random.uniform(-38, 38, n), random.uniform(-16, 58, n), random.uniform(-24, 13, n)
    volume = 76 * 74 * 37 / n
    body = ((np.abs(x) / 17.5) ** 2.6 + (np.abs(y) / 14) ** 2.4) ** 0.4
    depth = np.minimum((1 - body) * 14, 9.2 - np.abs(t))
    bone = np.where(depth > 1.0, SPONGY * 0.5, np.where(depth > 0, CORTICAL * 0.4, 0.0))
    arch = np.full(n, 99.0)
    for s in (1, -1):
        for line in (
            ((s * 12, 8, 4, 4.2), (s * 13, 22, 4, 4.0)),
            ((s * 13, 22, 2, 4.2), (s * 8, 33, -4, 3.2), (0, 37, -4, 3.4)),
            ((s * 14, 22, 2, 4.0), (s * 33, 31, 3, 4.6)),
            ((s * 14, 25, 11, 3.6), (s * 14, 28, -12, 3.6)),
        ):
            arch = np.minimum(arch, anatomy.tube(x, y, t, line))
    arch = np.minimum(arch, anatomy.tube(x, y, t, ((0, 36, -3, 3.4), (0, 52, -17, 3.0), (0, 56, -21, 3.8))))
    bone = np.maximum(bone, np.where(arch < -1.0, SPONGY * 0.6, np.where(arch < 0, CORTICAL * 0.5, 0.0)))
    kept = bone > 0
    x, t, bone = x[kept], t[kept], bone[kept]
    total = np.zeros((ROWS, COLUMNS), np.float32)
    for level in range(-3, 20):
        z = skeleton.FIRST_VERTEBRA - skeleton.VERTEBRA_PITCH * level
        size = float(np.interp(z, (-150, 215, 240), (1.25, 0.82, 0.6)))
        points = np.stack([x * size, x, z + t + random.uniform(-0.3, 0.3)], axis=1)
        total += _splat(points, bone * volume * size**2 * 0.7)
    return _blur(total, 0.8)


def _arms(random: np.random.Generator) -> Field:
    """Shoulder blades turned outwards, and the humeri hanging."""
    blades = skeleton.shoulders()
    count = 14
    total = np.zeros((ROWS, COLUMNS), np.float32)
    sheet = blades.radii[:, 0] < 3.5
    for _ in range(count):
        point = blades.centre[sheet] + random.normal(0, 1.0, (int(sheet.sum()), 3))
        point[:, 0] = point[:, 0] * 1.06 + np.sign(point[:, 0]) * 8
        point[:, 2] -= 6
        total += _splat(point, blades.radii[sheet, 0] * 2.1 * 0.9 / count)
    for side in (1, -1):
        t = np.linspace(0, 1, 260)
        humerus = np.stack([side * (164 + 24 * t), 186 - 330 * t], axis=1)
        total += _shadow(humerus, np.interp(t, (0, 0.03, 0.09, 0.2, 1), (17, 22, 19, 12, 10.5)), 2.6)
        clavicle = np.stack([side * (18 + 132 * t), 184 + 12 * t + 7 * np.sin(2 * np.pi * t)], axis=1)
        total += _shadow(clavicle, np.interp(t, (0, 0.12, 0.5, 1), (9, 6.4, 5.4, 7)), 1.5)
    return _blur(total, 0.9)


def _shadow(line: Field, radius: Field, wall: float) -> Field:
    """Bone (mm) of a hollow rod that lies in the plane of the picture: (x, z) points and radii."""
    flat = np.stack([line[:, 0], TOP - line[:, 1], 0 * radius], axis=1)
    gap = skeleton.paint_balls(
        flat, radius, 0.0, shape=(ROWS, COLUMNS), origin=(LEFT + PIXEL / 2, PIXEL / 2), pixel=PIXEL
    )
    size = float(np.median(radius))
    outer = np.clip(-gap, 0, size)
    inner = np.clip(-gap - wall, 0, size - wall)
    long = 2 * np.sqrt(outer * (2 * size - outer))
    hollow = 2 * np.sqrt(inner * (2 * (size - wall) - inner))
    return np.asarray((long - hollow) * CORTICAL * 0.8 + hollow * SPONGY * 0.6, dtype=np.float32)


def _tree(seed: int, random: np.random.Generator) -> Field:
    """Pulmonary vessels (mm of blood that stands where lung would be)."""
    vessels, _ = grow_trees(seed)
    gaps = np.linalg.norm(np.diff(vessels.centre, axis=0, append=vessels.centre[-1:]), axis=1)
    length = np.where(gaps > 6, 0, gaps)
    total = np.zeros((ROWS, COLUMNS), np.float32)
    along = np.diff(vessels.centre, axis=0, append=vessels.centre[-1:]) * (gaps <= 6)[:, None]
    for low, high, count in ((0, 0.8, 10), (0.8, 2, 40), (2, 9, 160)):
        part = (vessels.radius > low) & (vessels.radius <= high)
        centre, radius, run = vessels.centre[part], vessels.radius[part], length[part]
        spread = random.normal(0, 1, (count, 3))
        spread /= np.linalg.norm(spread, axis=1, keepdims=True)
        offset = random.random(len(radius))
        for k in range(count):
            reach = radius * np.sqrt((k + 0.5) / count)
            point = centre + spread[k] * reach[:, None] + along[part] * ((k * 0.618 + offset) % 1)[:, None]
            # The finest branches would only be grain.
            weight = np.interp(radius, (0.45, 0.8), (0.45, 1.1))
            total += _splat(point, weight * np.pi * radius**2 * run * (1 - LUNG) / count)
    total = _blur(total, 0.8)
    return 20 * np.tanh(total / 20)  # where branches lie on branches, there is no more lung to replace


def build_path_lengths(seed: int) -> PathLengths:
    """The maps of the chest of a seed; a few seconds."""
    random = np.random.default_rng([seed, 31])
    soft, lung = _soft()
    ribs = skeleton.ribs()
    bone = _blur(_rods(ribs, random, 1.0, 200), 0.6) + _spine(random) + _arms(random)
    return PathLengths(soft, bone, _tree(seed, random), lung)


def open_path_lengths(folder: Path, seed: int) -> PathLengths:
    """The maps from the cache in `folder`, built and kept there the first time."""
    path = folder / f"chest-{seed}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.npy")
        np.save(unfinished, np.stack(astuple(build_path_lengths(seed))).astype(np.float32))
        unfinished.replace(path)
    return PathLengths(*np.load(path))
