"""Images alone, for everyone who may see the study."""

from fastapi import APIRouter
from fastapi.responses import Response
from sqlalchemy import select

from reading_portal.dependencies import Objects, TheDatabase
from reading_portal.pages.first_picture import bundle, first_picture
from reading_portal.pages.visit import Looking
from reading_portal.viewing import note_view
from storage.imaging import Study
from worklist.corrections import may_correct
from worklist.orders import ServiceRequest
from worklist.people import Role, visible_to
from worklist.problems import Missing
from worklist.reports import DiagnosticReport

router = APIRouter()


@router.get("/studies/{study_instance_uid}")
def show_study(visit: Looking, objects: Objects, database: TheDatabase, study_instance_uid: str) -> Response:
    study = visit.session.scalar(
        select(Study).where(
            Study.study_instance_uid == study_instance_uid,
            visible_to(visit.session, visit.who, Study, now=visit.now),
        )
    )
    if study is None:
        raise Missing("no such study")
    picture = first_picture(visit.session, objects, visit.who, study_instance_uid)
    report = visit.session.scalar(
        select(DiagnosticReport)
        .where(
            DiagnosticReport.study_pk == study.id,
            DiagnosticReport.current_version.is_not(None),
            visible_to(visit.session, visit.who, DiagnosticReport),
        )
        .order_by(DiagnosticReport.id.desc())
        .limit(1)
    )
    answer = visit.page(
        "study.html",
        live=False,
        study=study,
        patient=study.patient,
        order=visit.session.scalar(select(ServiceRequest).where(ServiceRequest.study_pk == study.id)),
        report=report,
        picture=picture,
        bundle=bundle(picture.kind),
        may_correct=may_correct(visit.who, study),
        may_read=visit.who.has(Role.READER, Role.REVIEWER),
    )
    note_view(database, visit.who, study_instance_uid, now=visit.now)
    return answer
