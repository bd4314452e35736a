"""A stored dataset in the transfer syntax that a peer accepted: unchanged where possible."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Sequence
from typing import BinaryIO, NamedTuple, Protocol

from blake3 import blake3
from pydicom import dcmread
from pydicom.uid import UID

from dicom_node.contexts import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from dicom_node.incoming import IN_MEMORY, Buffers
from dicom_node.proposal import Agreed
from storage.objects import filled
from storage.part10 import meta_bytes
from storage.sound import ObjectDamaged, SoundObjects
from storage.windows import DEFLATED

NATIVE = {IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG}
_buffers = Buffers()

# It is re-encoded in memory, several times over.
MOST_RE_ENCODED = 512 << 20


class CannotFit(ValueError):
    """The peer accepted no transfer syntax that this object can be given in."""


class Dataset(Protocol):
    """The bytes of a dataset, from the first to the last."""

    length: int

    def read_into(self, pieces: Sequence[memoryview]) -> int:
        """Fill one piece after the other with what comes next; how many bytes that were."""

    def close(self) -> None:
        """No more is read."""


class Departing(NamedTuple):
    """A dataset on its way out, encoded as `transfer_syntax_uid`."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    dataset: Dataset


class StoredDataset:
    """As it was sent to us: what stands in an object behind preamble and meta information.

    It is hashed on its way, unless it was a moment ago; the last piece of what has changed is not given:
    ObjectDamaged.
    """

    def __init__(self, objects: SoundObjects, key: str, offset: int, length: int, digest: str) -> None:
        self.length = length
        self._objects, self._key, self._offset = objects, key, offset
        self._stream: BinaryIO | None = None  # of one that is read in several goes
        self._expected, self._read = digest, 0
        self._found = None if objects.was_sound(key) else blake3()

    def read_into(self, pieces: Sequence[memoryview]) -> int:
        if self._found is None:
            return self._read_into(pieces)
        size = sum(map(len, pieces))
        if len(pieces) == 1 or size > IN_MEMORY:
            got = self._read_into(pieces)
            for piece in pieces:
                self._found.update(piece)
        else:
            # BLAKE3 wants long stretches: in fragments of 16 kB it takes three times as long.
            buffer = _buffers.take()
            try:
                whole = buffer[:size]
                got = self._read_into([whole])
                self._found.update(whole)
                at = 0
                for piece in pieces:
                    piece[:] = whole[at : at + len(piece)]
                    at += len(piece)
            finally:
                _buffers.give_back(buffer)
        self._read += got
        if self._read == self.length:
            if self._found.hexdigest() != self._expected:
                self._objects.doubt(self._key)
                raise ObjectDamaged(self._key)
            self._objects.note_sound(self._key)
        return got

    def _read_into(self, pieces: Sequence[memoryview]) -> int:
        if self._stream is None and sum(map(len, pieces)) == self.length:
            return self._objects.read_into(self._key, self._offset, pieces)
        if self._stream is None:
            self._stream = self._objects.open_range(self._key, self._offset)
        return filled(pieces, self._stream)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


class WrittenDataset:
    """In memory."""

    def __init__(self, whole: bytes | memoryview) -> None:
        self.length = len(whole)
        self._stream = io.BytesIO(whole)

    def read_into(self, pieces: Sequence[memoryview]) -> int:
        return filled(pieces, self._stream)

    def close(self) -> None:
        self._stream.close()


def best_context(
    contexts: Iterable[Agreed], *, sop_class_uid: str, transfer_syntax_uid: str
) -> Agreed | None:
    """The accepted context that fits best: the stored syntax, else an uncompressed one."""
    fitting = [context for context in contexts if context.abstract_syntax == sop_class_uid]
    for context in fitting:
        if context.transfer_syntax == transfer_syntax_uid:
            return context
    for context in fitting:
        if context.transfer_syntax in (EXPLICIT_LITTLE, IMPLICIT_LITTLE):
            return context
    return None


def fit(departing: Departing, *, accepted: str) -> Departing:
    """The dataset in the accepted syntax. Raises CannotFit."""
    if departing.dataset.length > MOST_RE_ENCODED:
        raise CannotFit("too large to be re-encoded")
    dataset = bytearray(departing.dataset.length)
    if departing.dataset.read_into([memoryview(dataset)]) != len(dataset):
        raise CannotFit("the object is shorter than it should be")
    encoded = _re_encoded(
        dataset, departing.transfer_syntax_uid, accepted, sop_class_uid=departing.sop_class_uid
    )
    return Departing(departing.sop_class_uid, departing.sop_instance_uid, accepted, WrittenDataset(encoded))


def _re_encoded(
    dataset: bytes | bytearray, transfer_syntax_uid: str, accepted: str, *, sop_class_uid: str
) -> bytes:
    if transfer_syntax_uid == DEFLATED:
        dataset, transfer_syntax_uid = _inflated(dataset), EXPLICIT_LITTLE
        if accepted == transfer_syntax_uid:
            return dataset
    whole = meta_bytes(sop_class_uid, "1.2", transfer_syntax_uid, "") + dataset
    try:
        read = dcmread(io.BytesIO(whole))
        if UID(transfer_syntax_uid).is_compressed and transfer_syntax_uid not in NATIVE:
            read.decompress()
        written = io.BytesIO()
        read.file_meta.TransferSyntaxUID = UID(accepted)
        read.save_as(
            written,
            implicit_vr=accepted == IMPLICIT_LITTLE,
            little_endian=True,
            enforce_file_format=False,
        )
    except Exception as error:
        # Decoders raise whatever they like; to the peer it is one sub-operation that failed.
        raise CannotFit(f"cannot be re-encoded: {type(error).__name__}") from None
    return _without_meta(written.getvalue())


def _inflated(dataset: bytes | bytearray) -> bytes:
    """What was deflated (PS3.5 A.5), unless it is larger than what is re-encoded. Raises CannotFit."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(dataset, MOST_RE_ENCODED)
    except zlib.error:
        raise CannotFit("cannot be inflated") from None
    if not inflater.eof and inflater.unconsumed_tail:
        raise CannotFit("too large to be re-encoded")
    return inflated


def _without_meta(whole: bytes) -> bytes:
    stream = io.BytesIO(whole)
    start = 132 if whole[128:132] == b"DICM" else 0
    if not start:
        return whole
    stream.seek(start + 8)
    length = int.from_bytes(stream.read(4), "little")
    return whole[start + 12 + length :]
