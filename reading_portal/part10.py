"""DICOM files (PS3.10): where the meta information ends and the dataset, as sent, begins. Pure."""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

from storage.rejections import InstanceRejected, Unacceptable, malformed, truncated

PREAMBLE = 128
LONG_FORM = {b"OB", b"OW", b"OF", b"SQ", b"UT", b"UN", b"OD", b"OL", b"UC", b"UR", b"OV", b"SV", b"UV"}
LONGEST_META = 1 << 20
TRANSFER_SYNTAX = 0x0010


def read_meta(stream: BinaryIO) -> tuple[bytes, str]:
    """Preamble and file meta information as they stand, and the Transfer Syntax UID that they name.

    The stream is left where the dataset begins. Raises InstanceRejected for what is no DICOM file.
    """
    read = bytearray(stream.read(PREAMBLE + 4))
    if read[:2] == b"\x02\0" and read[PREAMBLE:] != b"DICM":
        # dicomweb-client leaves the preamble out where the dataset came without one.
        stream.seek(0)
        read = bytearray(PREAMBLE) + b"DICM"
    elif read[PREAMBLE:] != b"DICM":
        raise malformed("this is not a DICOM file: it has no DICM after its preamble")
    transfer_syntax_uid = ""
    while True:
        head = stream.read(8)
        if len(head) < 8 or head[:2] != b"\x02\0":
            stream.seek(-len(head), io.SEEK_CUR)
            break
        number, vr, length = struct.unpack("<H2sH", head[2:])
        read += head
        if vr in LONG_FORM:
            read += (long := _exactly(stream, 4))
            length = struct.unpack("<L", long)[0]
        if length > LONGEST_META or len(read) > LONGEST_META:
            raise malformed("the file meta information is longer than any real one")
        value = _exactly(stream, length)
        read += value
        if number == TRANSFER_SYNTAX:
            transfer_syntax_uid = value.decode("ascii", "replace").strip(" \0")
    if not transfer_syntax_uid:
        raise InstanceRejected("the file does not name its transfer syntax", kind=Unacceptable.MALFORMED)
    return bytes(read), transfer_syntax_uid


class Section(io.RawIOBase, BinaryIO):
    """A part of a seekable file as a file of its own. Not for several threads: the file has one position."""

    def __init__(self, file: BinaryIO, begin: int, end: int) -> None:
        self._file, self._begin, self._end, self._at = file, begin, end, begin

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at - self._begin

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: self._begin, io.SEEK_CUR: self._at, io.SEEK_END: self._end}[whence]
        self._at = max(self._begin, start + offset)
        return self.tell()

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._end - self._at)
        size = left if size is None or size < 0 else min(size, left)
        self._file.seek(self._at)
        data = self._file.read(size)
        self._at += len(data)
        return data


def _exactly(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise truncated("the file ends inside its meta information")
    return data
