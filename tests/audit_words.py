"""What the trail may hold: every act, verb and detail that any room records, found in the code itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.audit import Act
from storage.conflicts import Decision
from storage.linking import VERBS
from worklist import orders, reading_tasks

ROOT = Path(__file__).parent.parent
ROOMS = ("storage", "worklist", "dicom_node", "reading_portal", "center")

# Functions that record what they are told: where their verb stands among the arguments, and for which act.
# Whoever adds such a function adds it here, or the test of the trail's words fails.
TELLERS: dict[tuple[str, str], tuple[Act | None, int]] = {
    ("worklist/reading_tasks.py", "tell"): (Act.TASK, 2),
    ("worklist/orders.py", "_tell"): (Act.ORDER, 2),
    ("worklist/devices.py", "_tell"): (Act.DECLARATION, 2),
    ("worklist/critical_results.py", "_tell"): (Act.CRITICAL, 2),
    ("worklist/measurements.py", "_tell"): (Act.STUDY, 3),
    ("worklist/issuing.py", "prepare"): (Act.REPORT, 1),
    ("dicom_node/association_log.py", "Entry"): (Act.ASSOCIATION, 0),
    ("reading_portal/routes/dicomweb_request.py", "note"): (None, 2),
}
# Verbs that come out of a table.
OF_TABLES = {
    *((Act.TASK, verb) for _, verb in reading_tasks.TRANSITIONS),
    *((Act.ORDER, verb) for _, verb in orders.TRANSITIONS),
    (Act.TASK, "take-over"),
    (Act.VIEW, "view"),  # what `note_view` says where nothing else is said
    (Act.BREAK_GLASS, "justified"),
    (Act.BREAK_GLASS, "unjustified"),
    (Act.RECOGNITION, "accept"),
    (Act.RECOGNITION, "decline"),
    *((Act.STUDY, decision.value) for decision in Decision),
    *((Act.PATIENT, verb) for verb in VERBS.values()),
    (Act.PATIENT, "compare"),  # what `note_patient` says
    (Act.STUDY, "correct"),
    (Act.STUDY, "undo-correction"),
}
# Calls whose verb is a variable, by file and by what the verb is called there; each is fed by the above.
FED = {
    ("worklist/reading_tasks.py", "verb"),
    ("worklist/orders.py", "verb"),
    ("worklist/devices.py", "verb"),
    ("worklist/critical_results.py", "verb"),
    ("worklist/measurements.py", "verb"),
    ("worklist/issuing.py", "prepared.verb"),
    ("worklist/break_glass.py", "verdict"),
    ("worklist/recognition.py", "decision"),
    ("storage/conflicts.py", "decision.value"),
    ("storage/linking.py", "verb"),
    ("storage/corrections.py", "verb"),
    ("dicom_node/association_log.py", "entry.verb"),
    ("reading_portal/viewing.py", "verb"),
}
NOT_DETAILS = {"by", "at", "outcome", "now"}


@dataclass(frozen=True)
class Call:
    file: str
    name: str
    is_record: bool
    arguments: list[ast.expr]
    keywords: list[ast.keyword]


def recorded() -> set[tuple[str, str]]:
    """Every act and verb that an event can carry."""
    found = {(act.value, verb) for act, verb in OF_TABLES}
    for call in _calls():
        if call.is_record:
            found |= {(_act(call.arguments[1]), verb) for verb in _verbs(call.arguments[2])}
            continue
        for (file, name), (act, place) in TELLERS.items():
            if call.name == name and _may_mean(call, file, name) and len(call.arguments) > place:
                said = act.value if act else _act(call.arguments[place - 1])
                found |= {(said, verb) for verb in _verbs(call.arguments[place])}
    return found


def unfed() -> set[tuple[str, str]]:
    """Calls that record a verb which nobody has explained here."""
    dynamic = {
        (call.file, ast.unparse(call.arguments[2]))
        for call in _calls()
        if call.is_record and not list(_verbs(call.arguments[2]))
    }
    return dynamic - FED


def details() -> set[str]:
    """The names of all details."""
    found: set[str] = set()
    for call in _calls():
        is_teller = call.name != "prepare" and any(
            call.name == name and _may_mean(call, file, name) for file, name in TELLERS
        )
        if call.is_record or is_teller or call.name in ("move_order", "_look"):
            found |= {word.arg for word in call.keywords if word.arg} - NOT_DETAILS
    # The node writes these as a dictionary.
    return found - {"act", "verb"} | {"counts", "studies", "aborted", "reason", "called"}


def subjects() -> set[str]:
    """The kinds of subjects: what stands before the colon."""
    found: set[str] = set()
    for call in _calls():
        if call.is_record:
            subject = call.arguments[3]
            if isinstance(subject, ast.Constant):
                found.add(str(subject.value).partition(":")[0])
            elif isinstance(subject, ast.JoinedStr) and isinstance(subject.values[0], ast.Constant):
                found.add(str(subject.values[0].value).partition(":")[0])
    return found | {"order", "task", "report", "critical", "study", "institution", "identity"}


def _calls() -> Iterator[Call]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                function = node.func
                name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
                owner = getattr(getattr(function, "value", None), "id", "")
                file = str(path.relative_to(ROOT))
                yield Call(file, name, (owner, name) == ("audit", "record"), node.args, node.keywords)


def _may_mean(call: Call, file: str, name: str) -> bool:
    """`_tell` is private to its file; the others are called from everywhere in their room."""
    return call.file == file or (not name.startswith("_") and _room(call.file) == _room(file))


def _room(file: str) -> str:
    return file.partition("/")[0]


def _act(node: ast.expr) -> str:
    return Act[node.attr].value if isinstance(node, ast.Attribute) and node.attr in Act.__members__ else ""


def _verbs(node: ast.expr | None) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from (*_verbs(node.body), *_verbs(node.orelse))
