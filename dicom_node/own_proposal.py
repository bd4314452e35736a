"""A-ASSOCIATE-RQ written and A-ASSOCIATE-AC read (PS3.8 9.3.2, 9.3.3): associations that we open to store."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from dicom_node.contexts import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from dicom_node.proposal import APPLICATION_CONTEXT, Agreed, Proposed, item, items_of, uid_text
from storage.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

MOST_CONTEXTS = 128  # context identifiers are odd numbers of one byte
LONGEST_ANSWER = 64 << 10  # an A-ASSOCIATE-AC of 128 contexts is a tenth of it

_ACCEPT, _FIXED = 0x02, 74


@dataclass(frozen=True)
class Acceptance:
    """What the peer agreed to: contexts that may be used, and the longest PDU that it takes (0 is any)."""

    contexts: tuple[Agreed, ...]
    maximum_length: int


@dataclass(frozen=True)
class Plan:
    """One association: what is proposed, and the (SOP class, transfer syntax) that it is for."""

    contexts: tuple[Proposed, ...]
    kinds: frozenset[tuple[str, str]]


def plans_for(kept: Iterable[tuple[str, str]]) -> list[Plan]:
    """Contexts for these (SOP class, transfer syntax): each as stored, and uncompressed as the way out.

    As many associations as it takes, of 128 contexts each; the last ones of a long list come later.
    """
    plans: list[tuple[dict[tuple[str, tuple[str, ...]], None], set[tuple[str, str]]]] = []
    for kind in dict.fromkeys(kept):
        wanted = dict.fromkeys([(kind[0], (kind[1],)), (kind[0], (EXPLICIT_LITTLE, IMPLICIT_LITTLE))])
        if not plans or len(plans[-1][0] | wanted) > MOST_CONTEXTS:
            plans.append(({}, set()))
        plans[-1][0].update(wanted)
        plans[-1][1].add(kind)
    return [
        Plan(tuple(Proposed(2 * at + 1, *one) for at, one in enumerate(contexts)), frozenset(kinds))
        for contexts, kinds in plans
    ]


def association_request(
    *, called: str, calling: str, contexts: Iterable[Proposed], maximum_length: int
) -> bytes:
    """The A-ASSOCIATE-RQ. One operation at a time: no asynchronous window is asked for."""
    items = [item(0x10, APPLICATION_CONTEXT.encode())]
    for one in contexts:
        syntaxes = [item(0x40, syntax.encode()) for syntax in one.transfer_syntaxes]
        inner = item(0x30, one.abstract_syntax.encode()) + b"".join(syntaxes)
        items.append(item(0x20, struct.pack(">BBBB", one.context_id, 0, 0, 0) + inner))
    user = [
        item(0x51, struct.pack(">L", maximum_length)),
        item(0x52, IMPLEMENTATION_CLASS_UID.encode()),
        item(0x55, IMPLEMENTATION_VERSION_NAME.encode()),
    ]
    items.append(item(0x50, b"".join(user)))
    titles = called.encode("ascii").ljust(16) + calling.encode("ascii").ljust(16) + bytes(32)
    body = struct.pack(">HH", 1, 0) + titles + b"".join(items)
    return struct.pack(">BBL", 1, 0, len(body)) + body


def read_acceptance(answer: bytes, proposed: Iterable[Proposed]) -> Acceptance | None:
    """What an A-ASSOCIATE-AC, its header included, agrees to; None where it is none, or cannot be read."""
    if answer[:1] != bytes([_ACCEPT]):
        return None
    ours = {one.context_id: one for one in proposed}
    contexts, maximum_length = [], 0
    try:
        for kind, value in items_of(answer, _FIXED, len(answer)):
            if kind == 0x21 and value[2] == 0 and value[0] in ours:
                one = ours[value[0]]
                chosen = [
                    uid_text(content) for inner, content in items_of(value, 4, len(value)) if inner == 0x40
                ]
                # A syntax that was not proposed is no agreement (PS3.8 9.3.3.2).
                if len(chosen) == 1 and chosen[0] in one.transfer_syntaxes:
                    contexts.append(Agreed(one.context_id, one.abstract_syntax, chosen[0], 0))
            elif kind == 0x50:
                for inner, content in items_of(value, 0, len(value)):
                    if inner == 0x51:
                        maximum_length = int(struct.unpack(">L", content)[0])
    except (struct.error, IndexError, UnicodeDecodeError, ValueError):
        return None
    return Acceptance(tuple(contexts), maximum_length)
