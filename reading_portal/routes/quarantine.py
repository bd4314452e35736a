"""What was kept aside because its UID was taken: both contents, their differences, and the decision."""

import os
from datetime import datetime
from functools import partial
from typing import Annotated, Literal

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, HTTPException, Query, Request, Response
from pydantic import Field
from pydicom.datadict import keyword_for_tag
from sqlalchemy.orm import Session

from reading_portal.dependencies import (
    CurrentPractitioner,
    Now,
    Objects,
    OpenSession,
    ReadSession,
    TheDatabase,
    database_of,
    now_of,
    objects_of,
)
from reading_portal.rendering import CannotRender, Viewport
from reading_portal.shapes import Answer, Cursor, Key, Limit, Shape, position
from reading_portal.side_by_side import Content, compare, draw, first_of, second_of, studies_of
from reading_portal.viewing import note_query, note_view
from storage.conflicts import Decision, is_settled, possible
from storage.imaging import QuarantinedInstance
from worklist import conflicts
from worklist.conflicts import Conflict
from worklist.problems import Missing

router = APIRouter(prefix="/api/quarantine", tags=["quarantine"])

PREVIEW = Viewport(1024, 1024)
AT_ONCE = max(2, os.cpu_count() or 2)
Which = Literal["first", "second"]


class NewDecision(Shape):
    decision: Annotated[Decision, Field(strict=False)]
    reason: Annotated[str, Field(max_length=1000)]
    version: Annotated[int, Field(ge=0, le=2**31 - 1)]
    with_alike: bool = False


class ConflictSeen(Answer):
    id: int
    sop_instance_uid: str
    study_instance_uid: str
    institution: str
    sent_by: str
    received_at: datetime
    why: str
    decision: str | None
    decided_by: str | None
    decided_at: datetime | None
    reason: str | None
    kept_as: str | None
    is_settled: bool
    version: int


class Conflicts(Answer):
    items: list[ConflictSeen]
    next_cursor: str | None


class First(Answer):
    sop_instance_uid: str
    study_instance_uid: str
    institution: str
    sent_by: str
    received_at: datetime


class DifferenceSeen(Answer):
    path: str
    keyword: str
    first: str | None
    second: str | None


class ConflictDetail(ConflictSeen):
    first: First | None
    is_first_hidden: bool
    differences: list[DifferenceSeen]
    pixels: str
    alike: int
    possible: list[str]


class Decided(Answer):
    decided: int
    conflict: ConflictSeen


@router.get("")
def list_quarantine(
    who: CurrentPractitioner,
    session: ReadSession,
    database: TheDatabase,
    now: Now,
    is_open: Annotated[bool, Query(alias="open")] = True,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Conflicts:
    """What was kept aside, the newest first; with `open=false` also what was decided on."""
    rows = conflicts.conflicts_for(session, who, only_open=is_open, before=position(cursor), limit=limit)
    note_query(database, who, "quarantine", found=len(rows), searched={}, now=now)
    after = str(rows[-1].id) if len(rows) == limit else None
    return Conflicts(items=[_seen(session, row) for row in rows], next_cursor=after)


@router.get("/{conflict_id}")
def quarantine_detail(
    conflict_id: Key,
    who: CurrentPractitioner,
    session: ReadSession,
    objects: Objects,
    database: TheDatabase,
    now: Now,
) -> ConflictDetail:
    """Both contents with their differences, and what may be decided."""
    found = conflicts.find_conflict(session, who, conflict_id)
    compared = compare(objects, found)
    for study in studies_of(found):
        note_view(database, who, study, now=now)
    return ConflictDetail(
        **_seen(session, found.second).model_dump(),
        first=_first(found),
        is_first_hidden=found.is_first_hidden,
        differences=[
            DifferenceSeen(
                path=one.path, keyword=keyword_for_tag(int(one.tag, 16)), first=one.first, second=one.second
            )
            for one in compared.differences
        ],
        pixels=compared.pixels,
        alike=conflicts.count_alike(session, found),
        possible=[] if found.is_first_hidden else list(possible(session, found.second)),
    )


@router.post("/{conflict_id}/decision")
def decide(
    conflict_id: Key, body: NewDecision, who: CurrentPractitioner, session: OpenSession, now: Now
) -> Decided:
    """Keep the first only, keep both, or reopen; `version` is the one that was looked at."""
    decided = conflicts.decide_conflict(
        session,
        conflict_id,
        decision=body.decision,
        reason=body.reason,
        version=body.version,
        with_alike=body.with_alike,
        by=who,
        now=now,
    )
    found = conflicts.find_conflict(session, who, conflict_id)
    return Decided(decided=decided, conflict=_seen(session, found.second))


@router.get("/{conflict_id}/{which}/rendered")
async def picture(request: Request, conflict_id: Key, which: Which, who: CurrentPractitioner) -> Response:
    """A picture of one of the two: JPEG, or SVG of an ECG."""
    state = request.app.state
    if not hasattr(state, "drawing"):
        state.drawing = CapacityLimiter(AT_ONCE)  # shared with the previews of DICOMweb: processors are few
    return await to_thread.run_sync(
        partial(_picture, request, conflict_id, which, who), limiter=state.drawing
    )


def _picture(request: Request, conflict_id: int, which: Which, who: CurrentPractitioner) -> Response:
    database, objects = database_of(request), objects_of(request)
    with database.reading() as session:
        found = conflicts.find_conflict(session, who, conflict_id)
        content: Content | None = second_of(found.second)
        if which == "first":
            content = first_of(objects, found.first) if found.first is not None else None
    if content is None:
        raise Missing("there is no first content that you may see")
    note_view(database, who, content.stored.study_instance_uid, now=now_of(request))
    try:
        data, media_type = draw(objects, content, PREVIEW)
    except CannotRender as error:
        raise HTTPException(422, str(error)) from error
    return Response(data, media_type=media_type, headers={"Cache-Control": "no-store"})


def _first(found: Conflict) -> First | None:
    if found.first is None:
        return None
    study = found.first.series.study
    return First(
        sop_instance_uid=found.first.sop_instance_uid,
        study_instance_uid=study.study_instance_uid,
        institution=study.institution_code,
        sent_by=found.first.calling_ae,
        received_at=found.first.received_at,
    )


def _seen(session: Session, row: QuarantinedInstance) -> ConflictSeen:
    return ConflictSeen(
        id=row.id,
        sop_instance_uid=row.sop_instance_uid,
        study_instance_uid=row.study_instance_uid,
        institution=row.institution_code,
        sent_by=row.calling_ae,
        received_at=row.received_at,
        why=row.reason,
        decision=row.resolution,
        decided_by=row.resolved_by,
        decided_at=row.resolved_at,
        reason=row.resolution_reason,
        kept_as=row.kept_as,
        is_settled=is_settled(session, row),
        version=row.version,
    )
