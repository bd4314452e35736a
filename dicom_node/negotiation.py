"""SOP Class Extended Negotiation (PS3.7 D.3.3.5): what a peer may ask of queries, and what we grant."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from dicom_node.contexts import (
    MODALITY_WORKLIST_FIND,
    PATIENT_ROOT_FIND,
    PATIENT_ROOT_GET,
    PATIENT_ROOT_MOVE,
    SERVICES,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
)

# One byte for each option, in the order of PS3.4 tables C.5-1 to C.5-3 and K.5-1; 1 is supported.
QUERY_OPTIONS = (
    "relational queries",
    "combined date-time matching",
    "fuzzy matching of person names",
    "timezone query adjustment",
    "enhanced multi-frame image conversion",
    "empty value matching",
    "multiple value matching",
)
_QUERY = bytes([1, 1, 1, 0, 0, 1, 1])
_RETRIEVE = bytes([1, 0])  # relational retrieval, enhanced multi-frame image conversion
# The worklist's first byte is reserved and always 1.
SUPPORTED = {
    PATIENT_ROOT_FIND: _QUERY,
    STUDY_ROOT_FIND: _QUERY,
    MODALITY_WORKLIST_FIND: bytes([1, 1, 1, 0]),
    PATIENT_ROOT_MOVE: _RETRIEVE,
    STUDY_ROOT_MOVE: _RETRIEVE,
    PATIENT_ROOT_GET: _RETRIEVE,
    STUDY_ROOT_GET: _RETRIEVE,
}


@dataclass(frozen=True)
class Options:
    """What was agreed to for the queries of one SOP class."""

    relational: bool = False
    combined: bool = False
    fuzzy: bool = False
    empty: bool = False


def grant(asked: Mapping[str, bytes], may: Collection[str]) -> dict[str, bytes]:
    """The application information of the answer, for each SOP class that was asked about and is served.

    It is as long as what was asked; an option that we do not know is not supported.
    """
    granted = {}
    for uid, wanted in asked.items():
        if uid in SUPPORTED and wanted and SERVICES[uid] in may:
            ours = SUPPORTED[uid].ljust(len(wanted), b"\0")
            granted[uid] = bytes(want & have & 1 for want, have in zip(wanted, ours, strict=False))
    return granted


def options(granted: Mapping[str, bytes], sop_class_uid: str) -> Options:
    said = granted.get(sop_class_uid, b"").ljust(7, b"\0")
    return Options(bool(said[0]), bool(said[1]), bool(said[2]), bool(said[5]))
