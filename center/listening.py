"""Ports, before anything starts on them: a taken port is one sentence, not a role that dies and dies."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from center.complaints import Complaint
from storage.settings import Settings


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
        return f"{where} for {listener.what} is taken; stop what holds it, or give another {listener.option}"
    if error.errno == errno.EACCES:
        return f"{where} for {listener.what} needs more rights; give {listener.option} above 1023"
    return f"{where} for {listener.what} cannot be used: {error.strerror}"


def portal_listeners(settings: Settings) -> list[Listener]:
    listener = Listener("the portal", settings.http_host, settings.http_port, "--http-port")
    return [listener] if listener.port else []


def dicom_listeners(settings: Settings) -> list[Listener]:
    """The plain port, and the TLS port where certificate, key and authority are set: else it stays closed."""
    listeners = [Listener("DICOM", settings.dicom_host, settings.dicom_port, "--dicom-port")]
    if has_tls(settings):
        listeners.append(
            Listener("DICOM over TLS", settings.dicom_host, settings.dicom_tls_port, "--dicom-tls-port")
        )
    if any(listener.port for listener in listeners):
        figures = Listener("the node's figures", settings.metrics_host, settings.metrics_port, "METRICS_PORT")
        listeners.append(figures)
    return [listener for listener in listeners if listener.port]


def has_tls(settings: Settings) -> bool:
    return None not in (settings.dicom_tls_cert, settings.dicom_tls_key, settings.dicom_tls_ca)
