"""What one version of a report says: plain, frozen values, and the one byte sequence that stands for them.

Nothing here prints, signs or stores. A `ReportContent` is complete: whoever holds it can compose the
document, hash it, or send it on, without asking the database again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, get_args, get_origin, get_type_hints


@dataclass(frozen=True, slots=True, kw_only=True)
class Signatory:
    """Who stands for the words, with the licence that allows it; `signed_at` is an aware moment."""

    name: str
    username: str
    institution_name: str
    license_number: str = ""
    title: str = ""
    signed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticalStatement:
    """Who told whom of what, and when it was read back (危急值)."""

    category: str
    statement: str
    notified_at: datetime | None = None
    notified_to: str = ""
    acknowledged_at: datetime | None = None
    read_back: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddendumText:
    """Words added after signature; they stand on page 1 of the version that brings them."""

    text: str
    reason: str
    author: Signatory


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One measured value, e.g. QTc 412 ms."""

    name: str
    value: str
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyImageReference:
    """The instance (and 1-based frame) that a printed picture shows."""

    sop_instance_uid: str
    caption: str = ""
    frame: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContent:
    """One version of a DiagnosticReport.

    `status` is FHIR's: preliminary, final, amended, corrected, appended, entered-in-error.
    `language` is zh-CN or en. Moments are aware; `timezone` (IANA) says how they are printed.
    `patient_age` is DICOM's AS (`058Y`); `patient_sex` DICOM's CS (M, F, O or empty).
    `patient_name` is in the script of the document, already without DICOM's component delimiters.
    """

    report_uid: str
    version: int
    status: str
    language: str
    timezone: str

    center_name: str
    institution_name: str
    institution_code: str

    patient_name: str
    patient_id: str
    patient_issuer: str
    patient_sex: str
    patient_birth_date: date | None
    patient_age: str

    modality: str
    exam_name: str
    accession_number: str
    study_instance_uid: str
    study_manifest_hash: str
    performed_at: datetime | None

    findings: str
    impression: tuple[str, ...]
    author: Signatory
    reviewer: Signatory | None = None

    patient_name_phonetic: str = ""
    department: str = ""
    requester_name: str = ""
    technician_name: str = ""
    device_name: str = ""
    body_part: str = ""  # DICOM's Body Part Examined (PS3.16 Annex L); printed as a word where it is one
    laterality: str = ""  # R, L, B

    clinical_information: str = ""
    technique: str = ""
    comparison: str = ""
    recommendation: str = ""
    image_quality: str = ""
    measurements: tuple[Measured, ...] = ()
    critical: CriticalStatement | None = None
    key_images: tuple[KeyImageReference, ...] = ()
    recognition_mark: str = ""
    ai_used: tuple[str, ...] = ()

    addenda: tuple[AddendumText, ...] = ()
    supersedes_version: int | None = None
    previous_content_hash: str = ""
    withdrawn_reason: str = ""
    withdrawn_by: Signatory | None = None


def canonical_json(content: ReportContent) -> bytes:
    """The bytes that stand for the content: sorted keys, NFC, UTF-8; moments in UTC, whole seconds."""
    plain = _plain(dataclasses.asdict(content))
    return json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")


def content_hash(content: ReportContent) -> str:
    """SHA-256 of `canonical_json`, in lower-case hexadecimal."""
    return hashlib.sha256(canonical_json(content)).hexdigest()


def content_of(plain: dict[str, Any]) -> ReportContent:
    """The content again, from what `canonical_json` wrote; TypeError or ValueError for anything else."""
    content: ReportContent = _typed(ReportContent, plain)
    return content


def _typed(kind: Any, value: Any) -> Any:
    parts = [part for part in get_args(kind) if part is not type(None)]
    if get_origin(kind) is tuple:
        return tuple(_typed(parts[0], item) for item in value)
    if parts:  # X | None
        return None if value is None else _typed(parts[0], value)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: _typed(hint, value[name]) for name, hint in hints.items() if name in value})
    if kind is datetime:
        return datetime.fromisoformat(value)
    return date.fromisoformat(value) if kind is date else kind(value)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a moment in a report needs a time zone")
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, date):
        return value.isoformat()
    return value
