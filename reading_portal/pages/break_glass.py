"""Emergency access: ask for one study by its number, say why; and the review of what was opened."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form
from fastapi.responses import Response
from sqlalchemy import select

from reading_portal.dependencies import requires
from reading_portal.pages.visit import Acting, Looking, Visit
from storage import audit
from storage.audit import Act
from storage.imaging import Study
from storage.institutions import Institution, InstitutionKind
from worklist.break_glass import (
    LASTS,
    MAY_OPEN,
    MAY_REVIEW,
    find_hidden,
    open_access,
    pending,
    review,
)
from worklist.people import StudyAccess, names
from worklist.problems import Unacceptable

router = APIRouter()
RECENT = 50
Text = Annotated[str, Form(max_length=64)]


@router.get("/emergency", dependencies=[Depends(requires(*MAY_OPEN))])
def show_emergency(visit: Looking) -> Response:
    return _page(visit)


@router.post("/emergency", dependencies=[Depends(requires(*MAY_OPEN))])
def search(visit: Acting, institution: Text, number: Text) -> Response:
    """POST, so that identifiers of patients stay out of addresses and logs."""
    found = find_hidden(visit.session, by=visit.who, institution=institution, accession_or_patient_id=number)
    place = f"institution:{institution}"
    audit.record(visit.session, Act.QUERY, "emergency-search", place, by=visit.who.actor, at=visit.now)
    return _page(visit, institution=institution, number=number, found=found)


@router.post("/emergency/open", dependencies=[Depends(requires(*MAY_OPEN))])
def open_study(
    visit: Acting, study: Text, institution: Text, number: Text, reason: Annotated[str, Form(max_length=1000)]
) -> Response:
    try:
        open_access(visit.session, by=visit.who, study_instance_uid=study, reason=reason, now=visit.now)
    except Unacceptable as error:
        visit.undo()
        found = find_hidden(
            visit.session, by=visit.who, institution=institution, accession_or_patient_id=number
        )
        problem = visit.words.problem(str(error))
        return _page(
            visit, institution=institution, number=number, found=found, problem=problem, reason=reason,
            asked_for=study, status=422,
        )  # fmt: skip
    return visit.go(f"/studies/{study}")


@router.get("/admin/break-glass", dependencies=[Depends(requires(*MAY_REVIEW))])
def show_reviews(visit: Looking) -> Response:
    judged = visit.session.execute(
        select(StudyAccess, Study)
        .join(Study, Study.id == StudyAccess.study_pk)
        .where(StudyAccess.kind == "break-glass", StudyAccess.reviewed_at.is_not(None))
        .order_by(StudyAccess.id.desc())
        .limit(RECENT)
    ).all()
    return visit.page(
        "break_glass.html",
        waiting=pending(visit.session, by=visit.who),
        judged=judged,
        people=names(visit.session),
    )


@router.post("/admin/break-glass/{access_id}", dependencies=[Depends(requires(*MAY_REVIEW))])
def judge(visit: Acting, access_id: int, verdict: Annotated[str, Form(max_length=16)]) -> Response:
    review(visit.session, access_id, by=visit.who, verdict=verdict, now=visit.now)
    return visit.go("/admin/break-glass?said=judged")


def _page(
    visit: Visit,
    *,
    institution: str = "",
    number: str = "",
    found: list[Study] | None = None,
    problem: str = "",
    reason: str = "",
    asked_for: str = "",
    status: int = 200,
) -> Response:
    places = visit.session.execute(
        select(Institution.code, Institution.name)
        .where(Institution.is_active, Institution.kind != InstitutionKind.COMMISSION)
        .order_by(Institution.code)
    ).all()
    return visit.page(
        "emergency.html",
        status=status,
        places=places,
        institution=institution,
        number=number,
        found=found,
        problem=problem,
        reason=reason,
        asked_for=asked_for,
        hours=int(LASTS.total_seconds() // 3600),
    )
