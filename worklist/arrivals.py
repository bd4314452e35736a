"""A study that stopped growing: is it complete, whose order is it, open a reading task."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from storage import audit, changes
from storage.audit import CENTER, Act, Actor
from storage.changes import Topic
from storage.imaging import ArrivalState, Study
from storage.instance_lists import InstanceList
from worklist.announcements import announce
from worklist.commitment_lists import find_studies
from worklist.completeness import PATIENCE, Facts, count, facts_of, judge, recount
from worklist.orders import OPEN, OrderState, ServiceRequest, find_by_accession, move_order
from worklist.people import Role, Who, must_have, visible_to
from worklist.problems import Missing, Unacceptable, WrongState
from worklist.reading_tasks import OPEN as OPEN_TASKS
from worklist.reading_tasks import TaskState, cancel_task, open_task, task_of
from worklist.reports import draft_for

BATCH = 50


def settle_studies(session: Session, *, now: datetime, quiet: timedelta) -> int:
    """Open a reading task for every study that has stopped growing; return how many settled."""
    receiving = session.scalars(
        select(Study)
        .where(Study.arrival_state == ArrivalState.RECEIVING, Study.number_of_instances > 0)
        .order_by(Study.last_instance_at)
        .limit(BATCH * 4)
        .with_for_update(skip_locked=True)
    )
    settled = 0
    for study in receiving:
        # What is known to lack something waits; an image or a word that changes that is noticed at once.
        if study.missing_instances and quiet < now - study.last_instance_at < quiet * PATIENCE:
            continue
        facts = facts_of(session, study)
        count(session, study, facts)
        proof = judge(facts, last_instance_at=study.last_instance_at, now=now, quiet=quiet)
        if proof is not None:
            settle(session, study, proof, now=now, facts=facts)
            settled += 1
            if settled >= BATCH:
                break
    return settled


def weigh_lists(session: Session, *, now: datetime) -> int:
    """Hold new lists against what is here: a study that settled too early is said to be; return how many."""
    new = session.scalars(
        select(InstanceList)
        .where(InstanceList.weighed_at.is_(None))
        .order_by(InstanceList.id)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    ).all()
    for one in new:
        one.weighed_at = now
        speaks_of = [one.study_instance_uid] if one.study_instance_uid else find_studies(session, one)
        session.flush()
        for study_instance_uid in speaks_of:
            recount(session, study_instance_uid, now=now)
    return len(new)


def settle(session: Session, study: Study, proof: str, *, now: datetime, facts: Facts | None = None) -> None:
    """The study counts as arrived: match it to its order, or leave it for reconciliation."""
    study.arrival_state, study.settled_at, study.settled_by = ArrivalState.SETTLED, now, proof
    count(session, study, facts or facts_of(session, study))
    audit.record(
        session,
        Act.STUDY,
        "settle",
        f"study:{study.study_instance_uid}",
        at=now,
        proof=str(proof),
        instances=study.number_of_instances,
        version=study.version,
    )
    announce(session, study, now=now)
    changes.publish(
        session,
        Topic.STUDY,
        f"study:{study.study_instance_uid}",
        "settled",
        institution_code=study.institution_code,
        modality=study.modality,
    )
    order = session.scalar(select(ServiceRequest).where(ServiceRequest.study_pk == study.id))
    if order is not None:
        # Late images, or new ones after a return: the order stands, its task is looked at again.
        _open_or_reopen(session, study, order, now)
        return
    order = find_order_of(session, study)
    if order is not None:
        link_order(session, study, order, by=CENTER, now=now)
    else:
        changes.publish(
            session,
            Topic.STUDY,
            f"study:{study.study_instance_uid}",
            "unmatched",
            institution_code=study.institution_code,
            modality=study.modality,
        )


def find_order_of(session: Session, study: Study) -> ServiceRequest | None:
    """The order that this study certainly answers: accession number and issuer, or the worklist's Study
    Instance UID; and the same patient. Anything less is for a person to decide."""
    order = None
    if study.accession_number:
        order = find_by_accession(
            session, issuer=study.institution_code, accession_number=study.accession_number
        )
    if order is None:
        order = session.scalar(
            select(ServiceRequest).where(
                ServiceRequest.study_instance_uid == study.study_instance_uid,
                ServiceRequest.institution_code == study.institution_code,
            )
        )
    if order is None or order.study_pk is not None or order.state not in OPEN:
        return None
    return order if order.patient_pk == study.patient_pk else None


def unmatched_studies(
    session: Session, person: Who, *, limit: int = 100, before_id: int | None = None
) -> list[Study]:
    """Settled studies without an order, newest first."""
    query = select(Study).where(
        visible_to(session, person, Study),
        Study.arrival_state == ArrivalState.SETTLED,
        ~exists().where(ServiceRequest.study_pk == Study.id),
    )
    if before_id is not None:
        query = query.where(Study.id < before_id)
    return list(session.scalars(query.order_by(Study.id.desc()).limit(limit)))


def match_study(session: Session, study: Study, order: ServiceRequest, *, by: Who, now: datetime) -> None:
    """A technician says that this study answers this order."""
    must_have(by, Role.TECHNICIAN, Role.DIRECTOR, Role.INTEGRATION)
    if order.institution_code != study.institution_code:
        raise Unacceptable("a study is matched to an order of its own institution")
    if session.scalar(select(ServiceRequest.id).where(ServiceRequest.study_pk == study.id)) is not None:
        raise WrongState("the study is matched already; undo that first")
    if order.study_pk is not None or order.state not in OPEN:
        raise WrongState(f"the order is {order.state} and takes no study")
    link_order(session, study, order, by=by.actor, now=now)


def unmatch_study(session: Session, study: Study, *, by: Who, now: datetime) -> ServiceRequest:
    """The inverse of a match, as long as nothing was signed. Returns the order, which is open again."""
    must_have(by, Role.TECHNICIAN, Role.DIRECTOR, Role.INTEGRATION)
    order = session.scalar(select(ServiceRequest).where(ServiceRequest.study_pk == study.id))
    if order is None:
        raise Missing("the study is not matched to an order")
    task = task_of(session, study)
    if task is not None and task.state in (TaskState.COMPLETED, TaskState.AWAITING_REVIEW):
        raise WrongState("the study has a signed report; correct that by an addendum or a withdrawal")
    unlink_order(session, study, order, by=by.actor, now=now)
    return order


def unlink_order(session: Session, study: Study, order: ServiceRequest, *, by: Actor, now: datetime) -> None:
    """The order is open again, and what was to be read for it is not."""
    task = task_of(session, study)
    if task is not None and (task.state in OPEN_TASKS or task.state == TaskState.RETURNED):
        cancel_task(session, task, by=by, now=now, reason="unmatched")
    order.study_pk = None
    move_order(session, order, "lose-study", by=by, now=now, study=study.study_instance_uid)
    audit.record(session, Act.STUDY, "unmatch", f"study:{study.study_instance_uid}", by=by, at=now)


def link_order(session: Session, study: Study, order: ServiceRequest, *, by: Actor, now: datetime) -> None:
    """The study answers this order, and can be read for it."""
    order.study_pk = study.id
    move_order(session, order, "acquire", by=by, now=now, study=study.study_instance_uid)
    audit.record(
        session,
        Act.STUDY,
        "match",
        f"study:{study.study_instance_uid}",
        by=by,
        at=now,
        order=order.accession_number,
    )
    _open_or_reopen(session, study, order, now)


def _open_or_reopen(session: Session, study: Study, order: ServiceRequest, now: datetime) -> None:
    task = task_of(session, study)
    if task is None or task.state == TaskState.CANCELLED:
        if order.state == OrderState.ACQUIRED:
            draft = draft_for(session, task, order) if task is not None else None
            open_task(session, study, order, now=now, report_id=draft)
    elif task.state == TaskState.RETURNED:
        open_task(session, study, order, now=now, opened_at=task.opened_at, report_id=task.report_id)
    elif task.state == TaskState.COMPLETED and task.service_request_id != order.id:
        open_task(session, study, order, now=now)  # what was read under another order was withdrawn
    elif task.state == TaskState.COMPLETED and study.version > task.study_version:
        # Images that came after the signature: somebody must say whether the report still holds.
        open_task(session, study, order, now=now, purpose="verify", report_id=task.report_id)
