"""What may be negotiated: every SOP class that we serve, every transfer syntax that we keep. The one list."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID
from pynetdicom import sop_class
from pynetdicom.presentation import PresentationContext

from storage.institutions import Service
from storage.settings import Settings
from storage.uids import is_uid

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"

VERIFICATION = "1.2.840.10008.1.1"
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
STORAGE_COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
MODALITY_PERFORMED_PROCEDURE_STEP = "1.2.840.10008.3.1.2.3.3"
PERFORMED_PROCEDURE_STEP_RETRIEVE = "1.2.840.10008.3.1.2.3.4"
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

# pydicom's dictionary knows the retired ones, pynetdicom's the newest (PS3.4 table B.5-1).
STORAGE_SOP_CLASSES = tuple(
    uid
    for uid in dict.fromkeys(
        [
            *(
                uid
                for uid, entry in UID_dictionary.items()
                if entry[1] == "SOP Class" and "Storage" in entry[0]
            ),
            *sorted(str(uid) for uid in sop_class._STORAGE_CLASSES.values()),
        ]
    )
    if uid not in _NOT_KEPT
)
# Where pydicom has no name for a class yet.
_NEWEST = {
    str(uid): re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", keyword)
    for keyword, uid in sop_class._STORAGE_CLASSES.items()
}


@dataclass(frozen=True)
class Offer:
    """What a node keeps: the standard's storage, and what its settings add."""

    sop_classes: tuple[str, ...] = STORAGE_SOP_CLASSES
    transfer_syntaxes: tuple[str, ...] = STORAGE_TRANSFER_SYNTAXES
    takes_unknown: bool = False  # also SOP classes that no dictionary has

    def takes(self, sop_class_uid: str) -> bool:
        """Whether objects of this class are kept."""
        return sop_class_uid in _as_set(self.sop_classes) or (
            self.takes_unknown and sop_class_uid not in UID_dictionary and is_uid(sop_class_uid)
        )


def offer_of(settings: Settings) -> Offer:
    """What these settings offer: private SOP classes and transfer syntaxes come after the standard's."""
    added = [uid for uid in settings.storage_sop_classes if uid != "*"]
    return Offer(
        tuple(dict.fromkeys((*STORAGE_SOP_CLASSES, *added))),
        tuple(dict.fromkeys((*STORAGE_TRANSFER_SYNTAXES, *settings.storage_transfer_syntaxes))),
        "*" in settings.storage_sop_classes,
    )


def name_of(uid: str) -> str:
    """The name of a SOP class or transfer syntax; the UID itself where nobody has named it."""
    name = str(UID(uid).name)
    return _NEWEST.get(uid, name) if name == uid else name


@cache
def _as_set(uids: tuple[str, ...]) -> frozenset[str]:
    return frozenset(uids)


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
    PERFORMED_PROCEDURE_STEP_RETRIEVE: Service.MPPS,
    STORAGE_COMMITMENT: Service.COMMIT,
}


@cache
def _storage_contexts(offer: Offer) -> tuple[PresentationContext, ...]:
    return tuple(_context(uid, offer.transfer_syntaxes, both_roles=True) for uid in offer.sop_classes)


@cache
def _supported(may: frozenset[Service], offer: Offer) -> list[PresentationContext]:
    contexts = [
        _context(uid, QUERY_TRANSFER_SYNTAXES)
        for uid, service in SERVICES.items()
        if service is None or service in may
    ]
    if may & {Service.STORE, Service.GET}:
        contexts += _storage_contexts(offer)
    return contexts


def supported_contexts(
    may: Collection[str], offer: Offer = Offer(), *, proposed: Collection[str] = ()
) -> list[PresentationContext]:
    """The contexts that a device with these rights may negotiate; `proposed` are the abstract syntaxes that
    it asks for, where the offer takes unknown ones.

    Shared and never changed: copying them for every association would cost a tenth of a second of CPU.
    """
    rights = frozenset(Service(word) for word in may)
    contexts = _supported(rights, offer)
    unknown = [uid for uid in dict.fromkeys(proposed) if uid not in _as_set(offer.sop_classes)]
    more = [uid for uid in unknown if offer.takes(uid)] if rights & {Service.STORE, Service.GET} else []
    return contexts + [_context(uid, offer.transfer_syntaxes, both_roles=True) for uid in more]


def _context(
    uid: str, transfer_syntaxes: tuple[str, ...], *, both_roles: bool = False
) -> PresentationContext:
    context = PresentationContext()
    context.abstract_syntax = UID(uid)
    context.transfer_syntax = [UID(syntax) for syntax in transfer_syntaxes]
    if both_roles:
        context.scu_role, context.scp_role = True, True
    return context
