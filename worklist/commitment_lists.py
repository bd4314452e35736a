"""Storage commitments as lists: a device that asks us to commit has said which instances it made.

A request names no study, and no rule of the standard makes it name a whole one: some devices ask for each
image, some for each series, some for a study when it is done. What a device does is learnt from what it did.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from storage.imaging import Instance, Origin, Series, Study
from storage.instance_lists import InstanceList, ListKind
from storage.institutions import ApplicationEntity

# How many of a device's studies, lately, must have been asked for whole before its list is a proof.
LEARNT_FROM, REMEMBERED = 3, 20
# A list that came before all of its images waits so long for the first of them.
PENDING = timedelta(days=1)
MOST_PENDING = 50


def note_commitment(
    session: Session, key: str, instance_uids: Collection[str], *, entity: ApplicationEntity, now: datetime
) -> None:
    """A device asks for these instances; the same request again says nothing new."""
    uids = sorted(set(instance_uids))
    insert = sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgresql_insert
    # A request that was weighed already stands under its study.
    known = select(InstanceList.id).where(InstanceList.kind == ListKind.COMMITMENT, InstanceList.key == key)
    if session.scalar(known.limit(1)) is not None:
        return
    session.execute(
        insert(InstanceList)
        .values(
            kind=ListKind.COMMITMENT,
            key=key,
            ae_title=entity.ae_title,
            institution_code=entity.institution_code,
            study_instance_uid="",
            instance_uids=uids,
            number_of_instances=len(uids),
            listed_at=now,
        )
        .on_conflict_do_nothing(index_elements=["kind", "key", "study_instance_uid"])
    )


def find_studies(session: Session, one: InstanceList) -> list[str]:
    """The studies of its institution that hold instances of the list; the list then stands under each."""
    found: dict[str, None] = {}
    for start in range(0, len(one.instance_uids), 500):
        found |= dict.fromkeys(
            session.scalars(
                select(Study.study_instance_uid)
                .distinct()
                .join(Series, Series.study_pk == Study.id)
                .join(Instance, Instance.series_pk == Series.id)
                .where(
                    Study.institution_code == one.institution_code,
                    Instance.origin == Origin.RECEIVED,
                    Instance.sop_instance_uid.in_(one.instance_uids[start : start + 500]),
                )
            )
        )
    for number, study_instance_uid in enumerate(sorted(found)):
        if number == 0:
            one.study_instance_uid = study_instance_uid
            continue
        session.add(
            InstanceList(
                kind=one.kind,
                key=one.key,
                ae_title=one.ae_title,
                institution_code=one.institution_code,
                study_instance_uid=study_instance_uid,
                instance_uids=one.instance_uids,
                number_of_instances=one.number_of_instances,
                listed_at=one.listed_at,
                weighed_at=one.weighed_at,
            )
        )
    return sorted(found)


def pending_lists(session: Session, study: Study) -> list[InstanceList]:
    """Lists that came before their images and whose first image is of this study."""
    waiting = session.scalars(
        select(InstanceList)
        .where(
            InstanceList.study_instance_uid == "",
            InstanceList.institution_code == study.institution_code,
            InstanceList.listed_at > study.first_instance_at - PENDING,
        )
        .order_by(InstanceList.id.desc())
        .limit(MOST_PENDING)
    ).all()
    return [one for one in waiting if study.study_instance_uid in find_studies(session, one)]


def has_the_habit_of_whole_studies(session: Session, one: InstanceList) -> bool:
    """Whether this device, in its latest studies, asked once for each and then for all that ever came.

    Studies of one instance say nothing: for them every device looks alike.
    """
    rows = session.execute(
        select(InstanceList.study_instance_uid, InstanceList.number_of_instances, Study.number_of_instances)
        .join(Study, Study.study_instance_uid == InstanceList.study_instance_uid)
        .where(
            InstanceList.kind == ListKind.COMMITMENT,
            InstanceList.ae_title == one.ae_title,
            InstanceList.study_instance_uid != one.study_instance_uid,
            Study.number_of_instances > 1,
        )
        .order_by(InstanceList.listed_at.desc())
        .limit(REMEMBERED * 2)
    )
    asked: defaultdict[str, list[bool]] = defaultdict(list)
    for study_instance_uid, listed, kept in rows:
        asked[study_instance_uid].append(listed >= kept)
    latest = list(asked.values())[:REMEMBERED]
    return len(latest) >= LEARNT_FROM and all(one == [True] for one in latest)
