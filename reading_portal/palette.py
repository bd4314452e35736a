"""Palette colour (PS3.3 C.7.9, C.7.6.3.1.5 and .6): plain or segmented tables as one table of RGB. Pure."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from reading_portal.decoding import CannotRender
from reading_portal.grayscale import Attributes, Bulk
from storage.attributes import values_of

DESCRIPTORS = (0x00281101, 0x00281102, 0x00281103)
PLAIN, SEGMENTED = (0x00281201, 0x00281202, 0x00281203), (0x00281221, 0x00281222, 0x00281223)


@dataclass(frozen=True)
class Palette:
    """`entries` is n × 3 of 8 or 16 bits; stored value `first` and all below it take the first row."""

    first: int
    bits: int
    entries: NDArray[np.uint16]

    def table8(self) -> NDArray[np.uint8]:
        # Some writers put 8-bit colours into 16-bit tables (C.7.6.3.1.6 wants the full range).
        is_wide = self.bits == 16 and int(self.entries.max(initial=0)) > 255
        return (self.entries >> 8 if is_wide else self.entries).astype(np.uint8)


def read_palette(attributes: Attributes, bulk: Bulk) -> Palette:
    """The palette of an image; `bulk` fetches tables that the header left out. Raises CannotRender."""
    descriptors = [values_of(attributes, f"{tag:08X}") for tag in DESCRIPTORS]
    if not all(len(descriptor) == 3 for descriptor in descriptors):
        raise CannotRender("The image is coloured by a palette that is not in it.")
    described = tuple(tuple(int(value) & 0xFFFF for value in descriptor) for descriptor in descriptors)
    for tags in (PLAIN, SEGMENTED):
        data = [_inline(attributes, tag) or bulk((tag,)) for tag in tags]
        if all(data):
            return _expanded(described, tags, tuple(one for one in data if one))
    raise CannotRender("The image is coloured by a palette that is not in it.")


@lru_cache(maxsize=16)
def _expanded(
    described: tuple[tuple[int, ...], ...], tags: tuple[int, ...], data: tuple[bytes, ...]
) -> Palette:
    count, first, bits = described[0]
    dataset = Dataset()
    for tag, descriptor in zip(DESCRIPTORS, described, strict=True):
        dataset.add_new(tag, "US", list(descriptor))
    for tag, one in zip(tags, data, strict=True):
        dataset.add_new(tag, "OW", one)
    dataset.set_original_encoding(is_implicit_vr=False, is_little_endian=True)
    indices = np.minimum(first + np.arange(count or 65536), 65535).astype(np.uint16)
    try:
        entries = apply_color_lut(indices, dataset)
    except Exception as error:  # pydicom walks the segments as they are written
        raise CannotRender("The palette of this image cannot be read.") from error
    return Palette(first, bits, entries[..., :3].astype(np.uint16))


def _inline(attributes: Attributes, tag: int) -> bytes | None:
    element = attributes.get(f"{tag:08X}") or {}
    return base64.b64decode(element["InlineBinary"]) if "InlineBinary" in element else None
