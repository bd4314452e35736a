"""One frame's bytes → pixel values; sizes are checked before anything is allocated or decoded."""

from __future__ import annotations

import zlib

import numpy as np

from reading_portal.codec_pool import decode_apart
from reading_portal.codecs import decode_by_pydicom, shaped
from reading_portal.image_format import (
    MAX_PIXELS,
    NATIVE,
    ROOT,
    CannotRender,
    ImageFormat,
    Pixels,
    image_format,
)

__all__ = [
    "NATIVE",
    "ROOT",
    "CannotRender",
    "ImageFormat",
    "Pixels",
    "codestream_size",
    "decode_frame",
    "image_format",
]

DEFLATED_FRAMES = f"{ROOT}.8.1"
VIDEO = {f"{ROOT}.4.{end}" for end in (100, 101, 102, 103, 104, 105, 106, 107, 108)}


def decode_frame(data: bytes, transfer_syntax_uid: str, image: ImageFormat) -> Pixels:
    """Rows × columns of stored containers as they lie in the frame (unsigned, `bits_allocated` wide), or
    rows × columns × 3 of RGB. Raises CannotRender.
    """
    if transfer_syntax_uid in VIDEO:
        raise CannotRender("This is a video; it has no single pictures to draw.")
    if image.rows * image.columns * max(image.samples, 1) > 3 * MAX_PIXELS or image.samples not in (1, 3, 4):
        raise CannotRender("The header describes an image that cannot be.")
    if transfer_syntax_uid in NATIVE:
        return _native(data, image)
    if transfer_syntax_uid == DEFLATED_FRAMES:
        return _native(_inflated(data, image), image)
    _refuse_a_bomb(data, image)
    return decode_apart(data, transfer_syntax_uid, image)


def _native(data: bytes, image: ImageFormat) -> Pixels:
    shape = (image.rows, image.columns)
    if image.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        return shaped(bits[: image.rows * image.columns], shape)
    if image.is_colour:
        try:
            return decode_by_pydicom(data, f"{ROOT}.1", image)
        except Exception as error:
            raise CannotRender("The pixels of this image do not fit its header.") from error
    kind = f"<f{image.bits_allocated // 8}" if image.is_float else f"<u{image.bits_allocated // 8}"
    size = image.rows * image.columns * image.bits_allocated // 8
    return shaped(np.frombuffer(data[:size], kind) if len(data) >= size else np.empty(0), shape)


def _inflated(data: bytes, image: ImageFormat) -> bytes:
    size = -(-image.rows * image.columns * image.samples * image.bits_allocated // 8)
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
    except zlib.error as error:
        raise CannotRender("The pixels of this image cannot be decoded.") from error


def _refuse_a_bomb(data: bytes, image: ImageFormat) -> None:
    """A codestream that says another size than the header would be allocated at its own word."""
    size = codestream_size(data)
    if size is not None and size != (image.rows, image.columns):
        raise CannotRender("The compressed image has another size than its header says.")


def codestream_size(data: bytes) -> tuple[int, int] | None:
    """Rows and columns as a JPEG, JPEG-LS or JPEG 2000 codestream states them; None where it does not say."""
    if data[:4] == b"\xff\x4f\xff\x51":
        x1, y1, x0, y0 = (int.from_bytes(data[at : at + 4], "big") for at in (8, 12, 16, 20))
        return y1 - y0, x1 - x0
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
