"""The reading page: images or ECG on one side; history, priors and the report on the other."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from sqlalchemy import select

from reading_portal.dependencies import CurrentPractitioner, Now, Objects, ReadSession, TheDatabase
from reading_portal.pages.first_picture import bundle, first_picture
from reading_portal.pages.visit import Looking, Visit
from reading_portal.viewing import note_view
from storage.corrections import mark_of
from storage.imaging import Study
from worklist.consistency import doubts_in_draft, side_of
from worklist.critical_results import Category, critical_results_for
from worklist.other_exams import other_exams
from worklist.people import Practitioner, Role, names
from worklist.reading_tasks import (
    CLAIMABLE,
    RETURN_REASONS,
    SUSPEND_REASONS,
    ReadingTask,
    TaskState,
    find_task,
    why_not,
)
from worklist.recognition import decisions, mark_for
from worklist.report_macros import expansions
from worklist.report_templates import templates_for
from worklist.reports import DiagnosticReport, Draft, abandoned_drafts, shape_of, version_of
from worklist.turnaround import urgency

router = APIRouter()

QUALITY_GRADES = ("A", "B", "C", "D")


@dataclass(frozen=True)
class Stand:
    """How this person stands to this task: what the page lets them do, and why not more."""

    mode: str  # write | review | look
    refusal: str = ""
    holder: str = ""


@router.get("/reading/{task_id}")
def show_reading(visit: Looking, objects: Objects, database: TheDatabase, task_id: int) -> Response:
    task = find_task(visit.session, visit.who, task_id)
    study = task.study
    report = visit.session.get(DiagnosticReport, task.report_id) if task.report_id else None
    picture = first_picture(visit.session, objects, visit.who, study.study_instance_uid)
    people = names(visit.session)
    others = other_exams(visit.session, study, timezone=visit.policy.timezone, seen_by=visit.who, limit=20)
    answer = visit.page(
        "reading.html",
        live=False,
        task=task,
        study=study,
        seen=study.version,
        mark_seen=mark_of(visit.session, study),
        is_corrected=False,
        patient=study.patient,
        order=task.service_request,
        stand=_stand(visit, task, people),
        urgency=urgency(task.opened_at, task.due_at, visit.now),
        seconds=(task.due_at - visit.now).total_seconds(),
        draft=shape_of(report) if report else _empty(),
        report=report,
        signed=version_of(visit.session, report) if report and report.current_version else None,
        abandoned=abandoned_drafts(visit.session, report)[:3] if report else [],
        drafted_by=people.get(report.drafted_by or "", "") if report else "",
        templates=templates_for(
            visit.session, visit.who, task.modality, task.body_part, language=visit.policy.language
        ),
        macros=expansions(visit.session, visit.who),
        grades=QUALITY_GRADES,
        return_reasons=_fitting(RETURN_REASONS, task.modality),
        suspend_reasons=SUSPEND_REASONS,
        colleagues=_colleagues(visit, task),
        categories=list(Category),
        critical=[one for one in critical_results_for(visit.session, visit.who) if one.study_pk == study.id],
        laterality=side_of(visit.session, study, task.service_request),
        earlier=[_reported(visit, one) for one in others.earlier],
        later=[_reported(visit, one) for one in others.later],
        mark_text=mark_for(visit.session, study),
        recognition=decisions(visit.session, task.service_request),
        people=people,
        picture=picture,
        bundle=bundle(picture.kind),
    )
    note_view(database, visit.who, study.study_instance_uid, now=visit.now)
    return answer


@router.get("/reading/{task_id}/draft")
def show_draft(session: ReadSession, person: CurrentPractitioner, now: Now, task_id: int) -> dict[str, Any]:
    """The words as they stand now: what the page looks at once it holds the task."""
    task = find_task(session, person, task_id)
    report = session.get(DiagnosticReport, task.report_id) if task.report_id else None
    drafted_at = report.drafted_at if report else None
    return {
        "state": task.state,
        "holder": names(session).get(task.holder or ""),
        "revision": report.revision if report else 0,
        "drafted_by": report.drafted_by if report else None,
        "drafted_at": drafted_at.isoformat() if drafted_at else None,
        "draft": shape_of(report) if report else _empty(),
        "doubts": [asdict(one) for one in doubts_in_draft(session, task)],
    }


@router.get("/reading/{task_id}/arrival")
def show_arrival(
    visit: Looking,
    task_id: int,
    seen: Annotated[int, Query(ge=0)],
    mark: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """How complete the study is now, whether images came since the page showed its version `seen`, and
    whether it was corrected since it bore this `mark`."""
    study = find_task(visit.session, visit.who, task_id).study
    is_corrected = mark not in ("", mark_of(visit.session, study))
    return visit.part(
        "_arrival.html", study=study, patient=study.patient, seen=seen, is_corrected=is_corrected
    )


def _stand(visit: Visit, task: ReadingTask, people: dict[str, str]) -> Stand:
    holder = people.get(task.holder or "", task.holder or "")
    if task.state not in CLAIMABLE:
        return Stand("look", "", holder)
    refusal = why_not(visit.session, task, visit.who, now=visit.now)
    if refusal is not None:
        return Stand("look", visit.words.problem(refusal), holder)
    return Stand("review" if task.state == TaskState.AWAITING_REVIEW else "write", "", holder)


def _reported(visit: Visit, study: Study) -> dict[str, Any]:
    """Another exam with what was last signed about it."""
    report = visit.session.scalar(
        select(DiagnosticReport)
        .where(DiagnosticReport.study_pk == study.id, DiagnosticReport.current_version.is_not(None))
        .order_by(DiagnosticReport.id.desc())
        .limit(1)
    )
    content = version_of(visit.session, report).content if report else {}
    return {
        "study": study,
        "report": report,
        "findings": content.get("findings", ""),
        "impression": content.get("impression", []),
    }


def _colleagues(visit: Visit, task: ReadingTask) -> list[Practitioner]:
    """Readers who could take this over; the mind asks again when they claim."""
    everyone = visit.session.scalars(
        select(Practitioner)
        .where(Practitioner.is_active, Practitioner.username != visit.who.username)
        .order_by(Practitioner.name)
    )
    return [one for one in everyone if Role.READER in one.roles and task.modality in one.reads]


def _fitting(reasons: tuple[str, ...], modality: str) -> list[str]:
    """Leads and noise are the ECG's; exposure and positioning are the images'."""
    of_ecg, of_images = {"lead-misplaced", "noise"}, {"exposure", "positioning", "motion"}
    other = of_images if modality == "ECG" else of_ecg
    return [reason for reason in reasons if reason not in other]


def _empty() -> dict[str, Any]:
    return dict(vars(Draft(findings="", impression="")))
