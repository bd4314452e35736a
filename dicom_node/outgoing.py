"""Associations that we open: to a declared device only, never to an address out of a request."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pynetdicom import AE
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import build_context

from dicom_node.gate import Gate
from dicom_node.incoming import Buffers
from dicom_node.line import Line, PeerBroken, PeerGone
from dicom_node.listener import tune
from dicom_node.own_proposal import LONGEST_ANSWER, association_request, read_acceptance
from dicom_node.proposal import Proposed
from dicom_node.storage_user import ANSWER_SECONDS, CannotRead, StorageUser
from dicom_node.tls import CallingContext, NotSetUp, calling_context
from dicom_node.upper_layer import MAXIMUM_PDU
from storage.institutions import ApplicationEntity
from storage.settings import Settings

CONNECT_SECONDS = 10.0  # for the connection, and again for the answer to our A-ASSOCIATE-RQ
RELEASE_SECONDS = 5.0
NOT_REACHED = "the device could not be reached or refused the association"


class PeerUnreachable(ConnectionError):
    """The device could not be reached, or refused the association; trying again later may help."""


@contextmanager
def associated(
    settings: Settings,
    device: ApplicationEntity,
    proposals: Iterable[tuple[str, list[str]]],
    *,
    as_scp_of: Iterable[str] = (),
) -> Iterator[Any]:
    """An association with a declared device, over TLS where it says so; released at the end.

    Raises PeerUnreachable.

    `proposals` are (abstract syntax, transfer syntaxes); `as_scp_of` those where the device is the user.
    """
    secure = _secured(settings, device)
    entity = AE(settings.ae_title)
    entity.maximum_pdu_size = MAXIMUM_PDU
    entity.acse_timeout = entity.connection_timeout = CONNECT_SECONDS
    entity.dimse_timeout = entity.network_timeout = ANSWER_SECONDS
    contexts = [build_context(abstract, syntaxes) for abstract, syntaxes in proposals]
    roles: list[Any] = []
    for uid in as_scp_of:
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scu_role, role.scp_role = uid, False, True
        roles.append(role)
    association = entity.associate(
        device.host,
        int(device.port or 0),
        contexts=contexts,
        ae_title=device.ae_title,
        ext_neg=roles or None,
        tls_args=(secure, device.host) if secure is not None else None,
    )
    if not association.is_established:
        why = secure.refusal if secure is not None else None
        raise PeerUnreachable(why or NOT_REACHED)
    gate = association._reactor_checkpoint = Gate()  # type: ignore[assignment]
    try:
        # The association's own thread must not take the answers that we wait for. pynetdicom opens the gate
        # again after each message; here it stays closed until the end.
        gate.clear()
        for _ in range(1000):
            if gate.has_somebody:
                break
            time.sleep(0.001)
        gate.set = lambda: None  # type: ignore[method-assign]
        yield association
    finally:
        gate.__dict__.pop("set", None)
        gate.set()
        if association.is_established:
            association.release()


def is_reachable(device: ApplicationEntity) -> bool:
    return device.host != "*" and bool(device.port)


def connected(settings: Settings, device: ApplicationEntity) -> socket.socket:
    """A connection with a declared device, over TLS where it says so. Raises PeerUnreachable."""
    secure = _secured(settings, device)
    try:
        connection = socket.create_connection((device.host, int(device.port or 0)), timeout=CONNECT_SECONDS)
    except OSError:
        raise PeerUnreachable(NOT_REACHED) from None
    try:
        tune(connection)
        return connection if secure is None else secure.wrap_socket(connection, server_hostname=device.host)
    except OSError:
        connection.close()
        raise PeerUnreachable((secure and secure.refusal) or NOT_REACHED) from None


@contextmanager
def storing(
    settings: Settings,
    device: ApplicationEntity,
    contexts: Sequence[Proposed],
    *,
    buffers: Buffers | None = None,
    originator: tuple[str, int] | None = None,
    is_wanted: Callable[[], bool] = lambda: True,
) -> Iterator[StorageUser]:
    """C-STORE on an association with a declared device: our own upper layer, the requestor's side.

    Released at the end, aborted where PeerGone or CannotRead comes out of the block. Raises PeerUnreachable,
    PeerGone.
    """
    request = association_request(
        called=device.ae_title, calling=settings.ae_title, contexts=contexts, maximum_length=MAXIMUM_PDU
    )
    with connected(settings, device) as connection:
        acceptance = read_acceptance(_answered(connection, request), contexts)
        if acceptance is None:
            raise PeerUnreachable(NOT_REACHED)
        line = Line(connection, is_wanted=is_wanted)
        user = None
        try:
            user = StorageUser(
                line,
                acceptance.contexts,
                maximum_length=acceptance.maximum_length,
                buffers=buffers or Buffers(),
                originator=originator,
            )
            yield user
        except (PeerGone, CannotRead) as error:
            line.abort(error.reason if isinstance(error, PeerBroken) else 0)
            raise
        except BaseException:
            line.release(patience=RELEASE_SECONDS)
            raise
        else:
            line.release(patience=RELEASE_SECONDS)
        finally:
            if user is not None:
                user.close()


def _answered(connection: socket.socket, request: bytes) -> bytes:
    """What the peer says to our A-ASSOCIATE-RQ: one whole PDU. Raises PeerUnreachable."""
    until, answer = time.monotonic() + CONNECT_SECONDS, bytearray()
    try:
        connection.sendall(request)
        while len(answer) < 6 or len(answer) < 6 + int.from_bytes(answer[2:6], "big"):
            wanted = 6 if len(answer) < 6 else 6 + int.from_bytes(answer[2:6], "big")
            if wanted > LONGEST_ANSWER or (left := until - time.monotonic()) <= 0:
                raise PeerUnreachable(NOT_REACHED)
            connection.settimeout(left)
            piece = connection.recv(wanted - len(answer))
            if not piece:
                raise PeerUnreachable(NOT_REACHED)
            answer += piece
    except OSError as error:
        raise error if isinstance(error, PeerUnreachable) else PeerUnreachable(NOT_REACHED) from None
    return bytes(answer)


def _secured(settings: Settings, device: ApplicationEntity) -> CallingContext | None:
    if not is_reachable(device):
        raise PeerUnreachable("no host and port are declared for this device")
    try:
        return calling_context(settings, device)
    except NotSetUp as error:
        raise PeerUnreachable(str(error)) from None
