"""Storage commitment, push model (PS3.4 J): asked by N-ACTION, reported by a job until it was heard."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from dicom_node.exchange import Exchange
from dicom_node.statuses import Status, WrongRequest
from storage import jobs
from storage.attributes import values_of
from storage.institutions import Service
from storage.uids import is_uid

if TYPE_CHECKING:
    from dicom_node.node import Node

JOB = "commitment-report"
REQUEST_COMMITMENT = 1
TRANSACTION_UID, REFERENCED_SOP_SEQUENCE = "00081195", "00081199"
REFERENCED_SOP_CLASS_UID, REFERENCED_SOP_INSTANCE_UID = "00081150", "00081155"
MOST_REFERENCES = 50_000


def request(node: Node, exchange: Exchange) -> None:
    """Promise to report; whether the instances are kept is looked up when the report is made."""
    exchange.require(Service.COMMIT)
    if exchange.request.ActionTypeID != REQUEST_COMMITMENT:
        raise WrongRequest("the action is unknown", status=Status.NO_SUCH_ACTION)
    asked = exchange.dataset()
    transaction_uid = str(next(iter(values_of(asked, TRANSACTION_UID)), ""))
    references = [
        [
            str(next(iter(values_of(item, REFERENCED_SOP_CLASS_UID)), "")),
            str(next(iter(values_of(item, REFERENCED_SOP_INSTANCE_UID)), "")),
        ]
        for item in values_of(asked, REFERENCED_SOP_SEQUENCE)
    ]
    if not is_uid(transaction_uid) or not references:
        raise WrongRequest("a transaction UID and references are needed", status=Status.INVALID_ATTRIBUTE)
    if len(references) > MOST_REFERENCES:
        raise WrongRequest("too many references in one request", status=Status.OUT_OF_RESOURCES)
    title = exchange.device.ae_title
    # The same request twice is one report; a device that reuses a transaction UID for other objects gets two.
    digest = hashlib.sha256(repr(references).encode()).hexdigest()[:16]
    node.database.in_transaction(
        lambda session: jobs.enqueue(
            session,
            JOB,
            f"{title}:{transaction_uid}:{digest}",
            {"ae_title": title, "transaction_uid": transaction_uid, "references": references},
        )
    )
    exchange.answer(Status.SUCCESS)
