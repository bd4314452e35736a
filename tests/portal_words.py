"""Everything that the portal says: sentences of templates, pages, scripts and problems; codes in words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from jinja2.ext import babel_extract

from dicom_node import tls
from dicom_node.gatekeeper import Refusal
from dicom_node.statuses import Status
from reading_portal import trail
from reading_portal.pages import exams, orders, persons, visit, worklist
from storage import charsets, conflicts
from storage.audit import Act
from storage.conflicts import Decision
from storage.database import Base
from storage.faults import Fault, Mended
from storage.institutions import CHARACTER_SETS, ApplicationEntity, Service
from storage.jobs import UNSAID, JobState
from storage.persons import Verdict
from storage.resemblance import Evidence, Rank
from storage.unclaimed import Why
from tests import audit_words
from worklist import corrections
from worklist.assignment import SKIP_REASONS
from worklist.completeness import Proof
from worklist.critical_results import Category, CriticalState
from worklist.measurements import Kind
from worklist.orders import TRANSITIONS, OrderState
from worklist.people import Grade, Practitioner, Role
from worklist.performed_steps import StepState
from worklist.reading_tasks import RETURN_REASONS, SUSPEND_REASONS, TaskState
from worklist.reading_tasks import TRANSITIONS as TASK_TRANSITIONS
from worklist.recognition import DECLINE_REASONS
from worklist.recognition_items import SCOPES
from worklist.report_templates import Shelf
from worklist.reports import ReportStatus, Standing
from worklist.turnaround import Pathway, Priority

ROOT = Path(__file__).parent.parent
# What a C-STORE is answered with that was not kept.
STORE_FAILURES = (
    Status.PROCESSING_FAILURE, Status.SOP_CLASS_NOT_SUPPORTED, Status.NOT_AUTHORISED, Status.OUT_OF_RESOURCES,
    Status.IDENTIFIER_DOES_NOT_MATCH, Status.CANNOT_UNDERSTAND,
)  # fmt: skip
TEMPLATES = ROOT / "reading_portal" / "templates"
PAGES = ROOT / "reading_portal" / "pages"
STATIC = ROOT / "reading_portal" / "static"
PROBLEMS = {
    "Refused", "Missing", "LostRace", "StaleFence", "WrongState", "Unacceptable", "WrongCredentials",
    "TooManyAttempts", "BadNationalId", "NotSeparable", "CannotLink",
}  # fmt: skip
FAILURES = {"NotDelivered", "NotHeard", "NotSetUp", "PeerUnreachable", "PermanentFailure", "refusal"}
# These answer with a sentence instead of raising it.
REFUSERS = {"why_not", "may_read"}


def _columns_of(noun: type[Base]) -> tuple[str, ...]:
    """What a change of such a row can name; keys and secrets are never changed by a form."""
    kept = {"ae_title", "username", "password_hash", "created_at", "language", "otp_secret", "otp_pending"}
    return tuple(one.name for one in noun.__table__.columns if one.name not in kept | {"otp_last_step"})


VOCABULARIES: dict[str, tuple[str, ...]] = {
    "priority": tuple(Priority),
    "pathway": tuple(Pathway),
    "task-state": tuple(TaskState),
    "task-verb": tuple({verb for _, verb in TASK_TRANSITIONS}),
    "order-state": tuple(OrderState),
    "order-verb": (*{verb for _, verb in TRANSITIONS}, "place", "accept", "decline"),
    "role": tuple(Role),
    "grade": tuple(Grade),
    "sex": ("M", "F", "O", "unknown"),
    "sex-in-full": ("M", "F", "O"),
    "laterality": ("L", "R", "B"),
    "side": tuple(one for one in corrections.SIDES if one),
    "modality": worklist.MODALITIES,
    "body-part": tuple({part for parts in orders.BODY_PARTS.values() for part in parts}),
    "worklist-view": tuple(worklist.VIEWS),
    "exam-view": tuple(exams.VIEWS),
    "return-reason": RETURN_REASONS,
    "suspend-reason": SUSPEND_REASONS,
    "decline-reason": tuple(DECLINE_REASONS),
    "recognition": ("accept", "decline"),
    "scope": SCOPES,
    "report-status": tuple(ReportStatus),
    "standing": (*Standing, "unknown"),
    "critical-category": tuple(Category),
    "critical-state": tuple(CriticalState),
    "speaks-for": ("study-uid", "accession-number", "patient-id", "name", "birth-date", "sex", "modality"),
    "service": tuple(Service),
    "character-set": CHARACTER_SETS,
    "refusal": tuple(Refusal),
    "store-status": tuple(f"{status:04X}" for status in STORE_FAILURES),
    "shelf": tuple(Shelf),
    "act": tuple(Act),
    "job-state": tuple(JobState),
    "job-kind": (
        "archive-report",
        "archive-measurements",
        "deliver-report",
        "commitment-report",
        "move-study",
        conflicts.JOB,
    ),
    "conflict-decision": tuple(Decision),
    "corrected": trail.CORRECTED,
    "charset": charsets.LIKELY,
    "conflict-decided": ("keep-first", "keep-both"),
    "conflict-pixels": ("same", "other", "other-encoding"),
    "evidence": tuple(Evidence),
    "likelihood": tuple(Rank),
    "person-decision": ("link", "distinct", "undo-same", "undo-distinct"),
    "person-verdict": tuple(Verdict),
    "person-row": tuple(code for code, _, _ in persons.ROWS),
    "demo-reason": ("bytes", "time"),
    "verdict": ("justified", "unjustified"),
    "audit-verb": tuple(f"{act} {verb}" for act, verb in audit_words.recorded()),
    "audit-detail": tuple(trail.DETAILS),
    "subject": trail.SUBJECTS,
    "list": trail.LISTS,
    "object-fault": tuple(Fault),
    "mended-by": tuple(Mended),
    "measurement": tuple(Kind),
    "unclaimed": tuple(Why),
    "skip-reason": SKIP_REASONS,
    "cancel-reason": ("unmatched",),
    "proof": tuple(Proof),
    "named-by": ("mpps", "manifest", "commitment"),
    "proof-short": ("quiet", "quiet-incomplete"),
    "purpose": ("read", "verify"),
    "step-state": tuple(StepState),
    "field": ("patient", "accession_number", *_columns_of(ApplicationEntity), *_columns_of(Practitioner)),
}


def spoken() -> set[str]:
    """Sentences by their English text, as the catalogues key them."""
    return {*_of_templates(), *_of_pages(), *_of_problems(), *_of_failures(), *visit.SCRIPT_WORDS}


def said_by_scripts() -> set[str]:
    """What the portal's own scripts say; `data-words` must carry each of them."""
    found: set[str] = set()
    for script in STATIC.glob("*.js"):
        found.update(re.findall(r'\bsay\(\s*"((?:[^"\\]|\\.)*)"', script.read_text("utf-8")))
    return found


def codes() -> set[tuple[str, str]]:
    said = {("said", code) for code in _redirect_codes()}
    return said | {(vocabulary, str(code)) for vocabulary, words in VOCABULARIES.items() for code in words}


def _of_templates() -> Iterator[str]:
    for template in TEMPLATES.glob("*.html"):
        with template.open("rb") as file:
            for _, _, message, _ in babel_extract(
                file, ("_", "gettext", "ngettext"), [], {"silent": "false"}
            ):
                yield from (message if isinstance(message, tuple) else (message,))


def _of_pages() -> Iterator[str]:
    yield from (label for _, label, _ in visit.ROOMS)
    for path in (*PAGES.glob("*.py"), ROOT / "reading_portal" / "words.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and _name(node.func) == "gettext" and node.args:
                yield from _text(node.args[0])


def _of_problems() -> Iterator[str]:
    """Sentences that the mind, the memory and the doors raise; values in them are named holes."""
    for room in ("worklist", "storage", "reading_portal"):
        folder = ROOT / room
        for path in (*folder.glob("*.py"), *folder.glob("routes/*.py"), *folder.glob("pages/*.py")):
            # FHIR is spoken to programs only.
            if path.name.startswith("fhir"):
                continue
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                    if _name(node.exc.func) in PROBLEMS and node.exc.args:
                        yield from _text(node.exc.args[0])
                elif isinstance(node, ast.FunctionDef) and node.name in REFUSERS:
                    for inner in ast.walk(node):
                        if isinstance(inner, ast.Return) and inner.value is not None:
                            yield from _text(inner.value)


def _of_failures() -> Iterator[str]:
    """Sentences of the node that the administrator reads: why a job waits, why a device was refused."""
    yield UNSAID
    yield from (*tls.REFUSALS.values(), tls.UNTRUSTED, tls.OTHER_CERTIFICATE, tls.NO_CONNECTION)
    for name in ("deliveries", "commitment", "outgoing", "gatekeeper", "tls"):
        for node in ast.walk(ast.parse((ROOT / "dicom_node" / f"{name}.py").read_text("utf-8"))):
            if isinstance(node, ast.Call) and node.args and _name(node.func) in FAILURES:
                yield from _text(node.args[0])


def _redirect_codes() -> set[str]:
    found: set[str] = set()
    for path in PAGES.glob("*.py"):
        for code in re.findall(r"said=([a-z{}' _-]+)", path.read_text("utf-8")):
            if "{" not in code:
                found.add(code)
    return found | {"recognition-accept", "recognition-decline", "person-activated", "person-deactivated"}


def _name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _text(node: ast.expr) -> Iterator[str]:
    """A string, or an f-string whose values became `{value}`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(
            str(part.value) if isinstance(part, ast.Constant) else "{value}" for part in node.values
        )
