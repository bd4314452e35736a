"""What `storage.indexing` says to the database, compiled once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import Dialect, bindparam, case, func, insert, null, select, update

from storage import changes
from storage.database import Base
from storage.faults import Mended, ObjectFault
from storage.imaging import ArrivalState, Instance, Patient, QuarantinedInstance, Series, Study
from storage.instance_lists import InstanceList
from storage.institutions import Institution
from storage.prepared import Prepared

Mendable = type[Instance] | type[QuarantinedInstance]
AT_ONCE = (1, 8, 64)  # lengths of an IN list; a shorter one is filled up with its last value


class Statements:
    def __init__(self, dialect: Dialect) -> None:
        def each(statement: Any, column: Any) -> dict[int, Prepared]:
            lists = {n: [bindparam(f"u{i}", type_=column.type) for i in range(n)] for n in AT_ONCE}
            return {n: Prepared(statement.where(column.in_(names)), dialect) for n, names in lists.items()}

        self.known = each(
            select(Instance.sop_instance_uid, Instance.digest, Instance.transfer_syntax_uid),
            Instance.sop_instance_uid,
        )
        self.study = Prepared(
            select(
                Study.id,
                Patient.issuer,
                Patient.patient_id,
                Study.institution_code,
                Study.modality,
                Study.settled_at.is_not(None),
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
        # A study that a person has given to another patient, and a series of it that was there then.
        self.given_away = Prepared(
            select(Series.id)
            .join(Study, Study.id == Series.study_pk)
            .join(Patient, Patient.id == Study.sent_patient_pk)
            .where(
                Series.study_pk == bindparam("study_pk"),
                Series.series_instance_uid == bindparam("uid"),
                Patient.issuer == bindparam("issuer"),
                Patient.patient_id == bindparam("patient_id"),
            ),
            dialect,
        )
        self.instance = _insert(Instance, dialect)
        self.new_study = _insert(Study, dialect, returning=True)
        self.new_series = _insert(Series, dialect, returning=True)
        self.quarantine = _insert(QuarantinedInstance, dialect)
        same = ("sop_instance_uid", "digest", "transfer_syntax_uid", "calling_ae")
        columns = QuarantinedInstance.__table__.columns
        self.quarantined = Prepared(
            select(QuarantinedInstance.object_key)
            .where(*(columns[name] == bindparam(name) for name in same))
            .limit(1),
            dialect,
        )
        self.instance_fault = Prepared(
            select(ObjectFault.object_key)
            .join(Instance, Instance.object_key == ObjectFault.object_key)
            .where(Instance.sop_instance_uid == bindparam("uid"), ObjectFault.mended_at.is_(None)),
            dialect,
        )
        # Of two who bring good bytes at once only one mends; the fault's row decides.
        self.mend = Prepared(
            update(ObjectFault)
            .where(ObjectFault.object_key == bindparam("damaged"), ObjectFault.mended_at.is_(None))
            .values(
                mended_at=bindparam("now", type_=ObjectFault.found_at.type),
                mended_by=Mended.RESENT.value,
                is_told=False,
            ),
            dialect,
        )
        self.replace: dict[Mendable, Prepared] = {
            noun: Prepared(
                update(noun)
                .where(noun.__table__.columns["object_key"] == bindparam("damaged"))
                .values(
                    {
                        name: bindparam(f"new_{name}", type_=noun.__table__.columns[name].type)
                        for name in ("object_key", "size", "dataset_offset", "seal")
                    }
                    # What was read from the damaged object is read again.
                    | ({"header": null()} if noun is Instance else {})
                ),
                dialect,
            )
            for noun in (Instance, QuarantinedInstance)
        }
        self.change = _insert(changes.Change, dialect)
        self.institution = Prepared(
            select(Institution.code).where(Institution.code == bindparam("code")), dialect
        )
        # Counted in the database: two nodes may add to one series at the same time.
        self.grow_series = Prepared(
            update(Series)
            .where(Series.id == bindparam("pk"))
            .values(number_of_instances=Series.number_of_instances + bindparam("count")),
            dialect,
        )
        self.new_list = _insert(InstanceList, dialect)
        # What began a study may be a document that says little of it; its first image says the rest.
        words = (
            Study.accession_number, Study.study_id, Study.study_time, Study.study_description,
            Study.referring_physician_name,
        )  # fmt: skip
        filled: dict[str, Any] = {
            word.key: case((word == "", bindparam(word.key)), else_=word) for word in words
        }
        filled["study_date"] = func.coalesce(
            Study.study_date, bindparam("study_date", type_=Study.study_date.type)
        )
        self.adopt = Prepared(update(Study).where(Study.id == bindparam("pk")).values(filled), dialect)
        has_settled = Study.settled_at.is_not(None)
        self.grow_study = Prepared(
            update(Study)
            .where(Study.id == bindparam("pk"))
            .values(
                number_of_instances=Study.number_of_instances + bindparam("count"),
                number_of_series=Study.number_of_series + bindparam("series"),
                last_instance_at=bindparam("now", type_=Study.last_instance_at.type),
                version=Study.version + case((has_settled, 1), else_=0),
                arrival_state=ArrivalState.RECEIVING.value,
                modality=case((Study.modality == "", bindparam("first_modality")), else_=Study.modality),
                body_part_examined=case(
                    (Study.body_part_examined == "", bindparam("first_body_part")),
                    else_=Study.body_part_examined,
                ),
            ),
            dialect,
        )


def _insert(noun: type[Base], dialect: Dialect, *, returning: bool = False) -> Prepared:
    table = noun.__table__
    statement = insert(noun).returning(table.c.id) if returning else insert(noun)
    told = [column for column in table.columns if column.default is None and column.key != "id"]
    return Prepared(
        statement,
        dialect,
        columns=[column.key for column in told],
        absent=[column.key for column in told if column.nullable],
    )


@lru_cache(maxsize=8)
def statements_for(dialect: Dialect) -> Statements:
    """Compiled once for each database."""
    return Statements(dialect)
