"""Our errors and outcomes, said in DIMSE (PS3.7 C, PS3.4 B.2.3, C.4, F.7.2); nowhere else are numbers."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from storage.instances import Kept, Outcome
from storage.ranges import BadKey
from storage.rejections import InstanceRejected, Unacceptable
from worklist.performed_steps import StepEnded, StepExists, StepUnacceptable, StepUnknown, StepWithoutStatus


class Status(IntEnum):
    SUCCESS = 0x0000
    PENDING = 0xFF00
    PENDING_WITHOUT_SOME_KEYS = 0xFF01
    CANCEL = 0xFE00
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    NOT_AUTHORISED = 0x0124
    NO_SUCH_INSTANCE = 0x0112
    DUPLICATE_INSTANCE = 0x0111
    PROCESSING_FAILURE = 0x0110
    INVALID_ATTRIBUTE = 0x0106
    INVALID_INSTANCE = 0x0117
    MISSING_ATTRIBUTE = 0x0120
    NO_SUCH_ACTION = 0x0123
    UNRECOGNISED_OPERATION = 0x0211
    RESOURCE_LIMITATION = 0x0213
    OPTIONAL_ATTRIBUTES_NOT_HELD = 0x0001
    OUT_OF_RESOURCES = 0xA700
    CANNOT_SEND = 0xA702
    MOVE_DESTINATION_UNKNOWN = 0xA801
    IDENTIFIER_DOES_NOT_MATCH = 0xA900
    CANNOT_UNDERSTAND = 0xC000
    WARNING = 0xB000
    DAMAGED = 0xB007


# PS3.4 F.7.2.2.2: a step that was completed or discontinued may no longer be updated.
ERROR_ID_NO_LONGER_UPDATED = 0xA506


class WrongRequest(ValueError):
    """A request that contradicts itself or cannot be read; `status` says which."""

    def __init__(self, sentence: str, *, status: Status = Status.IDENTIFIER_DOES_NOT_MATCH) -> None:
        super().__init__(sentence)
        self.status = status


class OutOfResources(OSError):
    """There was no room to receive what was sent."""


STEP_REFUSALS: dict[type[BaseException], tuple[Status, str]] = {
    StepExists: (Status.DUPLICATE_INSTANCE, "this performed procedure step exists already"),
    StepUnknown: (Status.NO_SUCH_INSTANCE, "this performed procedure step is not known"),
    StepEnded: (Status.PROCESSING_FAILURE, "performed procedure step may no longer be updated"),
    StepWithoutStatus: (Status.MISSING_ATTRIBUTE, "the performed procedure step has no status"),
    StepUnacceptable: (Status.INVALID_ATTRIBUTE, "the attributes break the rules of the service"),
}

REJECTIONS = {
    Unacceptable.IDENTIFIERS: Status.IDENTIFIER_DOES_NOT_MATCH,
    Unacceptable.EMPTY: Status.CANNOT_UNDERSTAND,
    Unacceptable.TRUNCATED: Status.CANNOT_UNDERSTAND,
    Unacceptable.MALFORMED: Status.CANNOT_UNDERSTAND,
    Unacceptable.NESTING: Status.CANNOT_UNDERSTAND,
    Unacceptable.TOO_LARGE: Status.CANNOT_UNDERSTAND,
}

OUTCOMES = {
    Outcome.KEPT: Status.SUCCESS,
    Outcome.IDENTICAL: Status.SUCCESS,
    Outcome.QUARANTINED: Status.WARNING,
}

# Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 table 9-21).
REJECTED_CALLING_AE = (1, 1, 3)
REJECTED_CALLED_AE = (1, 1, 7)
REJECTED_PROTOCOL = (1, 2, 2)
REJECTED_FOR_NOW = (2, 3, 2)
REJECTED_CONGESTION = (2, 3, 1)


def status_for(error: BaseException) -> tuple[Status, str]:
    """The status of an error, and an ErrorComment: at most 64 ASCII characters, never patient data."""
    if isinstance(error, InstanceRejected):
        return REJECTIONS[error.kind], comment(str(error))
    if type(error) in STEP_REFUSALS:
        return STEP_REFUSALS[type(error)]
    if isinstance(error, BadKey):
        return Status.IDENTIFIER_DOES_NOT_MATCH, comment(str(error))
    if isinstance(error, WrongRequest):
        return error.status, comment(str(error))
    if isinstance(error, OSError | SQLAlchemyError) or type(error).__module__.startswith(
        ("minio", "urllib3", "psycopg", "sqlite3")
    ):
        return Status.OUT_OF_RESOURCES, "out of resources, please send again"
    return Status.PROCESSING_FAILURE, "the request could not be processed"


def status_of(kept: Kept) -> tuple[Status, str]:
    """What a C-STORE is answered with."""
    if kept.outcome is Outcome.KEPT and kept.damage is not None:
        return Status.DAMAGED, comment(kept.damage)
    return OUTCOMES[kept.outcome], comment(kept.reason or "")


def fields_for(error: BaseException) -> dict[str, Any]:
    """Further command elements that the standard wants beside the status of this error."""
    return {"ErrorID": ERROR_ID_NO_LONGER_UPDATED} if isinstance(error, StepEnded) else {}


def comment(sentence: str) -> str:
    """An LO value of the default repertoire: 64 characters, no backslash, nothing that a terminal obeys."""
    plain = sentence.replace("×", "x").encode("ascii", "replace").decode("ascii")
    return "".join(letter if letter.isprintable() and letter != "\\" else "?" for letter in plain)[:64]


# Failure reasons (PS3.3 C.14.1.1) and Event Type IDs (PS3.4 J.3.3) of a storage commitment.
NO_SUCH_OBJECT = 0x0112
CLASS_INSTANCE_CONFLICT = 0x0119
COMMITTED, COMMITTED_WITH_FAILURES = 1, 2


def is_pending(status: int) -> bool:
    return status in (Status.PENDING, Status.PENDING_WITHOUT_SOME_KEYS)


def is_success(status: int) -> bool:
    return status == Status.SUCCESS


def is_warning(status: int) -> bool:
    """PS3.7 C.3: Bxxx, and the three older codes."""
    return status >> 12 == 0xB or status in (0x0001, 0x0107, 0x0116)
