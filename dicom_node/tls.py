"""DICOM over TLS, in both directions: BCP 195 (PS3.15 B.12), and certificates on both sides.

Incoming, the gatekeeper binds a certificate to its device; outgoing, the context does: a socket that it wraps
raises in the handshake, before anything of ours has been sent.
"""

from __future__ import annotations

import hashlib
import ssl

from storage.institutions import ApplicationEntity
from storage.settings import Settings

# RFC 9325 4.2: forward secrecy and authenticated encryption only. TLS 1.3 has no others.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

OTHER_CERTIFICATE = "the device shows another certificate than the declared one"
UNTRUSTED = "the certificate of the device is not trusted"
NO_CONNECTION = "no TLS connection with the device came about"
UNKNOWN_AUTHORITY = "the certificate of the device is not from our authority"
OTHER_HOST = "the certificate of the device does not name its declared host"
REFUSALS = {  # by OpenSSL's X509_V_ERR_…
    10: "the certificate of the device has expired",
    18: UNKNOWN_AUTHORITY,
    19: UNKNOWN_AUTHORITY,
    20: UNKNOWN_AUTHORITY,
    21: UNKNOWN_AUTHORITY,
    62: OTHER_HOST,
    64: OTHER_HOST,
}


class NotSetUp(ConnectionError):
    """A device is to be reached over TLS, and the node has no certificate or knows no authority."""


def accepting_context(settings: Settings) -> ssl.SSLContext | None:
    """For those who call us; None where certificate, key and authority are not set."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    return context if _prepare(context, settings) else None


def calling_context(settings: Settings, device: ApplicationEntity) -> CallingContext | None:
    """For an association with this device; None where it is not reached over TLS.

    Its certificate must come from our authority and be the declared one, or else name the declared host: any
    other device of the county holds a certificate of the same authority. Raises NotSetUp.
    """
    if not device.tls:
        return None
    context = CallingContext(ssl.PROTOCOL_TLS_CLIENT)
    if not _prepare(context, settings):
        raise NotSetUp("this device is reached over TLS, for which the node has no certificate")
    context.fingerprint = device.certificate_sha256
    context.check_hostname = context.fingerprint is None
    return context


class _CallingSocket(ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:
        context = self.context
        assert isinstance(context, CallingContext)
        try:
            super().do_handshake(block)
            shown = self.getpeercert(binary_form=True) or b""
            if context.fingerprint not in (None, hashlib.sha256(shown).hexdigest()):
                raise ssl.SSLCertVerificationError(OTHER_CERTIFICATE)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as error:
            context.refusal = _sentence(error)
            raise


class CallingContext(ssl.SSLContext):
    """`wrap_socket(connection, server_hostname=device.host)` gives a socket that trusts this device only."""

    sslsocket_class = _CallingSocket
    fingerprint: str | None = None
    refusal: str | None = None  # why the last handshake did not come about


def _sentence(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        code = getattr(error, "verify_code", None)
        return REFUSALS.get(code, UNTRUSTED) if code else str(error)
    return NO_CONNECTION


def _prepare(context: ssl.SSLContext, settings: Settings) -> bool:
    if not (settings.dicom_tls_cert and settings.dicom_tls_key and settings.dicom_tls_ca):
        return False
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.load_cert_chain(settings.dicom_tls_cert, settings.dicom_tls_key)
    context.load_verify_locations(settings.dicom_tls_ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return True
