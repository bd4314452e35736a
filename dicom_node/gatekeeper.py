"""Who may associate, from where, and for what: a declared AE title, calling from its own address."""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import ssl
import threading
import time
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.listener import Arrival
from dicom_node.statuses import (
    REJECTED_CALLED_AE,
    REJECTED_CALLING_AE,
    REJECTED_CONGESTION,
    REJECTED_FOR_NOW,
    REJECTED_PROTOCOL,
)
from storage.database import Database, is_away
from storage.institutions import ApplicationEntity, Devices

MOST_ASSOCIATIONS = 400
# Places that only devices take which are known by their own address or certificate: a title alone, called
# from anywhere, is whoever has heard it.
RESERVED_FOR_KNOWN = 100
SHARE_PER_ADDRESS = 200  # one township's line cannot take every place
SHARE_PER_INSTITUTION = 200  # nor can one that has several lines
SHARE_PER_DEVICE = 100
RESOLVED_FOR = 60.0
LOOKED_UP_EVERY = 10.0

_SHORTEST_REQUEST = 74  # PS3.8 9.3.2: the fixed fields come before the items
_APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"


class Refusal(StrEnum):
    """Why an association is not accepted, in one word: what is counted."""

    PROTOCOL = "protocol"
    CALLED = "called-ae"
    UNDECLARED = "not-declared"
    ELSEWHERE = "elsewhere"
    CERTIFICATE = "certificate"
    FULL = "full"
    DATABASE = "database"


REJECTIONS = {
    Refusal.PROTOCOL: REJECTED_PROTOCOL,
    Refusal.CALLED: REJECTED_CALLED_AE,
    Refusal.UNDECLARED: REJECTED_CALLING_AE,
    Refusal.ELSEWHERE: REJECTED_CALLING_AE,
    Refusal.CERTIFICATE: REJECTED_CALLING_AE,
    Refusal.FULL: REJECTED_FOR_NOW,
    Refusal.DATABASE: REJECTED_CONGESTION,
}


class AssociationRefused(Exception):
    """Why an association is not accepted: a sentence for the audit, and what the A-ASSOCIATE-RJ says.

    `device` is the declared AE title, empty for a stranger's.
    """

    def __init__(self, kind: Refusal, sentence: str, *, calling: str, called: str, device: str = "") -> None:
        super().__init__(sentence)
        self.kind = kind
        self.calling = calling
        self.called = called
        self.device = device

    @property
    def rejection(self) -> tuple[int, int, int]:
        """Result, source and reason (PS3.8 table 9-21)."""
        return REJECTIONS[self.kind]


@dataclass(frozen=True)
class Admitted:
    """A device that may associate, its connection, and the A-ASSOCIATE-RQ that it sent."""

    device: ApplicationEntity
    connection: socket.socket
    address: str
    first: bytes


class Places:
    """How many associations are open, in all, per address, institution and device."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, address: str, device: ApplicationEntity) -> str | None:
        """None where a place was taken; otherwise the sentence that says what is full."""
        keys = _keys(address, device)
        with self._lock:
            for key, most in keys.items():
                if self._taken[key] >= most:
                    return f"{most} associations are open already ({key})"
            self._taken.update(keys.keys())
        return None

    def leave(self, address: str, device: ApplicationEntity) -> None:
        with self._lock:
            self._taken.subtract(_keys(address, device).keys())
            self._taken += Counter()

    @property
    def open(self) -> int:
        return self._taken["all"]


def _keys(address: str, device: ApplicationEntity) -> dict[str, int]:
    """What an association of this device counts towards, and how many there may be of it."""
    keys = {
        "all": MOST_ASSOCIATIONS,
        f"of {device.institution_code}": SHARE_PER_INSTITUTION,
        f"ae {device.ae_title}": SHARE_PER_DEVICE,
    }
    if not device.certificate_sha256:
        # Whoever shows a certificate may come through a proxy, whose address all of them share.
        keys[f"from {address}"] = SHARE_PER_ADDRESS
        if device.host == "*":
            keys["from anywhere"] = MOST_ASSOCIATIONS - RESERVED_FOR_KNOWN
    return keys


class KnownAddresses:
    """Where declared devices call from: a look that never waits, for a listener that must not."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._addresses: frozenset[str] = frozenset()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="known-addresses", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def __contains__(self, address: object) -> bool:
        return address in self._addresses

    def look(self) -> None:
        """Read the declared hosts and resolve their names; what cannot be read stays as it was."""
        try:
            with self._database.reading() as session:
                hosts = set(
                    session.scalars(select(ApplicationEntity.host).where(ApplicationEntity.is_active))
                )
        except SQLAlchemyError:
            return
        self._addresses = frozenset().union(*(_addresses_of(host) for host in hosts - {"*"}))

    def _run(self) -> None:
        self.look()
        while not self._stop.wait(LOOKED_UP_EVERY):
            self.look()


def admit(devices: Devices, arrival: Arrival, *, our_title: str, places: Places) -> Admitted:
    """The device behind this A-ASSOCIATE-RQ, with a place taken for it. Raises AssociationRefused."""
    calling, called = titles(arrival.first)

    def refusal(kind: Refusal, sentence: str, device: str = "") -> AssociationRefused:
        return AssociationRefused(kind, sentence, calling=calling, called=called, device=device)

    if len(arrival.first) < _SHORTEST_REQUEST or not arrival.first[7] & 1:
        raise refusal(Refusal.PROTOCOL, "the protocol version is unknown")
    if called != our_title:
        raise refusal(Refusal.CALLED, "the called AE title is not ours")
    try:
        device = devices.find(calling) if calling else None
    except Exception as error:
        if not is_away(error):
            raise
        raise refusal(Refusal.DATABASE, "the database does not answer") from None
    if device is None:
        raise refusal(Refusal.UNDECLARED, "the calling AE title is not declared")
    title = device.ae_title
    if not is_at_home(device.host, arrival.address):
        raise refusal(Refusal.ELSEWHERE, "the device does not call from its declared host", title)
    if device.certificate_sha256 and _certificate(arrival.connection) != device.certificate_sha256.lower():
        raise refusal(Refusal.CERTIFICATE, "the device does not show its declared certificate", title)
    full = places.take(arrival.address, device)
    if full is not None:
        raise refusal(Refusal.FULL, full, title)
    return Admitted(device, arrival.connection, arrival.address, arrival.first)


def titles(request: bytes) -> tuple[str, str]:
    """Calling and called AE title of an A-ASSOCIATE-RQ, harmless to logs; empty where they are not ASCII."""

    def plain(raw: bytes) -> str:
        text = raw.decode("latin_1").strip(" ")
        return text if text.isascii() and text.isprintable() else ""

    return plain(request[26:42]), plain(request[10:26])


def is_at_home(host: str, address: str) -> bool:
    """Whether a connection from this address is the declared host; "*" is anywhere."""
    return host == "*" or _plain_address(address) in _addresses_of(host)


_resolved: dict[str, tuple[float, frozenset[str]]] = {}


def _addresses_of(host: str) -> frozenset[str]:
    try:
        return frozenset({_plain_address(host)})
    except ValueError:
        pass
    until, addresses = _resolved.get(host, (0.0, frozenset()))
    if time.monotonic() < until:
        return addresses
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        found = []
    addresses = frozenset(_plain_address(str(entry[4][0])) for entry in found)
    _resolved[host] = (time.monotonic() + RESOLVED_FOR, addresses)
    return addresses


@lru_cache(maxsize=4096)
def _plain_address(text: str) -> str:
    address = ipaddress.ip_address(text.split("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _certificate(connection: socket.socket) -> str | None:
    shown = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLSocket) else None
    return hashlib.sha256(shown).hexdigest() if shown else None
