"""FHIR R4 search: parameters as tables of conditions, answers as Bundles, and what we can do as metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, false, or_, select

from reading_portal.fhir_resources import GENDER, REQUEST_STATUS, TASK_STATUS, Resource
from storage.audit import AuditEvent
from storage.identity import name_matches
from storage.imaging import Patient, Study
from storage.uids import is_uid
from worklist.orders import ServiceRequest
from worklist.problems import Unacceptable
from worklist.reading_tasks import ReadingTask
from worklist.reports import DiagnosticReport, ReportVersion

MEDIA_TYPE = "application/fhir+json"
MOST = 200
SEXES = {said: sex for sex, said in GENDER.items()}

Condition = Callable[[str], ColumnElement[bool]]


@dataclass(frozen=True)
class Parameter:
    """One search parameter: FHIR's type for the capability statement, and the rows that a value means."""

    kind: str
    rows: Condition


def _key(text: str) -> int:
    """A row's key in a reference such as `Patient/12` or plain `12`; -1 for none of ours."""
    last = text.rsplit("/", 1)[-1]
    return int(last) if last.isascii() and last.isdigit() and len(last) < 10 else -1


def _value(token: str) -> str:
    """The value of a token `system|value`; a DICOM UID without its `urn:oid:`."""
    return token.rsplit("|", 1)[-1].removeprefix("urn:oid:")


def _states(table: Mapping[Any, str], said: str) -> list[str]:
    return [str(state) for state, status in table.items() if status == _value(said)]


def _study(condition: ColumnElement[bool]) -> Any:
    return select(Study.id).where(condition)


def _of_patient(text: str) -> Any:
    return _study(Study.patient_pk == _key(text))


def _day(column: Any, text: str) -> ColumnElement[bool]:
    """A date parameter with FHIR's prefixes (eq, ne, lt, gt, le, ge) on a column of days."""
    prefix, value = (text[:2], text[2:]) if text[:2].isalpha() else ("eq", text)
    try:
        day = date.fromisoformat(value[:10])
    except ValueError:
        raise Unacceptable(
            "a date is written as YYYY-MM-DD, with eq, ne, lt, gt, le or ge before it"
        ) from None
    compare: dict[str, Callable[[], ColumnElement[bool]]] = {
        "eq": lambda: column == day,
        "ne": lambda: column != day,
        "lt": lambda: column < day,
        "gt": lambda: column > day,
        "le": lambda: column <= day,
        "ge": lambda: column >= day,
    }
    if prefix not in compare:
        raise Unacceptable("a date is written as YYYY-MM-DD, with eq, ne, lt, gt, le or ge before it")
    return compare[prefix]()


def _moment(column: Any, text: str) -> ColumnElement[bool]:
    """The same on a column of moments: a day lasts from midnight to midnight at the centre."""
    prefix, value = (text[:2], text[2:]) if text[:2].isalpha() else ("eq", text)
    try:
        begin = datetime.fromisoformat(value)
    except ValueError:
        raise Unacceptable("a moment is written as RFC 3339, a day as YYYY-MM-DD") from None
    end = begin + (timedelta(days=1) if len(value) == 10 else timedelta(seconds=1))
    if begin.tzinfo is None:
        zone = ZoneInfo("Asia/Shanghai")
        begin, end = begin.replace(tzinfo=zone), end.replace(tzinfo=zone)
    compare: dict[str, Callable[[], ColumnElement[bool]]] = {
        "eq": lambda: (column >= begin) & (column < end),
        "ne": lambda: (column < begin) | (column >= end),
        "lt": lambda: column < begin,
        "gt": lambda: column >= end,
        "le": lambda: column < end,
        "ge": lambda: column >= begin,
    }
    if prefix not in compare:
        raise Unacceptable("the prefix of a moment is eq, ne, lt, gt, le or ge")
    return compare[prefix]()


def _uid(column: Any, text: str) -> ColumnElement[bool]:
    uid = _value(text.rsplit("/", 1)[-1])
    return column == uid if is_uid(uid) else false()


def _accession(text: str) -> Any:
    said = text.rsplit("|", 1)
    condition = ServiceRequest.accession_number == said[-1]
    if len(said) == 2 and said[0].startswith("urn:reading-center:accession:"):
        condition = condition & (ServiceRequest.issuer == said[0].rsplit(":", 1)[-1])
    return select(ServiceRequest.id).where(condition)


def _patient_identifier(text: str) -> ColumnElement[bool]:
    said = text.rsplit("|", 1)
    if len(said) == 2 and said[0].startswith("urn:reading-center:patient:"):
        return (Patient.issuer == said[0].removeprefix("urn:reading-center:patient:")) & (
            Patient.patient_id == said[1]
        )
    return or_(Patient.patient_id == said[-1], Patient.national_id == said[-1])


SEARCH: dict[str, dict[str, Parameter]] = {
    "Patient": {
        "_id": Parameter("token", lambda text: Patient.id == _key(text)),
        "identifier": Parameter("token", _patient_identifier),
        "name": Parameter("string", name_matches),
        "birthdate": Parameter("date", lambda text: _day(Patient.birth_date, text)),
        "gender": Parameter("token", lambda text: Patient.sex == SEXES.get(_value(text), "")),
    },
    "ServiceRequest": {
        "_id": Parameter("token", lambda text: ServiceRequest.id == _key(text)),
        "identifier": Parameter("token", lambda text: ServiceRequest.id.in_(_accession(text))),
        "patient": Parameter("reference", lambda text: ServiceRequest.patient_pk == _key(text)),
        "subject": Parameter("reference", lambda text: ServiceRequest.patient_pk == _key(text)),
        "status": Parameter("token", lambda text: ServiceRequest.state.in_(_states(REQUEST_STATUS, text))),
        "priority": Parameter("token", lambda text: ServiceRequest.priority == _value(text)),
        "authored": Parameter("date", lambda text: _moment(ServiceRequest.placed_at, text)),
    },
    "ImagingStudy": {
        "_id": Parameter("token", lambda text: _uid(Study.study_instance_uid, text)),
        "identifier": Parameter(
            "token",
            lambda text: or_(
                _uid(Study.study_instance_uid, text),
                Study.id.in_(select(ServiceRequest.study_pk).where(ServiceRequest.id.in_(_accession(text)))),
            ),
        ),
        "patient": Parameter("reference", lambda text: Study.patient_pk == _key(text)),
        "subject": Parameter("reference", lambda text: Study.patient_pk == _key(text)),
        "basedon": Parameter(
            "reference",
            lambda text: Study.id.in_(select(ServiceRequest.study_pk).where(ServiceRequest.id == _key(text))),
        ),
        "modality": Parameter("token", lambda text: Study.modality == _value(text)),
        "started": Parameter("date", lambda text: _day(Study.study_date, text)),
    },
    "Task": {
        "_id": Parameter("token", lambda text: ReadingTask.id == _key(text)),
        "status": Parameter("token", lambda text: ReadingTask.state.in_(_states(TASK_STATUS, text))),
        "business-status": Parameter("token", lambda text: ReadingTask.state == _value(text)),
        "priority": Parameter("token", lambda text: ReadingTask.priority == _value(text)),
        "based-on": Parameter("reference", lambda text: ReadingTask.service_request_id == _key(text)),
        "focus": Parameter(
            "reference", lambda text: ReadingTask.study_pk.in_(_study(_uid(Study.study_instance_uid, text)))
        ),
        "patient": Parameter("reference", lambda text: ReadingTask.study_pk.in_(_of_patient(text))),
    },
    "DiagnosticReport": {
        "_id": Parameter("token", lambda text: DiagnosticReport.id == _key(text)),
        "identifier": Parameter(
            "token",
            lambda text: or_(
                _uid(DiagnosticReport.report_uid, text),
                DiagnosticReport.service_request_id.in_(_accession(text)),
            ),
        ),
        "based-on": Parameter("reference", lambda text: DiagnosticReport.service_request_id == _key(text)),
        "patient": Parameter("reference", lambda text: DiagnosticReport.study_pk.in_(_of_patient(text))),
        "subject": Parameter("reference", lambda text: DiagnosticReport.study_pk.in_(_of_patient(text))),
        "status": Parameter("token", lambda text: DiagnosticReport.status == _value(text)),
        "imaging-study": Parameter(
            "reference",
            lambda text: DiagnosticReport.study_pk.in_(_study(_uid(Study.study_instance_uid, text))),
        ),
    },
    "Observation": {
        "_id": Parameter("token", lambda text: DiagnosticReport.id == _key(text.split("-")[0])),
        "based-on": Parameter("reference", lambda text: DiagnosticReport.service_request_id == _key(text)),
        "patient": Parameter("reference", lambda text: DiagnosticReport.study_pk.in_(_of_patient(text))),
        "subject": Parameter("reference", lambda text: DiagnosticReport.study_pk.in_(_of_patient(text))),
    },
    "Provenance": {
        "_id": Parameter("token", lambda text: ReportVersion.id == _key(text)),
        "target": Parameter(
            "reference", lambda text: ReportVersion.report_id == _key(text.split("/_history")[0])
        ),
    },
    "AuditEvent": {
        "_id": Parameter("token", lambda text: AuditEvent.seq == _key(text)),
        "agent-name": Parameter("string", lambda text: AuditEvent.actor == text),
        "entity-name": Parameter("string", lambda text: AuditEvent.subject == text),
        "date": Parameter("date", lambda text: _moment(AuditEvent.at, text)),
    },
}


def conditions(kind: str, given: Sequence[tuple[str, str]], *, is_strict: bool) -> list[ColumnElement[bool]]:
    """All parameters must hold; a value with commas is one of several. Unknown ones are passed over, as R4
    3.1.1.3 asks of a lenient server, unless the caller prefers a strict one."""
    found = []
    for name, text in given:
        parameter = SEARCH[kind].get(name)
        if parameter is not None:
            # A parameter without a value is no filter that anybody meant.
            found.append(or_(false(), *(parameter.rows(one) for one in text.split(",")[:50] if one)))
        elif is_strict and name not in ("_count", "_cursor", "_format"):
            raise Unacceptable("a search parameter is not supported; see /fhir/metadata")
    return found


def bundle(
    kind: str,
    resources: Sequence[Resource],
    *,
    base: str,
    given: Sequence[tuple[str, str]],
    next_cursor: str | None,
) -> Resource:
    """One page of a search; `link` says which parameters were used and where the next page is."""
    used = [(name, text) for name, text in given if name in SEARCH[kind] or name == "_count"]
    address = f"{base}/fhir/{kind}"
    links = [{"relation": "self", "url": f"{address}?{urlencode(used)}" if used else address}]
    if next_cursor is not None:
        links.append({"relation": "next", "url": f"{address}?{urlencode([*used, ('_cursor', next_cursor)])}"})
    entries = [
        {
            "fullUrl": f"{base}/fhir/{one['resourceType']}/{one['id']}",
            "resource": one,
            "search": {"mode": "match"},
        }
        for one in resources
    ]
    return {"resourceType": "Bundle", "type": "searchset", "link": links} | (
        {"entry": entries} if entries else {}
    )


def capability_statement(*, base: str, center_name: str, now: datetime) -> Resource:
    """What this server can do (R4 CapabilityStatement): read and search-type, nothing is written here."""
    resources = [
        {
            "type": kind,
            "interaction": [{"code": "read"}, {"code": "search-type"}],
            "searchParam": [{"name": name, "type": one.kind} for name, one in parameters.items()],
        }
        for kind, parameters in SEARCH.items()
    ]
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": now.date().isoformat(),
        "kind": "instance",
        "software": {"name": "Reading Center", "version": "0.1.0"},
        "implementation": {"description": center_name, "url": f"{base}/fhir"},
        "fhirVersion": "4.0.1",
        "format": ["json", MEDIA_TYPE],
        "rest": [
            {
                "mode": "server",
                "security": {
                    "description": "Bearer token of POST /api/sessions, or the portal's session cookie"
                },
                "resource": resources,
            }
        ],
    }
