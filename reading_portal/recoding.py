"""Which encoding of a frame a client gets, and recoding without loss (PS3.18 8.7.3.3). Pure."""

from __future__ import annotations

from dataclasses import dataclass

import imagecodecs
import numpy as np

from reading_portal.decoding import ROOT, CannotRender, ImageFormat, decode_frame
from reading_portal.frames import EXPLICIT_LITTLE
from reading_portal.negotiation import Choice

OCTETS = "application/octet-stream"
HTJ2K, HTJ2K_RPCL, JPEG_LS = f"{ROOT}.4.201", f"{ROOT}.4.202", f"{ROOT}.4.80"

# PS3.18 table 8.7.3-4 and 8.7.3-5.
MEDIA_TYPES = {
    f"{ROOT}.4.50": "image/jpeg",
    f"{ROOT}.4.51": "image/jpeg",
    f"{ROOT}.4.57": "image/jpeg",
    f"{ROOT}.4.70": "image/jpeg",
    f"{ROOT}.5": "image/dicom-rle",
    JPEG_LS: "image/jls",
    f"{ROOT}.4.81": "image/jls",
    f"{ROOT}.4.90": "image/jp2",
    f"{ROOT}.4.91": "image/jp2",
    f"{ROOT}.4.92": "image/jpx",
    f"{ROOT}.4.93": "image/jpx",
    HTJ2K: "image/jphc",
    HTJ2K_RPCL: "image/jphc",
    f"{ROOT}.4.203": "image/jphc",
    f"{ROOT}.4.110": "image/jxl",
    f"{ROOT}.4.111": "image/jxl",
    f"{ROOT}.4.112": "image/jxl",
}
MADE_BY_US = {HTJ2K, HTJ2K_RPCL, JPEG_LS}


@dataclass(frozen=True, slots=True)
class Encoding:
    """How frames leave: in which transfer syntax, called what, as one part or several."""

    transfer_syntax_uid: str
    media_type: str
    is_multipart: bool

    @property
    def content_type(self) -> str:
        return f"{self.media_type}; transfer-syntax={self.transfer_syntax_uid}"


def choose_encoding(choices: list[Choice], *, served: str, is_recodable: bool) -> Encoding | None:
    """The encoding that the client likes best among what can be given: the frame as it is, `served`; a native
    one without loss as HTJ2K or JPEG-LS; any as Explicit VR Little Endian. None where nothing fits.
    """
    for choice in choices:
        for uid in _asked_for(choice, served):
            if uid in (served, EXPLICIT_LITTLE) or (is_recodable and uid in MADE_BY_US):
                media_type = MEDIA_TYPES.get(uid, OCTETS)
                if not choice.takes(media_type) or choice.media_type == "*/*":
                    media_type = OCTETS
                if choice.takes(media_type):
                    return Encoding(uid, media_type, choice.is_multipart or choice.media_type == "*/*")
    return None


def _asked_for(choice: Choice, served: str) -> list[str]:
    if choice.transfer_syntax_uid not in (None, "*"):
        return [str(choice.transfer_syntax_uid)]
    if choice.media_type == OCTETS and choice.transfer_syntax_uid is None:
        return [EXPLICIT_LITTLE]
    if choice.takes(MEDIA_TYPES.get(served, OCTETS)) or choice.takes(OCTETS):
        return [served]
    return [uid for uid in (HTJ2K, JPEG_LS) if choice.takes(MEDIA_TYPES[uid])]


def is_recodable(image: ImageFormat) -> bool:
    """Whether a native frame of this format survives HTJ2K and JPEG-LS bit by bit."""
    if image.is_float or image.bits_allocated not in (8, 16):
        return False
    return image.samples == 1 or (
        image.samples == 3
        and image.bits_allocated == 8
        and image.photometric == "RGB"
        and image.planar_configuration == 0
    )


def recode(data: bytes, image: ImageFormat, *, served: str, wanted: str) -> bytes:
    """A frame in another transfer syntax, with the same pixel values. Raises CannotRender."""
    if wanted == served:
        return data
    if wanted == EXPLICIT_LITTLE:
        pixels = decode_frame(data, served, image)
        if pixels.ndim == 2 and image.bits_allocated > 1:
            pixels = pixels.astype(f"<u{image.bits_allocated // 8}")
        return np.ascontiguousarray(pixels).tobytes()
    if wanted not in MADE_BY_US or not is_recodable(image):
        raise CannotRender("This image cannot be recoded as asked.")
    kind = f"<{'i' if image.is_signed else 'u'}{image.bits_allocated // 8}"
    shape = (image.rows, image.columns) if image.samples == 1 else (image.rows, image.columns, image.samples)
    if len(data) < int(np.prod(shape)) * image.bits_allocated // 8:
        raise CannotRender("The pixels of this image do not fit its header.")
    pixels = np.frombuffer(data, kind, count=int(np.prod(shape))).reshape(shape)
    if wanted == JPEG_LS:
        return bytes(imagecodecs.jpegls_encode(pixels.view(f"<u{pixels.dtype.itemsize}")))
    return bytes(imagecodecs.htj2k_encode(pixels, reversible=True))
