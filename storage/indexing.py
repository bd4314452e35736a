"""The rows of instances that have just been kept: many at once, in a few statements each.

This is the hot path of a county: no object-relational mapping for what every image needs. A study's first
image takes the slow way, once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Dialect, bindparam, case, insert, select, update
from sqlalchemy.orm import Session

from storage import changes
from storage.headers import Header
from storage.identity import keep_patient
from storage.imaging import ArrivalState, Instance, Origin, Patient, QuarantinedInstance, Series, Study
from storage.institutions import Institution
from storage.prepared import Prepared

# Objects about images, not images: they give a study no modality of its own.
ABOUT_IMAGES = {"SR", "PR", "KO", "DOC", "SEG", "REG", "AU"}
_AT_ONCE = (1, 8, 64)  # lengths of an IN list; a shorter one is filled up with its last value


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
    sha256: str  # of the dataset
    object_sha256: str


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
class _Place:
    """Where an instance belongs, as one batch sees it."""

    study_pk: int
    study_instance_uid: str
    identity: tuple[str, str]
    institution_code: str
    modality: str
    was_settled: bool
    series: dict[str, int] = field(default_factory=dict)
    grown: Counter[str] = field(default_factory=Counter)  # instances by series
    received: int = 0
    image: Header | None = None  # the first that is an image, not about one
    last_at: datetime | None = None


def index_instances(connection: Connection, arrived: Sequence[Arrived]) -> list[Kept]:
    """Write the rows of these instances, in the caller's transaction; one outcome for each.

    The first content of a SOP Instance UID stays, the same bytes again are IDENTICAL, others QUARANTINED.
    Raises IntegrityError where another process got there first: tell the whole transaction again.
    """
    return _Batch(connection, _statements(connection.dialect)).add(arrived)


def is_identical(connection: Connection, header: Header, sha256: str) -> bool:
    """Whether these very bytes are kept under this SOP Instance UID."""
    statements = _statements(connection.dialect)
    cursor = connection.connection.cursor()
    try:
        row = statements.known[1].run(cursor, {"u0": header.sop_instance_uid}).fetchone()
    finally:
        cursor.close()
    return row is not None and tuple(row[1:]) == (sha256, header.transfer_syntax_uid)


def identity_of(connection: Connection, header: Header, institution_code: str) -> tuple[str, str]:
    """Issuer and ID of the patient. An ID without issuer belongs to the sender's institution; nobody speaks
    for a neighbour; nameless exams of one cart are not one patient: without an ID the study is the identity.
    """
    own, said = institution_code, header.issuer_of_patient_id
    patient_id = header.patient_id or f"study {header.study_instance_uid}"
    if not said or said == own:
        return own, patient_id
    ours = select(Institution.code).where(Institution.code == said)
    is_neighbour = connection.execute(ours).first() is not None
    return (f"{own}/{said}" if is_neighbour else said), patient_id


def prepare(connection: Connection) -> None:
    """Compile the statements."""
    _statements(connection.dialect)


class _Statements:
    def __init__(self, dialect: Dialect) -> None:
        def each(statement: Any, column: Any) -> dict[int, Prepared]:
            lists = {n: [bindparam(f"u{i}", type_=column.type) for i in range(n)] for n in _AT_ONCE}
            return {n: Prepared(statement.where(column.in_(names)), dialect) for n, names in lists.items()}

        self.known = each(
            select(Instance.sop_instance_uid, Instance.sha256, Instance.transfer_syntax_uid),
            Instance.sop_instance_uid,
        )
        self.study = Prepared(
            select(
                Study.id,
                Patient.issuer,
                Patient.patient_id,
                Study.institution_code,
                Study.modality,
                Study.arrival_state,
            )
            .join(Patient, Patient.id == Study.patient_pk)
            .where(Study.study_instance_uid == bindparam("uid"))
            .with_for_update(of=Study),
            dialect,
        )
        self.series = Prepared(
            select(Series.id).where(
                Series.study_pk == bindparam("study_pk"), Series.series_instance_uid == bindparam("uid")
            ),
            dialect,
        )
        columns = [column.key for column in Instance.__table__.columns if column.key != "id"]
        self.instance = Prepared(insert(Instance), dialect, columns=columns)
        # Counted in the database: two nodes may add to one series at the same time.
        self.grow_series = Prepared(
            update(Series)
            .where(Series.id == bindparam("pk"))
            .values(number_of_instances=Series.number_of_instances + bindparam("count")),
            dialect,
        )
        is_settled = Study.arrival_state == ArrivalState.SETTLED
        self.grow_study = Prepared(
            update(Study)
            .where(Study.id == bindparam("pk"))
            .values(
                number_of_instances=Study.number_of_instances + bindparam("count"),
                last_instance_at=bindparam("now", type_=Study.last_instance_at.type),
                version=Study.version + case((is_settled, 1), else_=0),
                arrival_state=ArrivalState.RECEIVING.value,
                modality=case((Study.modality == "", bindparam("first_modality")), else_=Study.modality),
                body_part_examined=case(
                    (Study.body_part_examined == "", bindparam("first_body_part")),
                    else_=Study.body_part_examined,
                ),
            ),
            dialect,
        )


@lru_cache(maxsize=8)
def _statements(dialect: Dialect) -> _Statements:
    return _Statements(dialect)


class _Batch:
    def __init__(self, connection: Connection, statements: _Statements) -> None:
        self._connection = connection
        self._statements = statements
        self._cursor = connection.connection.cursor()
        self._places: dict[str, _Place] = {}
        self._rows: list[dict[str, Any]] = []

    def add(self, arrived: Sequence[Arrived]) -> list[Kept]:
        try:
            known = self._known({one.uid for one in arrived})
            # Studies are locked in the order of their UIDs: two nodes that do so cannot wait for each other.
            for uid in sorted({one.header.study_instance_uid for one in arrived}):
                self._find_study(uid)
            outcomes = [self._place(one, known) for one in arrived]
            if self._rows:
                self._statements.instance.run_many(self._cursor, self._rows)
            for place in self._places.values():
                self._grow(place)
            return outcomes
        finally:
            self._cursor.close()

    def _known(self, uids: Iterable[str]) -> dict[str, tuple[str, str]]:
        asked = list(uids)
        found: dict[str, tuple[str, str]] = {}
        for start in range(0, len(asked), _AT_ONCE[-1]):
            some = asked[start : start + _AT_ONCE[-1]]
            size = next(size for size in _AT_ONCE if size >= len(some))
            values = {f"u{i}": some[min(i, len(some) - 1)] for i in range(size)}
            rows = self._statements.known[size].run(self._cursor, values)
            found |= {row[0]: (row[1], row[2]) for row in rows}
        return found

    def _place(self, one: Arrived, known: dict[str, tuple[str, str]]) -> Kept:
        header, stored = one.header, one.stored
        content = (stored.sha256, header.transfer_syntax_uid)
        if one.uid in known:
            if known[one.uid] == content:
                return Kept(Outcome.IDENTICAL, one.uid, header.study_instance_uid)
            return self._quarantine(one, "this SOP Instance UID is kept with other content")
        identity = identity_of(self._connection, one.header, one.sender.institution_code)
        place = self._places.get(header.study_instance_uid)
        if place is None:
            place = self._new_study(one, identity)
        elif place.identity != identity:
            return self._quarantine(one, "this Study Instance UID belongs to another patient")
        series_pk = self._find_series(place, one)
        known[one.uid] = content
        self._rows.append(_instance_row(series_pk, one))
        place.grown[header.series_instance_uid] += 1
        if one.origin is Origin.RECEIVED:
            place.received += 1
            place.last_at = one.now
            if place.image is None and header.modality not in ABOUT_IMAGES:
                place.image = header
        return Kept(Outcome.KEPT, one.uid, header.study_instance_uid, damage=header.damage)

    def _find_study(self, uid: str) -> None:
        row = self._statements.study.run(self._cursor, {"uid": uid}).fetchone()
        if row is not None:
            pk, issuer, patient_id, institution, modality, state = row
            is_settled = state == ArrivalState.SETTLED
            self._places[uid] = _Place(pk, uid, (issuer, patient_id), institution, modality, is_settled)

    def _new_study(self, one: Arrived, identity: tuple[str, str]) -> _Place:
        with Session(self._connection, expire_on_commit=False) as session:
            study = _study_row(session, one, identity)
            changes.publish(
                session,
                changes.Topic.STUDY,
                f"study:{study.study_instance_uid}",
                "arriving",
                institution_code=study.institution_code,
                modality=study.modality,
            )
            session.flush()
        uid = study.study_instance_uid
        place = _Place(study.id, uid, identity, study.institution_code, study.modality, False)
        self._places[uid] = place
        return place

    def _find_series(self, place: _Place, one: Arrived) -> int:
        uid = one.header.series_instance_uid
        if uid not in place.series:
            asked = {"study_pk": place.study_pk, "uid": uid}
            row = self._statements.series.run(self._cursor, asked).fetchone()
            place.series[uid] = row[0] if row is not None else self._new_series(place, one)
        return place.series[uid]

    def _new_series(self, place: _Place, one: Arrived) -> int:
        header = one.header
        with Session(self._connection, expire_on_commit=False) as session:
            series = Series(
                study_pk=place.study_pk,
                series_instance_uid=header.series_instance_uid,
                modality=header.modality,
                series_number=header.series_number,
                series_description=header.series_description,
                body_part_examined=header.body_part_examined,
                laterality=header.laterality,
                station_ae=one.sender.ae_title,
                origin=one.origin,
            )
            session.add(series)
            session.flush()
            if one.origin is Origin.RECEIVED:
                session.execute(
                    update(Study)
                    .where(Study.id == place.study_pk)
                    .values(number_of_series=Study.number_of_series + 1)
                    .execution_options(synchronize_session=False)
                )
            return series.id

    def _grow(self, place: _Place) -> None:
        for uid, count in place.grown.items():
            self._statements.grow_series.run(self._cursor, {"pk": place.series[uid], "count": count})
        if not place.received:
            return
        image = place.image
        self._statements.grow_study.run(
            self._cursor,
            {
                "pk": place.study_pk,
                "count": place.received,
                "now": place.last_at,
                "first_modality": image.modality if image else "",
                "first_body_part": image.body_part_examined if image else "",
            },
        )
        if place.was_settled:
            with Session(self._connection) as session:
                changes.publish(
                    session,
                    changes.Topic.STUDY,
                    f"study:{place.study_instance_uid}",
                    "new-images",
                    institution_code=place.institution_code,
                    modality=place.modality,
                )
                session.flush()

    def _quarantine(self, one: Arrived, reason: str) -> Kept:
        header, stored = one.header, one.stored
        with Session(self._connection) as session:
            # A device that was warned sends again, for days: one task for a person, not a hundred.
            is_known = session.scalar(
                select(QuarantinedInstance.id).where(
                    QuarantinedInstance.sop_instance_uid == one.uid,
                    QuarantinedInstance.sha256 == stored.sha256,
                    QuarantinedInstance.transfer_syntax_uid == header.transfer_syntax_uid,
                    QuarantinedInstance.calling_ae == one.sender.ae_title,
                )
            )
            if is_known is not None:
                return Kept(Outcome.QUARANTINED, one.uid, header.study_instance_uid, reason=reason)
            session.add(
                QuarantinedInstance(
                    sop_instance_uid=one.uid,
                    study_instance_uid=header.study_instance_uid,
                    institution_code=one.sender.institution_code,
                    reason=reason,
                    transfer_syntax_uid=header.transfer_syntax_uid,
                    object_key=stored.key,
                    size=stored.size,
                    dataset_offset=stored.dataset_offset,
                    sha256=stored.sha256,
                    object_sha256=stored.object_sha256,
                    header=header.attributes,
                    calling_ae=one.sender.ae_title,
                    source=one.sender.source,
                    received_at=one.now,
                )
            )
            session.flush()
        return Kept(Outcome.QUARANTINED, one.uid, header.study_instance_uid, reason=reason)


def _study_row(session: Session, one: Arrived, identity: tuple[str, str]) -> Study:
    header = one.header
    patient = keep_patient(
        session,
        issuer=identity[0],
        patient_id=identity[1],
        name=header.patient_name,
        sex=header.patient_sex,
        birth_date=header.patient_birth_date,
        now=one.now,
    )
    study = Study(
        study_instance_uid=header.study_instance_uid,
        patient_pk=patient.id,
        patient=patient,
        institution_code=one.sender.institution_code,
        accession_number=header.accession_number,
        study_id=header.study_id,
        study_date=header.study_date,
        study_time=header.study_time,
        study_description=header.study_description,
        referring_physician_name=header.referring_physician_name,
        modality="" if header.modality in ABOUT_IMAGES else header.modality,
        body_part_examined=header.body_part_examined,
        first_instance_at=one.now,
        last_instance_at=one.now,
    )
    session.add(study)
    session.flush()
    return study


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
        "sha256": stored.sha256,
        "object_sha256": stored.object_sha256,
        "header": None,
        "charset_evidence": header.charset_evidence,
        "damage": header.damage,
        "origin": one.origin.value,
        "calling_ae": one.sender.ae_title,
        "source": one.sender.source,
        "received_at": one.now,
    }
