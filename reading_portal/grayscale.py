"""The grayscale pipeline of PS3.4 N.2 as a table: stored container → modality → VOI → 8-bit display. Pure."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reading_portal.decoding import ImageFormat, Pixels
from storage.attributes import values_of

Attributes = dict[str, Any]
# Fetches a value that the header left out because it is long, by its path: tag, item, tag, …
Bulk = Callable[[tuple[int, ...]], bytes | None]

LINEAR, LINEAR_EXACT, SIGMOID = "LINEAR", "LINEAR_EXACT", "SIGMOID"
MODALITY_LUT, VOI_LUT, LUT_DATA = 0x00283000, 0x00283010, 0x00283006
SHARED, PER_FRAME = "52009229", "52009230"
VOI_GROUP, TRANSFORMATION_GROUP = "00289132", "00289145"


@dataclass(frozen=True, slots=True)
class Window:
    """Centre and width in modality units (HU for CT), and the function between (PS3.3 C.11.2.1.2)."""

    center: float
    width: float
    function: str = LINEAR


@dataclass(frozen=True, slots=True)
class LookUp:
    """A LUT of PS3.3 C.11.1 / C.11.2: values beyond its ends take the first or the last entry."""

    first: int
    bits: int
    entries: bytes  # little-endian 16-bit

    def values(self) -> NDArray[np.float32]:
        return np.frombuffer(self.entries, "<u2").astype(np.float32)


@dataclass(frozen=True, slots=True)
class Grayscale:
    """Everything between a stored container and a display value; equal ones share their table."""

    bits_allocated: int
    bits_stored: int
    shift: int
    is_signed: bool
    is_inverted: bool
    slope: float = 1.0
    intercept: float = 0.0
    modality: LookUp | None = None
    voi: LookUp | Window | None = None


def read_grayscale(
    attributes: Attributes, image: ImageFormat, *, frame: int, is_native: bool, bulk: Bulk
) -> Grayscale:
    """The pipeline that the header asks for on frame `frame` (from 1)."""
    transformation = frame_group(attributes, frame, TRANSFORMATION_GROUP) or attributes
    window_source = frame_group(attributes, frame, VOI_GROUP) or attributes
    slope, intercept = _float(transformation, "00281053", 1.0), _float(transformation, "00281052", 0.0)
    modality = _look_up(attributes, MODALITY_LUT, bulk, is_signed=image.is_signed)
    is_signed = image.is_signed or (modality is None and intercept < 0)
    return Grayscale(
        bits_allocated=image.bits_allocated,
        bits_stored=image.bits_stored,
        # Codecs give the value itself; only native containers keep it at another bit.
        shift=max(0, image.high_bit + 1 - image.bits_stored) if is_native else 0,
        is_signed=image.is_signed,
        is_inverted=image.photometric == "MONOCHROME1",
        slope=slope or 1.0,
        intercept=intercept,
        modality=modality,
        voi=_look_up(attributes, VOI_LUT, bulk, is_signed=is_signed) or _window(window_source),
    )


def frame_group(attributes: Attributes, frame: int, group: str) -> Attributes | None:
    """The item of a functional group macro for one frame: its own, else the shared one (PS3.3 C.7.6.16)."""
    for tag, index in ((PER_FRAME, frame - 1), (SHARED, 0)):
        items = values_of(attributes, tag)
        if index < len(items) and (found := values_of(items[index] or {}, group)):
            item: Attributes = found[0]
            return item
    return None


def to_display(pixels: Pixels, pipeline: Grayscale, window: Window | None = None) -> NDArray[np.uint8]:
    """Display values 0 (black) … 255 (white). `window` overrides what the header asks for."""
    if window is not None:
        pipeline = replace(pipeline, voi=window)
    if pipeline.voi is None:
        pipeline = replace(pipeline, voi=full_range(pixels, pipeline))
    if pipeline.bits_allocated > 16 or pixels.dtype.kind == "f":
        return _displayed(_modality(_stored(pixels, pipeline), pipeline), pipeline)
    return np.take(_table(pipeline), pixels, mode="clip" if pipeline.bits_allocated < 8 else "raise")


def modality_values(pixels: Pixels, pipeline: Grayscale) -> NDArray[np.float32]:
    """Pixel values in modality units, HU for CT."""
    return _modality(_stored(pixels, pipeline), pipeline)


def full_range(pixels: Pixels, pipeline: Grayscale) -> Window:
    """A window where the header has none: all of 8 bits, else what the picture holds but for outliers."""
    if pipeline.bits_stored <= 8 and pipeline.modality is None and pixels.dtype.kind != "f":
        low, high = (-128, 127) if pipeline.is_signed else (0, 2**pipeline.bits_stored - 1)
        ends = [low * pipeline.slope + pipeline.intercept, high * pipeline.slope + pipeline.intercept]
        return Window((min(ends) + max(ends)) / 2, max(ends) - min(ends), LINEAR_EXACT)
    step = max(1, int((pixels.size / 250_000) ** 0.5))
    values = modality_values(pixels[::step, ::step], pipeline)
    values = values[np.isfinite(values)]
    if not values.size:
        return Window(0.5, 1.0, LINEAR_EXACT)
    bottom, top = (float(value) for value in np.percentile(values, (0.5, 99.5)))
    return Window((bottom + top) / 2, max(top - bottom, 1e-6), LINEAR_EXACT)


@lru_cache(maxsize=128)
def _table(pipeline: Grayscale) -> NDArray[np.uint8]:
    containers = np.arange(1 << max(8, pipeline.bits_allocated), dtype=np.uint32)
    return _displayed(_modality(_stored(containers, pipeline), pipeline), pipeline)


def _stored(pixels: Pixels, pipeline: Grayscale) -> NDArray[np.float32]:
    """Containers → stored values: the bits beside them (old overlays) fall away, the sign is extended."""
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32)
    values = pixels.astype(np.int64) >> pipeline.shift
    values &= (1 << pipeline.bits_stored) - 1
    if pipeline.is_signed:
        sign = 1 << (pipeline.bits_stored - 1)
        values = (values ^ sign) - sign
    return values.astype(np.float32)


def _modality(stored: NDArray[np.float32], pipeline: Grayscale) -> NDArray[np.float32]:
    if pipeline.modality is not None:
        return _looked_up(stored, pipeline.modality)
    return stored * np.float32(pipeline.slope) + np.float32(pipeline.intercept)


def _displayed(values: NDArray[np.float32], pipeline: Grayscale) -> NDArray[np.uint8]:
    if isinstance(pipeline.voi, LookUp):
        level = _looked_up(values, pipeline.voi) / np.float32(2**pipeline.voi.bits - 1)
    else:
        level = _windowed(values, pipeline.voi or Window(0.5, 1.0))
    level = np.nan_to_num(level).clip(0.0, 1.0)
    if pipeline.is_inverted:
        level = 1.0 - level
    shown: NDArray[np.uint8] = (level * 255.0 + 0.5).astype(np.uint8)
    return shown


def _windowed(values: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
    center, width = np.float32(window.center), np.float32(window.width)
    if window.function == SIGMOID:
        return 1.0 / (1.0 + np.exp((-4.0 * (values - center) / width).clip(-80, 80)))  # type: ignore[no-any-return]
    if window.function == LINEAR_EXACT:
        return (values - center) / width + np.float32(0.5)
    if width <= 1:
        return (values > center - np.float32(0.5)).astype(np.float32)
    return (values - (center - np.float32(0.5))) / (width - 1) + np.float32(0.5)


def _looked_up(values: NDArray[np.float32], look_up: LookUp) -> NDArray[np.float32]:
    entries = look_up.values()
    index = np.clip(values.astype(np.int64) - look_up.first, 0, len(entries) - 1)
    return entries[index]


def _window(attributes: Attributes) -> Window | None:
    center, width = _float(attributes, "00281050", None), _float(attributes, "00281051", None)
    function = str(_first(attributes, "00281056") or LINEAR).upper()
    if center is None or width is None or width <= 0 or (width < 1 and function == LINEAR):
        return None
    return Window(center, width, function if function in (LINEAR, LINEAR_EXACT, SIGMOID) else LINEAR)


def _look_up(attributes: Attributes, sequence: int, bulk: Bulk, *, is_signed: bool) -> LookUp | None:
    items = values_of(attributes, f"{sequence:08X}")
    descriptor = values_of(items[0], "00283002") if items and items[0] else ()
    if len(descriptor) != 3 or not all(isinstance(value, int) for value in descriptor):
        return None
    count, first, bits = (int(value) for value in descriptor)
    count = (count & 0xFFFF) or 65536
    if first >= 32768 and is_signed:
        first -= 65536
    if bits not in range(8, 17):
        return None
    data = _binary(items[0].get(f"{LUT_DATA:08X}")) or bulk((sequence, 0, LUT_DATA))
    if not data or len(data) < count:
        return None
    if len(data) < 2 * count:
        data = np.frombuffer(data, np.uint8).astype("<u2").tobytes()
    return LookUp(first, bits, data[: 2 * count])


def _binary(element: Attributes | None) -> bytes | None:
    if not element:
        return None
    if "InlineBinary" in element:
        return base64.b64decode(element["InlineBinary"])
    values = element.get("Value")
    return np.asarray(values, np.int64).astype("<u2").tobytes() if values else None


def _first(attributes: Attributes, tag: str) -> Any:
    values = values_of(attributes, tag)
    return values[0] if values else None


def _float(attributes: Attributes, tag: str, default: Any) -> Any:
    value = _first(attributes, tag)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return default
    return number if np.isfinite(number) else default
