"""What can be wrong in a chest CT: painted into a copy of the healthy volume, in the lungs only."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from center.demo.phantoms.noise import textured_noise

Hounsfield = NDArray[np.int16]
Label = NDArray[np.uint8]
# The grid of the thorax volume: (origin, step) in mm of slices, rows and columns.
GRID = ((-75.0, 1.5), (8 - 255.5 * 0.78, 0.78), (-255.5 * 0.78, 0.78))


def _box(centre: tuple[float, float, float], reach: float, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """The part of the volume around a point (x, y, z) and the coordinates of its voxels."""
    parts, axes = [], []
    for (origin, step), at, size in zip(GRID, centre[::-1], shape, strict=True):
        low = max(0, int((at - reach - origin) / step))
        high = min(size, int((at + reach - origin) / step) + 2)
        parts.append(slice(low, high))
        axes.append((origin + step * np.arange(low, high)).astype(np.float32))
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    return tuple(parts), (x, y, z)


def nodule(
    volume: Hounsfield,
    label: Label,
    seed: int,
    *,
    x: float,
    y: float,
    z: float,
    diameter: float,
    hu: float = 35,
) -> None:
    """A solid nodule: about round, lobulated, with a few spicules when it is large."""
    random = np.random.default_rng([seed, 21])
    part, (gx, gy, gz) = _box((x, y, z), diameter * 1.3 + 6, volume.shape)
    dx, dy, dz = gx - x, gy - y, gz - z
    radius = np.sqrt(dx * dx + dy * dy + dz * dz) + 1e-3
    surface = diameter / 2 * np.ones_like(radius)
    for _ in range(7):
        way = random.normal(size=3)
        way /= np.linalg.norm(way)
        cosine = (dx * way[0] + dy * way[1] + dz * way[2]) / radius
        surface = surface + diameter * 0.05 * np.maximum(cosine, 0) ** 4
        if diameter >= 15:
            surface = surface + diameter * 0.55 * np.maximum(cosine, 0) ** 160
    cover = np.clip(0.5 - (radius - surface) / 1.0, 0, 1) * (label[part] > 0)
    body = volume[part].astype(np.float32)
    volume[part] = np.rint(np.maximum(body, body + cover * (hu - body))).astype(np.int16)


def effusion(volume: Hounsfield, label: Label, seed: int, *, side: str = "R", depth: float = 34) -> None:
    """Fluid in the pleural space behind one lung, deepest at the base; the edge curves up the wall."""
    which = 1 if side == "R" else 2
    (zo, zs), (yo, ys), (xo, xs) = GRID
    for k in range(volume.shape[0]):
        lung = label[k] == which
        if not lung.any():
            continue
        z = zo + zs * k
        rows, columns = np.nonzero(lung)
        deepest = yo + ys * rows.max()
        level = deepest - depth * float(np.clip((120 - z) / 150, 0, 1))
        x, y = xo + xs * columns, yo + ys * rows
        middle = (x.min() + x.max()) / 2
        curve = 16 * np.clip(np.abs(x - middle) / 55, 0, 1.2) ** 2
        cover = np.clip(0.5 + (y - level + curve) / 1.2, 0, 1)
        # Lung above fluid is compressed: a thin dense seam.
        seam = np.clip(1 - (level - curve - y) / 9, 0, 1) * (cover < 0.5)
        here = volume[k][rows, columns].astype(np.float32)
        here = np.maximum(here, here + cover * (8 - here))
        here += seam * 0.45 * (0 - here) * (here < -300)
        volume[k][rows, columns] = np.rint(here).astype(np.int16)


def pneumonia(
    volume: Hounsfield, label: Label, seed: int, *, x: float, y: float, z: float, size: float = 34
) -> None:
    """A patch of consolidation that fades into ground glass; the bronchi in it stay black."""
    random = np.random.default_rng([seed, 22])
    part, (gx, gy, gz) = _box((x, y, z), size * 1.5, volume.shape)
    body = volume[part].astype(np.float32)
    cloud = textured_noise(random, body.shape, cutoff=0.022)
    radius = np.sqrt((gx - x) ** 2 + (gy - y) ** 2 + ((gz - z) * 1.1) ** 2) / size
    density = np.clip(1.1 - radius + 0.2 * cloud, 0, 1) * (label[part] > 0) * (body > -945)
    goal = np.interp(density, (0, 0.35, 0.75, 1), (-600, -420, -30, 25)) + 12 * cloud
    filled = body + np.clip(density * 1.6, 0, 0.97) * (goal - body)
    volume[part] = np.rint(np.maximum(body, filled)).astype(np.int16)


def emphysema(volume: Hounsfield, label: Label, seed: int) -> None:
    """Centrilobular holes in the upper lobes: many, small, without a wall."""
    random = np.random.default_rng([seed, 23])
    placed = 0
    for _ in range(4000):
        if placed == 420:
            break
        x, y, z = random.uniform(-115, 115), random.uniform(-60, 75), 215 - 110 * random.random() ** 1.4
        radius = random.uniform(1.6, 4.2)
        part, (gx, gy, gz) = _box((x, y, z), radius + 2, volume.shape)
        if label[part].size == 0 or not label[part].all():
            continue
        gap = np.sqrt((gx - x) ** 2 + (gy - y) ** 2 + (gz - z) ** 2) - radius
        body = volume[part].astype(np.float32)
        cover = np.clip(0.5 - gap / 2.4, 0, 1) * 0.85 * (body < -700)
        volume[part] = np.rint(body + cover * (-975 - body)).astype(np.int16)
        placed += 1


def rib_fracture(volume: Hounsfield, label: Label, seed: int, *, x: float, y: float, z: float) -> None:
    """A step in the nearest rib: a gap of 2 mm with the outer fragment shifted, and blood around it."""
    part, (gx, gy, gz) = _box((x, y, z), 13, volume.shape)
    body = volume[part].astype(np.float32)
    outward = np.array([x, y - 4]) / np.hypot(x, y - 4)
    along = (gx - x) * -outward[1] + (gy - y) * outward[0]
    beyond = np.broadcast_to(along > 0, body.shape)
    step = [round(3.0 * outward[1] / GRID[1][1]), round(3.0 * outward[0] / GRID[2][1])]
    moved = np.roll(body, step, axis=(1, 2))
    near = np.sqrt((gx - x) ** 2 + (gy - y) ** 2 + (gz - z) ** 2) < 12
    bone = (np.maximum(body, moved) > 140) & beyond & near
    body = np.where(bone, np.where(moved > 140, moved, 50), body)
    gap = (np.abs(along) < 1.1) & near & (body > 120)
    volume[part] = np.rint(np.where(gap, 55, body)).astype(np.int16)


FINDINGS = {
    "nodule": nodule,
    "effusion": effusion,
    "pneumonia": pneumonia,
    "emphysema": emphysema,
    "rib-fracture": rib_fracture,
}


def add_finding(volume: Hounsfield, label: Label, finding: str, *, seed: int) -> None:
    """Paint a finding given in words: `nodule(x=-60, y=20, z=120, diameter=18)`, `emphysema`.

    ValueError where there is no such finding.
    """
    match = re.fullmatch(r"([a-z-]+)(?:\((.*)\))?", finding)
    if match is None or match[1] not in FINDINGS:
        raise ValueError(f"no such finding in a chest: {finding}")
    values: dict[str, Any] = {}
    for pair in filter(None, (match[2] or "").split(",")):
        name, _, value = pair.partition("=")
        values[name.strip()] = value.strip() if value.strip().isalpha() else float(value)
    paint: Any = FINDINGS[match[1]]
    paint(volume, label, seed, **values)
