"""DICOM over TLS: both sides show certificates of our authority, and silent clients keep nobody waiting."""

import datetime
import hashlib
import socket
import ssl
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pynetdicom import AE

from dicom_node.node import build_node
from storage.institutions import ApplicationEntity
from tests.dicom_node.conftest import declare, settings_for
from tests.dicom_node.devices import VERIFICATION, free_port


class Authority:
    """A certificate authority that lives for one test."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(self.name, self.key.public_key(), is_authority=True, days=30)
        self.path = folder / f"{name}-ca.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name, *, days=30):
        """Certificate and key files of one device; a negative number of days: expired since."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key.public_key(), is_authority=False, days=days)
        paths = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return *paths, hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()

    def _sign(self, subject, public_key, *, is_authority, days):
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=60))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path, "county")


@pytest.fixture
def secure_node(sqlite_pair, tmp_path, authority):
    certificate, key, _ = authority.issue("center")
    declare(sqlite_pair.database)
    settings = settings_for(
        sqlite_pair,
        tmp_path,
        **{
            "dicom_tls_cert": str(certificate),
            "dicom_tls_key": str(key),
            "dicom_tls_ca": str(authority.path),
        },
    )
    object.__setattr__(settings, "dicom_tls_port", free_port())
    node = build_node(settings, sqlite_pair.database, sqlite_pair.objects)
    node.start()
    yield node
    node.stop()


def echo(node, authority, certificate, key):
    """Whether a C-ECHO over TLS succeeds."""
    context = ssl.create_default_context(cafile=str(authority.path))
    context.check_hostname = False
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    entity = AE("T01_CT")
    entity.acse_timeout = entity.dimse_timeout = entity.connection_timeout = 5
    entity.add_requested_context(VERIFICATION)
    association = entity.associate(
        "127.0.0.1", node.tls_port, ae_title="READINGCENTER", tls_args=(context, None)
    )
    if not association.is_established:
        return False
    status = association.send_c_echo()
    association.release()
    return status.get("Status") == 0


def test_a_device_with_our_certificate_is_heard(secure_node, authority):
    certificate, key, _ = authority.issue("device")

    assert echo(secure_node, authority, certificate, key)


@pytest.mark.parametrize("who", ["anonymous", "stranger", "expired"])
def test_anyone_else_is_not(secure_node, authority, tmp_path, who):
    certificate = key = None
    if who == "stranger":
        certificate, key, _ = Authority(tmp_path, "elsewhere").issue("device")
    elif who == "expired":
        certificate, key, _ = authority.issue("device", days=-1)

    assert not echo(secure_node, authority, certificate, key)


def test_a_certificate_is_bound_to_its_device(secure_node, authority):
    own, own_key, fingerprint = authority.issue("own")
    other, other_key, _ = authority.issue("other")
    with secure_node.database.transaction() as session:
        session.get(ApplicationEntity, "T01_CT").certificate_sha256 = fingerprint

    assert echo(secure_node, authority, own, own_key)
    assert not echo(secure_node, authority, other, other_key)


def test_silent_clients_keep_nobody_waiting(secure_node, authority):
    silent = [socket.create_connection(("127.0.0.1", secure_node.tls_port)) for _ in range(20)]
    certificate, key, _ = authority.issue("device")

    started = time.monotonic()
    heard = echo(secure_node, authority, certificate, key)
    elapsed = time.monotonic() - started

    assert heard
    assert elapsed < 2
    for connection in silent:
        connection.close()
