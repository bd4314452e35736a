"""A stored dataset in the transfer syntax that a peer accepted: unchanged where possible."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

from pydicom import dcmread
from pydicom.uid import UID

from dicom_node.contexts import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from storage.part10 import meta_bytes

NATIVE = {IMPLICIT_LITTLE, EXPLICIT_LITTLE, "1.2.840.10008.1.2.1.99"}


class CannotFit(ValueError):
    """The peer accepted no transfer syntax that this object can be given in."""


def best_context(contexts: Iterable[Any], *, sop_class_uid: str, transfer_syntax_uid: str) -> Any:
    """The accepted context that fits best: the stored syntax, else an uncompressed one. Raises CannotFit."""
    fitting = [context for context in contexts if context.abstract_syntax == sop_class_uid and context.as_scu]
    for context in fitting:
        if context.transfer_syntax[0] == transfer_syntax_uid:
            return context
    for context in fitting:
        if context.transfer_syntax[0] in (EXPLICIT_LITTLE, IMPLICIT_LITTLE):
            return context
    raise CannotFit("no presentation context fits")


def fit(dataset: bytes, *, transfer_syntax_uid: str, accepted: str, sop_class_uid: str) -> bytes:
    """The dataset in the accepted syntax; the same bytes where it is the stored one. Raises CannotFit."""
    if accepted == transfer_syntax_uid:
        return dataset
    whole = meta_bytes(sop_class_uid, "1.2", transfer_syntax_uid, "") + dataset
    try:
        read = dcmread(io.BytesIO(whole))
        if UID(transfer_syntax_uid).is_compressed and transfer_syntax_uid not in NATIVE | {EXPLICIT_BIG}:
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


def _without_meta(whole: bytes) -> bytes:
    stream = io.BytesIO(whole)
    start = 132 if whole[128:132] == b"DICM" else 0
    if not start:
        return whole
    stream.seek(start + 8)
    length = int.from_bytes(stream.read(4), "little")
    return whole[start + 12 + length :]
