"""Pulmonary arteries, veins and bronchi that fill a lung down to the millimetre."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from center.demo.phantoms.anatomy import cage, lungs

Field = NDArray[Any]
TERMINALS = 1700  # per lung and tree


@dataclass(frozen=True)
class Tree:
    """Points along all branches: `centre` n × 3 (mm), `radius` n (mm)."""

    centre: Field
    radius: Field


def _terminals(random: np.random.Generator, side: int, count: int) -> Field:
    """Points spread over one lung (n × 3), a little inside its surface."""
    found: list[Field] = []
    total = 0
    while total < count:
        points = random.uniform((4, -90, -80), (135, 95, 225), (count * 3, 3)) * [side, 1, 1]
        x, y, z = points.T
        kept = points[lungs(x, y, z) < -2.5]
        found.append(kept)
        total += len(kept)
    return np.concatenate(found)[:count]


def _grow(root: Field, ends: Field, random: np.random.Generator) -> list[tuple[Field, Field, int]]:
    """Branches (start, stop, ends served): towards the middle of what is served, then split in two."""
    branches = []
    pending = [(root, ends)]
    while pending:
        start, served = pending.pop()
        if len(served) == 1:
            branches.append((start, served[0], 1))
            continue
        middle = served.mean(axis=0)
        fork = start + (middle - start) * (0.55 if len(served) > 8 else 0.45)
        branches.append((start, fork, len(served)))
        # Split across the longest extent as seen from the fork: what a bronchial tree does with its lobe.
        seen = served - fork
        _, _, directions = np.linalg.svd(served - middle, full_matrices=False)
        order = np.argsort(seen @ directions[0])
        cut = int(len(served) * random.uniform(0.38, 0.62))
        cut = min(max(cut, 1), len(served) - 1)
        pending.append((fork, served[order[:cut]]))
        pending.append((fork, served[order[cut:]]))
    return branches


def _sample(
    branches: list[tuple[Field, Field, int]], unit: float, random: np.random.Generator, shift: float = 0.0
) -> Tree:
    """Points a millimetre or so apart, on slightly bent branches, with radii by Murray's law."""
    centres, radii = [], []
    for start, stop, served in branches:
        radius = unit * served ** (1 / 3.0)
        length = float(np.linalg.norm(stop - start))
        count = max(2, int(length / max(0.8, 0.45 * radius)) + 1)
        t = np.linspace(0, 1, count)[:, None]
        bow = random.normal(0, 0.06 * length, 3)
        line = start + (stop - start) * t + bow * np.sin(np.pi * t)
        if shift:
            side = np.cross(stop - start, (0.3, 0.5, 1.0))
            line = line + side / (np.linalg.norm(side) + 1e-6) * shift * radius
        centres.append(line)
        radii.append(np.full(count, radius))
    return Tree(np.concatenate(centres), np.concatenate(radii))


def grow_trees(seed: int) -> tuple[Tree, Tree]:
    """Vessels and bronchi of both lungs; the bronchi run beside the arteries, as far as CT shows them."""
    random = np.random.default_rng([seed, 11])
    vessels: list[Tree] = []
    bronchi: list[Tree] = []
    for side, artery, vein in ((-1, (-40, 15, 97), (-26, 16, 66)), (1, (44, 25, 102), (32, 17, 66))):
        arteries = _grow(np.array(artery, float), _terminals(random, side, TERMINALS), random)
        veins = _grow(np.array(vein, float), _terminals(random, side, TERMINALS), random)
        vessels.append(_sample(arteries, 0.46, random))
        vessels.append(_sample(veins, 0.44, random))
        large = [branch for branch in arteries if 22 <= branch[2] < 900]
        bronchi.append(_sample(large, 0.36, random, shift=2.1))
    return _inside(vessels), _inside(bronchi)


def _inside(trees: list[Tree]) -> Tree:
    centre = np.concatenate([tree.centre for tree in trees])
    radius = np.concatenate([tree.radius for tree in trees])
    x, y, z = centre.T
    kept = cage(x, y, z) < -3
    return Tree(centre[kept], radius[kept])
