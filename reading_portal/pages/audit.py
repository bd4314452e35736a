"""The audit trail for those who watch over it: filter, page, and whether the chain holds."""

from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from sqlalchemy import select

from reading_portal.dependencies import requires
from reading_portal.pages.visit import Acting, Visit
from reading_portal.trail import Teller
from storage import audit
from storage.audit import Act, AuditEvent
from storage.institutions import institution_names
from worklist.people import Role, names

router = APIRouter(prefix="/admin/audit", dependencies=[Depends(requires(Role.AUDITOR, Role.DIRECTOR))])
LENGTH = 200
MOST_BROKEN = 20


class Asked:
    def __init__(
        self,
        act: Annotated[str, Query(max_length=32)] = "",
        actor: Annotated[str, Query(max_length=64)] = "",
        subject: Annotated[str, Query(max_length=100)] = "",
        day: Annotated[str, Query(max_length=10)] = "",
        before: Annotated[int | None, Query(ge=1)] = None,
        check: bool = False,
    ) -> None:
        self.act = act if act in set(Act) else ""
        self.actor, self.subject, self.before, self.check = actor.strip(), subject.strip(), before, check
        try:
            self.day = date.fromisoformat(day).isoformat() if day else ""
        except ValueError:
            self.day = ""


@router.get("")
def show_audit(visit: Acting, asked: Annotated[Asked, Depends()]) -> Response:
    people, places = names(visit.session), institution_names(visit.session)
    teller = Teller(visit.words, visit.who, people=people, institutions=places)
    rows = _rows(visit, asked, teller)
    # Who looks at the trail stands in the trail (PS3.15 A.5.3.2, Audit Log Used).
    audit.record(visit.session, Act.QUERY, "read-audit", "audit", by=visit.who.actor, at=visit.now)
    broken = list(islice(audit.broken_links(visit.session), MOST_BROKEN)) if asked.check else None
    return visit.page(
        "audit.html",
        asked=asked,
        rows=[teller.tell(row) for row in rows],
        acts=list(Act),
        broken=broken,
        count=audit.count(visit.session),
        people=sorted(teller.people.items(), key=lambda one: one[1]),
        older=f"/admin/audit?{_address(asked, before=rows[-1].seq)}" if len(rows) == LENGTH else "",
        newest=f"/admin/audit?{_address(asked)}" if asked.before else "",
    )


def _address(asked: Asked, **more: int) -> str:
    said = {"act": asked.act, "actor": asked.actor, "subject": asked.subject, "day": asked.day, **more}
    return urlencode({name: value for name, value in said.items() if value})


def _rows(visit: Visit, asked: Asked, teller: Teller) -> list[AuditEvent]:
    query = select(AuditEvent)
    if asked.act:
        query = query.where(AuditEvent.act == asked.act)
    if asked.actor:
        query = query.where(AuditEvent.actor.in_(teller.actors_of(asked.actor)))
    if asked.subject:
        query = query.where(AuditEvent.subject.in_(teller.subjects_of(asked.subject)))
    if asked.day:
        begin = datetime.combine(date.fromisoformat(asked.day), time(), tzinfo=visit.words.timezone)
        query = query.where(AuditEvent.at >= begin, AuditEvent.at < begin + timedelta(days=1))
    if asked.before:
        query = query.where(AuditEvent.seq < asked.before)
    return list(visit.session.scalars(query.order_by(AuditEvent.seq.desc()).limit(LENGTH)))
