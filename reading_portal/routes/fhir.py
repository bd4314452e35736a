"""FHIR R4, read and search: what hospital systems ask for, through the rights of whoever asks."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request, Response
from sqlalchemy import ColumnElement, select, true
from sqlalchemy.orm import Session

from reading_portal import fhir_reports, fhir_resources
from reading_portal.dependencies import CurrentPractitioner, Now, OpenSession, ReadSession, TheSettings
from reading_portal.fhir_resources import Resource
from reading_portal.fhir_search import MEDIA_TYPE, MOST, bundle, capability_statement, conditions
from reading_portal.shapes import position
from storage import audit
from storage.audit import Act, AuditEvent
from storage.imaging import Patient, Study
from worklist import people, reports
from worklist.orders import ServiceRequest
from worklist.people import Role, Who, must_have, visible_to
from worklist.policy import read_policy
from worklist.problems import Missing, Unacceptable
from worklist.reading_tasks import ReadingTask
from worklist.reports import DiagnosticReport, ReportVersion

router = APIRouter(prefix="/fhir", tags=["FHIR R4"])

Kind = Annotated[str, Path(pattern=r"^[A-Za-z]{1,32}$")]
Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9.\-]{1,64}$")]
Prefer = Annotated[str, Header()]


@dataclass(frozen=True)
class Ask:
    session: Session
    who: Who
    base: str
    timezone: str


@dataclass(frozen=True)
class Noun:
    """How one kind of resource is found, who may see it, and how its rows are said."""

    table: Any
    key: Any  # newest first, and the cursor
    visible: Callable[[Session, Who], ColumnElement[bool]]
    say: Callable[[Ask, Any], list[Resource]]


def _issued(session: Session, who: Who) -> ColumnElement[bool]:
    return visible_to(session, who, DiagnosticReport) & DiagnosticReport.current_version.is_not(None)


def _versions(session: Session, who: Who) -> ColumnElement[bool]:
    return ReportVersion.report_id.in_(select(DiagnosticReport.id).where(_issued(session, who)))


def _everything_for_auditors(_session: Session, who: Who) -> ColumnElement[bool]:
    must_have(who, Role.AUDITOR, Role.DIRECTOR)
    return true()


def _study(ask: Ask, row: Study) -> list[Resource]:
    order = ask.session.scalar(select(ServiceRequest).where(ServiceRequest.study_pk == row.id))
    return [fhir_resources.imaging_study(row, order, timezone=ask.timezone, base=ask.base)]


def _report(ask: Ask, row: DiagnosticReport) -> list[Resource]:
    return [fhir_reports.diagnostic_report(row, reports.version_of(ask.session, row), base=ask.base)]


def _observations(ask: Ask, row: DiagnosticReport) -> list[Resource]:
    return list(fhir_reports.observations(row, reports.version_of(ask.session, row)).values())


NOUNS: dict[str, Noun] = {
    "Patient": Noun(
        Patient,
        Patient.id,
        lambda session, who: visible_to(session, who, Patient),
        lambda _, row: [fhir_resources.patient(row)],
    ),
    "ServiceRequest": Noun(
        ServiceRequest,
        ServiceRequest.id,
        lambda session, who: visible_to(session, who, ServiceRequest),
        lambda _, row: [fhir_resources.service_request(row)],
    ),
    "ImagingStudy": Noun(Study, Study.id, lambda session, who: visible_to(session, who, Study), _study),
    "Task": Noun(
        ReadingTask,
        ReadingTask.id,
        lambda session, who: visible_to(session, who, ReadingTask),
        lambda ask, row: [fhir_resources.task(row, people.names(ask.session))],
    ),
    "DiagnosticReport": Noun(DiagnosticReport, DiagnosticReport.id, _issued, _report),
    "Observation": Noun(DiagnosticReport, DiagnosticReport.id, _issued, _observations),
    "Provenance": Noun(
        ReportVersion,
        ReportVersion.id,
        _versions,
        lambda _, row: [fhir_reports.provenance(row.report, row)],
    ),
    "AuditEvent": Noun(
        AuditEvent,
        AuditEvent.seq,
        _everything_for_auditors,
        lambda _, row: [fhir_reports.audit_event(row)],
    ),
}


@router.get("/metadata")
def metadata(session: ReadSession, settings: TheSettings, now: Now) -> Response:
    """The CapabilityStatement. Public."""
    name = read_policy(session).center_name
    return _answer(capability_statement(base=settings.public_url, center_name=name, now=now))


@router.get("/{kind}")
def search(
    kind: Kind,
    request: Request,
    who: CurrentPractitioner,
    session: OpenSession,
    settings: TheSettings,
    now: Now,
    prefer: Prefer = "",
) -> Response:
    """Search: newest first, `_count` to a page, `link` with relation `next` to the following one."""
    noun = _noun(kind)
    given = request.query_params.multi_items()
    count = _count(request.query_params.get("_count"))
    query = select(noun.table).where(
        noun.visible(session, who), *conditions(kind, given, is_strict="handling=strict" in prefer)
    )
    before = position(request.query_params.get("_cursor"))
    if before is not None:
        query = query.where(noun.key < before)
    rows = list(session.scalars(query.order_by(noun.key.desc()).limit(count + 1)))
    page = rows[:count]
    ask = _ask(session, who, settings.public_url)
    resources = [one for row in page for one in noun.say(ask, row)]
    wanted = request.query_params.get("_id")
    if wanted is not None:  # one report is several observations
        resources = [one for one in resources if one["id"] in wanted.split(",")]
    audit.record(session, Act.QUERY, "search", f"fhir:{kind}", by=who.actor, at=now, found=len(resources))
    next_cursor = str(getattr(page[-1], noun.key.key)) if len(rows) > count else None
    return _answer(bundle(kind, resources, base=settings.public_url, given=given, next_cursor=next_cursor))


@router.get("/{kind}/{key}")
def read(
    kind: Kind, key: Id, who: CurrentPractitioner, session: OpenSession, settings: TheSettings, now: Now
) -> Response:
    """One resource. 404 where it is not there or not the caller's to see."""
    noun = _noun(kind)
    query = select(noun.table).where(
        noun.visible(session, who), *conditions(kind, [("_id", key)], is_strict=False)
    )
    row = session.scalars(query).first()
    if row is None:
        raise Missing(f"no such {kind}")
    resource = _chosen(noun.say(_ask(session, who, settings.public_url), row), key)
    if resource is None:
        raise Missing(f"no such {kind}")
    audit.record(session, Act.VIEW, "read", f"fhir:{kind}/{key}", by=who.actor, at=now)
    answer = _answer(resource)
    version = resource.get("meta", {}).get("versionId")
    if version:
        answer.headers["ETag"] = f'W/"{version}"'
    return answer


def _noun(kind: str) -> Noun:
    if kind not in NOUNS:
        raise Missing("there is no such resource type here; see /fhir/metadata")
    return NOUNS[kind]


def _chosen(resources: Sequence[Resource], key: str) -> Resource | None:
    return next((one for one in resources if one["id"] == key), None)


def _ask(session: Session, who: Who, base: str) -> Ask:
    return Ask(session, who, base, read_policy(session).timezone)


def _count(text: str | None) -> int:
    if text is None:
        return 50
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise Unacceptable("_count is a number")
    return max(1, min(int(text), MOST))


def _answer(resource: Resource) -> Response:
    content = json.dumps(resource, ensure_ascii=False, separators=(",", ":"))
    return Response(content, media_type=f"{MEDIA_TYPE}; fhirVersion=4.0")
