"""What a header says about its pixels (PS3.3 C.7.6.3), and why there may be no picture. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from storage.attributes import values_of

ROOT = "1.2.840.10008.1.2"
NATIVE = {ROOT, f"{ROOT}.1", f"{ROOT}.2", f"{ROOT}.1.99"}
MAX_PIXELS = 150_000_000
Pixels = NDArray[Any]


class CannotRender(ValueError):
    """There is no picture to show; the message is a sentence for the reader."""


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """What the header says about the pixels (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    photometric: str
    planar_configuration: int
    is_float: bool = False

    @property
    def is_colour(self) -> bool:
        return self.samples > 1


def image_format(attributes: dict[str, Any]) -> ImageFormat:
    """Read the pixel description of a header (DICOM JSON). Raises CannotRender where it holds no image."""
    rows, columns = number_in(attributes, "00280010", 0), number_in(attributes, "00280011", 0)
    if rows <= 0 or columns <= 0:
        raise CannotRender("This object holds no image.")
    if rows * columns > MAX_PIXELS:
        raise CannotRender(f"An image of {columns} × {rows} pixels is larger than this portal draws.")
    bits = number_in(attributes, "00280100", 16)
    if bits not in (1, 8, 16, 32, 64):
        raise CannotRender(f"Pixels of {bits} allocated bits are not known.")
    stored = min(bits, number_in(attributes, "00280101", bits)) or bits
    photometric = values_of(attributes, "00280004")
    return ImageFormat(
        rows=rows,
        columns=columns,
        samples=number_in(attributes, "00280002", 1),
        bits_allocated=bits,
        bits_stored=stored,
        high_bit=number_in(attributes, "00280102", stored - 1),
        is_signed=number_in(attributes, "00280103", 0) == 1,
        photometric=str(photometric[0]) if photometric else "MONOCHROME2",
        planar_configuration=number_in(attributes, "00280006", 0),
    )


def number_in(attributes: dict[str, Any], tag: str, default: int) -> int:
    """The first value of a tag as an integer; `default` where it is absent or none."""
    values = values_of(attributes, tag)
    try:
        return int(values[0]) if values and values[0] is not None else default
    except (TypeError, ValueError):
        return default
