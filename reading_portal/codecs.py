"""The codecs: a compressed frame → pixel values, in the process that asks. Only `codec_process` asks.

They are C, and their input is whatever was sent: a broken HTJ2K codestream keeps one busy for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from reading_portal.image_format import NATIVE, ROOT, CannotRender, ImageFormat, Pixels

RLE = f"{ROOT}.5"


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


def decode_compressed(data: bytes, transfer_syntax_uid: str, image: ImageFormat) -> Pixels:
    """Rows × columns of containers, or rows × columns × 3 of RGB. Raises CannotRender."""
    try:
        if image.is_colour:
            return decode_by_pydicom(data, transfer_syntax_uid, image)
        return _monochrome(data, transfer_syntax_uid, image)
    except CannotRender:
        raise
    except Exception as error:  # a codec may fail in any way; it must cost this picture only
        raise CannotRender("The pixels of this image cannot be decoded.") from error


def _monochrome(data: bytes, transfer_syntax_uid: str, image: ImageFormat) -> Pixels:
    fast = FAST.get(transfer_syntax_uid)
    if fast is not None:
        try:
            return _containers(shaped(np.squeeze(fast(data, image)), (image.rows, image.columns)))
        except Exception as error:
            if transfer_syntax_uid in HTJ2K:
                raise CannotRender("The pixels of this image cannot be decoded.") from error
    return _containers(decode_by_pydicom(data, transfer_syntax_uid, image))


def decode_by_pydicom(data: bytes, transfer_syntax_uid: str, image: ImageFormat) -> Pixels:
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


def shaped(array: Pixels, shape: tuple[int, int]) -> Pixels:
    if array.size != shape[0] * shape[1]:
        raise CannotRender("The pixels of this image do not fit its header.")
    return array.reshape(shape)
