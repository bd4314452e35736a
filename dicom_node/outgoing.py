"""Associations that we open: to a declared device only, never to an address out of a request."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pynetdicom import AE
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import build_context

from dicom_node.contexts import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from dicom_node.tls import NotSetUp, calling_context
from dicom_node.upper_layer import MAXIMUM_PDU
from storage.institutions import ApplicationEntity
from storage.settings import Settings

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
MOST_CONTEXTS = 120  # of 128 (PS3.8 9.3.2.2), less the spare


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
    if not is_reachable(device):
        raise PeerUnreachable("no host and port are declared for this device")
    try:
        secure = calling_context(settings, device)
    except NotSetUp as error:
        raise PeerUnreachable(str(error)) from None
    entity = AE(settings.ae_title)
    entity.maximum_pdu_size = MAXIMUM_PDU
    entity.acse_timeout = entity.connection_timeout = CONNECT_SECONDS
    entity.dimse_timeout = entity.network_timeout = ANSWER_SECONDS
    contexts = [build_context(abstract, syntaxes) for abstract, syntaxes in proposals][:MOST_CONTEXTS]
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
        raise PeerUnreachable(why or "the device could not be reached or refused the association")
    gate = association._reactor_checkpoint
    try:
        # The association's own thread must not take the answers that we wait for. pynetdicom opens the gate
        # again after each message; here it stays closed until the end.
        gate.clear()
        for _ in range(1000):
            if association._is_paused:
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


def proposals_for(kept: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Contexts for these (SOP class, transfer syntax): each as stored, and uncompressed as the way out."""
    pairs = list(dict.fromkeys(kept))
    proposals = [(sop_class, [transfer_syntax]) for sop_class, transfer_syntax in pairs]
    classes = dict.fromkeys(sop_class for sop_class, _ in pairs)
    return proposals + [(sop_class, [EXPLICIT_LITTLE, IMPLICIT_LITTLE]) for sop_class in classes]
