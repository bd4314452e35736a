"""Completeness: who has said what belongs to a study, where they disagree, and what that proves.

Three sources name instances: steps that have ended (MPPS), a gateway's manifest, storage commitments. Each
is believed only about its own institution's studies. The rules are RULES and docs/decisions/0046.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage import audit, changes
from storage.audit import CENTER, Act
from storage.changes import Topic
from storage.imaging import ArrivalState, Instance, Origin, Series, Study
from storage.indexing import ABOUT_IMAGES
from storage.instance_lists import InstanceList, ListKind
from worklist.commitment_lists import has_the_habit_of_whole_studies, pending_lists
from worklist.performed_steps import StepState, steps_of


class Proof(StrEnum):
    """What a study settled by, strongest first; the last two are presumed, not proven."""

    STEPS = "mpps"
    MANIFEST = "manifest"
    COMMITMENT = "commitment"
    SINGLE = "single-object"
    QUIET = "quiet"
    INCOMPLETE = "quiet-incomplete"


PROVEN = (Proof.STEPS, Proof.MANIFEST, Proof.COMMITMENT, Proof.SINGLE)


@dataclass(frozen=True)
class Facts:
    """What is known of a study at one moment. `whole` names the sources whose every instance is here and that
    name every image that is here; `expected` is None where nobody has named anything."""

    has_open_step: bool = False
    whole: frozenset[Proof] = frozenset()
    expected: int | None = None
    missing: int = 0
    listed_at: datetime | None = None  # the last commitment


@dataclass(frozen=True)
class Rule:
    """`lacks`: something that was named is not here; `has_open_step`: None where it does not matter."""

    lacks: bool
    has_open_step: bool | None
    whole: Proof | None
    proof: Proof
    silence: float  # since the last image, in multiples of the policy's `quiet`

    def speaks_of(self, facts: Facts) -> bool:
        return (
            self.lacks is (facts.missing > 0)
            and self.has_open_step in (None, facts.has_open_step)
            and (self.whole is None or self.whole in facts.whole)
        )


# A device that reported a step, or named what is not here, is waited for so much longer than silence alone.
PATIENCE = 15

# The first rule that speaks of the facts and whose silence has passed.
RULES = (
    #    lacks, open step, whole
    Rule(True, None, None, Proof.INCOMPLETE, PATIENCE),
    Rule(False, False, Proof.STEPS, Proof.STEPS, 0),
    Rule(False, False, Proof.MANIFEST, Proof.MANIFEST, 0),
    Rule(False, True, Proof.MANIFEST, Proof.MANIFEST, 1),  # devices that never end their steps
    Rule(False, False, Proof.COMMITMENT, Proof.COMMITMENT, 0.25),
    Rule(False, None, Proof.SINGLE, Proof.SINGLE, 0),
    Rule(False, True, None, Proof.QUIET, PATIENCE),
    Rule(False, False, None, Proof.QUIET, 1),
)


def judge(facts: Facts, *, last_instance_at: datetime, now: datetime, quiet: timedelta) -> Proof | None:
    """What proves the study complete, or what it is presumed by; None while it may still grow."""
    for rule in RULES:
        since = last_instance_at
        if rule.proof is Proof.COMMITMENT and facts.listed_at is not None:
            since = max(since, facts.listed_at)
        if rule.speaks_of(facts) and now - since >= quiet * rule.silence:
            return rule.proof
    return None


def facts_of(session: Session, study: Study) -> Facts:
    """What the sources say of this study as it stands."""
    steps = [
        step
        for step in steps_of(session, study.study_instance_uid)
        if step.institution_code == study.institution_code
    ]
    has_open_step = any(step.state == StepState.IN_PROGRESS for step in steps)
    lists = _lists_of(session, study)
    named: dict[Proof, set[str]] = {
        Proof.STEPS: _said(step.instance_uids for step in steps if step.state != StepState.IN_PROGRESS),
        Proof.MANIFEST: _said(one.instance_uids for one in newest_of_each(lists)),
        Proof.COMMITMENT: _said(one.instance_uids for one in lists if one.kind == ListKind.COMMITMENT),
    }
    whole = {Proof.SINGLE} if study.modality == "ECG" and study.number_of_instances == 1 else set()
    if not any(named.values()):
        return Facts(has_open_step, frozenset(whole))
    here = _here(session, study)
    parts = {uid for uid, is_part, _ in here if is_part}
    images = {uid for uid, is_part, is_image in here if is_part and is_image}
    # What we made, and the documents that list, are here and are no part of it, whoever names them.
    for uids in named.values():
        uids.difference_update(uid for uid, is_part, _ in here if not is_part)
    # A commitment may name instances of several studies.
    named[Proof.COMMITMENT] -= kept_elsewhere(session, study, named[Proof.COMMITMENT] - parts)
    asked = [one for one in lists if one.kind == ListKind.COMMITMENT]
    listed_at = max((one.listed_at for one in asked), default=None)
    whole |= {source for source, uids in named.items() if uids and uids <= parts and images <= uids}
    if Proof.COMMITMENT in whole and not (
        len(asked) == 1
        and len(named[Proof.COMMITMENT]) > 1
        and asked[0].listed_at >= study.last_instance_at
        and has_the_habit_of_whole_studies(session, asked[0])
    ):
        whole.discard(Proof.COMMITMENT)
    expected = set().union(*named.values())
    return Facts(has_open_step, frozenset(whole), len(expected) or None, len(expected - parts), listed_at)


def count(session: Session, study: Study, facts: Facts) -> None:
    """Write down how many instances are expected, and how many of these are not here."""
    study.expected_instances, study.missing_instances = facts.expected, facts.missing


def recount(session: Session, study_instance_uid: str, *, now: datetime) -> None:
    """Somebody has said something about a study that may have settled already: did it settle too early?"""
    study = session.scalar(
        select(Study).where(Study.study_instance_uid == study_instance_uid).with_for_update()
    )
    if study is None or study.number_of_instances == 0:
        return
    facts = facts_of(session, study)
    before = (study.settled_by, study.expected_instances, study.missing_instances)
    count(session, study, facts)
    if study.arrival_state == ArrivalState.SETTLED:
        study.settled_by = judge(facts, last_instance_at=study.last_instance_at, now=now, quiet=timedelta(0))
    if before == (study.settled_by, study.expected_instances, study.missing_instances):
        return
    subject = f"study:{study.study_instance_uid}"
    if before[0] != study.settled_by:
        audit.record(session, Act.STUDY, "recount", subject, by=CENTER, at=now, proof=study.settled_by)
    changes.publish(
        session,
        Topic.STUDY,
        subject,
        "recounted",
        institution_code=study.institution_code,
        modality=study.modality,
    )


def newest_of_each(lists: Iterable[InstanceList]) -> list[InstanceList]:
    """A sender's later manifest of a study takes the place of its earlier one."""
    manifests = (one for one in lists if one.kind == ListKind.MANIFEST)
    newest = {one.ae_title: one for one in sorted(manifests, key=lambda one: one.id)}
    return list(newest.values())


def kept_elsewhere(session: Session, study: Study, instance_uids: Collection[str]) -> set[str]:
    """Those of the instances that are kept in another study."""
    wanted, found = sorted(instance_uids), set[str]()
    for start in range(0, len(wanted), 500):
        found.update(
            session.scalars(
                select(Instance.sop_instance_uid)
                .join(Series, Series.id == Instance.series_pk)
                .where(
                    Series.study_pk != study.id,
                    Instance.sop_instance_uid.in_(wanted[start : start + 500]),
                )
            )
        )
    return found


def _lists_of(session: Session, study: Study) -> list[InstanceList]:
    own = session.scalars(
        select(InstanceList)
        .where(
            InstanceList.study_instance_uid == study.study_instance_uid,
            InstanceList.institution_code == study.institution_code,
        )
        .order_by(InstanceList.id)
    )
    return [*own, *pending_lists(session, study)]


def _here(session: Session, study: Study) -> list[tuple[str, bool, bool]]:
    """Each instance of the study: its UID, whether it is a part of it, whether it is an image."""
    rows = session.execute(
        select(Instance.sop_instance_uid, Instance.origin, Series.modality)
        .join(Series, Series.id == Instance.series_pk)
        .where(Series.study_pk == study.id)
    )
    return [(uid, origin == Origin.RECEIVED, modality not in ABOUT_IMAGES) for uid, origin, modality in rows]


def _said(lists: Iterable[Collection[str]]) -> set[str]:
    return {uid for one in lists for uid in one}
