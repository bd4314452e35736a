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

from dicom_node.listener import Arrival
from dicom_node.statuses import (
    REJECTED_CALLED_AE,
    REJECTED_CALLING_AE,
    REJECTED_FOR_NOW,
    REJECTED_PROTOCOL,
)
from storage.institutions import ApplicationEntity, Devices

MOST_ASSOCIATIONS = 400
SHARE_PER_ADDRESS = 200  # one township's line cannot take every place
SHARE_PER_DEVICE = 100
RESOLVED_FOR = 60.0

_SHORTEST_REQUEST = 74  # PS3.8 9.3.2: the fixed fields come before the items
_APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"


class AssociationRefused(Exception):
    """Why an association is not accepted: a sentence for the audit, and what the A-ASSOCIATE-RJ says."""

    def __init__(self, sentence: str, *, rejection: tuple[int, int, int], calling: str, called: str) -> None:
        super().__init__(sentence)
        self.rejection = rejection
        self.calling = calling
        self.called = called


@dataclass(frozen=True)
class Admitted:
    """A device that may associate, its connection, and the A-ASSOCIATE-RQ that it sent."""

    device: ApplicationEntity
    connection: socket.socket
    address: str
    first: bytes


class Places:
    """How many associations are open, in all, per address and per device."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, address: str, ae_title: str) -> str | None:
        """None where a place was taken; otherwise the sentence that says what is full."""
        keys = {
            "all": MOST_ASSOCIATIONS,
            f"from {address}": SHARE_PER_ADDRESS,
            f"ae {ae_title}": SHARE_PER_DEVICE,
        }
        with self._lock:
            for key, most in keys.items():
                if self._taken[key] >= most:
                    return f"{most} associations are open already ({key})"
            self._taken.update(keys.keys())
        return None

    def leave(self, address: str, ae_title: str) -> None:
        with self._lock:
            self._taken.subtract(("all", f"from {address}", f"ae {ae_title}"))
            self._taken += Counter()

    @property
    def open(self) -> int:
        return self._taken["all"]


def admit(devices: Devices, arrival: Arrival, *, our_title: str, places: Places) -> Admitted:
    """The device behind this A-ASSOCIATE-RQ, with a place taken for it. Raises AssociationRefused."""
    calling, called = titles(arrival.first)

    def refusal(sentence: str, rejection: tuple[int, int, int]) -> AssociationRefused:
        return AssociationRefused(sentence, rejection=rejection, calling=calling, called=called)

    if len(arrival.first) < _SHORTEST_REQUEST or not arrival.first[7] & 1:
        raise refusal("the protocol version is unknown", REJECTED_PROTOCOL)
    if called != our_title:
        raise refusal("the called AE title is not ours", REJECTED_CALLED_AE)
    device = devices.find(calling) if calling else None
    if device is None:
        raise refusal("the calling AE title is not declared", REJECTED_CALLING_AE)
    if not is_at_home(device.host, arrival.address):
        raise refusal("the device does not call from its declared host", REJECTED_CALLING_AE)
    if device.certificate_sha256 and _certificate(arrival.connection) != device.certificate_sha256.lower():
        raise refusal("the device does not show its declared certificate", REJECTED_CALLING_AE)
    full = places.take(arrival.address, device.ae_title)
    if full is not None:
        raise refusal(full, REJECTED_FOR_NOW)
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


def _plain_address(text: str) -> str:
    address = ipaddress.ip_address(text.split("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _certificate(connection: socket.socket) -> str | None:
    shown = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLSocket) else None
    return hashlib.sha256(shown).hexdigest() if shown else None
