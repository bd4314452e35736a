"""Frame + window → picture (PS3.18 8.3.5.1, "rendered"). Pure: bytes and header in, JPEG or PNG out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reading_portal.decoding import NATIVE, CannotRender, ImageFormat, Pixels, decode_frame, image_format
from reading_portal.grayscale import (
    LINEAR,
    LINEAR_EXACT,
    SIGMOID,
    Attributes,
    Bulk,
    Window,
    read_grayscale,
    to_display,
)
from reading_portal.palette import read_palette

__all__ = [
    "CannotRender",
    "Picture",
    "Viewport",
    "draw_frame",
    "parse_viewport",
    "parse_window",
    "render_frame",
]

JPEG, PNG = "image/jpeg", "image/png"
FUNCTIONS = {"linear": LINEAR, "linear-exact": LINEAR_EXACT, "sigmoid": SIGMOID}
MAX_SIDE = 8192


@dataclass(frozen=True, slots=True)
class Viewport:
    """The box to fill, and the region of the source that fills it; negative sides flip (PS3.18 8.3.5.1.3)."""

    width: int
    height: int
    x: float = 0.0
    y: float = 0.0
    source_width: float | None = None
    source_height: float | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    data: bytes
    media_type: str
    width: int
    height: int


def parse_window(text: str) -> Window:
    """`center,width[,function]` in modality units. Raises ValueError with a sentence."""
    parts = [part.strip() for part in text.split(",")]
    try:
        center, width = float(parts[0]), float(parts[1])
    except (ValueError, IndexError):
        raise ValueError("window is center,width,function in numbers") from None
    function = FUNCTIONS.get(parts[2].lower() if len(parts) > 2 else "linear")
    if function is None or len(parts) > 3:
        raise ValueError(f"the window function is one of {', '.join(FUNCTIONS)}")
    if not (np.isfinite(center) and np.isfinite(width)) or width <= 0 or (width < 1 and function == LINEAR):
        raise ValueError("the window is wider than 0, and at least 1 where linear")
    return Window(center, width, function)


def parse_viewport(text: str) -> Viewport:
    """`width,height[,x,y[,source width,source height]]`. Raises ValueError with a sentence."""
    parts = [part.strip() for part in text.split(",")]
    try:
        numbers = [float(part) if part else None for part in parts]
    except ValueError:
        raise ValueError("viewport is width,height,x,y,width,height in numbers") from None
    if not 2 <= len(numbers) <= 6 or not all(side and 1 <= side <= MAX_SIDE for side in numbers[:2]):
        raise ValueError(f"a viewport has sides from 1 to {MAX_SIDE}")
    if any(number is not None and not np.isfinite(number) for number in numbers):
        raise ValueError("viewport is width,height,x,y,width,height in numbers")
    numbers += [None] * (6 - len(numbers))
    return Viewport(
        int(numbers[0] or 1),
        int(numbers[1] or 1),
        numbers[2] or 0.0,
        numbers[3] or 0.0,
        numbers[4],
        numbers[5],
    )


def render_frame(
    data: bytes,
    transfer_syntax_uid: str,
    attributes: Attributes,
    *,
    frame: int = 1,
    bulk: Bulk = lambda _: None,
    window: Window | None = None,
    viewport: Viewport | None = None,
    quality: int = 90,
    media_type: str = JPEG,
) -> Picture:
    """Draw one frame. `attributes` is its header as DICOM JSON; `bulk` fetches what the header left out.

    Raises CannotRender with a sentence for the reader.
    """
    drawn = draw_frame(data, transfer_syntax_uid, attributes, frame=frame, bulk=bulk, window=window)
    if viewport is not None:
        drawn = _fit(drawn, viewport)
    encoded = (
        imagecodecs.png_encode(drawn, level=1)
        if media_type == PNG
        else imagecodecs.jpeg8_encode(drawn, level=max(1, min(100, quality)))
    )
    return Picture(bytes(encoded), media_type, drawn.shape[1], drawn.shape[0])


def draw_frame(
    data: bytes,
    transfer_syntax_uid: str,
    attributes: Attributes,
    *,
    frame: int = 1,
    bulk: Bulk = lambda _: None,
    window: Window | None = None,
) -> NDArray[np.uint8]:
    """Display values of one frame: rows × columns gray, or rows × columns × 3 RGB. Raises CannotRender."""
    image = _with_floats(image_format(attributes), attributes)
    pixels = decode_frame(data, transfer_syntax_uid, image)
    if pixels.ndim == 3:
        return np.ascontiguousarray(pixels[..., :3], np.uint8)
    if image.photometric == "PALETTE COLOR":
        return _through_palette(pixels, image, attributes, bulk)
    pipeline = read_grayscale(
        attributes, image, frame=frame, is_native=transfer_syntax_uid in NATIVE, bulk=bulk
    )
    return to_display(pixels, pipeline, window)


def _with_floats(image: ImageFormat, attributes: Attributes) -> ImageFormat:
    """Float Pixel Data says no Pixel Representation; nothing else says that the pixels are floats."""
    if "00280103" in attributes or image.bits_allocated < 32:
        return image
    return replace(image, is_float=True)


def _through_palette(
    pixels: Pixels, image: ImageFormat, attributes: Attributes, bulk: Bulk
) -> NDArray[np.uint8]:
    palette = read_palette(attributes, bulk)
    stored = pixels.astype(np.int64) & ((1 << image.bits_stored) - 1)
    coloured: NDArray[np.uint8] = palette.table8()[
        np.clip(stored - palette.first, 0, len(palette.entries) - 1)
    ]
    return coloured


def _fit(drawn: NDArray[np.uint8], viewport: Viewport) -> NDArray[np.uint8]:
    """Cut the region, flip where a side is negative, and scale it into the box with its proportions."""
    picture = Image.fromarray(drawn)
    rows, columns = drawn.shape[:2]
    wide = viewport.source_width if viewport.source_width is not None else columns - viewport.x
    high = viewport.source_height if viewport.source_height is not None else rows - viewport.y
    box = (
        max(0.0, viewport.x),
        max(0.0, viewport.y),
        min(float(columns), viewport.x + abs(wide)),
        min(float(rows), viewport.y + abs(high)),
    )
    if box[2] - box[0] < 1 or box[3] - box[1] < 1:
        raise CannotRender("The region asked for lies outside the image.")
    scale = min(viewport.width / (box[2] - box[0]), viewport.height / (box[3] - box[1]))
    size = (max(1, round((box[2] - box[0]) * scale)), max(1, round((box[3] - box[1]) * scale)))
    picture = picture.resize(
        size, Image.Resampling.BILINEAR, box=box, reducing_gap=2.0 if scale < 1 else None
    )
    if wide < 0:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if high < 0:
        picture = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return np.asarray(picture)
