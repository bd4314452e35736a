"""What came home: the institution's reports, unread first; critical results that wait to be heard."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query
from fastapi.responses import Response
from sqlalchemy import select

from reading_portal.dependencies import requires
from reading_portal.pages.visit import Acting, Looking, Visit
from storage import audit
from storage.audit import Act
from worklist.critical_results import acknowledge_critical_result, critical_results_for
from worklist.people import Role, names
from worklist.problems import Unacceptable
from worklist.reports import (
    FINISHED,
    DiagnosticReport,
    ReportAcknowledgement,
    ReportStatus,
    acknowledge,
    acknowledgements,
    has_later_images,
    is_acknowledged,
    report_for,
    reports_for,
    version_of,
)

router = APIRouter()
readers_of_results = [
    Depends(
        requires(Role.CLINICIAN, Role.TECHNICIAN, Role.DIRECTOR, Role.QUALITY, Role.READER, Role.REVIEWER)
    )
]
LENGTH = 100
STATUSES = (*FINISHED, ReportStatus.PRELIMINARY, ReportStatus.ENTERED_IN_ERROR)
Before = Annotated[int | None, Query(ge=1)]


@router.get("/results", dependencies=readers_of_results)
def show_results(visit: Looking, before: Before = None) -> Response:
    return visit.page("results.html", **_what_came(visit, before), before=before)


@router.get("/results/list", dependencies=readers_of_results)
def show_list(visit: Looking, before: Before = None) -> Response:
    return visit.part("_result_list.html", **_what_came(visit, before))


@router.get("/reports/{report_id}")
def show_report(visit: Acting, report_id: int, version: int | None = None) -> Response:
    report = report_for(visit.session, visit.who, report_id)
    shown = version_of(visit.session, report, version)
    audit.record(
        visit.session,
        Act.REPORT,
        "view",
        report.subject,
        by=visit.who.actor,
        at=visit.now,
        version=shown.version,
    )
    is_home = visit.who.has(Role.CLINICIAN) and report.institution_code == visit.who.institution_code
    return visit.page(
        "report.html",
        report=report,
        shown=shown,
        content=shown.content,
        versions=list(reversed(report.versions)),
        heard=acknowledgements(visit.session, report),
        has_later_images=has_later_images(visit.session, [report]).get(report.id, False),
        may_acknowledge=is_home and not is_acknowledged(visit.session, report),
        may_add=visit.who.has(Role.READER, Role.REVIEWER) and report.status in FINISHED,
        at=datetime.fromisoformat,
        people=names(visit.session),
    )


@router.post("/reports/{report_id}/acknowledge")
def acknowledge_report(visit: Acting, report_id: int) -> Response:
    report = report_for(visit.session, visit.who, report_id)
    acknowledge(visit.session, report, by=visit.who, now=visit.now)
    return visit.go(f"/reports/{report_id}?said=acknowledged")


@router.post("/critical-results/{critical_id}/acknowledge")
def acknowledge_critical(
    visit: Acting, critical_id: int, read_back: Annotated[str, Form(max_length=4000)]
) -> Response:
    try:
        acknowledge_critical_result(
            visit.session, critical_id, read_back=read_back, by=visit.who, now=visit.now
        )
    except Unacceptable as error:
        visit.undo()
        problem = visit.words.problem(str(error))
        came = _what_came(visit, None) | {"problem": problem, "typed": {critical_id: read_back}}
        return visit.page("results.html", status=422, **came, before=None)
    return visit.go("/results?said=critical-acknowledged")


def _what_came(visit: Visit, before: int | None) -> dict[str, Any]:
    reports = reports_for(visit.session, visit.who, statuses=STATUSES, limit=LENGTH, before_id=before)
    read = _acknowledged(visit, reports)
    later = has_later_images(visit.session, reports)
    rows = [
        {
            "report": report,
            "has_later_images": later[report.id],
            "version": (version := version_of(visit.session, report)),
            "impression": _in_one_line(visit, version.content["impression"]),
            "is_unread": (report.id, report.current_version) not in read
            and report.status != ReportStatus.PRELIMINARY,
        }
        for report in reports
    ]
    rows.sort(key=lambda row: not row["is_unread"])
    critical = critical_results_for(visit.session, visit.who, only_open=True)
    may_hear = visit.who.has(Role.CLINICIAN)
    return {
        "rows": rows,
        "critical": critical,
        "may_hear": may_hear,
        "home": visit.who.institution_code,
        "people": names(visit.session),
        "length": LENGTH,
        "problem": "",
        "typed": {},
    }


def _in_one_line(visit: Visit, impression: list[str]) -> str:
    """The points of an impression behind each other, each without its own full stop but the last."""
    *first, last = impression or [""]
    return ("；" if visit.words.is_chinese else "; ").join([*(one.rstrip("。.；; ") for one in first), last])


def _acknowledged(visit: Visit, reports: list[DiagnosticReport]) -> set[tuple[int, int | None]]:
    rows = visit.session.execute(
        select(ReportAcknowledgement.report_id, ReportAcknowledgement.version).where(
            ReportAcknowledgement.report_id.in_([report.id for report in reports])
        )
    )
    return {(report_id, version) for report_id, version in rows}
