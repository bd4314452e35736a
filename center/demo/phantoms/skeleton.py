"""The bones of a chest as clouds of small ellipsoids, and how to paint such clouds into a slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from center.demo.phantoms.anatomy import SPINE_Y, cage_front, cage_point

Field = NDArray[Any]
VERTEBRA_PITCH = 22.5
FIRST_VERTEBRA = 207.0  # z of the middle of T1


@dataclass(frozen=True)
class Cloud:
    """n points: `centre` n × 3 (mm); `axes` n × 2 × 3, unit vectors; `radii` n × 2 along them (mm)."""

    centre: Field
    axes: Field
    radii: Field


def _rib(number: int, side: int) -> tuple[Field, Field]:
    """The line of a rib (n × 3, mm) from its head, and how far it has gone (0..1)."""
    head = FIRST_VERTEBRA + 4 - VERTEBRA_PITCH * (number - 1)
    reach = np.interp(number, (1, 2, 5, 8, 9, 10, 11, 12), (2.45, 2.55, 2.5, 2.3, 2.1, 1.9, 1.35, 0.95))
    drop = np.interp(number, (1, 2, 4, 7, 10, 12), (34, 50, 78, 98, 88, 50))
    u = np.linspace(0, 1, 300)
    angle = 0.42 + (reach - 0.42) * u
    z = head - drop * (0.18 * u + 0.82 * u * u * (3 - 2 * u) ** 0.5 / 1.0)
    x, y = cage_point(angle, np.minimum(z, 219.0), 4.5)
    # The neck runs from the vertebra to the angle of the rib.
    neck = np.clip(u / 0.10, 0, 1)
    neck = neck * neck * (3 - 2 * neck)
    x = 19 + (x - 19) * neck
    y = SPINE_Y + 12 + (y - SPINE_Y - 12) * neck
    return np.stack([side * x, y, z], axis=1), u


def _tube_axes(line: Field, outward: Field) -> tuple[Field, Field]:
    """Unit vectors across a line: along the body wall's normal, and square to it."""
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    normal = outward - (outward * along).sum(axis=1, keepdims=True) * along
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return normal, np.cross(along, normal)


def ribs() -> Cloud:
    """All twenty-four: flat tubes, 13 mm high and 7.5 mm thick, twisted with the wall."""
    centres, axes, radii = [], [], []
    for side in (1, -1):
        for number in range(1, 13):
            line, u = _rib(number, side)
            outward = line * [1, 1, 0] - [0, 4, 0]
            normal, across = _tube_axes(line, outward)
            thin, high = (3.6, 6.6) if number > 1 else (5.6, 3.6)
            swell = 1 + 0.12 * np.sin(9 * u + number) * (u > 0.1)
            centres.append(line)
            axes.append(np.stack([normal, across], axis=1))
            radii.append(np.stack([thin * swell, high * np.clip(0.6 + 4 * u, 0, 1) * swell], axis=1))
    return Cloud(np.concatenate(centres), np.concatenate(axes), np.concatenate(radii))


def cartilages() -> Cloud:
    """From the bony ends of ribs 1 to 10 up to the sternum."""
    centres, axes, radii = [], [], []
    for side in (1, -1):
        for number in range(1, 11):
            end = _rib(number, side)[0][-1]
            rise = float(np.interp(number, (1, 3, 7, 10), (2, 12, 58, 70)))
            z = end[2] + rise
            x = side * (18.0 if number < 8 else 26.0)
            goal = np.array([x, float(cage_front(z)) - 7, z])
            t = np.linspace(0, 1, 90)[:, None]
            line = end + (goal - end) * t
            line[:, 2] = end[2] + rise * (t[:, 0] ** 1.6)
            # Stay in the wall: neither into the lung nor through the skin.
            bow = np.sin(np.pi * t[:, 0])
            line[:, 1] -= bow * 9
            normal, across = _tube_axes(line, np.tile([0.2 * side, -1.0, 0], (len(line), 1)))
            centres.append(line)
            axes.append(np.stack([normal, across], axis=1))
            radii.append(np.tile([4.2, 6.0], (len(line), 1)))
    return Cloud(np.concatenate(centres), np.concatenate(axes), np.concatenate(radii))


def shoulders() -> Cloud:
    """Clavicles, shoulder blades and the heads of the humeri, arms raised."""
    centres, sizes = [], []
    for side in (1, -1):
        t = np.linspace(0, 1, 150)
        clavicle = np.stack(
            [side * (20 + 116 * t), -52 + 44 * t + 9 * np.sin(2 * np.pi * t), 180 + 24 * t], axis=1
        )
        centres.append(clavicle)
        sizes.append(np.interp(t, (0, 0.12, 0.5, 1), (9, 6, 5, 6.5)))
        # The blade: a sheet behind the ribs, thick only at its borders and the spine of the scapula.
        a, b = np.meshgrid(np.linspace(0, 1, 48), np.linspace(0, 1, 80))
        z = 62 + 132 * b
        width = 0.12 + 0.62 * b**0.8
        angle = 0.62 + 0.18 * b + width * a
        lift = 15 + 30 * b**3 + 34 * a * b**2
        x, y = cage_point(angle, z, lift)
        centres.append(np.stack([side * x, y, z], axis=2).reshape(-1, 3))
        border = np.minimum(np.minimum(a, 1 - a) * 12, b * 12)
        sizes.append(np.where(border < 1, 3.4, 1.7).ravel())
        spine = np.stack([side * (92 + 62 * t), 112 - 46 * t, 168 + 26 * t], axis=1)
        centres.append(spine)
        sizes.append(np.interp(t, (0, 1), (4.5, 9)))
    centre = np.concatenate(centres)
    size = np.concatenate(sizes)
    axes = np.tile(np.eye(3)[[0, 1]], (len(centre), 1, 1))
    return Cloud(centre, axes, np.stack([size, size], axis=1))


def paint(
    cloud: Cloud, z: float, *, shape: tuple[int, int], origin: tuple[float, float], pixel: float, reach: int
) -> Field:
    """Distance (mm, about) from the cloud in one slice, 9 where it is further than `reach` pixels.

    A point of a tube is thin along its line, so that the tube is round across and not along it.
    """
    field = np.full(shape[0] * shape[1], 9, dtype=np.float32)
    near = np.abs(cloud.centre[:, 2] - z) < cloud.radii.max(axis=1) + 1.5
    if not near.any():
        return field.reshape(shape)
    centre = cloud.centre[near].astype(np.float32)
    axes = cloud.axes[near].astype(np.float32)
    radii = cloud.radii[near].astype(np.float32)
    offsets = np.arange(-reach, reach + 1, dtype=np.int32)
    column = np.rint((centre[:, 0] - origin[0]) / pixel).astype(np.int32)
    row = np.rint((centre[:, 1] - origin[1]) / pixel).astype(np.int32)
    dx = (column[:, None] + offsets) * np.float32(pixel) + np.float32(origin[0]) - centre[:, :1]
    dy = (row[:, None] + offsets) * np.float32(pixel) + np.float32(origin[1]) - centre[:, 1:2]
    dz = np.float32(z) - centre[:, 2]
    gap = dx[:, None, :] ** 2 + dy[:, :, None] ** 2 + (dz * dz)[:, None, None]
    squared = np.zeros_like(gap)
    rest = gap
    for k in (0, 1):
        part = (
            (dx * axes[:, k, :1])[:, None, :]
            + (dy * axes[:, k, 1:2])[:, :, None]
            + (dz * axes[:, k, 2])[:, None, None]
        )
        squared += (part / radii[:, k, None, None]) ** 2
        rest = rest - part * part
    squared += rest / (radii.min(axis=1) ** 2)[:, None, None]
    distance = (np.sqrt(squared) - 1) * radii.min(axis=1)[:, None, None]
    columns, rows = column[:, None] + offsets, row[:, None] + offsets
    inside = (columns >= 0) & (columns < shape[1])
    inside = inside[:, None, :] & ((rows >= 0) & (rows < shape[0]))[:, :, None]
    inside &= distance < 2  # beyond the soft edge nobody looks, and the scatter is what costs
    index = rows[:, :, None] * shape[1] + columns[:, None, :]
    np.minimum.at(field, index[inside], distance[inside])
    return field.reshape(shape)


def paint_balls(
    centre: Field,
    radius: Field,
    z: float,
    *,
    shape: tuple[int, int],
    origin: tuple[float, float],
    pixel: float,
) -> Field:
    """The same for balls (centres n × 3, radii n, mm): each pays for its own size only."""
    field = np.full(shape[0] * shape[1], 9, dtype=np.float32)
    dz = centre[:, 2] - z
    for low, high in ((0.0, 1.0), (1.0, 2.4), (2.4, 20.0)):
        near = (np.abs(dz) < radius + 1.0) & (radius > low) & (radius <= high)
        if not near.any():
            continue
        some, size, rise = centre[near].astype(np.float32), radius[near].astype(np.float32), dz[near]
        reach = int((size.max() + 1.0) / pixel) + 1
        offsets = np.arange(-reach, reach + 1, dtype=np.int32)
        column = np.rint((some[:, 0] - origin[0]) / pixel).astype(np.int32)[:, None] + offsets
        row = np.rint((some[:, 1] - origin[1]) / pixel).astype(np.int32)[:, None] + offsets
        dx = column * np.float32(pixel) + np.float32(origin[0]) - some[:, :1]
        dy = row * np.float32(pixel) + np.float32(origin[1]) - some[:, 1:2]
        gap = (dx * dx)[:, None, :] + (dy * dy)[:, :, None]
        gap += (rise * rise).astype(np.float32)[:, None, None]
        distance = np.sqrt(gap) - size[:, None, None]
        kept = distance < 1.5
        kept &= ((column >= 0) & (column < shape[1]))[:, None, :]
        kept &= ((row >= 0) & (row < shape[0]))[:, :, None]
        index = row[:, :, None] * shape[1] + column[:, None, :]
        np.minimum.at(field, index[kept], distance[kept])
    return field.reshape(shape)
