"""Every deadline and every cap of the node, each read from the place where it is in force."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Any

# Constants that are named as limits are: a test looks for one that nobody has entered below.
NAMED_SO = re.compile(
    r"(MOST|MAXIMUM|LONGEST|LARGEST|SHORTEST|SHARE|RESERVED)(_|$)|_(SECONDS|BYTES|A_SECOND)$"
)


@dataclass(frozen=True)
class Limit:
    """A sentence, where its value stands (`module.CONSTANT`), and in what it is counted."""

    what: str
    where: str
    unit: str = ""

    @property
    def value(self) -> str:
        module, _, name = self.where.rpartition(".")
        return _said(getattr(import_module(module), name), self.unit)


DEADLINES = (
    Limit(
        "Sta2: from the connection, TLS handshake included, to the whole A-ASSOCIATE-RQ",
        "dicom_node.listener.FIRST_PDU_SECONDS",
        "s",
    ),
    Limit("Sta3: the database that says who calls", "storage.database.DEVICE_PATIENCE", "s"),
    Limit("Sta6: without a word, between messages or within one", "dicom_node.association.IDLE_SECONDS", "s"),
    Limit("Sta6: the same, where only images come", "dicom_node.storage_association.IDLE_SECONDS", "s"),
    Limit(
        "Any state: one PDU from its first byte to its last, received or sent",
        "dicom_node.upper_layer.PDU_SECONDS",
        "s",
    ),
    Limit("Sta6: one message, by which it may be late in all", "dicom_node.pace.GRACE_SECONDS", "s"),
    Limit(
        "Sta6: the same, how fast it must arrive otherwise",
        "dicom_node.pace.LEAST_BYTES_A_SECOND",
        "bytes a second at least",
    ),
    Limit("Sta6: a request of ours that a peer answers", "dicom_node.association.ANSWER_SECONDS", "s"),
    Limit(
        "Sta4, Sta5: a connection of ours, and again the answer to our A-ASSOCIATE-RQ",
        "dicom_node.outgoing.CONNECT_SECONDS",
        "s",
    ),
    Limit("Sta6: a C-STORE of ours", "dicom_node.storage_user.ANSWER_SECONDS", "s"),
    Limit("Sta7: the answer to our A-RELEASE-RQ", "dicom_node.outgoing.RELEASE_SECONDS", "s"),
    Limit(
        "A storage commitment's report on the association that asked",
        "dicom_node.commitment.HEARD_SECONDS",
        "s",
    ),
    Limit("Sub-operation in flight when a C-CANCEL comes", "dicom_node.sub_operations.CANCEL_SECONDS", "s"),
    Limit("All associations, when the node stops", "dicom_node.node.STOP_SECONDS", "s"),
    Limit(
        "A line on which nothing is acknowledged (TCP_USER_TIMEOUT)",
        "dicom_node.listener.DEAD_LINE_SECONDS",
        "s",
    ),
)

LENGTHS = (
    Limit("A-ASSOCIATE-RQ", "dicom_node.listener.FIRST_PDU_BYTES", "bytes"),
    Limit("A-ASSOCIATE-AC to us", "dicom_node.own_proposal.LONGEST_ANSWER", "bytes"),
    Limit("Every later PDU, announced to peers", "dicom_node.upper_layer.MAXIMUM_PDU", "bytes"),
    Limit("PDU of ours, whatever a peer takes", "dicom_node.storage_user.LONGEST_PDU", "bytes"),
    Limit("Command set", "dicom_node.messages.MAXIMUM_COMMAND", "bytes"),
    Limit("Command set, where only images come", "dicom_node.command_set.LONGEST_COMMAND", "bytes"),
    Limit("Identifier of a query", "dicom_node.exchange.MAXIMUM_IDENTIFIER", "bytes"),
    Limit(
        "Attribute list of an N-CREATE or N-SET, information of an N-ACTION",
        "dicom_node.exchange.MAXIMUM_LIST",
        "bytes",
    ),
    Limit("Matching key", "dicom_node.find.LONGEST_KEY", "characters"),
    Limit("Matching key with a wild card", "dicom_node.find.LONGEST_WILDCARD_KEY", "characters"),
    Limit("Object", "dicom_node.messages.MAXIMUM_OBJECT", "bytes"),
    Limit("Object, where only images come", "dicom_node.incoming.MAXIMUM_OBJECT", "bytes"),
    Limit(
        "Object in memory; what is longer goes into its file while it arrives",
        "dicom_node.incoming.IN_MEMORY",
        "bytes",
    ),
    Limit("Object that is transcoded for a peer", "dicom_node.fitting.MOST_RE_ENCODED", "bytes"),
    Limit("Header without bulk data", "storage.elements.MAX_HEADER_BYTES", "bytes"),
    Limit("Deflated header, inflated", "storage.windows.MAX_INFLATED_BYTES", "bytes"),
    Limit("Deflated object, inflated", "storage.windows.MAX_INFLATED", "bytes"),
    Limit("The same against what it was deflated to", "storage.windows.MAX_RATIO", "times"),
    Limit(
        "What a peer still says after it was told that we end",
        "dicom_node.storage_association.MOST_UNHEARD",
        "bytes",
    ),
    Limit("Answers to a query that wait for a slow peer", "dicom_node.pending.MOST_UNSENT_BYTES", "bytes"),
)

COUNTS = (
    Limit(
        "Connections that have not said who they are; the oldest of more is dropped",
        "dicom_node.listener.MOST_WAITING",
    ),
    Limit("Of these, for addresses of declared devices", "dicom_node.listener.RESERVED_FOR_KNOWN"),
    Limit("Of these, from one address", "dicom_node.listener.MOST_WAITING_PER_ADDRESS"),
    Limit("Associations in all", "dicom_node.gatekeeper.MOST_ASSOCIATIONS"),
    Limit(
        "Of these, for devices known by address or certificate", "dicom_node.gatekeeper.RESERVED_FOR_KNOWN"
    ),
    Limit(
        "Associations from one address (unless a certificate is declared)",
        "dicom_node.gatekeeper.SHARE_PER_ADDRESS",
    ),
    Limit("Associations of one institution", "dicom_node.gatekeeper.SHARE_PER_INSTITUTION"),
    Limit("Associations of one device", "dicom_node.gatekeeper.SHARE_PER_DEVICE"),
    Limit("Refused peers whose closing is awaited", "dicom_node.node.MOST_REFUSALS_AWAITED"),
    Limit("Presentation contexts of a peer", "dicom_node.proposal._MOST_CONTEXTS"),
    Limit("Cancelled requests that are remembered", "dicom_node.line._MOST_CANCELLED"),
    Limit("Answers of a peer that nobody has asked for", "dicom_node.line._MOST_UNASKED"),
    Limit("Presentation contexts of ours", "dicom_node.own_proposal.MOST_CONTEXTS"),
    Limit("Nesting of sequences", "storage.elements.MAX_DEPTH", "deep"),
    Limit("Elements of a header", "storage.elements.MAX_ELEMENTS"),
    Limit("Matches of a query; beyond it the last status is A700H", "dicom_node.find.MOST_MATCHES"),
    Limit("Steps of a worklist answer; beyond it the last status is A700H", "worklist.scheduling.MOST_ITEMS"),
    Limit("Instances of a C-MOVE or C-GET", "dicom_node.retrieval.MOST_INSTANCES"),
    Limit(
        "Associations in a row with a destination that ends them half way",
        "dicom_node.move.MOST_ASSOCIATIONS",
    ),
    Limit("Failed instances that an answer names", "dicom_node.sub_operations.MOST_NAMED"),
    Limit("Instances of one storage commitment", "dicom_node.commitment.MOST_REFERENCES"),
    Limit(
        "Commitments reported on the associations that asked, at one time", "dicom_node.commitment.MOST_HERE"
    ),
)

# Named like limits, and of no concern to a peer: how we pace ourselves, and what the protocol fixes.
OURS_ALONE = {
    "dicom_node.gatekeeper._SHORTEST_REQUEST",
    "dicom_node.proposal._MAXIMUM_LENGTH",
    "dicom_node.association_log.GATHER_SECONDS",
    "dicom_node.association_log.MOST_WAITING",
    "dicom_node.commitment.RELEASE_SECONDS",
    "dicom_node.crew.IDLE_SECONDS",
    "dicom_node.storage_user.SHORTEST_PDU",
    "dicom_node.sub_operations.MOST_AWAY",
}


def every_limit() -> Iterator[Limit]:
    yield from (*DEADLINES, *LENGTHS, *COUNTS)


def _said(value: Any, unit: str) -> str:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if unit == "bytes":
        for power, name in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
            if value >= 1 << power and not value % (1 << power):
                return f"{value >> power} {name}"
    return f"{value:g} {unit}".strip() if value < 100_000 else f"{value} {unit}".strip()
