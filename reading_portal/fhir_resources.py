"""Rows as FHIR R4: Patient, ServiceRequest, ImagingStudy, Task. Pure translators: rows in, JSON out.

State tables say how our states are said in FHIR's required value sets. `system` names whose identifier it is.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from storage.imaging import Origin, Patient, Study, moment_of
from worklist.orders import OrderState, ServiceRequest, shown_name
from worklist.reading_tasks import ReadingTask, TaskState

Resource = dict[str, Any]

DCM = "http://dicom.nema.org/resources/ontology/DCM"
IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
DICOM_UID = "urn:dicom:uid"

GENDER = {"M": "male", "F": "female", "O": "other"}
REQUEST_STATUS = {
    OrderState.ORDERED: "active",
    OrderState.IN_PROGRESS: "active",
    OrderState.ACQUIRED: "active",
    OrderState.REPORTED: "completed",
    OrderState.CLOSED: "completed",
    OrderState.RECOGNISED: "completed",  # by an earlier exam, as the note says
    OrderState.CANCELLED: "revoked",
}
TASK_STATUS = {
    TaskState.WAITING_IMAGES: "draft",
    TaskState.READY: "requested",
    TaskState.CLAIMED: "in-progress",
    TaskState.SUSPENDED: "on-hold",
    TaskState.AWAITING_REVIEW: "in-progress",
    TaskState.RETURNED: "rejected",
    TaskState.COMPLETED: "completed",
    TaskState.CANCELLED: "cancelled",
}


def system(kind: str, whose: str = "") -> str:
    """`patient` or `accession` of an institution, `resident-id`, `practitioner`, `institution`."""
    return f"urn:reading-center:{kind}" + (f":{whose}" if whose else "")


def reference(kind: str, key: object, display: str = "") -> Resource:
    return {"reference": f"{kind}/{key}"} | ({"display": display} if display else {})


def practitioner(username: str, name: str = "") -> Resource:
    """A person by account: there is no Practitioner resource to follow."""
    person = {"type": "Practitioner", "identifier": {"system": system("practitioner"), "value": username}}
    return person | ({"display": name} if name else {})


def organization(code: str) -> Resource:
    return {"type": "Organization", "identifier": {"system": system("institution"), "value": code}}


def instant(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None


def without_empty(resource: Resource) -> Resource:
    """FHIR knows no null and no empty list: what is not known is not there."""
    return {key: value for key, value in resource.items() if value not in (None, "", [], {})}


def patient(row: Patient) -> Resource:
    identifiers = [
        {
            "use": "usual",
            "type": _type("MR"),
            "system": system("patient", row.issuer),
            "value": row.patient_id,
        }
    ]
    if row.national_id:
        identifiers.append(
            {
                "use": "official",
                "type": _type("NNCHN"),
                "system": system("resident-id"),
                "value": row.national_id,
            }
        )
    return without_empty(
        {
            "resourceType": "Patient",
            "id": str(row.id),
            "identifier": identifiers,
            "name": human_names(row.name),
            "gender": GENDER.get(row.sex, "unknown"),
            "birthDate": row.birth_date.isoformat() if row.birth_date else None,
            "telecom": [{"system": "phone", "value": row.phone}] if row.phone else [],
        }
    )


def human_names(name: str) -> list[Resource]:
    """One HumanName for each group of a PN, told apart by the ISO 21090 representation."""
    found = []
    for group, representation in zip(name.split("="), ("ABC", "IDE", "SYL"), strict=False):
        parts = [part.strip() for part in group.split("^")]
        text = shown_name(group)
        if not text:
            continue
        url = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
        found.append(
            without_empty(
                {
                    "extension": [{"url": url, "valueCode": representation}],
                    "text": text,
                    "family": parts[0],
                    "given": [part for part in parts[1:3] if part],
                }
            )
        )
    return found


def service_request(row: ServiceRequest) -> Resource:
    state = OrderState(row.state)
    notes = [row.clinical_information, row.question]
    if state is OrderState.RECOGNISED:
        notes.append("Fulfilled by an equivalent exam that was recognised.")
    return without_empty(
        {
            "resourceType": "ServiceRequest",
            "id": str(row.id),
            "meta": {"versionId": str(row.version)},
            "identifier": [accession(row)],
            "status": REQUEST_STATUS[state],
            "intent": "order",
            "category": [
                {"coding": [{"system": "http://snomed.info/sct", "code": "363679005", "display": "Imaging"}]}
            ],
            "priority": row.priority,
            "code": {"coding": [{"system": DCM, "code": row.modality}], "text": row.item or row.modality},
            "subject": reference("Patient", row.patient_pk, shown_name(row.patient.name)),
            "occurrenceDateTime": instant(row.scheduled_at),
            "authoredOn": instant(row.placed_at),
            "requester": practitioner(row.requester),
            "performer": [organization(row.institution_code)],
            "bodySite": [{"text": row.body_part}] if row.body_part else [],
            "note": [{"text": note} for note in notes if note],
        }
    )


def accession(row: ServiceRequest) -> Resource:
    return {
        "type": _type("ACSN"),
        "system": system("accession", row.issuer),
        "value": row.accession_number,
    }


def imaging_study(row: Study, order: ServiceRequest | None, *, timezone: str, base: str) -> Resource:
    identifiers = [{"system": DICOM_UID, "value": f"urn:oid:{row.study_instance_uid}"}]
    if order is not None:
        identifiers.append(accession(order))
    received = [one for one in row.series if one.origin == Origin.RECEIVED]
    modalities = list(dict.fromkeys(one.modality for one in received))
    return without_empty(
        {
            "resourceType": "ImagingStudy",
            "id": row.study_instance_uid,
            "meta": {"versionId": str(row.version)},
            "contained": [_dicomweb(base)],
            "identifier": identifiers,
            "status": "available",
            "modality": [{"system": DCM, "code": one} for one in modalities],
            "subject": reference("Patient", row.patient_pk, shown_name(row.patient.name)),
            "started": moment_of(row, timezone).isoformat(timespec="seconds"),
            "basedOn": [reference("ServiceRequest", order.id)] if order is not None else [],
            "endpoint": [{"reference": "#dicomweb"}],
            "numberOfSeries": len(received),
            "numberOfInstances": sum(one.number_of_instances for one in received),
            "description": row.study_description,
            "series": [
                without_empty(
                    {
                        "uid": one.series_instance_uid,
                        "number": one.series_number,
                        "modality": {"system": DCM, "code": one.modality},
                        "description": one.series_description,
                        "numberOfInstances": one.number_of_instances,
                    }
                )
                for one in received
            ],
        }
    )


def task(row: ReadingTask, names: dict[str, str]) -> Resource:
    state = TaskState(row.state)
    focus = reference("ImagingStudy", row.study.study_instance_uid)
    return without_empty(
        {
            "resourceType": "Task",
            "id": str(row.id),
            "meta": {"versionId": str(row.fence)},
            "basedOn": [reference("ServiceRequest", row.service_request_id)],
            "status": TASK_STATUS[state],
            "statusReason": {"text": row.reason} if row.reason else None,
            "businessStatus": {"text": state.value},
            "intent": "order",
            "priority": row.priority,
            "code": {"text": "Read and report" if row.purpose == "read" else "Check the report"},
            "focus": focus,
            "for": reference("Patient", row.study.patient_pk, shown_name(row.study.patient.name)),
            "authoredOn": instant(row.opened_at),
            "lastModified": instant(row.completed_at or row.claimed_at or row.opened_at),
            "requester": organization(row.institution_code),
            "owner": practitioner(row.holder, names.get(row.holder, "")) if row.holder else None,
            "restriction": {"period": {"end": instant(row.due_at)}},
            "output": [
                {
                    "type": {"text": "DiagnosticReport"},
                    "valueReference": reference("DiagnosticReport", row.report_id),
                }
            ]
            if row.report_id is not None and state in (TaskState.COMPLETED, TaskState.AWAITING_REVIEW)
            else [],
        }
    )


def _type(code: str) -> Resource:
    return {"coding": [{"system": IDENTIFIER_TYPE, "code": code}]}


def _dicomweb(base: str) -> Resource:
    return {
        "resourceType": "Endpoint",
        "id": "dicomweb",
        "status": "active",
        "connectionType": {
            "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
            "code": "dicom-wado-rs",
        },
        "payloadType": [{"text": "DICOM"}],
        "address": f"{base}/dicom-web",
    }
