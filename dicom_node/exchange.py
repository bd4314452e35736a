"""One request and its answers, on one association."""

from __future__ import annotations

import io
from typing import Any

from dicom_node.association import PeerAssociation
from dicom_node.command_set import C_GET_RQ, C_MOVE_RQ, SubOperationCounts, retrieve_response
from dicom_node.contexts import EXPLICIT_BIG, IMPLICIT_LITTLE
from dicom_node.line import Line
from dicom_node.negotiation import Options, options
from dicom_node.statuses import Status, WrongRequest, is_pending
from storage.attributes import encoding_of, to_dicom_json
from storage.elements import MAX_ELEMENTS, walk
from storage.encoding import encode
from storage.institutions import ApplicationEntity, Service

MAXIMUM_IDENTIFIER = 1 << 20
MAXIMUM_LIST = 4 << 20  # some thirty thousand references with the longest UIDs
# What carries the dataset of an answer, by the kind of message (PS3.7 9.1, 10.1).
ANSWERED_IN = {
    "N_CREATE": "AttributeList",
    "N_SET": "AttributeList",
    "N_GET": "AttributeList",
    "N_ACTION": "ActionReply",
}

RETRIEVE_FIELDS = {"C_MOVE": C_MOVE_RQ, "C_GET": C_GET_RQ}


class Exchange:
    """What a handler sees: who asks, what was asked, and how to answer."""

    def __init__(self, association: PeerAssociation, request: Any, context: Any) -> None:
        self.association = association
        self.request = request
        self.context_id: int = context.context_id
        self.abstract_syntax = str(context.abstract_syntax)
        self.transfer_syntax = str(context.transfer_syntax[0])
        self.device: ApplicationEntity = association.admitted.device
        self.source = association.admitted.address
        self.status: int | None = None  # of the last answer

    @property
    def is_answered(self) -> bool:
        return self.status is not None

    @property
    def options(self) -> Options:
        """What was agreed to for queries of this SOP class."""
        return options(self.association.granted, self.abstract_syntax)

    def require(self, service: Service) -> None:
        """Raises WrongRequest where this device may not use the service."""
        if service not in self.device.may:
            raise WrongRequest(f"this device may not {service}", status=Status.NOT_AUTHORISED)

    def dataset(self, *, most: int = MAXIMUM_IDENTIFIER) -> dict[str, Any]:
        """The request's identifier or attribute list as DICOM JSON, whole: what is longer than `most` is
        refused and not abridged. Raises InstanceRejected, WrongRequest."""
        carried = getattr(self.request, "_dataset", None)
        raw = carried.getvalue() if carried is not None else b""
        if len(raw) > most or getattr(self.request, "is_cut", False):
            is_list = most == MAXIMUM_LIST
            status = Status.RESOURCE_LIMITATION if is_list else Status.IDENTIFIER_DOES_NOT_MATCH
            raise WrongRequest("the identifier is too long", status=status)
        if not raw:
            return {}
        walked = walk(raw, self.transfer_syntax, collected=MAX_ELEMENTS)
        if any(element.value is None and element.items is None for element in walked.elements.values()):
            raise WrongRequest("a value of the identifier is too long")
        return to_dicom_json(walked.elements, encoding_of(walked))

    def answer(
        self,
        status: Status | int,
        comment: str = "",
        *,
        dataset: dict[str, Any] | None = None,
        charset: str = "ISO_IR 192",
        **fields: Any,
    ) -> None:
        """Send one response; `fields` are further command elements by keyword."""
        kind = type(self.request).__name__
        response = type(self.request)()
        response.MessageIDBeingRespondedTo = self.request.MessageID
        for keyword in ("AffectedSOPClassUID", "AffectedSOPInstanceUID"):
            requested = keyword.replace("Affected", "Requested")
            value = getattr(self.request, keyword, None) or getattr(self.request, requested, None)
            if value is not None and hasattr(response, keyword):
                setattr(response, keyword, value)
        response.Status = int(status)
        if comment and hasattr(response, "ErrorComment"):
            response.ErrorComment = comment
        for keyword, value in fields.items():
            setattr(response, keyword, value)
        if dataset is not None:
            raw = encode(
                dataset,
                charset=charset,
                is_implicit=self.transfer_syntax == IMPLICIT_LITTLE,
                is_big_endian=self.transfer_syntax == EXPLICIT_BIG,
            )
            setattr(response, ANSWERED_IN.get(kind, "Identifier"), io.BytesIO(raw))
        self.association.dimse.send_msg(response, self.context_id)
        self.note(status)

    def answer_counts(
        self, status: Status, counts: SubOperationCounts, *, dataset: dict[str, Any] | None = None
    ) -> None:
        """An answer to a C-MOVE or C-GET."""
        fields: dict[str, Any] = {}
        if counts.remaining is not None:
            fields["NumberOfRemainingSuboperations"] = counts.remaining
        self.answer(
            status,
            dataset=dataset,
            NumberOfCompletedSuboperations=counts.completed,
            NumberOfFailedSuboperations=counts.failed,
            NumberOfWarningSuboperations=counts.warning,
            **fields,
        )

    def answer_on(self, line: Line, status: Status, counts: SubOperationCounts) -> None:
        """The same without an identifier, while the line is lent. Raises PeerGone."""
        line.send(
            retrieve_response(
                RETRIEVE_FIELDS[type(self.request).__name__],
                self.context_id,
                self.request.MessageID,
                self.abstract_syntax,
                status,
                counts,
            )
        )
        self.note(status)

    def note(self, status: Status | int) -> None:
        """This was answered; the last answer counts."""
        if not is_pending(status):
            self.status = int(status)
            kind = type(self.request).__name__.replace("_", "-")
            self.association.counts[f"{kind} {int(status):04X}"] += 1

    @property
    def is_cancelled(self) -> bool:
        return self.request.MessageID in self.association.dimse.cancel_req

    def is_cancelled_on(self, line: Line) -> bool:
        """The same while the line is lent."""
        return self.is_cancelled or self.request.MessageID in line.cancelled

    @property
    def is_alive(self) -> bool:
        return bool(self.association.is_established and not self.association.acse.is_aborted())
