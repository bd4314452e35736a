"""The DICOM conformance statement (PS3.2) of a node, written from the tables that it negotiates by."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dicom_node import commitment, statuses, upper_layer
from dicom_node.answering import ANSWERED_IN
from dicom_node.contexts import (
    INSTANCE_AVAILABILITY_NOTIFICATION,
    MODALITY_WORKLIST_FIND,
    QUERY_TRANSFER_SYNTAXES,
    SERVICES,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    VERIFICATION,
    name_of,
    offer_of,
)
from dicom_node.gatekeeper import REJECTIONS as ASSOCIATIONS_REFUSED
from dicom_node.limits import COUNTS, DEADLINES, LENGTHS, Limit
from dicom_node.negotiation import QUERY_OPTIONS, SUPPORTED
from dicom_node.statuses import OUTCOMES, REJECTIONS, STEP_REFUSALS, Status
from dicom_node.tls import CIPHERS
from storage.institutions import CHARACTER_SETS, Service
from storage.matching import ATTRIBUTES, MATCHED
from storage.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from storage.settings import Settings, from_environment
from worklist.worklist_item import CODING_SCHEME

OVERVIEW = """\
# DICOM conformance statement

{intro}

## 1. Overview

A node that receives, keeps, finds and gives back the images, waveforms and documents of a county; offers
its townships' devices their worklist; hears what they performed; and tells them what became of it. This
statement follows the template of PS3.2: application entities, association policies, services with their
statuses, interfaces, configuration, character sets, security."""

ENTITIES = """\
## 2. Application entities

One application entity serves and calls. It calls declared devices only, at their declared host and port,
for C-STORE (C-MOVE, signed reports), N-EVENT-REPORT (storage commitment), N-CREATE (Instance Availability
Notification, to devices with the right `{notify}`), and C-ECHO (an operator tests a device)."""

POLICIES = """\
### 2.1 Association policies

The called AE title is ours. The calling AE title is declared and active, and calls from its declared
host; where a certificate is declared for it, it shows that one. Everyone else receives an A-ASSOCIATE-RJ.
A device negotiates only what it is declared to do: another presentation context is answered with
"abstract syntax not supported". Of several transfer syntaxes in one context the first of the table in 3.2
is accepted. One operation at a time (asynchronous operations window 1, 1). User identities and common
extended negotiation are not answered; roles are, for C-GET and storage commitment."""

EXTENDED = """\
### 2.2 Extended negotiation

SOP Class Extended Negotiation is answered for Query/Retrieve and the worklist, and what is granted is
honoured."""

LIMITS = """\
### 2.3 Deadlines and caps

For every state of PS3.8 table 9-10 in which a peer may stop, every length that it may claim, and every
number of things that it may ask for. `tests/dicom_node/test_conformance.py` fails for a limit that is not
in this table."""

VERIFYING = """\
### 3.1 Verification

Answered 0000H to every declared device."""

STORAGE = """\
### 3.2 Storage

Level 2 (Full): every attribute is kept, private ones too, in the bytes that were sent; the same bytes are
given back. Success means that the instance is durable. Deflated objects stay deflated; of them only the
header is inflated, within the caps of 2.3. JPIP, RFC 2557, XML and SMPTE ST 2110 are refused: their
pixels are elsewhere, or they are no files. An object is sent on in its own transfer syntax where the
receiver accepts it, else uncompressed."""

QUERIES = """\
### 3.3 Query

Patient Root: PATIENT, STUDY, SERIES, IMAGE; Study Root: from STUDY on. Single value, list of UID,
universal, wild card, range and sequence matching; the others as negotiated (2.2). Names are matched in
any of their groups, without regard to case, and literally; with fuzzy matching by characters, pinyin and
initials. Other text is matched with regard to case. IS and US are matched as numbers. Dates and times are
those of the devices; Timezone Offset From UTC is not adjusted to. A device finds the studies that its
institution may see. Keys without a level above are matched and returned; the counts, Modalities in Study,
SOP Classes in Study, Issuer of Accession Number Sequence, Retrieve AE Title and Instance Availability
(ONLINE) are returned as well. Any other optional key, such as Series Date or Institution Name, is neither
matched nor returned; its matches come with FF01H."""

RETRIEVAL = """\
### 3.4 Retrieve

C-MOVE to declared devices that have a host and a port, C-GET on the association itself. Keys of the level
and of those above are unique keys or lists of them; lower ones where relational retrieval was negotiated."""

WORKLIST = """\
### 3.5 Modality worklist

The open orders of the asking device's own institution, none older than 30 days. Matched: Scheduled
Station AE Title (an order without a station goes to any device of its modality), Modality, start date and
time, Scheduled Procedure Step ID, Accession Number and its issuer, Requested Procedure ID, Study Instance
UID, and the patient's keys; names also by characters, pinyin and initials. Returned: all of PS3.4 table
K.6-1 that is type 1 or 2, and of type 3 what `worklist/worklist_item.py` lists; what nobody has told us
(weight, allergies, …) is empty. Codes are of the scheme `{scheme}`."""

STEPS = """\
### 3.6 Modality performed procedure step

N-CREATE and N-SET, before, between and after the images. An SOP Instance UID that the device leaves out
is ours. An N-SET does not change what PS3.4 table F.7.2-1 lets only the N-CREATE set: it is passed over. A
step is read back by N-GET of its Retrieve SOP class, by its own institution.

What ended steps count, and what manifests and commitments (3.7) list, is held against what is here: decision
0046 says what that proves. A Key Object Selection Document titled Manifest (113030, DCM) lists instances of
its study and is no part of it itself."""

COMMITMENT = """\
### 3.7 Storage commitment (push model)

The report (N-EVENT-REPORT) comes on the association that asked while it is open, otherwise on one of
ours, again and again for 72 hours. What is not here yet is waited for first, 10 seconds on the association
that asked and a minute where we call back. The same request again is reported again; a Transaction UID that
is used for other instances is another transaction. An instance is committed to when it was read again and
its bytes are what was received."""

NOTIFYING = """\
### 3.8 Instance Availability Notification (SCU)

N-CREATE of `{uid}` when a study has settled, and again when it has grown, with every received instance,
ONLINE; to devices that may fetch it. Success, a warning and 0111H end it; anything else is tried again."""

CHARACTERS = """\
## 5. Character sets

Received: every defined term of PS3.3 C.12.1.1.2, and GBK or UTF-8 that nobody declared (decision 0021). A
device for which a set is declared ({sets}) is answered in that. Any other set than those below, such as
ISO_IR 100, is answered in itself: Chinese names by their alphabetic group, made of their pinyin where
there is none, other Chinese text as pinyin."""

SECURITY = """\
## 6. Security

- BCP 195 TLS profile (PS3.15 B.12): TLS 1.2 and later, cipher suites `{ciphers}` and those of TLS 1.3.
  Certificates are shown and checked on both sides, incoming and outgoing; a certificate may be bound to
  one device.
- Every association, accepted or refused, every view, change and delivery stands in an audit trail that is
  chained by hashes. No name, date of birth or report text is logged.

## 7. Extensions, specialisations, privatisations

No private attributes are added; the bytes of a sender are never changed. Objects that the centre makes:
Encapsulated PDF, Basic Text SR and Key Object Selection of a signed report; Comprehensive SR of what a reader
measured (TID 1500; who calibrated a figure is a code of ours, 99READINGCENTER). Private and unknown SOP
classes and transfer syntaxes: as configured (4)."""


def statement(settings: Settings | None = None) -> str:
    """The statement of these settings as Markdown; `docs/conformance.md` is that of the default ones."""
    shown = settings or from_environment({}, only_looks=True)
    offer = offer_of(shown)
    written = (
        "Written from the tables that the node negotiates by; a test keeps it so. This is the statement of\n"
        "the default settings; `reading-center conformance` prints that of a centre's own."
        if settings is None
        else "Written from the tables and settings that this node negotiates by."
    )
    parts = [
        OVERVIEW.format(intro=written),
        _table(("service", "SOP class", "as SCU", "as SCP", "right"), _services()),
        "Storage: every class of 3.2, as SCU and SCP, right `store`.",
        ENTITIES.format(notify=Service.NOTIFY),
        POLICIES,
        _table(("item", "value"), _identity()),
        _table(("an association is refused because", "result, source, reason"), _refused()),
        EXTENDED,
        _table(("option", "C-FIND", "worklist", "C-MOVE, C-GET"), _options()),
        LIMITS,
        _limits("deadline", DEADLINES),
        _limits("longest", LENGTHS),
        _limits("most", COUNTS),
        "## 3. Services\n\nQueries, worklist, steps and commitment: "
        + ", ".join(name_of(uid) for uid in QUERY_TRANSFER_SYNTAXES)
        + ".",
        VERIFYING,
        STORAGE,
        _table(("status", "when"), _storage_statuses()),
        _table(("transfer syntax, the first is preferred", "UID"), _named(offer.transfer_syntaxes)),
        _table(("SOP class", "UID"), _named(offer.sop_classes)),
        *(["Besides, any SOP class that no dictionary has."] if offer.takes_unknown else []),
        QUERIES,
        _table(("level", "keys"), _keys()),
        _table(("status", "when"), FIND_STATUSES),
        RETRIEVAL,
        _table(("status", "when"), RETRIEVE_STATUSES),
        WORKLIST.format(scheme=CODING_SCHEME),
        "Statuses are those of 3.3.",
        STEPS,
        _table(("status", "when"), _step_statuses()),
        COMMITMENT,
        _table(("status or failure reason", "when"), COMMITMENT_STATUSES),
        NOTIFYING.format(uid=INSTANCE_AVAILABILITY_NOTIFICATION),
        "## 4. Network interfaces and configuration",
        _table(("item", "value"), _configuration(shown)),
        CHARACTERS.format(sets=", ".join(CHARACTER_SETS)),
        _table(("asked in", "answered in"), ((term or "(none)", said) for term, said in ANSWERED_IN.items())),
        SECURITY.format(ciphers=CIPHERS),
    ]
    return "\n\n".join(parts) + "\n"


def _code(status: int) -> str:
    return f"{int(status):04X}H"


FIND_STATUSES = (
    (_code(Status.PENDING), "a match"),
    (
        _code(Status.PENDING_WITHOUT_SOME_KEYS),
        "a match; a key of the request is not held, or not matched, and narrows nothing",
    ),
    (_code(Status.SUCCESS), "every match was sent"),
    (_code(Status.CANCEL), "cancelled"),
    (_code(Status.OUT_OF_RESOURCES), "more match than are answered (2.3); or the database is away"),
    (_code(Status.IDENTIFIER_DOES_NOT_MATCH), "unknown level, or a key that makes no sense or is too long"),
    (_code(Status.CANNOT_UNDERSTAND), "the identifier cannot be read"),
    (_code(Status.NOT_AUTHORISED), "the device may not ask"),
    (_code(Status.PROCESSING_FAILURE), "anything else"),
)
RETRIEVE_STATUSES = (
    (_code(Status.PENDING), "sub-operations go on; true counts"),
    (_code(Status.SUCCESS), "all succeeded"),
    (_code(Status.WARNING), "some failed or were warned of; the failed are named"),
    (_code(Status.CANNOT_SEND), "all failed; they are named"),
    (_code(Status.CANCEL), "cancelled, with what remains"),
    (
        _code(Status.MOVE_DESTINATION_UNKNOWN),
        "no such destination is declared, with host and port",
    ),
    (_code(Status.IDENTIFIER_DOES_NOT_MATCH), "the identifier makes no sense"),
    (_code(Status.OUT_OF_RESOURCES), "database or object store are away"),
    (_code(Status.NOT_AUTHORISED), "the device may not retrieve"),
)
COMMITMENT_STATUSES = (
    (_code(Status.SUCCESS), "the request was taken"),
    (_code(Status.NO_SUCH_ACTION), "another action than 1"),
    (_code(Status.INVALID_ATTRIBUTE), "no transaction UID, or no references"),
    (_code(Status.NO_SUCH_INSTANCE), "another instance than the well-known one"),
    (_code(Status.RESOURCE_LIMITATION), f"longer than 2.3 allows, or more than {commitment.MOST_REFERENCES}"),
    (_code(Status.OUT_OF_RESOURCES), "the database is away"),
    (_code(statuses.NO_SUCH_OBJECT), "reason: not kept, or not the device's to see"),
    (_code(statuses.CLASS_INSTANCE_CONFLICT), "reason: kept as another SOP class"),
    (
        _code(Status.PROCESSING_FAILURE),
        "reason: it cannot be read again as it came, or other bytes of its UID wait for a decision",
    ),
)


def _services() -> Iterable[tuple[str, ...]]:
    for uid, service in SERVICES.items():
        as_scu = "yes" if uid == VERIFICATION else "no"
        yield name_of(uid), f"`{uid}`", as_scu, "yes", f"`{service}`" if service else "every declared device"
    uid = INSTANCE_AVAILABILITY_NOTIFICATION
    yield name_of(uid), f"`{uid}`", "yes", "no", f"`{Service.NOTIFY}`"


def _identity() -> Iterable[tuple[str, str]]:
    yield "Implementation Class UID", f"`{IMPLEMENTATION_CLASS_UID}`"
    yield "Implementation Version Name", f"`{IMPLEMENTATION_VERSION_NAME}`"
    yield "Application context", "`1.2.840.10008.3.1.1.1`"
    yield "Maximum PDU that is received", f"{upper_layer.MAXIMUM_PDU} bytes"


def _refused() -> Iterable[tuple[str, str]]:
    return ((str(reason), ", ".join(map(str, code))) for reason, code in ASSOCIATIONS_REFUSED.items())


def _options() -> Iterable[tuple[str, ...]]:
    columns = [SUPPORTED[uid] for uid in (STUDY_ROOT_FIND, MODALITY_WORKLIST_FIND)]
    retrieve = {0: SUPPORTED[STUDY_ROOT_GET][0], 4: SUPPORTED[STUDY_ROOT_GET][1]}
    for at, option in enumerate(QUERY_OPTIONS):
        asked = [column[at] if at < len(column) else 0 for column in columns]
        said = ["yes" if flag else "no" for flag in asked]
        if not at:
            said[1] = "—"  # reserved, and always 1
        yield option, *said, {1: "yes", 0: "no"}.get(retrieve.get(at, -1), "—")


def _limits(head: str, limits: Iterable[Limit]) -> str:
    return _table((head, "value", "where"), ((one.what, one.value, f"`{one.where}`") for one in limits))


def _keys() -> Iterable[tuple[str, str]]:
    for level in dict.fromkeys(attribute.level for attribute in ATTRIBUTES.values()):
        yield level, ", ".join(one.keyword for one in ATTRIBUTES.values() if one.level is level)
    yield "also matched", ", ".join(sorted(MATCHED - set(ATTRIBUTES)))


def _storage_statuses() -> Iterable[tuple[str, str]]:
    for outcome, status in OUTCOMES.items():
        yield _code(status), str(outcome)
    yield _code(Status.DAMAGED), "kept, but the pixel data is damaged"
    for kind, status in REJECTIONS.items():
        yield _code(status), f"not kept: {kind}"
    yield _code(Status.IDENTIFIER_DOES_NOT_MATCH), "not kept: command and dataset contradict each other"
    yield _code(Status.SOP_CLASS_NOT_SUPPORTED), "not kept: another SOP class than the context's"
    yield (
        _code(Status.OUT_OF_RESOURCES),
        "not kept: no room, database or object store away; to be sent again",
    )
    yield _code(Status.NOT_AUTHORISED), f"not kept: the device may not `{Service.STORE}`"
    yield _code(Status.PROCESSING_FAILURE), "not kept: anything else"


def _step_statuses() -> Iterable[tuple[str, str]]:
    yield _code(Status.SUCCESS), "taken"
    for status, sentence in STEP_REFUSALS.values():
        yield _code(status), sentence
    yield _code(Status.INVALID_INSTANCE), "the SOP Instance UID is not a UID"
    yield _code(Status.RESOURCE_LIMITATION), "longer than 2.3 allows"
    yield _code(Status.OPTIONAL_ATTRIBUTES_NOT_HELD), "N-GET: some of what was asked for is not in the step"
    yield _code(Status.NOT_AUTHORISED), f"the device may not `{Service.MPPS}`"


def _configuration(settings: Settings) -> Iterable[tuple[str, str]]:
    is_secure = bool(settings.dicom_tls_port and settings.dicom_tls_cert and settings.dicom_tls_ca)
    yield "AE title", f"`{settings.ae_title}`"
    yield "TCP/IP", "IPv4 or IPv6, `TCP_NODELAY`, keep-alive"
    yield "Port for plain DICOM", str(settings.dicom_port or "closed")
    yield (
        "Port for DICOM over TLS",
        str(settings.dicom_tls_port) if is_secure else "closed: no certificate",
    )
    yield "SOP classes beside the standard's", _listed(settings.storage_sop_classes)
    yield "Transfer syntaxes beside the standard's", _listed(settings.storage_transfer_syntaxes)
    yield "Devices", "AE title, institution, host, port, rights, certificate, TLS, character set: declared"
    yield "Everything else", "`docs/settings.md`, `docs/interfaces.md`"


def _listed(uids: tuple[str, ...]) -> str:
    return ", ".join(f"`{uid}`" for uid in uids) or "none"


def _named(uids: Iterable[str]) -> Iterable[tuple[str, str]]:
    return ((name_of(uid), f"`{uid}`") for uid in uids)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(path: Path) -> None:
    """The statement of the default settings, where the repository keeps it."""
    path.write_text(statement(), encoding="utf-8")
