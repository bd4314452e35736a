"""The centre's own certificate authority: one root, one clock, one certificate a year for each signer.

Everything lives in one folder, each credential a file of mode 0600 with key and certificate together. A file
is written beside its place and linked into it: of two processes that make the same credential one wins, and
both use the winner's. Several machines of one centre share the folder.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock

from asn1crypto import keys
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT_YEARS = 40
SIGNER_YEARS = 3
_NAME_LENGTH = 64  # X.520 ub-common-name, ub-organization-name


@dataclass(frozen=True, slots=True)
class Credential:
    """A P-256 key and its certificate."""

    private_key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def certificate_der(self) -> asn1_x509.Certificate:
        return asn1_x509.Certificate.load(self.certificate.public_bytes(serialization.Encoding.DER))

    @property
    def key_info(self) -> keys.PrivateKeyInfo:
        return keys.PrivateKeyInfo.load(
            self.private_key.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def pem(self) -> bytes:
        key = self.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return key + self.certificate.public_bytes(serialization.Encoding.PEM)

    @classmethod
    def from_pem(cls, pem: bytes) -> Credential:
        key = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("the centre's keys are P-256")
        return cls(private_key=key, certificate=x509.load_pem_x509_certificate(pem))


class CentreAuthority:
    """Who vouches for signers and for time. Threads may share it; it makes what is missing on first use."""

    def __init__(
        self, folder: Path, *, centre_name: str, clock: Callable[[], datetime] | None = None
    ) -> None:
        self.folder = folder
        self.centre_name = centre_name
        self.clock = clock or (lambda: datetime.now(UTC))
        self._kept: dict[str, Credential] = {}
        self._lock = Lock()

    @property
    def root(self) -> Credential:
        return self._credential("root", self._new_root)

    @property
    def time_authority(self) -> Credential:
        return self._credential("time", self._new_time_authority)

    def signer(self, *, name: str, username: str, at: datetime) -> Credential:
        """What this person signs with in the year of `at`; a changed name is a new certificate."""
        digest = hashlib.sha256(f"{username}\0{name}".encode()).hexdigest()[:32]
        year = at.astimezone(UTC).year
        return self._credential(f"signer-{digest}-{year}", lambda: self._new_signer(name, username, year))

    def ca_pem(self) -> bytes:
        """What others need to check our seals: the root certificate, without any key."""
        return self.root.certificate.public_bytes(serialization.Encoding.PEM)

    def _credential(self, name: str, make: Callable[[], Credential]) -> Credential:
        with self._lock:
            if name in self._kept:
                return self._kept[name]
        path = self.folder / f"{name}.pem"
        if not path.exists():
            keep_once(path, make().pem())
        credential = Credential.from_pem(path.read_bytes())
        with self._lock:
            return self._kept.setdefault(name, credential)

    def _new_root(self) -> Credential:
        key = ec.generate_private_key(ec.SECP256R1())
        name = self._name("报告签章根证书")
        begin = self.clock() - timedelta(days=1)
        builder = (
            _builder(name, name, key, begin, begin + timedelta(days=365 * ROOT_YEARS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(ca=True), critical=True)
        )
        return Credential(key, builder.sign(key, hashes.SHA256()))

    def _new_time_authority(self) -> Credential:
        root = self.root.certificate
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        return self._issue(
            self._name("时间戳"),
            root.not_valid_before_utc,
            root.not_valid_after_utc,
            usage=usage,
            content_commitment=False,
        )

    def _new_signer(self, name: str, username: str, year: int) -> Credential:
        root = self.root.certificate
        begin = max(datetime(year, 1, 1, tzinfo=UTC) - timedelta(days=1), root.not_valid_before_utc)
        end = min(datetime(year + SIGNER_YEARS, 1, 1, tzinfo=UTC), root.not_valid_after_utc)
        return self._issue(self._name(name, username), begin, end)

    def _issue(
        self,
        subject: x509.Name,
        begin: datetime,
        end: datetime,
        *,
        usage: x509.ExtendedKeyUsage | None = None,
        content_commitment: bool = True,
    ) -> Credential:
        root = self.root
        key = ec.generate_private_key(ec.SECP256R1())
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(root.private_key.public_key())
        builder = (
            _builder(subject, root.certificate.subject, key, begin, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False, content_commitment=content_commitment), critical=True)
            .add_extension(issuer_key, critical=False)
        )
        if usage is not None:
            builder = builder.add_extension(usage, critical=True)
        return Credential(key, builder.sign(root.private_key, hashes.SHA256()))

    def _name(self, common_name: str, username: str = "") -> x509.Name:
        parts = [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, self.centre_name[:_NAME_LENGTH]),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name[:_NAME_LENGTH]),
        ]
        return x509.Name([*parts, x509.NameAttribute(NameOID.USER_ID, username)] if username else parts)


def keep_once(path: Path, data: bytes) -> None:
    """Write a private file unless somebody else was first; never a half-written one, never over another."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, path)
        except FileExistsError:
            return
    finally:
        beside.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, ca: bool, content_commitment: bool = True) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=not ca and content_commitment,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
