"""Why a dataset is not kept."""

from __future__ import annotations

from enum import StrEnum


class Unacceptable(StrEnum):
    """Why a dataset is not kept."""

    EMPTY = "empty"
    IDENTIFIERS = "identifiers"
    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    NESTING = "nesting"
    TOO_LARGE = "too-large"


class InstanceRejected(ValueError):
    """A dataset that we will not keep; `kind` says why, the message is one sentence without patient data."""

    def __init__(self, reason: str, *, kind: Unacceptable) -> None:
        super().__init__(reason)
        self.kind = kind


def truncated(sentence: str) -> InstanceRejected:
    return InstanceRejected(sentence, kind=Unacceptable.TRUNCATED)


def malformed(sentence: str) -> InstanceRejected:
    return InstanceRejected(sentence, kind=Unacceptable.MALFORMED)
