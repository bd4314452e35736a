"""The shared files as a device would send them: the dataset as it stands, and what a command says of it."""

from __future__ import annotations

import struct
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from tests.corpora import ROOT, corpus_files

CT = "1.2.840.10008.5.1.4.1.1.2"
NAMELESS = "1.2.3"
EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"


@dataclass(frozen=True)
class RealFile:
    """One file; where it does not say what it is, its sender claims a CT of no name."""

    name: str
    whole: bytes
    start: int  # of the dataset
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str

    @property
    def dataset(self) -> bytes:
        return self.whole[self.start :]


def rounds() -> list[list[RealFile]]:
    """All files; a UID that several contents claim comes once in each round."""
    found: defaultdict[int, list[RealFile]] = defaultdict(list)
    seen: defaultdict[str, int] = defaultdict(int)
    for path in corpus_files():
        file = _read(path)
        found[seen[file.sop_instance_uid]].append(file)
        seen[file.sop_instance_uid] += file.sop_instance_uid != NAMELESS
    return list(found.values())


def _read(path: Path) -> RealFile:
    whole = path.read_bytes()
    syntax, start = meta_of(whole)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            said = dcmread(path, stop_before_pixels=True, force=True)
            sop_class_uid = str(said.get("SOPClassUID", "") or "")
            sop_instance_uid = str(said.get("SOPInstanceUID", "") or "")
            if not start and sop_class_uid:
                implicit, little = said.original_encoding
                syntax = IMPLICIT if implicit else EXPLICIT if little else BIG
        except Exception:
            sop_class_uid = sop_instance_uid = ""
    return RealFile(
        str(path.relative_to(ROOT)), whole, start, sop_class_uid or CT, sop_instance_uid or NAMELESS, syntax
    )


def meta_of(whole: bytes) -> tuple[str, int]:
    """Transfer syntax and start of the dataset; the file's first byte where there is no meta information."""
    at, syntax = 132 if whole[128:132] == b"DICM" else 0, ""
    while whole[at : at + 2] == b"\x02\0" and at + 12 <= len(whole):
        is_long = whole[at + 4 : at + 6] in (b"OB", b"UN")
        length = struct.unpack_from("<L" if is_long else "<H", whole, at + (8 if is_long else 6))[0]
        value = at + (12 if is_long else 8)
        if whole[at + 2 : at + 4] == b"\x10\0":
            syntax = whole[value : value + length].decode("ascii", "replace").strip(" \0")
        at = value + length
    return syntax or (EXPLICIT if at else IMPLICIT), at
