"""Reading tasks: the list, claim under a fence, every step with it, the draft, and both signatures."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field
from sqlalchemy.orm import Session

from reading_portal.dependencies import (
    Authority,
    CurrentPractitioner,
    Now,
    Objects,
    OpenSession,
    ReadSession,
    SigningSeat,
    TheDatabase,
    TheSettings,
)
from reading_portal.documents import unprintable
from reading_portal.shapes import (
    Answer,
    Code,
    Credentials,
    Cursor,
    Fence,
    Key,
    Limit,
    Moment,
    Prose,
    Sentence,
    Shape,
    Uid,
    position,
)
from reading_portal.signing_room import SigningRoom
from reading_portal.viewing import note_query
from storage.corrections import mark_of
from worklist import assignment, people, reading_tasks, reports
from worklist.consistency import doubts_in_draft
from worklist.issuing import Seen
from worklist.people import Role, Who, must_have
from worklist.problems import Unacceptable
from worklist.reading_tasks import Claim, ReadingTask

router = APIRouter(prefix="/api/reading-tasks", tags=["reading tasks"])


class Task(Answer):
    id: int
    state: str
    priority: str
    pathway: str | None
    modality: str
    body_part: str
    institution: str
    study_instance_uid: str
    accession_number: str
    order_id: int
    purpose: str
    opened_at: datetime
    due_at: datetime
    holder: str | None
    holder_name: str | None
    claimed_at: datetime | None
    lease_until: datetime | None
    author: str | None
    reason: str | None
    note: str | None
    report_id: int | None
    study_version: int  # grows with images that come after the study first settled
    arrival_state: str
    settled_by: str | None
    study_mark: str | None = None  # another one after every correction; of one task only


class Tasks(Answer):
    items: list[Task]
    next_cursor: str | None


class Lease(Answer):
    fence: int
    lease_until: datetime


class ClaimedTask(Task):
    fence: int


class TakeOver(Shape):
    takeover: bool = False


class Fenced(Shape):
    fence: Fence


class Return(Fenced):
    reason: Code
    note: Sentence = ""


class Suspension(Fenced):
    reason: Code
    until: Moment | None = None


class HandOver(Fenced):
    to: Annotated[str, Field(max_length=64)] | None = None
    note: Sentence = ""


class Skip(Shape):
    reason: Code


class KeyImage(Shape):
    sop_instance_uid: Uid
    frame: Annotated[int, Field(ge=1, le=100_000)] = 1
    caption: Annotated[str, Field(max_length=200)] = ""


class DraftWords(Fenced):
    findings: Prose
    impression: Prose
    recommendation: Prose = ""
    template: Code | None = None
    key_images: Annotated[list[KeyImage], Field(max_length=12)] = Field(default_factory=list)
    positive: bool | None = None
    image_quality: Code = ""


class DoubtRaised(Answer):
    kind: str  # side, both, unfound, sex
    part: str  # findings, impression, recommendation
    said: str  # the word in question
    within: str  # the clause that holds it
    expected: str  # L, R; F, M


class DraftKept(Answer):
    revision: int
    unprintable: list[str]  # characters that must be written otherwise before the report can be signed
    doubts: list[DoubtRaised]  # what a second pair of eyes would ask about; nothing here forbids a signature


class Signature(Credentials):
    fence: Fence
    # The task's, as it was when the signer looked. Left out: only images during the signing are noticed.
    study_version: Annotated[int | None, Field(ge=1)] = None
    # The same of whose it is, as GET of the task said.
    study_mark: Annotated[str | None, Field(max_length=40)] = None

    @property
    def seen(self) -> Seen:
        return Seen(study_version=self.study_version, study_mark=self.study_mark)


class Review(Signature):
    decision: Literal["approve", "reject"]
    note: Sentence = ""


class Issued(Answer):
    report_id: int
    version: int
    status: str


def task_of(row: ReadingTask, names: dict[str, str]) -> dict[str, Any]:
    columns = (
        "id", "state", "priority", "pathway", "modality", "body_part", "purpose", "opened_at", "due_at",
        "holder", "claimed_at", "lease_until", "author", "reason", "note", "report_id",
    )  # fmt: skip
    return {name: getattr(row, name) for name in columns} | {
        "institution": row.institution_code,
        "study_instance_uid": row.study.study_instance_uid,
        "study_version": row.study.version,
        "arrival_state": row.study.arrival_state,
        "settled_by": row.study.settled_by,
        "accession_number": row.service_request.accession_number,
        "order_id": row.service_request_id,
        "holder_name": names.get(row.holder or ""),
    }


@router.get("")
def list_tasks(
    who: CurrentPractitioner,
    session: ReadSession,
    database: TheDatabase,
    now: Now,
    state: Annotated[list[reading_tasks.TaskState] | None, Query()] = None,
    modality: Annotated[str | None, Query(max_length=16)] = None,
    priority: Annotated[Literal["routine", "urgent", "asap", "stat"] | None, Query()] = None,
    institution: Annotated[str | None, Query(max_length=16)] = None,
    patient: Annotated[str | None, Query(max_length=64)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Tasks:
    """Tasks that the caller may see, most urgent first; open ones where no `state` is named."""
    offset = position(cursor) or 0
    found = reading_tasks.tasks_for(
        session,
        who,
        states=[str(one) for one in state] if state else None,
        modality=modality,
        priority=priority,
        institution=institution,
        patient=patient,
        limit=limit + 1,
        offset=offset,
    )
    names = people.names(session)
    if patient:  # the list names nobody, but this answer tells of the one who was searched for
        note_query(
            database, who, "reading-tasks", found=len(found[:limit]), searched={"patient": patient}, now=now
        )
    return Tasks(
        items=[Task(**task_of(row, names)) for row in found[:limit]],
        next_cursor=str(offset + limit) if len(found) > limit else None,
    )


@router.post("/next", responses={204: {"description": "nothing is waiting for the caller"}})
def claim_next_task(who: CurrentPractitioner, session: OpenSession, now: Now) -> ClaimedTask:
    """Claim the best task for the caller and answer it with its fence; 204 where there is none."""
    must_have(who, Role.READER, Role.REVIEWER)
    claim = assignment.next_task(session, by=who, now=now)
    if claim is None:
        return Response(status_code=204)  # type: ignore[return-value]
    task = reading_tasks.find_task(session, who, claim.task_id)
    return ClaimedTask(**task_of(task, people.names(session)), fence=claim.fence)


@router.get("/{task_id}")
def look_at_task(task_id: Key, who: CurrentPractitioner, session: ReadSession) -> Task:
    task = reading_tasks.find_task(session, who, task_id)
    return Task(**task_of(task, people.names(session)), study_mark=mark_of(session, task.study))


@router.post("/{task_id}/claim")
def claim_task(
    task_id: Key, who: CurrentPractitioner, session: OpenSession, now: Now, body: TakeOver | None = None
) -> Lease:
    """A lease with a fence; a repeated claim by the holder answers the same one. 409 with the holder."""
    takeover = body.takeover if body is not None else False
    return _lease(reading_tasks.claim(session, task_id, by=who, now=now, takeover=takeover))


@router.post("/{task_id}/heartbeat")
def keep_lease(task_id: Key, body: Fenced, who: CurrentPractitioner, session: OpenSession, now: Now) -> Lease:
    seen = _seen(session, who, task_id)
    return _lease(reading_tasks.heartbeat(session, seen, by=who, fence=body.fence, now=now))


@router.post("/{task_id}/release")
def release_task(
    task_id: Key, body: Fenced, who: CurrentPractitioner, session: OpenSession, now: Now
) -> Task:
    """Back into the pool; the draft stays with the task, labelled with its author."""
    reading_tasks.release(session, _seen(session, who, task_id), by=who, fence=body.fence, now=now)
    return _after(session, who, task_id)


@router.post("/{task_id}/return")
def return_task(task_id: Key, body: Return, who: CurrentPractitioner, session: OpenSession, now: Now) -> Task:
    """Back to the township, with a coded reason: these images do not allow a report."""
    reading_tasks.return_to_township(
        session,
        _seen(session, who, task_id),
        by=who,
        fence=body.fence,
        reason=body.reason,
        note=body.note,
        now=now,
    )
    return _after(session, who, task_id)


@router.post("/{task_id}/suspend")
def suspend_task(
    task_id: Key, body: Suspension, who: CurrentPractitioner, session: OpenSession, now: Now
) -> Task:
    """Set aside with its holder, until a time if one is given."""
    reading_tasks.suspend(
        session,
        _seen(session, who, task_id),
        by=who,
        fence=body.fence,
        reason=body.reason,
        until=body.until,
        now=now,
    )
    return _after(session, who, task_id)


@router.post("/{task_id}/hand-over")
def hand_over_task(
    task_id: Key, body: HandOver, who: CurrentPractitioner, session: OpenSession, now: Now
) -> Task:
    """To a named reader first, or to everyone; with a note and every word of the draft."""
    seen = _seen(session, who, task_id)
    if body.to is not None and body.to not in people.names(session):
        raise Unacceptable("no such person")
    reading_tasks.hand_over(session, seen, by=who, fence=body.fence, to=body.to, note=body.note, now=now)
    return _after(session, who, task_id)


@router.post("/{task_id}/skip", status_code=204)
def skip_task(task_id: Key, body: Skip, who: CurrentPractitioner, session: OpenSession, now: Now) -> None:
    """Do not offer this one to the caller for a while."""
    must_have(who, Role.READER, Role.REVIEWER)
    assignment.skip(session, _seen(session, who, task_id), by=who, reason=body.reason, now=now)


@router.put("/{task_id}/report")
def keep_draft(
    task_id: Key, body: DraftWords, who: CurrentPractitioner, session: OpenSession, now: Now
) -> DraftKept:
    """Autosave. 409 where the fence is stale: nothing was written over, the text is still the caller's."""
    draft = reports.Draft(
        findings=body.findings,
        impression=body.impression,
        recommendation=body.recommendation,
        template=body.template,
        key_images=[one.model_dump() for one in body.key_images],
        positive=body.positive,
        image_quality=body.image_quality,
    )
    seen = _seen(session, who, task_id)
    revision = reports.keep_draft(session, seen, draft, by=who, fence=body.fence, now=now)
    captions = "".join(one.caption for one in body.key_images)
    said = body.findings + body.impression + body.recommendation + captions
    task = reading_tasks.find_task(session, who, task_id)
    doubts = [DoubtRaised.model_validate(one) for one in doubts_in_draft(session, task)]
    return DraftKept(revision=revision, unprintable=unprintable(said), doubts=doubts)


@router.post("/{task_id}/sign", dependencies=[SigningSeat])
def sign_report(
    task_id: Key,
    body: Signature,
    who: CurrentPractitioner,
    database: TheDatabase,
    objects: Objects,
    authority: Authority,
    settings: TheSettings,
    now: Now,
) -> Issued:
    """The author signs, with password or one-time code: `preliminary` where a reviewer must follow."""
    room = SigningRoom(database, objects, authority, settings, who, now, password=body.password, otp=body.otp)
    return Issued.model_validate(room.sign(task_id, fence=body.fence, seen=body.seen))


@router.post("/{task_id}/review", dependencies=[SigningSeat])
def review_report(
    task_id: Key,
    body: Review,
    who: CurrentPractitioner,
    database: TheDatabase,
    objects: Objects,
    authority: Authority,
    settings: TheSettings,
    now: Now,
) -> Issued:
    """A second person approves, which is final, or sends it back with a note."""
    room = SigningRoom(database, objects, authority, settings, who, now, password=body.password, otp=body.otp)
    if body.decision == "approve":
        return Issued.model_validate(room.approve(task_id, fence=body.fence, seen=body.seen))
    return Issued.model_validate(room.reject(task_id, fence=body.fence, note=body.note))


def _seen(session: Session, who: Who, task_id: int) -> int:
    """Asked before anything else: whoever may not see the task does not hear that it is there."""
    return reading_tasks.find_task(session, who, task_id).id


def _after(session: Session, who: Who, task_id: int) -> Task:
    session.flush()
    return Task(**task_of(reading_tasks.find_task(session, who, task_id), people.names(session)))


def _lease(claim: Claim) -> Lease:
    return Lease(fence=claim.fence, lease_until=claim.lease_until)
