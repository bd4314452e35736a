"""keep_instance, open_instance, is_kept: an acknowledged image is never lost and never replaced.

Bytes first, row second, answer last. The receiving path deletes nothing: an object whose row never came
is swept later by retention.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import BinaryIO

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from storage import changes
from storage.database import Database, utc_now
from storage.headers import Header
from storage.identity import keep_patient
from storage.imaging import ArrivalState, Instance, Origin, QuarantinedInstance, Series, Study
from storage.institutions import Institution
from storage.objects import ObjectStore, new_key

# Objects about images, not images: they give a study no modality of its own.
ABOUT_IMAGES = {"SR", "PR", "KO", "DOC", "SEG", "REG", "AU"}


class Outcome(StrEnum):
    KEPT = "kept"
    IDENTICAL = "identical"  # the very same bytes were here already
    QUARANTINED = "quarantined"  # the UID is taken by other content; both are kept


@dataclass(frozen=True)
class Sender:
    """Who sent it: the calling AE title, its institution and its address."""

    ae_title: str
    institution_code: str
    source: str = ""


@dataclass(frozen=True)
class Kept:
    outcome: Outcome
    sop_instance_uid: str
    study_instance_uid: str
    damage: str | None = None
    reason: str | None = None  # why it was quarantined


@dataclass(frozen=True)
class _Stored:
    key: str
    size: int
    dataset_offset: int
    sha256: str
    object_sha256: str


def keep_instance(
    database: Database,
    objects: ObjectStore,
    *,
    header: Header,
    meta: bytes,
    dataset: BinaryIO,
    sender: Sender,
    origin: Origin = Origin.RECEIVED,
    now: datetime | None = None,
) -> Kept:
    """Keep one instance: `meta` (preamble and file meta) and then `dataset`, byte for byte as it was sent.

    Durable, object and rows, when this returns. The first content of a SOP Instance UID stays; the same
    bytes again are IDENTICAL; other bytes are kept aside as QUARANTINED. Raises what the store and the
    database raise; then nothing is visible and the sender must send again.
    """
    now = now or utc_now()
    sha256, length = _hash(dataset)
    with database.reading() as session:
        known = session.execute(
            select(Instance.sha256, Instance.transfer_syntax_uid).where(
                Instance.sop_instance_uid == header.sop_instance_uid
            )
        ).first()
    if (
        known is not None
        and known.sha256 == sha256
        and known.transfer_syntax_uid == header.transfer_syntax_uid
    ):
        return Kept(Outcome.IDENTICAL, header.sop_instance_uid, header.study_instance_uid)

    dataset.seek(0)
    whole = _Joined(meta, dataset)
    stored_key = new_key("instances", now)
    objects.put(stored_key, whole, len(meta) + length)
    stored = _Stored(stored_key, len(meta) + length, len(meta), sha256, whole.sha256())
    return database.in_transaction(lambda session: _index(session, header, stored, sender, origin, now))


def _index(
    session: Session, header: Header, stored: _Stored, sender: Sender, origin: Origin, now: datetime
) -> Kept:
    issuer = _issuer(session, header, sender)
    # Nameless exams of one cart are not one patient: without an ID the study itself is the identity.
    patient_id = header.patient_id or f"study {header.study_instance_uid}"
    known = session.scalar(select(Instance).where(Instance.sop_instance_uid == header.sop_instance_uid))
    if known is not None:
        if known.sha256 == stored.sha256 and known.transfer_syntax_uid == header.transfer_syntax_uid:
            return Kept(Outcome.IDENTICAL, header.sop_instance_uid, header.study_instance_uid)
        return _quarantine(
            session, header, stored, sender, now, "this SOP Instance UID is kept with other content"
        )
    study = session.scalar(
        select(Study).where(Study.study_instance_uid == header.study_instance_uid).with_for_update()
    )
    if study is None:
        study = _new_study(session, header, (issuer, patient_id), sender, now)
    elif (study.patient.issuer, study.patient.patient_id) != (issuer, patient_id):
        return _quarantine(
            session, header, stored, sender, now, "this Study Instance UID belongs to another patient"
        )
    series = session.scalar(
        select(Series).where(
            Series.study_pk == study.id, Series.series_instance_uid == header.series_instance_uid
        )
    )
    if series is None:
        series = _new_series(session, study, header, sender, origin)
    session.add(_new_instance(series, header, stored, sender, origin, now))
    session.flush()
    # Counted in the database: two associations may add to one series at the same time.
    session.execute(
        update(Series)
        .where(Series.id == series.id)
        .values(number_of_instances=Series.number_of_instances + 1)
        .execution_options(synchronize_session=False)
    )
    if origin is Origin.RECEIVED:
        _grow(session, study, header, now)
    return Kept(Outcome.KEPT, header.sop_instance_uid, header.study_instance_uid, damage=header.damage)


def _grow(session: Session, study: Study, header: Header, now: datetime) -> None:
    was_settled = study.arrival_state == ArrivalState.SETTLED
    values: dict[object, object] = {
        "number_of_instances": Study.number_of_instances + 1,
        "last_instance_at": now,
        "arrival_state": ArrivalState.RECEIVING,
    }
    if was_settled:
        values["version"] = Study.version + 1
    if not study.modality and header.modality not in ABOUT_IMAGES:
        values["modality"] = header.modality
    if not study.body_part_examined and header.body_part_examined:
        values["body_part_examined"] = header.body_part_examined
    session.execute(
        update(Study)
        .where(Study.id == study.id)
        .values(**values)  # type: ignore[arg-type]
        .execution_options(synchronize_session=False)
    )
    if was_settled:
        changes.publish(
            session,
            changes.Topic.STUDY,
            f"study:{study.study_instance_uid}",
            "new-images",
            institution_code=study.institution_code,
            modality=study.modality,
        )


def _issuer(session: Session, header: Header, sender: Sender) -> str:
    """A patient ID without issuer belongs to the sender's institution; nobody speaks for a neighbour."""
    said = header.issuer_of_patient_id
    if not said or said == sender.institution_code:
        return sender.institution_code
    if session.get(Institution, said) is not None:
        return f"{sender.institution_code}/{said}"
    return said


def _new_study(
    session: Session, header: Header, identity: tuple[str, str], sender: Sender, now: datetime
) -> Study:
    patient = keep_patient(
        session,
        issuer=identity[0],
        patient_id=identity[1],
        name=header.patient_name,
        sex=header.patient_sex,
        birth_date=header.patient_birth_date,
        now=now,
    )
    study = Study(
        study_instance_uid=header.study_instance_uid,
        patient_pk=patient.id,
        patient=patient,
        institution_code=sender.institution_code,
        accession_number=header.accession_number,
        study_id=header.study_id,
        study_date=header.study_date,
        study_time=header.study_time,
        study_description=header.study_description,
        referring_physician_name=header.referring_physician_name,
        modality="" if header.modality in ABOUT_IMAGES else header.modality,
        body_part_examined=header.body_part_examined,
        first_instance_at=now,
        last_instance_at=now,
    )
    session.add(study)
    session.flush()
    changes.publish(
        session,
        changes.Topic.STUDY,
        f"study:{study.study_instance_uid}",
        "arriving",
        institution_code=study.institution_code,
        modality=study.modality,
    )
    return study


def _new_series(session: Session, study: Study, header: Header, sender: Sender, origin: Origin) -> Series:
    series = Series(
        study_pk=study.id,
        series_instance_uid=header.series_instance_uid,
        modality=header.modality,
        series_number=header.series_number,
        series_description=header.series_description,
        body_part_examined=header.body_part_examined,
        laterality=header.laterality,
        station_ae=sender.ae_title,
        origin=origin,
    )
    session.add(series)
    session.flush()
    if origin is Origin.RECEIVED:
        session.execute(
            update(Study)
            .where(Study.id == study.id)
            .values(number_of_series=Study.number_of_series + 1)
            .execution_options(synchronize_session=False)
        )
    return series


def _new_instance(
    series: Series, header: Header, stored: _Stored, sender: Sender, origin: Origin, now: datetime
) -> Instance:
    return Instance(
        sop_instance_uid=header.sop_instance_uid,
        series_pk=series.id,
        sop_class_uid=header.sop_class_uid,
        transfer_syntax_uid=header.transfer_syntax_uid,
        instance_number=header.instance_number,
        rows=header.rows,
        columns=header.columns,
        number_of_frames=header.number_of_frames,
        object_key=stored.key,
        size=stored.size,
        dataset_offset=stored.dataset_offset,
        sha256=stored.sha256,
        object_sha256=stored.object_sha256,
        header=header.attributes,
        charset_evidence=header.charset_evidence,
        damage=header.damage,
        origin=origin,
        calling_ae=sender.ae_title,
        source=sender.source,
        received_at=now,
    )


def _quarantine(
    session: Session, header: Header, stored: _Stored, sender: Sender, now: datetime, reason: str
) -> Kept:
    session.add(
        QuarantinedInstance(
            sop_instance_uid=header.sop_instance_uid,
            study_instance_uid=header.study_instance_uid,
            institution_code=sender.institution_code,
            reason=reason,
            transfer_syntax_uid=header.transfer_syntax_uid,
            object_key=stored.key,
            size=stored.size,
            dataset_offset=stored.dataset_offset,
            sha256=stored.sha256,
            object_sha256=stored.object_sha256,
            header=header.attributes,
            calling_ae=sender.ae_title,
            source=sender.source,
            received_at=now,
        )
    )
    return Kept(Outcome.QUARANTINED, header.sop_instance_uid, header.study_instance_uid, reason=reason)


def find_instance(session: Session, sop_instance_uid: str) -> Instance | None:
    return session.scalar(select(Instance).where(Instance.sop_instance_uid == sop_instance_uid))


@contextmanager
def open_instance(objects: ObjectStore, instance: Instance) -> Iterator[BinaryIO]:
    """The Part 10 object of this instance, byte for byte as kept."""
    stream = objects.open_range(instance.object_key)
    try:
        yield stream
    finally:
        stream.close()


def is_kept(session: Session, objects: ObjectStore, *, sop_class_uid: str, sop_instance_uid: str) -> bool:
    """Whether the instance is here: its row, and its object re-read and matching its hash."""
    instance = find_instance(session, sop_instance_uid)
    if instance is None or instance.sop_class_uid != sop_class_uid:
        return False
    return object_hash(objects, instance.object_key) == instance.object_sha256


def object_hash(objects: ObjectStore, key: str) -> str | None:
    """SHA-256 of the stored object, or None when it is missing."""
    digest = hashlib.sha256()
    try:
        stream = objects.open_range(key)
    except LookupError:
        return None
    with stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _hash(dataset: BinaryIO) -> tuple[str, int]:
    digest, length = hashlib.sha256(), 0
    dataset.seek(0)
    while chunk := dataset.read(1 << 20):
        digest.update(chunk)
        length += len(chunk)
    return digest.hexdigest(), length


class _Joined(io.RawIOBase, BinaryIO):
    """`head` and then `body` as one stream, hashed while it is read: the object store reads it once."""

    def __init__(self, head: bytes, body: BinaryIO) -> None:
        self._head = io.BytesIO(head)
        self._body = body
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        chunk = self._head.read(size)
        if not chunk or size < 0:
            chunk += self._body.read(size)
        self._digest.update(chunk)
        return chunk

    def sha256(self) -> str:
        return self._digest.hexdigest()
