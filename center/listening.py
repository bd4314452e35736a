"""Ports, before anything is started on them: a taken port is one sentence, not a role that dies again and again."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from center.complaints import Complaint


class PortTaken(Complaint):
    """Something else listens where we should."""


@dataclass(frozen=True)
class Listener:
    """Where a role will listen; `option` is the word on the command line that changes the port."""

    what: str
    host: str
    port: int
    option: str


def require_free(listeners: list[Listener]) -> None:
    """Bind each port for a moment. Raises PortTaken with what to do about it."""
    for listener in listeners:
        family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As the servers do: connections of an earlier life in TIME_WAIT do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((listener.host, listener.port))
            except OSError as error:
                raise PortTaken(_sentence(listener, error)) from None


def _sentence(listener: Listener, error: OSError) -> str:
    where = f"port {listener.port} on {listener.host}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} for {listener.what} is taken; stop what listens there, or choose another with {listener.option}"
    if error.errno == errno.EACCES:
        return f"{where} for {listener.what} needs more rights; choose a port above 1023 with {listener.option}"
    return f"{where} for {listener.what} cannot be used: {error.strerror}"
