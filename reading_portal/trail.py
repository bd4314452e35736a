"""The audit trail in words: who did what to what, and those details that the looker may see.

An event keeps codes ("reading-task", "hand-over", "task:12"); the catalogues hold a word for each of them.
A detail is said by the table DETAILS; one that stands in no table is not shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reading_portal.words import Words
from storage.audit import CENTER, Act, AuditEvent
from storage.conflicts import Decision
from storage.corrections import BODY_PART, CELLS, SENT_PATIENT
from storage.linking import VERBS
from worklist.people import Role, Who

# What a subject's key stands for: the vocabulary of the code before its colon.
SUBJECTS = (
    "access", "association", "audit", "critical", "declaration", "device", "fhir", "identity", "institution",
    "job", "list", "object", "order", "patient", "person", "report", "step", "study", "task", "transaction",
)  # fmt: skip
LISTS = (
    "studies", "unmatched-studies", "orders", "reading-tasks", "critical-results", "dicomweb-study",
    "dicomweb-series", "dicomweb-image", "quarantine", "persons",
)  # fmt: skip
# What a correction names; the rest of what it writes down goes without saying.
CORRECTED = tuple(one for one in CELLS if one not in (SENT_PATIENT, BODY_PART))
# Which vocabulary a state or a coded reason belongs to.
STATES = {Act.TASK: "task-state", Act.ORDER: "order-state", Act.STUDY: "step-state"}
REASONS = {
    (Act.TASK, "return"): "return-reason",
    (Act.TASK, "suspend"): "suspend-reason",
    (Act.TASK, "skip"): "skip-reason",
    (Act.TASK, "cancel"): "cancel-reason",
    (Act.RECOGNITION, "decline"): "decline-reason",
}
# Words that somebody typed about a patient: for those who may see the patient.
CLINICAL = {
    (Act.ORDER, "cancel"),
    (Act.STUDY, "correct"),
    (Act.STUDY, "undo-correction"),
    *((Act.STUDY, str(decision)) for decision in Decision),
    *((Act.PATIENT, verb) for verb in VERBS.values()),
}
UID = re.compile(r"[0-9]+(\.[0-9]+){3,}")


@dataclass(frozen=True)
class Place:
    """A name in the trail that leads to all of its events; `code` is what the trail calls it."""

    code: str
    kind: str
    name: str


@dataclass(frozen=True)
class Told:
    """One event as a page shows it. `details` are pairs of label and value."""

    event: AuditEvent
    actor: Place
    act: str
    verb: str
    subject: Place
    details: list[tuple[str, str]]


class Teller:
    """Says events in the words of one looker; `people` are names by username, `institutions` by code."""

    def __init__(
        self, words: Words, who: Who, *, people: Mapping[str, str], institutions: Mapping[str, str]
    ) -> None:
        self.words, self.who, self.people, self.institutions = words, who, people, institutions

    def tell(self, event: AuditEvent) -> Told:
        return Told(
            event,
            self.actor(event.actor),
            self.words.code("act", event.act),
            self.words.code("audit-verb", f"{event.act} {event.verb}").removeprefix(f"{event.act} "),
            self.subject(event.subject),
            list(self._details(event)),
        )

    def actor(self, code: str) -> Place:
        if code == CENTER.name:
            return Place(code, "center", self.words.gettext("the centre"))
        if code.startswith("ae:"):
            return Place(code, "device", code.removeprefix("ae:"))
        return Place(code, "person", self.people.get(code, code))

    def subject(self, code: str) -> Place:
        kind, _, key = code.partition(":")
        said = NAMES.get(kind, _as_it_is)(self, key)
        return Place(code, self.words.code("subject", kind), said)

    def subjects_of(self, asked: str) -> list[str]:
        """The subjects that somebody means: by code ("order:12"), in words ("order 12"), or by a bare UID."""
        if UID.fullmatch(asked):
            return [f"study:{asked}", f"object:{asked}", f"step:{asked}", f"transaction:{asked}"]
        word, _, key = asked.partition(" ")
        kinds = [
            kind for kind in SUBJECTS if word.lower() in (kind, self.words.code("subject", kind).lower())
        ]
        return [f"{kind}:{key.strip()}" if key else kind for kind in kinds] or [asked]

    def actors_of(self, asked: str) -> list[str]:
        """The actors that somebody means: an account, a person's name, an AE title, or the centre."""
        named = [username for username, name in self.people.items() if name == asked]
        is_center = asked.lower() == self.words.gettext("the centre").lower()
        return [asked, f"ae:{asked}", *named, *([CENTER.name] if is_center else [])]

    def _details(self, event: AuditEvent) -> Any:
        for key, value in event.detail.items():
            said = DETAILS[key](self, event, value) if key in DETAILS and value not in (None, "", []) else ""
            if said:
                yield self.words.code("audit-detail", key), said


def short(text: str) -> str:
    """A UID or a hash, so that eyes can compare it."""
    return text if len(text) <= 20 else f"{text[:9]}…{text[-6:]}"


def _as_it_is(teller: Teller, key: str) -> str:
    return short(key)


# How the key of a subject is said, where it is more than a number.
NAMES: dict[str, Callable[[Teller, str], str]] = {
    "person": lambda teller, key: teller.people.get(key, key),
    "device": lambda teller, key: key,
    "fhir": lambda teller, key: key,
    "institution": lambda teller, key: teller.institutions.get(key, key),
    "list": lambda teller, key: teller.words.code("list", key),
}

Say = Callable[[Teller, AuditEvent, Any], str]


def _plain(teller: Teller, event: AuditEvent, value: Any) -> str:
    return short(", ".join(map(str, value)) if isinstance(value, list) else str(value))


def _title(teller: Teller, event: AuditEvent, value: Any) -> str:
    return str(value)


def _coded(vocabulary: str) -> Say:
    def say(teller: Teller, event: AuditEvent, value: Any) -> str:
        several = value if isinstance(value, list) else [value]
        return _list(teller, [teller.words.code(vocabulary, str(one)) for one in several])

    return say


def _person(teller: Teller, event: AuditEvent, value: Any) -> str:
    return teller.people.get(str(value), str(value))


def _state(teller: Teller, event: AuditEvent, value: Any) -> str:
    return teller.words.code(STATES.get(Act(event.act), ""), str(value))


def _reason(teller: Teller, event: AuditEvent, value: Any) -> str:
    what = (Act(event.act), event.verb)
    if what in REASONS:
        return teller.words.code(REASONS[what], str(value))
    if what in CLINICAL:
        return str(value) if teller.who.has(Role.DIRECTOR) else ""
    return teller.words.problem(str(value))


def _uids(teller: Teller, event: AuditEvent, value: Any) -> str:
    """How many, and where there is one, which."""
    if not isinstance(value, list):
        return str(value)
    return short(str(value[0])) if len(value) == 1 else str(len(value))


def _numbers(teller: Teller, event: AuditEvent, value: Any) -> str:
    """Patients by the numbers of their rows, never by name."""
    return _list(teller, [str(pk) for pk in value])


def _counts(teller: Teller, event: AuditEvent, value: Any) -> str:
    """`C-STORE × 200`; an answer that was no success with its status."""
    said = []
    for key, number in value.items():
        service, _, status = str(key).partition(" ")
        said.append(f"{service}{'' if status in ('', '0000') else f' ({status})'} × {number}")
    return _list(teller, said)


def _swept(teller: Teller, event: AuditEvent, value: Any) -> str:
    said = [f"{teller.words.code('unclaimed', why)} × {number}" for why, number in value.items()]
    return _list(teller, said)


def _corrected(teller: Teller, event: AuditEvent, value: Any) -> str:
    """Which attributes; what they said stands with the study."""
    keywords = dict.fromkeys(str(change["keyword"]) for change in value)
    said = (teller.words.code("corrected", keyword) for keyword in keywords if keyword in CORRECTED)
    return _list(teller, list(dict.fromkeys(said)))


def _yes(teller: Teller, event: AuditEvent, value: Any) -> str:
    return teller.words.gettext("yes") if value else ""


def _list(teller: Teller, parts: list[str]) -> str:
    return ("、" if teller.words.is_chinese else ", ").join(parts)


DETAILS: dict[str, Say] = {
    "corrected": _corrected,
    "correction": _plain,
    "aborted": _yes,
    "ae_title": _title,
    "by_service": _title,
    "bytes": _plain,
    "called": _title,
    "category": _coded("critical-category"),
    "changed": _coded("field"),
    "committed": _plain,
    "content_hash": _plain,
    "counts": _counts,
    "differences": _plain,
    "failed": _plain,
    "fault": _coded("object-fault"),
    "fence": _plain,
    "found": _plain,
    "instances": _uids,
    "kept": _plain,
    "kept_as": _plain,
    "measurement": _coded("measurement"),
    "mended_by": _coded("mended-by"),
    "object_key": _plain,
    "order": _title,
    "patients": _numbers,
    "previous": _person,
    "proof": _coded("proof"),
    "purpose": _coded("purpose"),
    "reason": _reason,
    "report": _plain,
    "roles": _coded("role"),
    "searched": _coded("field"),
    "state": _state,
    "status": _coded("report-status"),
    "studies": _uids,
    "study": _plain,
    "swept": _swept,
    "to": _person,
    "version": _plain,
}
