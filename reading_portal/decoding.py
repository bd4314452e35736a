"""One frame's bytes → pixel values. Pure; sizes are checked before anything is allocated or decoded."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from storage.attributes import values_of

ROOT = "1.2.840.10008.1.2"
NATIVE = {ROOT, f"{ROOT}.1", f"{ROOT}.2", f"{ROOT}.1.99"}
RLE = f"{ROOT}.5"
DEFLATED_FRAMES = f"{ROOT}.8.1"
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


def _imagecodecs(decode: Callable[..., Any]) -> Callable[[bytes, ImageFormat], Pixels]:
    return lambda data, _: np.asarray(decode(data))


def _rle(data: bytes, image: ImageFormat) -> Pixels:
    flat = imagecodecs.dicomrle_decode(data, dtype=f"<u{image.bits_allocated // 8}")
    return np.asarray(flat)


# Monochrome frames take these: several times faster than the general way, and they let other threads run.
FAST: dict[str, Callable[[bytes, ImageFormat], Pixels]] = {
    f"{ROOT}.4.50": _imagecodecs(imagecodecs.jpeg8_decode),
    f"{ROOT}.4.57": _imagecodecs(imagecodecs.ljpeg_decode),
    f"{ROOT}.4.70": _imagecodecs(imagecodecs.ljpeg_decode),
    f"{ROOT}.4.80": _imagecodecs(imagecodecs.jpegls_decode),
    f"{ROOT}.4.81": _imagecodecs(imagecodecs.jpegls_decode),
    f"{ROOT}.4.90": _imagecodecs(imagecodecs.jpeg2k_decode),
    f"{ROOT}.4.91": _imagecodecs(imagecodecs.jpeg2k_decode),
    f"{ROOT}.4.201": _imagecodecs(imagecodecs.htj2k_decode),
    f"{ROOT}.4.202": _imagecodecs(imagecodecs.htj2k_decode),
    f"{ROOT}.4.203": _imagecodecs(imagecodecs.htj2k_decode),
    f"{ROOT}.4.110": _imagecodecs(imagecodecs.jpegxl_decode),
    f"{ROOT}.4.111": _imagecodecs(imagecodecs.jpegxl_decode),
    f"{ROOT}.4.112": _imagecodecs(imagecodecs.jpegxl_decode),
    RLE: _rle,
}
HTJ2K = {f"{ROOT}.4.{end}" for end in (201, 202, 203)}
VIDEO = {f"{ROOT}.4.{end}" for end in (100, 101, 102, 103, 104, 105, 106, 107, 108)}


def image_format(attributes: dict[str, Any]) -> ImageFormat:
    """Read the pixel description of a header (DICOM JSON). Raises CannotRender where it holds no image."""
    rows, columns = _number(attributes, "00280010", 0), _number(attributes, "00280011", 0)
    if rows <= 0 or columns <= 0:
        raise CannotRender("This object holds no image.")
    if rows * columns > MAX_PIXELS:
        raise CannotRender(f"An image of {columns} × {rows} pixels is larger than this portal draws.")
    bits = _number(attributes, "00280100", 16)
    if bits not in (1, 8, 16, 32, 64):
        raise CannotRender(f"Pixels of {bits} allocated bits are not known.")
    stored = min(bits, _number(attributes, "00280101", bits)) or bits
    photometric = values_of(attributes, "00280004")
    return ImageFormat(
        rows=rows,
        columns=columns,
        samples=_number(attributes, "00280002", 1),
        bits_allocated=bits,
        bits_stored=stored,
        high_bit=_number(attributes, "00280102", stored - 1),
        is_signed=_number(attributes, "00280103", 0) == 1,
        photometric=str(photometric[0]) if photometric else "MONOCHROME2",
        planar_configuration=_number(attributes, "00280006", 0),
    )


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
    try:
        if image.is_colour:
            return _general(data, transfer_syntax_uid, image)
        return _monochrome(data, transfer_syntax_uid, image)
    except CannotRender:
        raise
    except Exception as error:  # a codec may fail in any way; it must cost this picture only
        raise CannotRender("The pixels of this image cannot be decoded.") from error


def _native(data: bytes, image: ImageFormat) -> Pixels:
    shape = (image.rows, image.columns)
    if image.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        return _shaped(bits[: image.rows * image.columns], shape)
    if image.is_colour:
        try:
            return _general(data, f"{ROOT}.1", image)
        except Exception as error:
            raise CannotRender("The pixels of this image do not fit its header.") from error
    kind = f"<f{image.bits_allocated // 8}" if image.is_float else f"<u{image.bits_allocated // 8}"
    size = image.rows * image.columns * image.bits_allocated // 8
    return _shaped(np.frombuffer(data[:size], kind) if len(data) >= size else np.empty(0), shape)


def _inflated(data: bytes, image: ImageFormat) -> bytes:
    size = -(-image.rows * image.columns * image.samples * image.bits_allocated // 8)
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
    except zlib.error as error:
        raise CannotRender("The pixels of this image cannot be decoded.") from error


def _monochrome(data: bytes, transfer_syntax_uid: str, image: ImageFormat) -> Pixels:
    fast = FAST.get(transfer_syntax_uid)
    if fast is not None:
        try:
            return _containers(_shaped(np.squeeze(fast(data, image)), (image.rows, image.columns)))
        except Exception as error:
            if transfer_syntax_uid in HTJ2K:
                raise CannotRender("The pixels of this image cannot be decoded.") from error
    return _containers(_general(data, transfer_syntax_uid, image))


def _general(data: bytes, transfer_syntax_uid: str, image: ImageFormat) -> Pixels:
    """The way of pydicom: slower, but it knows the colour spaces and every codec that is installed."""
    is_native = transfer_syntax_uid in NATIVE
    decoder: Any = get_decoder(UID(transfer_syntax_uid))
    array, _ = decoder.as_array(
        data if is_native else encapsulate([data]),
        index=0,
        rows=image.rows,
        columns=image.columns,
        number_of_frames=1,
        samples_per_pixel=image.samples,
        bits_allocated=image.bits_allocated,
        bits_stored=image.bits_stored,
        photometric_interpretation=image.photometric,
        pixel_representation=int(image.is_signed),
        planar_configuration=image.planar_configuration,
        pixel_keyword="PixelData",
        pixel_vr="OW" if image.bits_allocated > 8 else "OB",
    )
    if image.is_colour and array.dtype != np.uint8:
        array = (array * np.float32(255.0 / (2**image.bits_stored - 1))).clip(0, 255).astype(np.uint8)
    return np.asarray(array)


def _containers(array: Pixels) -> Pixels:
    return array.view(f"u{array.dtype.itemsize}") if array.dtype.kind == "i" else array


def _shaped(array: Pixels, shape: tuple[int, int]) -> Pixels:
    if array.size != shape[0] * shape[1]:
        raise CannotRender("The pixels of this image do not fit its header.")
    return array.reshape(shape)


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


def _number(attributes: dict[str, Any], tag: str, default: int) -> int:
    values = values_of(attributes, tag)
    try:
        return int(values[0]) if values and values[0] is not None else default
    except (TypeError, ValueError):
        return default
