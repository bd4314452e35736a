"""DICOM over TLS: DCMTK and misbehaving sockets call; who is heard, and that nobody waits."""

import contextlib
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.node import Node
from storage.institutions import ApplicationEntity
from tests.certificates import Authority, Issued
from tests.dicom_node.devices import a_ct, encoded, part_10
from tests.dicom_node.test_store import kept_bytes
from tests.programs import needs

pytestmark = [
    needs("storescu", of="dcmtk"),
    pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning"),
]


def dcmtk(tool: str, node: Node, authority: Authority, shown: Issued | None, *words: str) -> tuple[int, str]:
    """One of DCMTK's tools over TLS; without a certificate it calls anonymously."""
    secure = ["+tla"] if shown is None else ["+tls", shown.key, shown.certificate]
    command = [tool, *secure, "+cf", authority.path, "-aet", "T01_CT", "-aec", "READINGCENTER"]
    done = subprocess.run(
        [*command, "-ta", "10", "-to", "10", "127.0.0.1", str(node.tls_port), *words],
        capture_output=True,
        text=True,
        timeout=60,
        errors="replace",
    )
    return done.returncode, done.stdout + done.stderr


@contextlib.contextmanager
def bound(node: Node, sha256: str | None) -> Iterator[None]:
    """T01_CT is known by this certificate meanwhile."""
    for value in (sha256, None):
        with node.database.transaction() as session:
            device = session.get(ApplicationEntity, "T01_CT")
            assert device is not None
            device.certificate_sha256 = value
        if value is sha256:
            yield


def test_images_come_in_over_tls_byte_for_byte(node: Node, authority: Authority, tmp_path: Path) -> None:
    dataset = a_ct()

    status, said = dcmtk(
        "storescu", node, authority, authority.issue("ct"), "-v", str(part_10(dataset, tmp_path / "ct.dcm"))
    )

    assert status == 0, said
    assert kept_bytes(node, dataset.SOPInstanceUID) == encoded(dataset)


@pytest.mark.parametrize("who", ["anonymous", "a stranger", "an expired one"])
def test_anyone_else_is_not_heard(node: Node, authority: Authority, tmp_path: Path, who: str) -> None:
    shown = {
        "anonymous": lambda: None,
        "a stranger": lambda: Authority(tmp_path, "elsewhere").issue("ct"),
        "an expired one": lambda: authority.issue("expired", days=-1),
    }[who]()

    assert dcmtk("echoscu", node, authority, shown)[0] != 0


def test_a_certificate_is_bound_to_its_device(node: Node, authority: Authority) -> None:
    own, other = authority.issue("own"), authority.issue("other")

    with bound(node, own.sha256):
        assert dcmtk("echoscu", node, authority, own)[0] == 0
        status, said = dcmtk("echoscu", node, authority, other)

    assert status != 0
    assert "Calling AE Title Not Recognized" in said


@pytest.mark.parametrize(
    ("version", "ciphers", "is_heard"),
    [
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0", False),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM", True),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AES:!AESGCM:!AESCCM", False),  # CBC
        (ssl.TLSVersion.TLSv1_3, None, True),
    ],
)
def test_only_what_bcp_195_allows_is_negotiated(
    node: Node, authority: Authority, version: ssl.TLSVersion, ciphers: str | None, is_heard: bool
) -> None:
    shown = authority.issue("ct")
    context = ssl.create_default_context(cafile=authority.path)
    context.load_cert_chain(shown.certificate, shown.key)
    context.minimum_version = min(version, context.minimum_version)
    context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)

    with socket.create_connection(("127.0.0.1", node.tls_port), timeout=10) as plain:
        if is_heard:
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
                assert secure.cipher()
        else:
            with pytest.raises(OSError, match=r"(?i)alert|closed|reset|no protocols|handshake"):
                context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_whoever_stops_in_the_handshake_keeps_nobody_waiting(node: Node, authority: Authority) -> None:
    silent = [socket.create_connection(("127.0.0.1", node.tls_port)) for _ in range(40)]
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # a ClientHello, and the rest never comes
    for connection in silent[::2]:
        connection.sendall(hello)

    started = time.monotonic()
    status, said = dcmtk("echoscu", node, authority, authority.issue("ct"))
    elapsed = time.monotonic() - started

    assert status == 0, said
    assert elapsed < 6
    for connection in silent:
        connection.close()


def test_plain_dicom_at_the_tls_port_is_not_heard(node: Node) -> None:
    titles = ["-aet", "T01_CT", "-aec", "READINGCENTER", "-ta", "10", "-to", "10"]
    command = ["echoscu", *titles, "127.0.0.1", str(node.tls_port)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)

    assert done.returncode != 0
