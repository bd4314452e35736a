"""What may be negotiated: every SOP class that we serve, every transfer syntax that we keep. The one list."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID
from pynetdicom.presentation import PresentationContext

from storage.institutions import Service

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"

VERIFICATION = "1.2.840.10008.1.1"
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
STORAGE_COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
MODALITY_PERFORMED_PROCEDURE_STEP = "1.2.840.10008.3.1.2.3.3"
INSTANCE_AVAILABILITY_NOTIFICATION = "1.2.840.10008.5.1.4.33"
MODALITY_WORKLIST_FIND = "1.2.840.10008.5.1.4.31"
PATIENT_ROOT_FIND, PATIENT_ROOT_MOVE, PATIENT_ROOT_GET = (
    "1.2.840.10008.5.1.4.1.2.1.1",
    "1.2.840.10008.5.1.4.1.2.1.2",
    "1.2.840.10008.5.1.4.1.2.1.3",
)
STUDY_ROOT_FIND, STUDY_ROOT_MOVE, STUDY_ROOT_GET = (
    "1.2.840.10008.5.1.4.1.2.2.1",
    "1.2.840.10008.5.1.4.1.2.2.2",
    "1.2.840.10008.5.1.4.1.2.2.3",
)
PATIENT_ROOT = {PATIENT_ROOT_FIND, PATIENT_ROOT_MOVE, PATIENT_ROOT_GET}

# Objects without patient and study (PS3.4 GG), media directories, and services that only sound like storage.
_NOT_KEPT = {
    "1.2.840.10008.1.3.10",
    "1.2.840.10008.1.20.1",
    "1.2.840.10008.1.20.2",
    "1.2.840.10008.5.1.1.27",
    "1.2.840.10008.5.1.4.1.1.200.1",
    "1.2.840.10008.5.1.4.1.1.200.3",
    "1.2.840.10008.5.1.4.1.1.200.7",
    "1.2.840.10008.5.1.4.1.1.201.1",
    "1.2.840.10008.5.1.4.38.1",
    "1.2.840.10008.5.1.4.39.1",
    "1.2.840.10008.5.1.4.43.1",
    "1.2.840.10008.5.1.4.44.1",
    "1.2.840.10008.5.1.4.45.1",
}

# JPIP and RFC 2557 keep the pixels elsewhere, XML and Papyrus are no DICOM encodings, ST 2110 is live.
_NOT_A_FILE = {
    "1.2.840.10008.1.2.4.94",
    "1.2.840.10008.1.2.4.95",
    "1.2.840.10008.1.2.4.204",
    "1.2.840.10008.1.2.4.205",
    "1.2.840.10008.1.2.6.1",
    "1.2.840.10008.1.2.6.2",
    "1.2.840.10008.1.20",
    "1.2.840.10008.1.2.7.1",
    "1.2.840.10008.1.2.7.2",
    "1.2.840.10008.1.2.7.3",
}

# Of several proposals in one context the first of these: what every viewer reads, then what loses nothing.
_PREFERRED = (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.92",
    "1.2.840.10008.1.2.4.110",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.8.1",
    "1.2.840.10008.1.2.1.99",
    EXPLICIT_BIG,
)

STORAGE_TRANSFER_SYNTAXES = (
    *_PREFERRED,
    *(
        uid
        for uid, entry in UID_dictionary.items()
        if entry[1] == "Transfer Syntax" and uid not in _NOT_A_FILE and uid not in _PREFERRED
    ),
)
QUERY_TRANSFER_SYNTAXES = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG)

STORAGE_SOP_CLASSES = tuple(
    uid
    for uid, entry in UID_dictionary.items()
    if entry[1] == "SOP Class" and "Storage" in entry[0] and uid not in _NOT_KEPT
)

# Which right each SOP class asks for; storage contexts are also needed to send during a C-GET.
SERVICES: dict[str, Service | None] = {
    VERIFICATION: None,
    PATIENT_ROOT_FIND: Service.FIND,
    STUDY_ROOT_FIND: Service.FIND,
    PATIENT_ROOT_MOVE: Service.MOVE,
    STUDY_ROOT_MOVE: Service.MOVE,
    PATIENT_ROOT_GET: Service.GET,
    STUDY_ROOT_GET: Service.GET,
    MODALITY_WORKLIST_FIND: Service.WORKLIST,
    MODALITY_PERFORMED_PROCEDURE_STEP: Service.MPPS,
    STORAGE_COMMITMENT: Service.COMMIT,
}


@cache
def _storage_contexts() -> tuple[PresentationContext, ...]:
    return tuple(_context(uid, STORAGE_TRANSFER_SYNTAXES, both_roles=True) for uid in STORAGE_SOP_CLASSES)


@cache
def _supported(may: frozenset[Service]) -> list[PresentationContext]:
    contexts = [
        _context(uid, QUERY_TRANSFER_SYNTAXES)
        for uid, service in SERVICES.items()
        if service is None or service in may
    ]
    if may & {Service.STORE, Service.GET}:
        contexts += _storage_contexts()
    return contexts


def supported_contexts(may: Collection[str]) -> list[PresentationContext]:
    """The contexts that a device with these rights may negotiate. Shared and never changed: copying them for
    every association would cost a tenth of a second of CPU."""
    return _supported(frozenset(Service(word) for word in may))


def _context(
    uid: str, transfer_syntaxes: tuple[str, ...], *, both_roles: bool = False
) -> PresentationContext:
    context = PresentationContext()
    context.abstract_syntax = UID(uid)
    context.transfer_syntax = [UID(syntax) for syntax in transfer_syntaxes]
    if both_roles:
        context.scu_role, context.scp_role = True, True
    return context
