"""Critical results: raised with the study, told at once, acknowledged with a read-back."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from reading_portal.dependencies import CurrentPractitioner, Now, OpenSession, ReadSession, TheDatabase
from reading_portal.routes.studies import find_study
from reading_portal.shapes import Answer, Key, Sentence, Shape, Uid
from reading_portal.viewing import note_query
from worklist import critical_results
from worklist.critical_results import CriticalResult

router = APIRouter(prefix="/api/critical-results", tags=["critical results"])


class NewCriticalResult(Shape):
    study_instance_uid: Uid
    category: Literal["minutes", "hours", "days"]
    statement: Annotated[str, Field(min_length=1, max_length=2000)]


class ReadBack(Shape):
    read_back: Sentence


class CriticalResultSeen(Answer):
    id: int
    study_instance_uid: str
    institution: str
    modality: str
    category: str
    statement: str
    state: str
    raised_by: str
    raised_at: datetime
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    read_back: str | None


class CriticalResults(Answer):
    items: list[CriticalResultSeen]
    next_cursor: None = None


@router.post("", status_code=201)
def raise_critical_result(
    body: NewCriticalResult, who: CurrentPractitioner, session: OpenSession, now: Now
) -> CriticalResultSeen:
    """Raise it and tell the ordering unit in the same transaction."""
    study = find_study(session, who, body.study_instance_uid, now)
    row = critical_results.raise_critical_result(
        session, study, category=body.category, statement=body.statement, by=who, now=now
    )
    return _seen(row)


@router.get("")
def list_critical_results(
    who: CurrentPractitioner,
    session: ReadSession,
    database: TheDatabase,
    now: Now,
    is_open: Annotated[bool, Query(alias="open")] = False,
) -> CriticalResults:
    """Critical results that the caller may see, the newest 200; with `open`, the unacknowledged ones."""
    rows = critical_results.critical_results_for(session, who, only_open=is_open)
    note_query(database, who, "critical-results", found=len(rows), searched={}, now=now)
    return CriticalResults(items=[_seen(row) for row in rows])


@router.post("/{critical_id}/acknowledge")
def acknowledge_critical_result(
    critical_id: Key, body: ReadBack, who: CurrentPractitioner, session: OpenSession, now: Now
) -> CriticalResultSeen:
    """The ordering unit says back what it heard."""
    row = critical_results.acknowledge_critical_result(
        session, critical_id, read_back=body.read_back, by=who, now=now
    )
    return _seen(row)


def _seen(row: CriticalResult) -> CriticalResultSeen:
    return CriticalResultSeen(
        id=row.id,
        study_instance_uid=row.study.study_instance_uid,
        institution=row.institution_code,
        modality=row.modality,
        category=row.category,
        statement=row.statement,
        state=row.state,
        raised_by=row.raised_by,
        raised_at=row.raised_at,
        acknowledged_by=row.acknowledged_by,
        acknowledged_at=row.acknowledged_at,
        read_back=row.read_back,
    )
