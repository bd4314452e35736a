"""What the node says of itself (PS3.2): written from the very tables that it negotiates by."""

from __future__ import annotations

from collections.abc import Iterable

from dicom_node import association, gatekeeper, listener, messages, storage_user, upper_layer
from dicom_node.answering import ANSWERED_IN
from dicom_node.contexts import (
    INSTANCE_AVAILABILITY_NOTIFICATION,
    QUERY_TRANSFER_SYNTAXES,
    SERVICES,
    STORAGE_SOP_CLASSES,
    STORAGE_TRANSFER_SYNTAXES,
    STUDY_ROOT_FIND,
    name_of,
)
from dicom_node.negotiation import QUERY_OPTIONS, SUPPORTED
from dicom_node.statuses import OUTCOMES, REJECTIONS, Status
from storage.elements import MAX_DEPTH, MAX_ELEMENTS, MAX_HEADER_BYTES
from storage.institutions import Service
from storage.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

LIMITS = {
    "Longest PDU that is received": f"{upper_layer.MAXIMUM_PDU} bytes",
    "From the connection to the whole A-ASSOCIATE-RQ": f"{listener.FIRST_PDU_SECONDS:.0f} s",
    "Connections that have not said who they are, the oldest of more is dropped": f"{listener.MOST_WAITING}",
    "Of these, for addresses of declared devices": f"{listener.RESERVED_FOR_KNOWN}",
    "For one PDU to arrive whole": f"{upper_layer.PDU_SECONDS:.0f} s",
    "Idle association": f"{association.IDLE_SECONDS:.0f} s",
    "Answer of a peer to us": f"{storage_user.ANSWER_SECONDS:.0f} s",
    "Associations in all": f"{gatekeeper.MOST_ASSOCIATIONS}",
    "Of these, for devices known by address or certificate": f"{gatekeeper.RESERVED_FOR_KNOWN}",
    "Associations from one address (unless a certificate is declared)": f"{gatekeeper.SHARE_PER_ADDRESS}",
    "Associations of one institution": f"{gatekeeper.SHARE_PER_INSTITUTION}",
    "Associations of one device": f"{gatekeeper.SHARE_PER_DEVICE}",
    "Largest object": f"{messages.MAXIMUM_OBJECT >> 30} GiB",
    "Header without bulk data": f"{MAX_HEADER_BYTES >> 20} MiB, {MAX_ELEMENTS} elements, {MAX_DEPTH} deep",
}


OPENING = f"""\
# DICOM conformance statement

Written from the tables that the node negotiates by; a test keeps it so.

Implementation Class UID `{IMPLEMENTATION_CLASS_UID}`, version `{IMPLEMENTATION_VERSION_NAME}`.
AE title, ports and addresses are settings (`docs/settings.md`).

## Admission

The called AE title is ours. The calling AE title is declared and active, and calls from its declared host.
Over TLS (PS3.15 B.12: 1.2 or later, forward secrecy, both sides show certificates) a declared certificate is
compared. Everyone else receives an A-ASSOCIATE-RJ. A device negotiates only what it is declared to do.
Devices that are declared to listen with TLS are called with it, by the same rules, and never without."""

EXTENDED = """\
SOP Class Extended Negotiation is answered for Query/Retrieve and the worklist, and what is granted is
honoured; of C-MOVE and C-GET relational retrieval is. Fuzzy is: by characters, pinyin and initials."""

QUERIES = """\
Query and retrieve keys are those of `storage/matching.py`, worklist keys of `worklist/worklist_item.py`.
A key that we do not hold is absent from the answers, whose status is then FF01H. A storage commitment is
reported by N-EVENT-REPORT on the association that asked while it is open, otherwise on one of ours, again
and again for 72 hours; an instance that is not committed to carries its failure reason.

## Storage as SCP, and as SCU for C-GET, C-MOVE and deliveries

Level 2 (Full): every attribute is kept, in the bytes that were sent. Success means that the instance is
durable."""

AS_SCU = f"""\
## Services as SCU

To declared devices only, at their declared host and port: C-STORE for C-MOVE and for signed reports,
N-EVENT-REPORT of storage commitments, C-ECHO when an operator tests a device, and N-CREATE of
Instance Availability Notification (`{INSTANCE_AVAILABILITY_NOTIFICATION}`) when a study has settled, to
devices with the right `{Service.NOTIFY}` that may fetch it."""

CHARACTER_SETS = """\
## Character sets

Received: every defined term of PS3.3 C.12.1.1.2, and GBK or UTF-8 that nobody declared. A device for which
a set is declared is answered in that. Any other set than those below, such as ISO_IR 100, is answered in
itself: Chinese names by their alphabetic group, made of their pinyin where there is none, other Chinese text
as pinyin."""


def statement() -> str:
    """The DICOM conformance statement as Markdown; `docs/conformance.md` is exactly this."""
    parts = [
        OPENING,
        _table(("limit", "value"), LIMITS.items()),
        "## Services as SCP",
        _table(("SOP class", "UID", "right"), _services()),
        "Transfer syntaxes: " + ", ".join(_name(uid) for uid in QUERY_TRANSFER_SYNTAXES) + ".",
        EXTENDED,
        _table(("option of C-FIND", "granted"), _options()),
        QUERIES,
        _table(("status", "when"), _storage_statuses()),
        _table(("transfer syntax", "UID"), _named(STORAGE_TRANSFER_SYNTAXES)),
        _table(("SOP class", "UID"), _named(STORAGE_SOP_CLASSES)),
        AS_SCU,
        CHARACTER_SETS,
        _table(("asked in", "answered in"), ((term or "(none)", said) for term, said in ANSWERED_IN.items())),
    ]
    return "\n\n".join(parts) + "\n"


def _named(uids: Iterable[str]) -> Iterable[tuple[str, str]]:
    return ((_name(uid), f"`{uid}`") for uid in uids)


def _services() -> Iterable[tuple[str, str, str]]:
    for uid, service in SERVICES.items():
        yield _name(uid), f"`{uid}`", f"`{service}`" if service else "every declared device"


def _options() -> Iterable[tuple[str, str]]:
    for option, granted in zip(QUERY_OPTIONS, SUPPORTED[STUDY_ROOT_FIND], strict=True):
        yield option, "yes" if granted else "no"


def _storage_statuses() -> Iterable[tuple[str, str]]:
    for outcome, status in OUTCOMES.items():
        yield _code(status), str(outcome)
    yield _code(Status.DAMAGED), "kept, but the pixel data is damaged"
    for kind, status in REJECTIONS.items():
        yield _code(status), f"not kept: {kind}"
    yield _code(Status.IDENTIFIER_DOES_NOT_MATCH), "not kept: command and dataset contradict each other"
    yield (
        _code(Status.OUT_OF_RESOURCES),
        "not kept: no room, or database or object store are away; send again",
    )
    yield _code(Status.NOT_AUTHORISED), f"not kept: the device may not `{Service.STORE}`"


def _code(status: Status) -> str:
    return f"{int(status):04X}H"


def _name(uid: str) -> str:
    return name_of(uid)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
