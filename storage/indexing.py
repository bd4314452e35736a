"""The rows of instances that have just been kept: many at once, in a few statements each.

This is the hot path of a county: no object-relational mapping for what every image needs. A study's first
image takes the slow way, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection

from storage import changes
from storage.headers import Header
from storage.identity import Demographics, patient_pk
from storage.imaging import ArrivalState, Instance, Origin, QuarantinedInstance
from storage.indexing_statements import AT_ONCE, Mendable, Statements, statements_for
from storage.instance_lists import ListKind, is_manifest, listed_in

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
class Stored:
    """An object that is durable already."""

    key: str
    size: int
    dataset_offset: int
    digest: str  # BLAKE3 of the dataset
    seal: str


@dataclass(frozen=True)
class Arrived:
    """One instance whose bytes are kept and whose rows are not yet."""

    header: Header
    stored: Stored
    sender: Sender
    origin: Origin
    now: datetime

    @property
    def uid(self) -> str:
        return self.header.sop_instance_uid


@dataclass
class _Series:
    """A series as one batch sees it; `first` is what begins it, None where it is known already."""

    pk: int
    first: Arrived | None = None
    arrived: int = 0


@dataclass
class _Place:
    """Where an instance belongs, as one batch sees it; `first` is what begins a new study."""

    study_pk: int
    study_instance_uid: str
    identity: tuple[str, str]
    institution_code: str
    modality: str
    has_settled: bool  # once; whatever comes after that is news to whoever has looked
    first: Arrived | None = None
    series: dict[str, _Series] = field(default_factory=dict)
    received: int = 0
    new_series: int = 0
    image: Header | None = None  # the first that is an image, not about one
    last_at: datetime | None = None


def index_instances(connection: Connection, arrived: Sequence[Arrived]) -> list[Kept]:
    """Write the rows of these instances, in the caller's transaction; one outcome for each.

    The first content of a SOP Instance UID stays, the same bytes again are IDENTICAL, others QUARANTINED.
    Raises IntegrityError where another process got there first: tell the whole transaction again.
    """
    return _Batch(connection, statements_for(connection.dialect)).add(arrived)


def is_identical(connection: Connection, header: Header, digest: str) -> bool:
    """Whether these very bytes are kept under this SOP Instance UID, and are not known to be damaged."""
    statements = statements_for(connection.dialect)
    cursor = connection.connection.cursor()
    try:
        row = statements.known[1].run(cursor, {"u0": header.sop_instance_uid}).fetchone()
        if row is None or tuple(row[1:]) != (digest, header.transfer_syntax_uid):
            return False
        found = statements.instance_fault.run(cursor, {"uid": header.sop_instance_uid}).fetchone()
    finally:
        cursor.close()
    return found is None


def identity_of(connection: Connection, header: Header, institution_code: str) -> tuple[str, str]:
    """Issuer and ID of the patient. An ID without issuer belongs to the sender's institution; nobody speaks
    for a neighbour; nameless exams of one cart are not one patient: without an ID the study is the identity.
    """
    own, said = institution_code, header.issuer_of_patient_id
    patient_id = header.patient_id or f"study {header.study_instance_uid}"
    if not said or said == own:
        return own, patient_id
    cursor = connection.connection.cursor()
    try:
        asked = statements_for(connection.dialect).institution.run(cursor, {"code": said})
        is_neighbour = asked.fetchone() is not None
    finally:
        cursor.close()
    return (f"{own}/{said}" if is_neighbour else said), patient_id


def prepare(connection: Connection) -> None:
    """Compile the statements."""
    statements_for(connection.dialect)


class _Batch:
    def __init__(self, connection: Connection, statements: Statements) -> None:
        self._statements = statements
        self._connection = connection
        self._dialect = connection.dialect
        self._cursor = connection.connection.cursor()
        self._places: dict[str, _Place] = {}
        self._kept: list[tuple[_Series, Arrived]] = []
        self._changes: list[dict[str, Any]] = []

    def add(self, arrived: Sequence[Arrived]) -> list[Kept]:
        try:
            known = self._known({one.uid for one in arrived})
            # Studies are locked in the order of their UIDs: two nodes that do so cannot wait for each other.
            for uid in sorted({one.header.study_instance_uid for one in arrived}):
                self._find_study(uid)
            outcomes = [self._place(one, known) for one in arrived]
            for _, place in sorted(self._places.items()):
                self._write(place)
            if self._kept:
                rows = [_instance_row(series.pk, one) for series, one in self._kept]
                self._statements.instance.run_many(self._cursor, rows)
            if self._changes:
                self._statements.change.run_many(self._cursor, self._changes)
            return outcomes
        finally:
            self._cursor.close()

    def _known(self, uids: Iterable[str]) -> dict[str, tuple[str, str]]:
        asked = list(uids)
        found: dict[str, tuple[str, str]] = {}
        for start in range(0, len(asked), AT_ONCE[-1]):
            some = asked[start : start + AT_ONCE[-1]]
            size = next(size for size in AT_ONCE if size >= len(some))
            values = {f"u{i}": some[min(i, len(some) - 1)] for i in range(size)}
            rows = self._statements.known[size].run(self._cursor, values)
            found |= {row[0]: (row[1], row[2]) for row in rows}
        return found

    def _place(self, one: Arrived, known: dict[str, tuple[str, str]]) -> Kept:
        header, stored = one.header, one.stored
        content = (stored.digest, header.transfer_syntax_uid)
        if one.uid in known:
            if known[one.uid] == content:
                damaged = self._statements.instance_fault.run(self._cursor, {"uid": one.uid}).fetchone()
                if damaged is not None:
                    self._mend(Instance, damaged[0], one)
                return Kept(Outcome.IDENTICAL, one.uid, header.study_instance_uid)
            return self._quarantine(one, "this SOP Instance UID is kept with other content")
        identity = identity_of(self._connection, one.header, one.sender.institution_code)
        place = self._places.get(header.study_instance_uid)
        if place is None:
            place = self._begin_study(one, identity)
        elif place.identity != identity and not self._was_given_away(place, header, identity):
            return self._quarantine(one, "this Study Instance UID belongs to another patient")
        if one.origin is Origin.RECEIVED and is_manifest(header):
            one = replace(one, origin=Origin.LISTING)
            self._note_lists(one)
        series = self._find_series(place, one)
        series.arrived += 1
        known[one.uid] = content
        self._kept.append((series, one))
        if one.origin is Origin.RECEIVED:
            place.received += 1
            place.last_at = one.now
            if place.image is None and header.modality not in ABOUT_IMAGES:
                place.image = header
        return Kept(Outcome.KEPT, one.uid, header.study_instance_uid, damage=header.damage)

    def _note_lists(self, one: Arrived) -> None:
        for study_instance_uid, instance_uids in listed_in(one.header).items():
            self._statements.new_list.run(
                self._cursor,
                {
                    "kind": ListKind.MANIFEST.value,
                    "key": one.uid,
                    "ae_title": one.sender.ae_title,
                    "institution_code": one.sender.institution_code,
                    "study_instance_uid": study_instance_uid,
                    "instance_uids": instance_uids,
                    "number_of_instances": len(instance_uids),
                    "listed_at": one.now,
                },
            )

    def _find_study(self, uid: str) -> None:
        row = self._statements.study.run(self._cursor, {"uid": uid}).fetchone()
        if row is not None:
            pk, issuer, patient_id, institution, modality, has_settled = row
            identity = (issuer, patient_id)
            self._places[uid] = _Place(pk, uid, identity, institution, modality, bool(has_settled))

    def _was_given_away(self, place: _Place, header: Header, identity: tuple[str, str]) -> bool:
        """Whether the image belongs to a series that a correction has given to the study's patient."""
        issuer, patient_id = identity
        asked = {"study_pk": place.study_pk, "uid": header.series_instance_uid}
        named = asked | {"issuer": issuer, "patient_id": patient_id}
        return self._statements.given_away.run(self._cursor, named).fetchone() is not None

    def _begin_study(self, one: Arrived, identity: tuple[str, str]) -> _Place:
        header, code = one.header, one.sender.institution_code
        modality = "" if header.modality in ABOUT_IMAGES else header.modality
        place = _Place(0, header.study_instance_uid, identity, code, modality, False, first=one)
        self._places[header.study_instance_uid] = place
        return place

    def _find_series(self, place: _Place, one: Arrived) -> _Series:
        uid = one.header.series_instance_uid
        series = place.series.get(uid)
        if series is None:
            asked = {"study_pk": place.study_pk, "uid": uid}
            # A study that began in this batch has no series yet.
            row = None if place.first else self._statements.series.run(self._cursor, asked).fetchone()
            series = place.series[uid] = _Series(0, one) if row is None else _Series(row[0])
            place.new_series += row is None and one.origin is Origin.RECEIVED
        return series

    def _write(self, place: _Place) -> None:
        """The rows of a study and its series, which have everything that came in this batch."""
        if place.first is not None:
            self._new_study(place, place.first)
        for series in place.series.values():
            if series.first is not None:
                row = _series_row(place.study_pk, series.first, series.arrived)
                series.pk = int(self._statements.new_series.run(self._cursor, row).fetchone()[0])
            else:
                self._statements.grow_series.run(self._cursor, {"pk": series.pk, "count": series.arrived})
        if place.first is None and place.received:
            self._grow(place)

    def _new_study(self, place: _Place, first: Arrived) -> None:
        header = first.header
        said = Demographics(
            *place.identity, header.patient_name, header.patient_sex, header.patient_birth_date
        )
        patient = patient_pk(self._cursor, self._dialect, said, now=first.now)
        row = _study_row(place, first, patient)
        place.study_pk = int(self._statements.new_study.run(self._cursor, row).fetchone()[0])
        self._note(place, "arriving", first.now)

    def _grow(self, place: _Place) -> None:
        image = place.image
        if image is not None and not place.modality:
            self._statements.adopt.run(self._cursor, {"pk": place.study_pk} | _study_words(image))
        self._statements.grow_study.run(
            self._cursor,
            {
                "pk": place.study_pk,
                "count": place.received,
                "series": place.new_series,
                "now": place.last_at,
                "first_modality": image.modality if image else "",
                "first_body_part": image.body_part_examined if image else "",
            },
        )
        if place.has_settled:
            assert place.last_at is not None
            self._note(place, "new-images", place.last_at)

    def _note(self, place: _Place, verb: str, now: datetime) -> None:
        """What those who look at lists are told."""
        self._changes.append(
            {
                "at": now,
                "topic": changes.Topic.STUDY.value,
                "subject": f"study:{place.study_instance_uid}",
                "verb": verb,
                "institution_code": place.institution_code,
                "modality": place.modality,
            }
        )

    def _quarantine(self, one: Arrived, reason: str) -> Kept:
        header, stored = one.header, one.stored
        content = {
            "sop_instance_uid": one.uid,
            "digest": stored.digest,
            "transfer_syntax_uid": header.transfer_syntax_uid,
            "calling_ae": one.sender.ae_title,
        }
        # A device that was warned sends again, for days: one task for a person, not a hundred.
        known = self._statements.quarantined.run(self._cursor, content).fetchone()
        if known is None:
            self._statements.quarantine.run(self._cursor, _quarantine_row(one, reason))
        else:
            self._mend(QuarantinedInstance, known[0], one)
        return Kept(Outcome.QUARANTINED, one.uid, header.study_instance_uid, reason=reason)

    def _mend(self, noun: Mendable, damaged: str, one: Arrived) -> None:
        """Where the object under the key `damaged` is marked, the row gets these bytes in its place."""
        done = self._statements.mend.run(self._cursor, {"damaged": damaged, "now": one.now})
        if done.rowcount == 1:
            stored = one.stored
            new = {
                "new_object_key": stored.key,
                "new_size": stored.size,
                "new_dataset_offset": stored.dataset_offset,
                "new_seal": stored.seal,
            }
            self._statements.replace[noun].run(self._cursor, {"damaged": damaged, **new})


def _study_row(place: _Place, first: Arrived, patient: int) -> dict[str, Any]:
    header, image = first.header, place.image
    words = _study_words(header)
    if image is not None and not place.modality:
        # What began it may be a document that says little of it; its first image says the rest.
        words = {
            word: value or other
            for (word, value), other in zip(words.items(), _study_words(image).values(), strict=True)
        }
    return {
        "study_instance_uid": header.study_instance_uid,
        "patient_pk": patient,
        "institution_code": first.sender.institution_code,
        **words,
        "modality": place.modality or (image.modality if image else ""),
        "body_part_examined": header.body_part_examined or (image.body_part_examined if image else ""),
        "arrival_state": ArrivalState.RECEIVING.value,
        "first_instance_at": first.now,
        "last_instance_at": place.last_at or first.now,
        "settled_at": None,
        "settled_by": None,
        "number_of_series": place.new_series,
        "number_of_instances": place.received,
        "version": 1,
    }


def _series_row(study_pk: int, first: Arrived, arrived: int) -> dict[str, Any]:
    header = first.header
    return {
        "study_pk": study_pk,
        "series_instance_uid": header.series_instance_uid,
        "modality": header.modality,
        "series_number": header.series_number,
        "series_description": header.series_description,
        "body_part_examined": header.body_part_examined,
        "laterality": header.laterality,
        "station_ae": first.sender.ae_title,
        "number_of_instances": arrived,
        "origin": first.origin.value,
    }


def _study_words(header: Header) -> dict[str, Any]:
    return {
        "accession_number": header.accession_number,
        "study_id": header.study_id,
        "study_date": header.study_date,
        "study_time": header.study_time,
        "study_description": header.study_description,
        "referring_physician_name": header.referring_physician_name,
    }


def _quarantine_row(one: Arrived, reason: str) -> dict[str, Any]:
    header, stored = one.header, one.stored
    return {
        "sop_instance_uid": one.uid,
        "study_instance_uid": header.study_instance_uid,
        "institution_code": one.sender.institution_code,
        "reason": reason,
        "transfer_syntax_uid": header.transfer_syntax_uid,
        "object_key": stored.key,
        "size": stored.size,
        "dataset_offset": stored.dataset_offset,
        "digest": stored.digest,
        "seal": stored.seal,
        "header": header.attributes,
        "calling_ae": one.sender.ae_title,
        "source": one.sender.source,
        "received_at": one.now,
    }


def _instance_row(series_pk: int, one: Arrived) -> dict[str, Any]:
    header, stored = one.header, one.stored
    return {
        "sop_instance_uid": header.sop_instance_uid,
        "series_pk": series_pk,
        "sop_class_uid": header.sop_class_uid,
        "transfer_syntax_uid": header.transfer_syntax_uid,
        "instance_number": header.instance_number,
        "rows": header.rows,
        "columns": header.columns,
        "number_of_frames": header.number_of_frames,
        "object_key": stored.key,
        "size": stored.size,
        "dataset_offset": stored.dataset_offset,
        "digest": stored.digest,
        "seal": stored.seal,
        "header": None,
        "charset_evidence": header.charset_evidence,
        "damage": header.damage,
        "origin": one.origin.value,
        "calling_ae": one.sender.ae_title,
        "source": one.sender.source,
        "received_at": one.now,
    }
