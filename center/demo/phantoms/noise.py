"""Random fields with a chosen texture: the grain of an image, the marbling of muscle."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[Any]


def textured_noise(
    random: np.random.Generator, shape: tuple[int, ...], *, cutoff: float, ramp: float = 0.0
) -> Field:
    """A float32 field of mean 0 and deviation 1 that tiles; its power is f^(2·ramp) under a Gaussian.

    `cutoff` is in cycles per pixel. A ramp of 0.5 and more is what filtered back-projection leaves:
    no blotches, a grain of one size. Without a ramp it is a smooth cloud.
    """
    white = random.standard_normal(shape).astype(np.float32)
    squared = np.zeros((*shape[:-1], shape[-1] // 2 + 1), dtype=np.float32)
    for axis, size in enumerate(shape):
        line = np.fft.rfftfreq(size) if axis == len(shape) - 1 else np.fft.fftfreq(size)
        along = [-1 if k == axis else 1 for k in range(len(shape))]
        squared = squared + (line**2).astype(np.float32).reshape(along)
    response = np.exp(-squared / (2 * cutoff * cutoff))
    if ramp:
        response *= (squared + 1e-6) ** (ramp / 2)
    axes = tuple(range(len(shape)))
    field = np.fft.irfftn(np.fft.rfftn(white, axes=axes) * response, s=shape, axes=axes).astype(np.float32)
    field -= field.mean()
    field /= field.std()
    return field
