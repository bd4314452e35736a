"""Shortfalls: a sender said which instances belong to a study, and we do not have them all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from storage.imaging import Instance, Study
from storage.instance_lists import InstanceList, ListKind
from worklist.completeness import Proof, newest_of_each
from worklist.performed_steps import PerformedProcedureStep, StepState

# A line that is down for a night is not yet a loss; a month later nobody sends it any more.
LOOKED_BACK = timedelta(days=30)
GRACE = timedelta(minutes=10)
MOST = 200


@dataclass(frozen=True)
class Shortfall:
    """One step or list: `counted` instances by its sender, of which `kept` are here."""

    source: Proof  # mpps | manifest | commitment
    ae_title: str
    institution_code: str
    accession_number: str
    study_instance_uid: str  # empty for a commitment of which nothing is here
    counted: int
    kept: int
    ended_at: datetime


def shortfalls(session: Session, *, now: datetime, institution_code: str | None = None) -> list[Shortfall]:
    """Completed steps and lists whose study never came, or settled without all that they name; newest first.

    An instance that is kept in another study, or that we made ourselves, is here and not lost.
    """
    found = [
        *_of_steps(session, now=now, institution_code=institution_code),
        *_of_lists(session, now=now, institution_code=institution_code),
    ]
    found = [one for one in found if one.kept < one.counted]
    return sorted(found, key=lambda one: one.ended_at, reverse=True)[:MOST]


def _of_steps(session: Session, *, now: datetime, institution_code: str | None) -> Iterator[Shortfall]:
    step = PerformedProcedureStep
    steps = session.scalars(
        select(step)
        .outerjoin(Study, Study.study_instance_uid == step.study_instance_uid)
        .where(
            step.state == StepState.COMPLETED,
            step.ended_at > now - LOOKED_BACK,
            step.ended_at < now - GRACE,
            or_(Study.id.is_(None), Study.settled_by == Proof.INCOMPLETE),
            *([step.institution_code == institution_code] if institution_code else []),
        )
        .order_by(step.ended_at.desc())
        .limit(MOST)
    )
    for one in steps:
        yield Shortfall(
            Proof.STEPS,
            one.ae_title,
            one.institution_code,
            one.accession_number,
            one.study_instance_uid,
            len(one.instance_uids),
            _kept(session, one.instance_uids),
            one.ended_at or now,
        )


def _of_lists(session: Session, *, now: datetime, institution_code: str | None) -> Iterator[Shortfall]:
    rows = session.execute(
        select(InstanceList, Study.accession_number)
        .outerjoin(Study, Study.study_instance_uid == InstanceList.study_instance_uid)
        .where(
            InstanceList.listed_at > now - LOOKED_BACK,
            InstanceList.listed_at < now - GRACE,
            or_(Study.id.is_(None), Study.settled_by == Proof.INCOMPLETE),
            *([InstanceList.institution_code == institution_code] if institution_code else []),
        )
        .order_by(InstanceList.listed_at.desc())
        .limit(MOST)
    ).all()
    # A device that asks image by image is one line for each study.
    together: defaultdict[tuple[str, str, str], list[InstanceList]] = defaultdict(list)
    accession_numbers: dict[str, str] = {}
    for one, accession_number in rows:
        together[one.kind, one.ae_title, one.study_instance_uid].append(one)
        accession_numbers[one.study_instance_uid] = accession_number or ""
    for (kind, ae_title, study_instance_uid), lists in together.items():
        if kind == ListKind.MANIFEST:
            lists = newest_of_each(lists)
        uids = {uid for one in lists for uid in one.instance_uids}
        yield Shortfall(
            Proof(kind),
            ae_title,
            lists[0].institution_code,
            accession_numbers[study_instance_uid],
            study_instance_uid,
            len(uids),
            _kept(session, uids),
            max(one.listed_at for one in lists),
        )


def _kept(session: Session, instance_uids: Collection[str]) -> int:
    wanted, kept = sorted(instance_uids), 0
    for start in range(0, len(wanted), 500):
        some = Instance.sop_instance_uid.in_(wanted[start : start + 500])
        kept += session.scalar(select(func.count()).select_from(Instance).where(some)) or 0
    return kept
