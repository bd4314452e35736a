"""Reports and traces as FHIR R4: DiagnosticReport, Observation, Provenance, AuditEvent. Pure translators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reading_portal.fhir_resources import (
    DCM,
    DICOM_UID,
    Resource,
    accession,
    instant,
    organization,
    practitioner,
    reference,
    system,
    without_empty,
)
from storage.audit import Act, AuditEvent
from worklist.orders import shown_name
from worklist.reports import DiagnosticReport, ReportVersion

LOINC = "http://loinc.org"
# What a report is, by modality; anything else is a diagnostic imaging study.
REPORT_CODE = {"ECG": ("11524-6", "EKG study")}
IMAGING_CODE = ("18748-4", "Diagnostic imaging study")
CATEGORY = {"ECG": "EC"}
# What it says: the parts of a report that are observations of their own.
PARTS = {
    "findings": ("18782-3", "Radiology Study observation (narrative)"),
    "impression": ("19005-8", "Radiology Imaging study [Impression] (narrative)"),
}
SIGNED_AS_AUTHOR = ("1.2.840.10065.1.12.1.1", "Author's Signature")
SIGNED_AS_REVIEWER = ("1.2.840.10065.1.12.1.5", "Verification Signature")

# DICOM PS3.15 A.5 event identifiers, and FHIR's action, for what we record.
AUDIT_TYPE: dict[str, tuple[str, str]] = {
    Act.ASSOCIATION: ("110108", "Network Entry"),
    Act.SIGN_IN: ("110114", "User Authentication"),
    Act.VIEW: ("110103", "DICOM Instances Accessed"),
    Act.QUERY: ("110112", "Query"),
    Act.EXPORT: ("110106", "Export"),
    Act.ORDER: ("110109", "Order Record"),
    Act.PATIENT: ("110110", "Patient Record"),
    Act.STUDY: ("110111", "Procedure Record"),
    Act.TASK: ("110111", "Procedure Record"),
    Act.REPORT: ("110111", "Procedure Record"),
    Act.RECOGNITION: ("110109", "Order Record"),
    Act.CRITICAL: ("110111", "Procedure Record"),
    Act.BREAK_GLASS: ("110127", "Emergency Override Started"),
    Act.DECLARATION: ("110100", "Application Activity"),
    Act.DELIVERY: ("110104", "DICOM Instances Transferred"),
    Act.SECURITY: ("110113", "Security Alert"),
}
AUDIT_ACTION = {Act.VIEW: "R", Act.QUERY: "E", Act.SIGN_IN: "E", Act.ASSOCIATION: "E", Act.EXPORT: "R"}


def diagnostic_report(row: DiagnosticReport, version: ReportVersion, *, base: str) -> Resource:
    """The current version; `presentedForm` is the sealed PDF/A."""
    said = version.content
    code = REPORT_CODE.get(row.modality, IMAGING_CODE)
    return without_empty(
        {
            "resourceType": "DiagnosticReport",
            "id": str(row.id),
            "meta": {"versionId": str(version.version), "lastUpdated": instant(version.signed_at)},
            "identifier": [
                {"system": DICOM_UID, "value": f"urn:oid:{row.report_uid}"},
                accession(row.service_request),
            ],
            "basedOn": [reference("ServiceRequest", row.service_request_id)],
            "status": version.status,
            "category": [
                {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/v2-0074",
                            "code": CATEGORY.get(row.modality, "RAD"),
                        }
                    ]
                }
            ],
            "code": {"coding": [_loinc(code)], "text": said.get("exam_name") or code[1]},
            "subject": reference("Patient", row.study.patient_pk, shown_name(row.study.patient.name)),
            "effectiveDateTime": said.get("performed_at"),
            "issued": instant(version.signed_at),
            "performer": [organization(row.institution_code)],
            "resultsInterpreter": [
                practitioner(one["username"], one["name"])
                for one in (said.get("author"), said.get("reviewer"))
                if one
            ],
            "result": [reference("Observation", key) for key in observations(row, version)],
            "imagingStudy": [reference("ImagingStudy", row.study.study_instance_uid)],
            "conclusion": "\n".join(said.get("impression") or ()),
            "presentedForm": [
                {
                    "contentType": "application/pdf",
                    "language": said.get("language"),
                    "url": f"{base}/api/reports/{row.id}/pdf?version={version.version}",
                    "size": version.pdf_size,
                    "title": said.get("exam_name") or code[1],
                    "creation": instant(version.signed_at),
                }
            ],
        }
    )


def observations(row: DiagnosticReport, version: ReportVersion) -> dict[str, Resource]:
    """Findings, impression and each measured value of the current version, by their ids."""
    said = version.content
    status = version.status if version.status in ("preliminary", "final", "entered-in-error") else "amended"
    shared = {
        "resourceType": "Observation",
        "meta": {"versionId": str(version.version)},
        "status": status,
        "subject": reference("Patient", row.study.patient_pk),
        "basedOn": [reference("ServiceRequest", row.service_request_id)],
        "effectiveDateTime": said.get("performed_at"),
        "issued": instant(version.signed_at),
    }
    found: dict[str, Resource] = {}
    for part, code in PARTS.items():
        words = said.get(part) or ""
        text = words if isinstance(words, str) else "\n".join(words)
        if text:
            key = f"{row.id}-{part}"
            found[key] = shared | {"id": key, "code": {"coding": [_loinc(code)]}, "valueString": text}
    for number, one in enumerate(said.get("measurements") or (), start=1):
        key = f"{row.id}-measurement-{number}"
        value = f"{one['value']} {one.get('unit') or ''}".strip()
        found[key] = shared | {"id": key, "code": {"text": one["name"]}, "valueString": value}
    return {key: without_empty(one) for key, one in found.items()}


def provenance(row: DiagnosticReport, version: ReportVersion) -> Resource:
    """Who stands for one version, and which version it replaced."""
    said = version.content
    signers = [(said.get("author"), "author", SIGNED_AS_AUTHOR)]
    signers.append((said.get("reviewer"), "verifier", SIGNED_AS_REVIEWER))
    agents, signatures = [], []
    for person, part, (code, display) in signers:
        if not person:
            continue
        who = practitioner(person["username"], person["name"])
        kind = {"system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type", "code": part}
        agents.append({"type": {"coding": [kind]}, "who": who})
        signatures.append(
            {
                "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": code, "display": display}],
                "when": person.get("signed_at") or instant(version.signed_at),
                "who": who,
                "targetFormat": "application/pdf",
                "sigFormat": "application/pdf",
            }
        )
    earlier = version.version - 1
    return without_empty(
        {
            "resourceType": "Provenance",
            "id": str(version.id),
            "target": [{"reference": f"DiagnosticReport/{row.id}/_history/{version.version}"}],
            "recorded": instant(version.signed_at),
            "activity": {"text": version.status},
            "agent": agents,
            "entity": [
                {
                    "role": "revision",
                    "what": {"reference": f"DiagnosticReport/{row.id}/_history/{earlier}"},
                }
            ]
            if earlier
            else [],
            "signature": signatures,
        }
    )


def audit_event(row: AuditEvent) -> Resource:
    code, display = AUDIT_TYPE.get(row.act, ("110100", "Application Activity"))
    is_person = not row.actor.startswith("ae:") and row.actor != "center"
    agent: Resource = {
        "who": practitioner(row.actor)
        if is_person
        else {"type": "Device", "identifier": {"system": system("device"), "value": row.actor}},
        "requestor": True,
    }
    if row.source:
        agent["network"] = {"address": row.source, "type": "2"}
    return {
        "resourceType": "AuditEvent",
        "id": str(row.seq),
        "type": {"system": DCM, "code": code, "display": display},
        "subtype": [{"system": system("audit"), "code": row.verb}],
        "action": AUDIT_ACTION.get(Act(row.act), "U"),
        "recorded": row.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "outcome": "0" if row.outcome == "success" else "4",
        "agent": [agent],
        "source": {"observer": {"display": "reading-center"}},
        "entity": [
            {
                "what": {"identifier": {"system": system("subject"), "value": row.subject}},
                "detail": [*_details(row.detail), {"type": "hash", "valueString": row.hash}],
            }
        ],
    }


def _details(detail: Mapping[str, Any]) -> list[Resource]:
    return [
        {"type": str(key), "valueString": str(value)}
        for key, value in detail.items()
        if value not in (None, "")
    ]


def _loinc(code: tuple[str, str]) -> Resource:
    return {"system": LOINC, "code": code[0], "display": code[1]}
