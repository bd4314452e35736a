"""Certificates as a county has them: an authority of its own, and what it issues to devices."""

import datetime
import hashlib
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Issued:
    """A device's certificate: its files, and the fingerprint that a declaration names."""

    certificate: str
    key: str
    sha256: str


class Authority:
    """A certificate authority whose files lie in this folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        path = folder / f"{name}-authority.pem"
        path.write_bytes(self._signed(self._name, self._key, is_authority=True, days=30, at=None)[0])
        self.path = str(path)

    def issue(self, name: str, *, days: int = 30, at: str | None = None) -> Issued:
        """A certificate that names the address `at`; a negative number of days: expired since."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        pem, digest = self._signed(subject, key, is_authority=False, days=days, at=at)
        certificate, secret = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate.write_bytes(pem)
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return Issued(str(certificate), str(secret), digest)

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        is_authority: bool,
        days: int,
        at: str | None,
    ) -> tuple[bytes, str]:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=60))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if at is not None:
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(at))])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        return pem, hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()
