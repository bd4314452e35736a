"""Two contents under one UID: how they differ, and what a person decides about the second.

The first never changes. The second's bytes stay as they were sent, whatever is decided; where it shall be an
instance of its own, a copy with a UID of its own is made of it, and the copy says which attributes were
changed (Original Attributes Sequence, PS3.3 C.12.1.1.9).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice, zip_longest
from typing import Any

from blake3 import blake3
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from storage import audit, changes, jobs
from storage.audit import Act, Actor
from storage.composing import compose
from storage.database import Database
from storage.headers import Header, read_header
from storage.imaging import Instance, Patient, QuarantinedInstance, Series, Study
from storage.indexing import Outcome, Sender, identity_of
from storage.instances import find_instance, keep_instance, seal
from storage.jobs import Job, JobState
from storage.matching import ATTRIBUTES
from storage.objects import ObjectMissing, ObjectStore
from storage.overlays import Overlay
from storage.part10 import Description, meta_bytes
from storage.places import BytesDataset, InflatedDataset
from storage.uids import derived_uid
from storage.windows import DEFLATED

JOB = "separate-instance"
LARGEST_COPY = 512 << 20
MOST_DIFFERENCES = 400
# Study Date, Time, Accession Number, Referring Physician, Description, Study UID and ID: one for a study.
OF_THE_STUDY = {"00080020", "00080030", "00080050", "00080090", "00081030", "0020000D", "00200010"}


class Decision(StrEnum):
    KEEP_FIRST = "keep-first"  # the second is set aside for good; its bytes stay
    KEEP_BOTH = "keep-both"  # the second becomes an instance of its own
    REOPEN = "reopen"  # think again


# What stands (resolution) and what is decided → what stands then. An instance that was made is not unmade:
# only where making it failed may a person think again about KEEP_BOTH.
DECISIONS: dict[tuple[str | None, Decision], str | None] = {
    (None, Decision.KEEP_FIRST): Decision.KEEP_FIRST,
    (None, Decision.KEEP_BOTH): Decision.KEEP_BOTH,
    (Decision.KEEP_FIRST, Decision.REOPEN): None,
    (Decision.KEEP_BOTH, Decision.REOPEN): None,
}


class CannotDecide(ValueError):
    """Somebody else has decided meanwhile, or this does not follow from what stands."""


@dataclass(frozen=True)
class Difference:
    """One attribute that differs: its path ("00400275[1].00400007") and both values, None where absent."""

    path: str
    tag: str  # of the attribute itself, eight hexadecimal digits
    first: str | None
    second: str | None


def differences(
    first: dict[str, Any], second: dict[str, Any], *, of_study_only: bool = False
) -> list[Difference]:
    """Where two headers (DICOM JSON) differ, in the order of their tags, sequences item by item.

    `of_study_only` leaves out what differs between any two images of a study. At most MOST_DIFFERENCES.
    """
    found = _differing(first, second, "")
    if of_study_only:
        found = (one for one in found if one.path[:4] == "0010" or one.path in OF_THE_STUDY)
    return list(islice(found, MOST_DIFFERENCES))


def _differing(first: dict[str, Any], second: dict[str, Any], before: str) -> Iterator[Difference]:
    for tag in sorted(first.keys() | second.keys()):
        one, other, path = first.get(tag), second.get(tag), before + tag
        if one == other:
            continue
        if _is_sequence(one) or _is_sequence(other):
            pairs = zip_longest(_items(one), _items(other))
            for number, (left, right) in enumerate(pairs, start=1):
                yield from _differing(left or {}, right or {}, f"{path}[{number}].")
        elif (left := _text(one)) != (right := _text(other)):
            yield Difference(path, tag, left, right)


def _is_sequence(element: dict[str, Any] | None) -> bool:
    return element is not None and element.get("vr") == "SQ"


def _items(element: dict[str, Any] | None) -> list[Any]:
    return list(element.get("Value", ())) if element is not None and element.get("vr") == "SQ" else []


def _text(element: dict[str, Any] | None) -> str | None:
    if element is None:
        return None
    if "InlineBinary" in element:
        return f"base64 {element['InlineBinary']}"
    return "\\".join(_one(value) for value in element.get("Value", ()))


def _one(value: Any) -> str:
    if isinstance(value, dict):
        groups = [value.get(name, "") for name in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    return "" if value is None else str(value)


# --- the first -------------------------------------------------------------------------------------------


def first_of(session: Session, conflict: QuarantinedInstance) -> Instance | None:
    """What stands where the second wanted to: the instance of its UID, else the oldest of the study's."""
    instance = find_instance(session, conflict.sop_instance_uid)
    # What was made of this very conflict is not its first.
    if instance is not None and instance.sop_instance_uid != conflict.kept_as:
        return instance
    return session.scalar(
        select(Instance)
        .join(Series, Series.id == Instance.series_pk)
        .join(Study, Study.id == Series.study_pk)
        .where(Study.study_instance_uid == conflict.study_instance_uid)
        .order_by(Instance.id)
        .limit(1)
    )


def is_disputed(session: Session, sop_instance_uid: str, *, ae_title: str, institution_code: str) -> bool:
    """Whether this device must keep its copy of the UID: other bytes came from it, or from its institution
    where the first came from another device, and no person has decided yet or the decision is not done yet.
    """
    # Some devices store by one AE title and ask for commitment by another: the institution counts too.
    first = find_instance(session, sop_instance_uid)
    is_first_sender = first is not None and first.calling_ae == ae_title
    found = session.scalars(
        select(QuarantinedInstance).where(QuarantinedInstance.sop_instance_uid == sop_instance_uid)
    )
    return any(
        one.calling_ae == ae_title or (one.institution_code == institution_code and not is_first_sender)
        for one in found
        if not is_settled(session, one)
    )


def alike(session: Session, conflict: QuarantinedInstance) -> Sequence[QuarantinedInstance]:
    """The others that wait for a decision, of the same study, from the same device, for the same reason."""
    return session.scalars(
        select(QuarantinedInstance)
        .where(
            QuarantinedInstance.resolution.is_(None),
            QuarantinedInstance.id != conflict.id,
            QuarantinedInstance.study_instance_uid == conflict.study_instance_uid,
            QuarantinedInstance.calling_ae == conflict.calling_ae,
            QuarantinedInstance.institution_code == conflict.institution_code,
            QuarantinedInstance.reason == conflict.reason,
        )
        .order_by(QuarantinedInstance.id)
    ).all()


# --- the decision ----------------------------------------------------------------------------------------


def decide(
    session: Session,
    conflict: QuarantinedInstance,
    decision: Decision,
    *,
    reason: str,
    version: int,
    by: Actor,
    now: datetime,
) -> None:
    """Write down what a person decided, who and why; `version` is the one that the person looked at.

    KEEP_BOTH leaves a job that makes the instance. Raises CannotDecide for the second of two operators.
    """
    if conflict.version != version or decision not in possible(session, conflict):
        raise CannotDecide("this has been decided on meanwhile")
    after = DECISIONS[conflict.resolution, decision]
    kept_as = _name_for(session, conflict) if after == Decision.KEEP_BOTH else None
    changed = session.execute(
        update(QuarantinedInstance)
        .where(QuarantinedInstance.id == conflict.id, QuarantinedInstance.version == version)
        .values(
            resolution=after,
            resolved_at=now if after else None,
            resolved_by=by.name if after else None,
            resolution_reason=reason if after else None,
            kept_as=kept_as,
            version=version + 1,
        )
        .execution_options(synchronize_session=False)
    )
    session.refresh(conflict)
    if changed.rowcount != 1:  # type: ignore[attr-defined]
        raise CannotDecide("this has been decided on meanwhile")
    if kept_as is not None:
        work = {"conflict": conflict.id, "version": conflict.version}
        jobs.enqueue(session, JOB, _key_of(conflict), work)
    audit.record(
        session,
        Act.STUDY,
        decision.value,
        f"study:{conflict.study_instance_uid}",
        by=by,
        at=now,
        instances=[conflict.sop_instance_uid],
        ae_title=conflict.calling_ae,
        reason=reason,
        kept_as=kept_as,
    )
    changes.publish(
        session,
        changes.Topic.STUDY,
        f"study:{conflict.study_instance_uid}",
        "conflict-decided",
        institution_code=conflict.institution_code,
    )


def possible(session: Session, conflict: QuarantinedInstance) -> list[Decision]:
    """What may be decided as it stands."""
    found = [decision for stands, decision in DECISIONS if stands == conflict.resolution]
    if conflict.resolution == Decision.KEEP_BOTH and not _was_given_up(session, conflict):
        found.remove(Decision.REOPEN)
    return found


def is_settled(session: Session, conflict: QuarantinedInstance) -> bool:
    """Whether it was decided on and what was decided has been done."""
    if conflict.resolution != Decision.KEEP_BOTH or conflict.kept_as is None:
        return conflict.resolution is not None
    return find_instance(session, conflict.kept_as) is not None


def _was_given_up(session: Session, conflict: QuarantinedInstance) -> bool:
    asked = select(Job.state).where(Job.kind == JOB, Job.key == _key_of(conflict))
    return session.scalar(asked) == JobState.DEAD


def _key_of(conflict: QuarantinedInstance) -> str:
    return f"conflict:{conflict.id}:{conflict.version}"


def _name_for(session: Session, conflict: QuarantinedInstance) -> str:
    """The UID that the second gets: its own where nobody has it, so that its device finds it again."""
    if find_instance(session, conflict.sop_instance_uid) is None:
        return conflict.sop_instance_uid
    return derived_uid("separate-instance", conflict.sop_instance_uid, conflict.digest, conflict.calling_ae)


# --- an instance of its own ------------------------------------------------------------------------------


class NotSeparable(RuntimeError):
    """No instance of its own can be made of it; trying again cannot help."""

    is_harmless = True


def separate(database: Database, objects: ObjectStore, job: Job) -> None:
    """Make the instance that a person decided on; done twice it is done once. Raises NotSeparable."""
    with database.reading() as session:
        conflict = session.get(QuarantinedInstance, int(job.payload["conflict"]))
        if conflict is None or conflict.kept_as is None or conflict.version != job.payload["version"]:
            return  # a person has thought again
        session.expunge_all()
    if conflict.size > LARGEST_COPY:
        raise NotSeparable("the object is too large for a copy with a UID of its own")
    whole = objects.get(conflict.object_key)
    offset = conflict.dataset_offset
    if seal(whole[:offset], blake3(whole[offset:]).digest()) != conflict.seal:
        raise ObjectMissing("what is stored is not what was kept aside")  # tried again once it is mended
    header = read_header(whole[conflict.dataset_offset :], conflict.transfer_syntax_uid)
    with database.reading() as session:
        names = _names(session, conflict, header)
    try:
        dataset = _copy(whole[conflict.dataset_offset :], conflict, names)
        header = read_header(dataset, conflict.transfer_syntax_uid)
    except Exception as error:  # the message may quote a patient
        raise NotSeparable("the object does not hold together well enough to be copied") from error
    moment = conflict.resolved_at or conflict.received_at
    digest = blake3(dataset).hexdigest()
    meta = meta_bytes(
        header.sop_class_uid,
        header.sop_instance_uid,
        conflict.transfer_syntax_uid,
        conflict.calling_ae,
        Description(len(dataset), digest, conflict.institution_code, moment),
    )
    kept = keep_instance(
        database,
        objects,
        header=header,
        meta=meta,
        dataset=io.BytesIO(dataset),
        sender=Sender(conflict.calling_ae, conflict.institution_code, conflict.source),
    )
    if kept.outcome is Outcome.QUARANTINED:
        raise NotSeparable("the UID that it was to have belongs to another object by now")


def _names(session: Session, conflict: QuarantinedInstance, header: Header) -> dict[str, str]:
    """Keyword → UID that the copy bears instead of the one that was sent."""
    names = {}
    if conflict.kept_as is not None and conflict.kept_as != conflict.sop_instance_uid:
        names["SOPInstanceUID"] = conflict.kept_as
    mine = identity_of(session.connection(), header, conflict.institution_code)
    study = session.scalar(select(Study).where(Study.study_instance_uid == conflict.study_instance_uid))
    if study is not None and not _is_of(session, study, mine, header.series_instance_uid):
        # The same words for every image of this patient in that study: they stay together.
        words = ("separate-study", conflict.study_instance_uid, *mine)
        names["StudyInstanceUID"] = derived_uid(*words)
        names["SeriesInstanceUID"] = derived_uid(*words, header.series_instance_uid)
    return names


def _is_of(session: Session, study: Study, identity: tuple[str, str], series_instance_uid: str) -> bool:
    """Whether the study is this patient's, or was before a correction gave it, with this series, away."""
    if (study.patient.issuer, study.patient.patient_id) == identity:
        return True
    sent = session.get(Patient, study.sent_patient_pk) if study.sent_patient_pk is not None else None
    if sent is None or (sent.issuer, sent.patient_id) != identity:
        return False
    return any(one.series_instance_uid == series_instance_uid for one in study.series)


def _copy(dataset: bytes, conflict: QuarantinedInstance, names: dict[str, str]) -> bytes:
    """The dataset with other UIDs, in the transfer syntax in which it came; pixels as they were sent."""
    syntax = conflict.transfer_syntax_uid
    overlay = Overlay(
        values={ATTRIBUTES[keyword].tag: {"vr": "UI", "Value": [uid]} for keyword, uid in names.items()},
        at=conflict.resolved_at or conflict.received_at,
        source=conflict.calling_ae,
    )
    is_deflated = syntax == DEFLATED
    composed = compose(InflatedDataset(dataset) if is_deflated else BytesDataset(dataset), syntax, overlay)
    return composed.readall() if composed is not None else dataset
