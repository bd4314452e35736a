"""A-ASSOCIATE-RQ read and A-ASSOCIATE-AC written (PS3.8 9.3.2, 9.3.3), for associations that only store."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from dicom_node.contexts import QUERY_TRANSFER_SYNTAXES, VERIFICATION, Offer
from storage.institutions import Service
from storage.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_FIXED = 74  # PDU header, versions, titles, reserved: then come the items
_MOST_CONTEXTS = 128  # context identifiers are odd numbers of one byte

# Items (PS3.8 9.3.2, annex D.3) that need no answer of ours: maximum length, implementation, asynchronous
# window, extended negotiation. Roles and user identities are pynetdicom's.
_APPLICATION, _CONTEXT, _ABSTRACT, _TRANSFER, _USER = 0x10, 0x20, 0x30, 0x40, 0x50
_MAXIMUM_LENGTH = 0x51
_UNANSWERED = {_MAXIMUM_LENGTH, 0x52, 0x53, 0x55, 0x56, 0x57}

ACCEPTED, ABSTRACT_SYNTAX_UNKNOWN, TRANSFER_SYNTAXES_UNKNOWN = 0, 3, 4  # PS3.8 table 9-18
_STANDARD = Offer()


@dataclass(frozen=True)
class Proposed:
    """One presentation context: what shall be sent, and in which encodings."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True)
class Agreed:
    """A presentation context after negotiation; `result` is 0 where it may be used."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: str
    result: int


@dataclass(frozen=True)
class Proposal:
    """What a peer proposes that only stores and echoes."""

    titles: bytes  # called, calling and the reserved bytes: they are answered as they came
    contexts: tuple[Proposed, ...]
    maximum_length: int  # of a PDU that the peer takes; 0 is any
    offer: Offer  # what it may be agreed to from


def read_storage_proposal(request: bytes, offer: Offer = _STANDARD) -> Proposal | None:
    """The proposal of an A-ASSOCIATE-RQ, its header included; None where it is not storage alone, or odd."""
    try:
        return _read(request, offer)
    except (struct.error, IndexError, UnicodeDecodeError, ValueError):
        return None


def abstract_syntaxes(request: bytes) -> list[str]:
    """What an A-ASSOCIATE-RQ proposes; nothing where it cannot be read."""
    try:
        found = [
            _context(value) for kind, value in items_of(request, _FIXED, len(request)) if kind == _CONTEXT
        ]
    except (struct.error, IndexError, UnicodeDecodeError, ValueError):
        return []
    return [one.abstract_syntax for one in found]


def _read(request: bytes, offer: Offer) -> Proposal | None:
    contexts: list[Proposed] = []
    application, maximum_length = "", 0
    for kind, value in items_of(request, _FIXED, len(request)):
        if kind == _APPLICATION:
            application = uid_text(value)
        elif kind == _CONTEXT:
            contexts.append(_context(value))
        elif kind == _USER:
            for inner, content in items_of(value, 0, len(value)):
                if inner not in _UNANSWERED:
                    return None
                if inner == _MAXIMUM_LENGTH:
                    maximum_length = int(struct.unpack(">L", content)[0])
        else:
            return None
    ids = {one.context_id for one in contexts}
    is_odd = any(number % 2 == 0 for number in ids) or len(ids) != len(contexts)
    if application != APPLICATION_CONTEXT or is_odd or not 0 < len(contexts) <= _MOST_CONTEXTS:
        return None
    if any(one.abstract_syntax != VERIFICATION and not offer.takes(one.abstract_syntax) for one in contexts):
        return None
    return Proposal(request[10:74], tuple(contexts), maximum_length, offer)


def agree(proposal: Proposal, may: Collection[str]) -> list[Agreed]:
    """What we agree to with a device of these rights: of several encodings the first of our own list."""
    may_store = bool({Service.STORE, Service.GET} & {Service(word) for word in may})
    agreed = []
    for one in proposal.contexts:
        if one.abstract_syntax != VERIFICATION and not may_store:
            agreed.append(
                Agreed(one.context_id, one.abstract_syntax, one.transfer_syntaxes[0], ABSTRACT_SYNTAX_UNKNOWN)
            )
            continue
        is_echo = one.abstract_syntax == VERIFICATION
        ours = QUERY_TRANSFER_SYNTAXES if is_echo else proposal.offer.transfer_syntaxes
        chosen = next((syntax for syntax in ours if syntax in one.transfer_syntaxes), None)
        agreed.append(
            Agreed(
                one.context_id,
                one.abstract_syntax,
                chosen or one.transfer_syntaxes[0],
                ACCEPTED if chosen else TRANSFER_SYNTAXES_UNKNOWN,
            )
        )
    return agreed


def acceptance(proposal: Proposal, agreed: list[Agreed], *, maximum_length: int) -> bytes:
    """The A-ASSOCIATE-AC."""
    items = [item(_APPLICATION, APPLICATION_CONTEXT.encode())]
    for one in agreed:
        transfer = item(_TRANSFER, one.transfer_syntax.encode())
        items.append(item(0x21, struct.pack(">BBBB", one.context_id, 0, one.result, 0) + transfer))
    user = [
        item(_MAXIMUM_LENGTH, struct.pack(">L", maximum_length)),
        item(0x52, IMPLEMENTATION_CLASS_UID.encode()),
        item(0x55, IMPLEMENTATION_VERSION_NAME.encode()),
    ]
    items.append(item(_USER, b"".join(user)))
    body = struct.pack(">HH", 1, 0) + proposal.titles + b"".join(items)
    return struct.pack(">BBL", 2, 0, len(body)) + body


def items_of(data: bytes, at: int, end: int) -> Iterator[tuple[int, bytes]]:
    while at < end:
        kind, length = struct.unpack_from(">BxH", data, at)
        at += 4
        if at + length > end:
            raise ValueError("an item reaches beyond what holds it")
        yield kind, data[at : at + length]
        at += length


def _context(value: bytes) -> Proposed:
    abstract, transfer = "", []
    for kind, content in items_of(value, 4, len(value)):
        if kind == _ABSTRACT:
            abstract = uid_text(content)
        elif kind == _TRANSFER:
            transfer.append(uid_text(content))
    if not transfer:
        raise ValueError("a presentation context without a transfer syntax")
    return Proposed(value[0], abstract, tuple(transfer))


def uid_text(value: bytes) -> str:
    return value.decode("ascii").rstrip("\0 ")


def item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value
