"""The soft shapes of a chest as signed distances in millimetres; negative is inside.

x grows to the patient's left, y to the back, z to the head (PS3.3 C.7.6.2.1.1); z = 0 is about the top of
the diaphragm. Every function broadcasts: a slice (x a row, y a column, z a number), a cloud of points, a
projection's grid.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[Any]

# z, half width, front and back of the inside of the rib cage.
_CAGE = np.array(
    [
        (-100, 126, -58, 76),
        (-40, 134, -74, 84),
        (0, 135, -81, 88),
        (50, 131, -84, 91),
        (100, 121, -79, 91),
        (140, 106, -66, 87),
        (170, 88, -48, 81),
        (195, 66, -26, 73),
        (212, 42, -5, 60),
        (222, 14, 16, 44),
        (230, 1, 24, 34),
    ],
    dtype=float,
).T
# The same of the skin: arms raised, so the shoulders are wide and come up beside the head.
_SKIN = np.array(
    [
        (-100, 152, -96, 106),
        (-40, 157, -104, 110),
        (0, 158, -109, 113),
        (60, 161, -112, 117),
        (110, 169, -108, 120),
        (140, 178, -97, 121),
        (170, 184, -84, 120),
        (200, 183, -68, 115),
        (232, 168, -56, 106),
    ],
    dtype=float,
).T
SPINE_Y = 50.0

# Vessels and airways of the mediastinum: (x, y, z, radius) along the line.
AORTA = (
    (2, -16, 66, 15), (-14, -20, 84, 16), (-18, -21, 108, 16), (-12, -12, 132, 15), (4, 5, 145, 14),
    (18, 24, 140, 13), (25, 38, 122, 12.5), (27, 44, 80, 12), (24, 46, 30, 12), (14, 43, -30, 11.5),
    (5, 38, -100, 11),
)  # fmt: skip
ARCH_BRANCHES = (
    ((-12, -10, 138, 6.5), (-16, -4, 170, 6), (-22, 0, 196, 5), (-24, 4, 232, 4)),
    ((-16, -4, 172, 5), (-34, -2, 196, 5), (-70, -8, 206, 4.5), (-118, -2, 200, 4)),
    ((3, 2, 146, 5), (8, 6, 185, 4.5), (20, 6, 232, 4)),
    ((15, 18, 144, 5.5), (22, 18, 185, 5), (40, 4, 204, 5), (75, -6, 208, 4.5), (118, -2, 200, 4)),
)
VEINS = (
    ((-24, -9, 78, 10), (-25, -10, 120, 9), (-24, -16, 150, 8), (-30, -18, 180, 7), (-34, -16, 232, 6)),
    ((-24, -17, 148, 7), (0, -26, 158, 7), (28, -24, 176, 7), (36, -16, 200, 6), (36, -12, 232, 6)),
    ((-22, 6, 30, 12), (-25, 10, -20, 12), (-24, 18, -100, 12)),
    ((-9, 40, -80, 3.5), (-10, 40, 90, 3.5), (-16, 34, 112, 3.5), (-22, 8, 116, 3.5)),
)
PULMONARY_ARTERIES = (
    ((14, -34, 66, 13), (22, -22, 92, 13.5), (20, -8, 104, 13)),
    ((20, -8, 104, 12), (0, 4, 104, 11), (-24, 10, 101, 10.5), (-40, 14, 98, 9)),
    ((20, -8, 104, 11), (34, 12, 110, 11), (44, 24, 104, 9.5)),
)
TRACHEA = ((1, 14, 234, 8.5), (1, 18, 180, 8.5), (-1, 22, 140, 8.8), (-1, 24, 120, 8.4))
BRONCHI = (
    ((-1, 24, 120, 7.6), (-20, 24, 108, 7.2), (-38, 22, 98, 6.2), (-46, 26, 78, 4.8), (-56, 38, 50, 3.8)),
    ((-30, 22, 104, 5), (-44, 18, 114, 4.4), (-56, 12, 124, 3.2)),
    ((-1, 24, 120, 7.2), (22, 28, 104, 6.4), (42, 30, 92, 5.8), (52, 36, 74, 4.6), (62, 46, 48, 3.6)),
    ((42, 30, 92, 4.8), (54, 20, 102, 4.2), (64, 10, 112, 3)),
)
OESOPHAGUS = (
    (4, 33, 232, 6), (6, 37, 140, 6), (5, 38, 100, 6), (10, 33, 30, 6.5), (22, 22, -20, 7), (40, 8, -44, 9),
)  # fmt: skip
# Chambers as ellipsoids: centre, radii, turn in the axial plane (degrees), then in the frontal plane.
HEART = (
    ((46, -22, 22), (47, 33, 36), 32, -22),
    ((8, -40, 22), (46, 25, 37), 8, -8),
    ((-26, -8, 36), (25, 30, 35), 0, 0),
    ((6, 14, 62), (33, 21, 22), 0, 0),
)


def smooth_min(a: Field, b: Field, blend: float) -> Field:
    """The union of two shapes with a fillet of `blend` mm."""
    mix = np.clip(0.5 + 0.5 * (b - a) / blend, 0, 1)
    return np.asarray(b + (a - b) * mix - blend * mix * (1 - mix))


def _oval(x: Field, y: Field, z: Field | float, table: Field, power: float) -> Field:
    """Distance from the superellipse whose half width, front and back follow z."""
    half = np.interp(z, table[0], table[1])
    front, back = np.interp(z, table[0], table[2]), np.interp(z, table[0], table[3])
    y = y - (front + back) / 2
    ratio = np.abs(x / half) ** power + np.abs(y / ((back - front) / 2)) ** power
    ratio = np.maximum(ratio, 1e-6) ** (1 / power)
    return np.asarray(np.sqrt(x * x + y * y) * (1 - 1 / ratio))


def cage(x: Field, y: Field, z: Field | float) -> Field:
    """The inside of the rib cage: lungs, mediastinum, upper abdomen, and the spine behind."""
    return _oval(x, y, z, _CAGE, 2.3)


def skin(x: Field, y: Field, z: Field | float) -> Field:
    """The outside of the body, with the groove of the back and the swell of the pectorals."""
    oval = _oval(x, y, z, _SKIN, 2.5)
    groove = 5.5 * np.exp(-((x / 15) ** 2)) * np.clip((y - 60) / 30, 0, 1)
    high = np.clip((np.asarray(z) - 30) / 40, 0, 1)
    chest = np.clip(-(y + 40) / 30, 0, 1) * high
    swell = 5 * np.exp(-(((np.abs(x) - 72) / 34) ** 2)) - 3 * np.exp(-((x / 20) ** 2))
    blades = 3.5 * np.exp(-(((np.abs(x) - 88) / 30) ** 2)) * np.clip((y - 50) / 30, 0, 1) * high
    return np.asarray(oval + groove - chest * swell - blades + 1.5 * np.sin(x / 60 + 1))


def cage_front(z: Field | float) -> Field:
    return np.asarray(np.interp(z, _CAGE[0], _CAGE[2]))


def cage_point(angle: Field, z: Field, offset: Field | float) -> tuple[Field, Field]:
    """The x (of the left side) and y of the cage in a direction: 0 to the back, π to the front."""
    half = np.interp(z, _CAGE[0], _CAGE[1])
    front, back = np.interp(z, _CAGE[0], _CAGE[2]), np.interp(z, _CAGE[0], _CAGE[3])
    s, c = np.sin(angle), np.cos(angle)
    ratio = (np.abs(s / half) ** 2.3 + np.abs(c / ((back - front) / 2)) ** 2.3) ** (1 / 2.3)
    radius = 1 / ratio + offset
    return radius * s, (front + back) / 2 + radius * c


def diaphragm(x: Field, y: Field) -> Field:
    """The height (z) of the diaphragm: two domes, steep at the wall, deepest at the back."""
    heights = []
    for centre, top, width in ((-64.0, 10.0, 74.0), (66.0, -3.0, 74.0)):
        across = (x - centre) / np.where((x - centre) * centre > 0, width, 96.0)
        along = (y + 2) / np.where(y > -2, 92.0, 88.0)
        r = across * across + along * along
        heights.append(top - 14 * r - 52 * r**3)
    return -smooth_min(-heights[0], -heights[1], 14)


def ellipsoid(
    x: Field,
    y: Field,
    z: Field | float,
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
    axial: float = 0,
    frontal: float = 0,
) -> Field:
    """About the distance from an ellipsoid that is turned in the axial, then in the frontal plane."""
    x, y, z = x - centre[0], y - centre[1], z - centre[2]
    c, s = np.cos(np.radians(axial)), np.sin(np.radians(axial))
    x, y = c * x + s * y, -s * x + c * y
    c, s = np.cos(np.radians(frontal)), np.sin(np.radians(frontal))
    x, z = c * x + s * z, -s * x + c * z
    ratio = np.sqrt((x / radii[0]) ** 2 + (y / radii[1]) ** 2 + (z / radii[2]) ** 2)
    return (ratio - 1) * min(radii) * 1.15


def heart(x: Field, y: Field, z: Field | float) -> Field:
    shapes = [ellipsoid(x, y, z, *chamber) for chamber in HEART]
    whole = shapes[0]
    for shape in shapes[1:]:
        whole = smooth_min(whole, shape, 12)
    return whole


def tube(x: Field, y: Field, z: Field | float, line: Any) -> Field:
    """Distance from a bent tube given as (x, y, z, radius) points."""
    nearest: Any = np.float32(1e3)
    points = np.asarray(line, dtype=float)
    for start, stop in pairwise(points):
        reach = max(start[3], stop[3]) + 30  # further than that, nobody looks
        low, high = min(start[2], stop[2]) - reach, max(start[2], stop[2]) + reach
        if np.ndim(z) == 0 and not low < z < high:
            continue
        axis = stop[:3] - start[:3]
        dx, dy, dz = x - start[0], y - start[1], z - start[2]
        t = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) / (axis @ axis), 0, 1)
        gap = (dx - t * axis[0]) ** 2 + (dy - t * axis[1]) ** 2 + (dz - t * axis[2]) ** 2
        nearest = np.minimum(nearest, np.sqrt(gap) - (start[3] + t * (stop[3] - start[3])))
    return np.asarray(nearest)


def spine_block(x: Field, y: Field, z: Field | float) -> Field:
    """Vertebrae with the muscles beside them: what the lungs curl around."""
    body = np.sqrt(x * x + (y - SPINE_Y) ** 2) - 19
    side = np.sqrt((np.abs(x) - 20) ** 2 + (y - SPINE_Y - 36) ** 2) - 20
    return smooth_min(body, side, 14)


def great_vessels(x: Field, y: Field, z: Field | float) -> Field:
    """Aorta and its branches, caval veins, pulmonary trunk and arteries, oesophagus."""
    lines = (AORTA, *ARCH_BRANCHES, *VEINS, *PULMONARY_ARTERIES, OESOPHAGUS)
    whole: Any = np.float32(1e3)
    for line in lines:
        whole = np.minimum(whole, tube(x, y, z, line))
    return np.asarray(whole)


def airways(x: Field, y: Field, z: Field | float) -> Field:
    """The lumen of trachea and large bronchi."""
    whole: Any = np.float32(1e3)
    for line in (TRACHEA, *BRONCHI):
        whole = np.minimum(whole, tube(x, y, z, line))
    return np.asarray(whole)


def mediastinum(x: Field, y: Field, z: Field | float, heart_distance: Field, vessels: Field) -> Field:
    """What lies between the lungs, with its fat: wide over the heart, narrow above it in front."""
    whole = smooth_min(heart_distance - 5, vessels - 3.5, 12)
    whole = smooth_min(whole, tube(x, y, z, TRACHEA) - 4, 10)
    whole = smooth_min(whole, spine_block(x, y, z), 10)
    # Fat in front: the junction line behind the sternum, and the angles beside the heart.
    front = np.sqrt((x / 11) ** 2 + ((y - cage_front(z)) / 34) ** 2)
    return smooth_min(whole, (front - 1) * 11, 10)


def lungs(x: Field, y: Field, z: Field | float) -> Field:
    """Both lungs: inside the cage, beside the mediastinum, above the diaphragm."""
    centre = mediastinum(x, y, z, heart(x, y, z), great_vessels(x, y, z))
    return lungs_between(x, y, z, cage(x, y, z), centre)


def lungs_between(x: Field, y: Field, z: Field | float, wall: Field, centre: Field) -> Field:
    """The same, where the distances of the cage and of the mediastinum are known already."""
    below = (diaphragm(x, y) - z) * 0.55  # the domes are steep at the wall: height overstates distance
    return np.maximum(np.maximum(wall + 1.5, -centre), below)
