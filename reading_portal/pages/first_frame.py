"""What a browser must know to draw the first frame without a viewer; said in the page where it is plain.

Whatever is not (PS3.3 C.7.6.3, C.11.1, C.11.2) is left to the viewer: then nothing is said. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from reading_portal.image_format import NATIVE, CannotRender, ImageFormat, image_format
from reading_portal.recoding import HTJ2K, HTJ2K_RPCL, is_recodable
from storage.attributes import values_of

# The viewer fetches projections coarse to fine, as another answer; PET is shown in units of its own.
MODALITIES = {"CT", "MR"}
# What the viewer is given as HTJ2K: our recoding of native frames, or the frame as it is.
AS_HTJ2K = NATIVE | {HTJ2K, HTJ2K_RPCL}
MODALITY_LUT, VOI_LUT, SHARED_GROUPS = "00283000", "00283010", "52009229"
SPACINGS = ("00280030", "00181164", "00280034")  # PixelSpacing, ImagerPixelSpacing, PixelAspectRatio
SLOPE, INTERCEPT = "00281053", "00281052"
CENTER, WIDTH, FUNCTION = "00281050", "00281051", "00281056"
LOSSY = "00282110"


@dataclass(frozen=True, slots=True)
class FirstFrame:
    """A monochrome frame and its way to the screen: rescale, then the LINEAR window (PS3.3 C.11.2.1.2.1)."""

    url: str
    rows: int
    columns: int
    bits_stored: int
    is_signed: bool
    is_inverted: bool
    slope: float
    intercept: float
    center: float
    width: float


def first_frame(
    url: str, header: dict[str, Any], *, modality: str, transfer_syntax_uid: str, number_of_frames: int
) -> FirstFrame | None:
    """The frame at `url` as its header (DICOM JSON) describes it; None where only the viewer can draw it."""
    if modality not in MODALITIES or transfer_syntax_uid not in AS_HTJ2K or number_of_frames > 1:
        return None
    try:
        image = image_format(header)
    except CannotRender:
        return None
    if not _is_plain(image) or not _says_nothing_more(header):
        return None
    slope, intercept = _number(header, SLOPE, 1.0), _number(header, INTERCEPT, 0.0)
    center, width = _number(header, CENTER, None), _number(header, WIDTH, None)
    if not slope or intercept is None or center is None or width is None or width < 1:
        return None
    return FirstFrame(
        url=url,
        rows=image.rows,
        columns=image.columns,
        bits_stored=image.bits_stored,
        is_signed=image.is_signed,
        is_inverted=image.photometric == "MONOCHROME1",
        slope=slope,
        intercept=intercept,
        center=center,
        width=width,
    )


def _is_plain(image: ImageFormat) -> bool:
    return (
        image.samples == 1
        and image.photometric in ("MONOCHROME1", "MONOCHROME2")
        and is_recodable(image)
        and image.high_bit == image.bits_stored - 1
    )


def _says_nothing_more(header: dict[str, Any]) -> bool:
    """No look-up tables, functional groups, overlays or lossy past, square pixels, a linear window."""
    function = values_of(header, FUNCTION)
    return (
        not any(values_of(header, tag) for tag in (MODALITY_LUT, VOI_LUT, SHARED_GROUPS))
        and not any(tag.startswith("60") for tag in header)
        and "01" not in values_of(header, LOSSY)
        and str(function[0] if function else "LINEAR").upper() == "LINEAR"
        and all(len({str(value) for value in values_of(header, tag)}) <= 1 for tag in SPACINGS)
    )


def _number(header: dict[str, Any], tag: str, default: float | None) -> float | None:
    """The first value as a number; `default` where absent, None where it is no number."""
    values = values_of(header, tag)
    if not values or values[0] is None:
        return default
    try:
        number = float(values[0])
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
