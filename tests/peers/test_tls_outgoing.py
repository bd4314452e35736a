"""We call over TLS: our certificate is shown, and nobody else's than the declared device's is trusted."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, Verification
from sqlalchemy import select

from dicom_node import outgoing
from dicom_node.deliveries import handlers
from dicom_node.node import Node
from storage.institutions import ApplicationEntity
from storage.jobs import Job
from tests.certificates import Authority, Issued
from tests.dicom_node.devices import a_ct, associated, encoded
from tests.dicom_node.test_commitment import COMMITMENT, ask
from tests.dicom_node.test_query_retrieve import EXPLICIT, IMPLICIT, STUDY_MOVE, keep, query

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")


class Archive:
    """Qingshi's archive; it listens with TLS and asks for a certificate of the county."""

    def __init__(self, port: int, shown: Issued, trusted: Authority, **limits: Any) -> None:
        self.kept: dict[str, bytes] = {}
        self.heard: list[int] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(shown.certificate, shown.key)
        context.load_verify_locations(trusted.path)
        context.verify_mode = ssl.CERT_REQUIRED
        for name, value in limits.items():
            setattr(context, name, value)
        if "maximum_version" in limits:
            context.set_ciphers("ALL:@SECLEVEL=0")
        entity = AE("T01_PACS")
        entity.add_supported_context(CTImageStorage, [EXPLICIT])
        entity.add_supported_context(Verification)
        entity.add_supported_context(COMMITMENT, [IMPLICIT], scu_role=True, scp_role=True)
        self._server = entity.start_server(
            ("127.0.0.1", port),
            block=False,
            ssl_context=context,
            evt_handlers=[(evt.EVT_C_STORE, self._keep), (evt.EVT_N_EVENT_REPORT, self._hear)],
        )

    def stop(self) -> None:
        self._server.shutdown()

    def _keep(self, event: Any) -> int:
        self.kept[str(event.request.AffectedSOPInstanceUID)] = event.request.DataSet.getvalue()
        return 0

    def _hear(self, event: Any) -> tuple[int, None]:
        self.heard.append(event.event_type)
        return 0, None


@contextmanager
def listening(port: int, shown: Issued, trusted: Authority, **limits: Any) -> Iterator[Archive]:
    archive = Archive(port, shown, trusted, **limits)
    try:
        yield archive
    finally:
        archive.stop()


def reach(node: Node, *, over_tls: bool = True, showing: str | None = None) -> ApplicationEntity:
    """Declare how Qingshi's archive is called."""
    with node.database.transaction() as session:
        device = session.get(ApplicationEntity, "T01_PACS")
        assert device is not None
        device.tls, device.certificate_sha256 = over_tls, showing
    with node.database.reading() as session:
        found = session.get(ApplicationEntity, "T01_PACS")
        session.expunge_all()
    assert found is not None
    return found


def call(node: Node, device: ApplicationEntity) -> None:
    with outgoing.associated(node.settings, device, [(Verification, [IMPLICIT])]):
        pass


def test_a_move_goes_to_an_archive_that_listens_with_tls(
    node: Node, authority: Authority, receiver_port: int
) -> None:
    archives_own, dataset = authority.issue("archive"), a_ct()
    keep(node, dataset)
    reach(node, showing=archives_own.sha256)

    with listening(receiver_port, archives_own, authority) as archive:
        asked = query("STUDY", StudyInstanceUID=dataset.StudyInstanceUID)
        with associated(node, (STUDY_MOVE, [IMPLICIT])) as association:
            answers = [status for status, _ in association.send_c_move(asked, "T01_PACS", STUDY_MOVE)]

    assert answers[-1].Status == 0
    assert archive.kept == {dataset.SOPInstanceUID: encoded(dataset)}


def test_a_commitment_is_reported_to_a_device_that_listens_with_tls(
    node: Node, authority: Authority, receiver_port: int
) -> None:
    archives_own, dataset = authority.issue("archive"), a_ct()
    reach(node)  # from the device itself no certificate is asked on the plain port
    keep(node, dataset, calling="T01_PACS")
    _, status = ask(node, [(str(dataset.SOPClassUID), dataset.SOPInstanceUID)], calling="T01_PACS")
    assert status == 0
    reach(node, showing=archives_own.sha256)

    with listening(receiver_port, archives_own, authority) as archive:
        with node.database.reading() as session:
            job = session.scalar(select(Job).where(Job.kind == "commitment-report"))
            session.expunge_all()
        handlers(node.database, node.objects, node.settings)["commitment-report"](job)

    assert archive.heard == [1]


def test_without_a_declared_certificate_it_must_name_the_declared_host(
    node: Node, authority: Authority, receiver_port: int
) -> None:
    device = reach(node)

    with listening(receiver_port, authority.issue("archive", at="127.0.0.1"), authority):
        call(node, device)
    with listening(receiver_port, authority.issue("archive", at="192.0.2.7"), authority):
        with pytest.raises(outgoing.PeerUnreachable, match="does not name its declared host"):
            call(node, device)


@pytest.mark.parametrize(
    ("who", "why"),
    [
        ("another device", "another certificate than the declared one"),
        ("a stranger", "not from our authority"),
        ("an expired one", "has expired"),
    ],
)
def test_whoever_listens_in_a_device_s_place_gets_nothing(
    node: Node, authority: Authority, receiver_port: int, tmp_path: Path, who: str, why: str
) -> None:
    archives_own = authority.issue("archive")
    shown = {
        "another device": lambda: authority.issue("neighbour", at="127.0.0.1"),
        "a stranger": lambda: Authority(tmp_path, "elsewhere").issue("archive"),
        "an expired one": lambda: authority.issue("expired", days=-1),
    }[who]()
    device = reach(node, showing=shown.sha256 if who == "an expired one" else archives_own.sha256)

    with (
        listening(receiver_port, shown, authority) as archive,
        pytest.raises(outgoing.PeerUnreachable, match=why),
    ):
        call(node, device)

    assert archive.kept == {}


def test_nothing_is_sent_over_an_older_tls(node: Node, authority: Authority, receiver_port: int) -> None:
    archives_own = authority.issue("archive")
    device = reach(node, showing=archives_own.sha256)
    old = {"minimum_version": ssl.TLSVersion.TLSv1, "maximum_version": ssl.TLSVersion.TLSv1_1}

    with listening(receiver_port, archives_own, authority, **old), pytest.raises(outgoing.PeerUnreachable):
        call(node, device)


def test_nothing_falls_back_to_plain_where_tls_is_declared(
    node: Node, authority: Authority, receiver_port: int
) -> None:
    device = reach(node)
    entity = AE("T01_PACS")
    entity.add_supported_context(Verification)
    server = entity.start_server(("127.0.0.1", receiver_port), block=False)

    try:
        with pytest.raises(outgoing.PeerUnreachable, match="no TLS connection"):
            call(node, device)
    finally:
        server.shutdown()
