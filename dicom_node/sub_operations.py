"""The C-STORE sub-operations of C-MOVE and C-GET: their counts, and what failed."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pynetdicom.dimse_primitives import C_STORE

from dicom_node.exchange import Exchange
from dicom_node.fitting import CannotFit, best_context, fit
from dicom_node.retrieval import Wanted
from dicom_node.statuses import Status, is_success, is_warning
from storage.objects import ObjectMissing, ObjectStore

FAILED_SOP_INSTANCE_UID_LIST = "00080058"


class PeerGone(ConnectionError):
    """The association ended under a sub-operation."""


@dataclass
class Tally:
    """PS3.4 C.4.2.1.6: remaining, completed, failed, warning."""

    remaining: int
    completed: int = 0
    warning: int = 0
    failed: list[str] = field(default_factory=list)

    def count(self, wanted: Wanted, status: int | None) -> None:
        """Count one finished sub-operation; None: it could not even be tried."""
        self.remaining -= 1
        if status is not None and is_success(status):
            self.completed += 1
        elif status is not None and is_warning(status):
            self.warning += 1
        else:
            self.failed.append(wanted.sop_instance_uid)

    def fields(self, *, is_final: bool) -> dict[str, Any]:
        counts = {
            "NumberOfCompletedSuboperations": self.completed,
            "NumberOfFailedSuboperations": len(self.failed),
            "NumberOfWarningSuboperations": self.warning,
        }
        # PS3.7 9.1.3.1: final answers other than "cancelled" carry no remaining count.
        return counts if is_final else {**counts, "NumberOfRemainingSuboperations": self.remaining}


def run(exchange: Exchange, wanted: list[Wanted], send: Callable[[Wanted], int | None]) -> None:
    """Send each instance, report each, and answer at the end with the true counts."""
    tally = Tally(len(wanted))
    for instance in wanted:
        if exchange.is_cancelled:
            _finish(exchange, Status.CANCEL, tally)
            return
        tally.count(instance, send(instance))
        exchange.association.note_study(instance.study_instance_uid)
        if not exchange.is_alive:
            return
        if tally.remaining:
            exchange.answer(Status.PENDING, **tally.fields(is_final=False))
    # PS3.4 C.4.2.1.5: all failed is a failure, some is a warning.
    if tally.failed and not tally.completed and not tally.warning:
        _finish(exchange, Status.CANNOT_SEND, tally)
    elif tally.failed or tally.warning:
        _finish(exchange, Status.WARNING, tally)
    else:
        _finish(exchange, Status.SUCCESS, tally)


def _finish(exchange: Exchange, status: Status, tally: Tally) -> None:
    dataset = None
    if tally.failed:
        dataset = {FAILED_SOP_INSTANCE_UID_LIST: {"vr": "UI", "Value": tally.failed[:900]}}
    exchange.answer(status, dataset=dataset, **tally.fields(is_final=status is not Status.CANCEL))


def send_one(
    association: Any,
    objects: ObjectStore,
    wanted: Wanted,
    *,
    message_id: int,
    originator: tuple[str, int] | None = None,
) -> int | None:
    """C-STORE one kept instance on an association of either side; its status, None if it could not be sent.

    Raises PeerGone when the association is lost.
    """
    try:
        context = best_context(
            association.accepted_contexts,
            sop_class_uid=wanted.sop_class_uid,
            transfer_syntax_uid=wanted.transfer_syntax_uid,
        )
        dataset = fit(
            wanted.dataset(objects),
            transfer_syntax_uid=wanted.transfer_syntax_uid,
            accepted=str(context.transfer_syntax[0]),
            sop_class_uid=wanted.sop_class_uid,
        )
    except (CannotFit, ObjectMissing):
        return None
    return store(
        association,
        context,
        sop_class_uid=wanted.sop_class_uid,
        sop_instance_uid=wanted.sop_instance_uid,
        dataset=dataset,
        message_id=message_id,
        originator=originator,
    )


def store(
    association: Any,
    context: Any,
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    dataset: bytes,
    message_id: int,
    originator: tuple[str, int] | None = None,
) -> int:
    """One C-STORE request; the status of its answer. Raises PeerGone."""
    request = C_STORE()
    request.MessageID = message_id % 65_535 + 1
    request.AffectedSOPClassUID = sop_class_uid
    request.AffectedSOPInstanceUID = sop_instance_uid
    request.Priority = 2
    request.DataSet = io.BytesIO(dataset)
    if originator is not None:
        request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID = originator
    association.dimse.send_msg(request, context.context_id)
    _, response = association.dimse.get_msg(block=True)
    if response is None or not isinstance(response, C_STORE) or response.Status is None:
        association.abort()
        raise PeerGone("the peer did not answer")
    return int(response.Status)
