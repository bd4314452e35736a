"""Linking two patients as one person, telling two apart, and taking either back; each with a reason.

Every act stands in one transaction with its trace, its event, the grouping and the proposals that follow.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage import audit, changes
from storage.audit import Act, Actor
from storage.changes import Topic
from storage.imaging import Patient
from storage.persons import (
    PersonDecision,
    Verdict,
    about,
    decisions_about,
    regroup,
    with_linked,
)
from storage.proposals import propose_anew
from storage.resemblance import Resemblance, resemblance


class Decision(StrEnum):
    LINK = "link"
    DISTINCT = "distinct"  # not the same person
    UNDO = "undo"  # of what stands between just these two


VERDICTS = {Decision.LINK: Verdict.SAME, Decision.DISTINCT: Verdict.DISTINCT}
# What the trail calls each act: the verdict, and whether it is taken back.
VERBS = {
    (Verdict.SAME, False): "link",
    (Verdict.SAME, True): "unlink",
    (Verdict.DISTINCT, False): "tell-apart",
    (Verdict.DISTINCT, True): "take-back",
}


class CannotLink(ValueError):
    """What was looked at does not stand any more; `holder` changed it at `since`, where a person did."""

    def __init__(self, sentence: str, holder: str | None = None, since: datetime | None = None) -> None:
        super().__init__(sentence)
        self.holder, self.since = holder, since


@dataclass(frozen=True)
class Pair:
    """Two patients as they stand to each other."""

    first: Patient
    second: Patient
    members: tuple[Patient, ...]  # of both persons: these two and everyone linked to either
    decisions: tuple[PersonDecision, ...]  # that stand and name any of the members, the oldest first

    @property
    def resemblance(self) -> Resemblance:
        return resemblance(self.first, self.second)

    @property
    def is_linked(self) -> bool:
        """Linked to each other, perhaps only by way of others."""
        return self.first.person_id is not None and self.first.person_id == self.second.person_id

    @property
    def between(self) -> list[PersonDecision]:
        """What stands among the members: the links, or that they are told apart, by way of whomever."""
        keys = {one.id for one in self.members}
        return [one for one in self.decisions if {one.first_pk, one.second_pk} <= keys]

    @property
    def standing(self) -> PersonDecision | None:
        """What stands between just these two."""
        these = (self.first.id, self.second.id)
        return next((one for one in self.decisions if (one.first_pk, one.second_pk) == these), None)

    @property
    def is_told_apart(self) -> bool:
        """Told apart, perhaps only those who are linked to them."""
        return any(one.verdict == Verdict.DISTINCT for one in self.between)

    @property
    def possible(self) -> tuple[Decision, ...]:
        if self.standing is not None:
            return (Decision.UNDO,)
        return () if self.is_linked or self.is_told_apart else (Decision.LINK, Decision.DISTINCT)

    @property
    def version(self) -> str:
        """Another one whenever anything that a decision rests on has changed."""
        seen = [
            [[one.id, one.person_id, one.name, one.sex, one.birth_date, one.national_id, one.phone]
             for one in self.members],
            [one.id for one in self.decisions],
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(seen, default=str).encode()).hexdigest()[:16]


def find_pair(session: Session, one_pk: int, other_pk: int) -> Pair | None:
    """Two different patients, the older row first; None where there are no such two."""
    if one_pk == other_pk:
        return None
    keys = with_linked(session, {one_pk, other_pk})
    statement = select(Patient).where(Patient.id.in_(keys)).order_by(Patient.id)
    members = session.scalars(statement.execution_options(populate_existing=True)).all()
    by_pk = {one.id: one for one in members}
    first_pk, second_pk = sorted((one_pk, other_pk))
    if first_pk not in by_pk or second_pk not in by_pk:
        return None
    return Pair(by_pk[first_pk], by_pk[second_pk], tuple(members), tuple(decisions_about(session, by_pk)))


def decide(
    session: Session,
    pair: Pair,
    decision: Decision,
    *,
    reason: str,
    version: str,
    by: Actor,
    now: datetime,
) -> PersonDecision:
    """Do it to the pair, found under `hold_persons`. Raises CannotLink for the second of two operators."""
    if pair.version != version:
        raise CannotLink("this has changed since it was looked at", *_last_act(session, pair))
    if decision not in pair.possible:
        raise CannotLink("what stands between these two does not allow this", *_last_act(session, pair))
    if decision is Decision.UNDO:
        row = pair.standing
        assert row is not None
        row.withdrawn_by, row.withdrawn_at, row.withdrawal_reason = by.name, now, reason
    else:
        row = PersonDecision(
            first_pk=pair.first.id,
            second_pk=pair.second.id,
            verdict=VERDICTS[decision],
            evidence=[str(one) for one in pair.resemblance.evidence],
            reason=reason,
            decided_by=by.name,
            decided_at=now,
        )
        session.add(row)
    session.flush()
    touched = [one.id for one in pair.members]
    regroup(session, touched)
    propose_anew(session, touched, now=now)
    _tell(session, pair, row, by, now, reason)
    return row


def _last_act(session: Session, pair: Pair) -> tuple[str | None, datetime | None]:
    """Who touched any of these last, and when."""
    at = func.coalesce(PersonDecision.withdrawn_at, PersonDecision.decided_at)
    by = func.coalesce(PersonDecision.withdrawn_by, PersonDecision.decided_by)
    last = select(by, at).where(about([one.id for one in pair.members])).order_by(at.desc()).limit(1)
    row = session.execute(last).first()
    return (row[0], row[1]) if row else (None, None)


def _tell(session: Session, pair: Pair, row: PersonDecision, by: Actor, now: datetime, reason: str) -> None:
    verb = VERBS[Verdict(row.verdict), row.withdrawn_at is not None]
    audit.record(
        session, Act.PATIENT, verb, row.subject, by=by, at=now,
        patients=[row.first_pk, row.second_pk], reason=reason,
    )  # fmt: skip
    for issuer in sorted({one.issuer for one in pair.members}):
        changes.publish(session, Topic.PERSON, row.subject, verb, institution_code=issuer)
