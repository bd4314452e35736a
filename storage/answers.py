"""What is found, as DICOM JSON: first which rows match, in order, then what is said of them, page by page.

Two steps, because an answer of thousands of rows may be read by a peer on a slow line: it is spoken from a
list of numbers, and no look at the database is open meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Dialect, Integer, String, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import InstrumentedAttribute, Session

from storage.imaging import Instance, Patient, Series, Study
from storage.matching import ATTRIBUTES, Level, conditions, name_groups
from storage.prepared import Prepared

Dataset = dict[str, Any]  # DICOM JSON

SOP_CLASSES_IN_STUDY = "00080062"  # a question of its own, for whoever asks
PAGE = 500  # rows that are described at once

_LEVELS = list(Level)
_ENTITIES: dict[Level, Any] = {
    Level.PATIENT: Patient,
    Level.STUDY: Study,
    Level.SERIES: Series,
    Level.INSTANCE: Instance,
}
# How each level is reached from the one below it.
_UPWARD: dict[Level, ColumnElement[bool]] = {
    Level.PATIENT: Patient.id == Study.patient_pk,
    Level.STUDY: Study.id == Series.study_pk,
    Level.SERIES: Series.id == Instance.series_pk,
}
# The newest first; stable, for paging.
_ORDERS: dict[Level, Sequence[Any]] = {
    Level.PATIENT: (Patient.id,),
    Level.STUDY: (Study.study_date.desc().nulls_last(), Study.id.desc()),
    Level.SERIES: (Series.study_pk.desc(), Series.series_number.nulls_last(), Series.id),
    Level.INSTANCE: (
        Series.study_pk.desc(),
        Series.id,
        Instance.instance_number.nulls_last(),
        Instance.sop_instance_uid,
    ),
}


def matches(
    session: Session,
    level: Level,
    keys: Mapping[str, str],
    *,
    visible: ColumnElement[bool],
    limit: int | None = None,
    offset: int = 0,
    fuzzy: bool = False,
    relational: bool = False,
    combined: bool = False,
    empty: bool = False,
) -> list[int]:
    """The rows of `level` that match, for `describe`, in order. Otherwise as `matching.conditions`."""
    wanted = conditions(
        level, keys, visible=visible, fuzzy=fuzzy, relational=relational, combined=combined, empty=empty
    )
    reached = {one for one, _ in wanted} | ({Level.SERIES} if level is Level.INSTANCE else set())
    query = select(_ENTITIES[level].id)
    for above in _above(level, max(map(_height, reached), default=0)):
        query = query.join(_ENTITIES[above], _UPWARD[above])
    query = query.where(*(said for _, said in wanted)).order_by(*_ORDERS[level])
    if offset:
        query = query.offset(offset)
    # On the connection: the session's way of asking costs half as much again, and gives no more than numbers.
    return list(session.connection().scalars(query.limit(limit)))


def describe(
    session: Session,
    level: Level,
    rows: Sequence[int],
    *,
    visible: ColumnElement[bool],
    wanted: Collection[str] | None = None,
) -> list[Dataset]:
    """What is known of these rows, with the attributes of this level and those above; in the order of `rows`.

    `wanted` are the tags that are needed, None is all. A row that was removed meanwhile is left out.
    """
    connection = session.connection()
    ours = _descriptions(connection.dialect)
    is_counted = wanted is None or any(tag in wanted for tag in _COUNTS.get(level, ()))
    found: dict[int, Dataset] = {}
    cursor = connection.connection.cursor()
    try:
        for start in range(0, len(rows), PAGE):
            some = rows[start : start + PAGE]
            told = ours.run(ours.of[level], cursor, some)
            page = {row[0]: _dataset(_COLUMNS[level], row) for row in told}
            if page and level is Level.PATIENT and is_counted:
                _count_in_patients(session, page, visible)
            if page and level is Level.STUDY and is_counted:
                _count_in_studies(ours.run(ours.series, cursor, some), page)
            if page and level is Level.STUDY and SOP_CLASSES_IN_STUDY in (wanted or ()):
                _name_classes(ours.run(ours.sop_classes, cursor, some), page)
            found |= page
    finally:
        cursor.close()
    return [found[pk] for pk in rows if pk in found]


def find(session: Session, level: Level, keys: Mapping[str, str], **how: Any) -> list[Dataset]:
    """`matches`, described: DICOM JSON."""
    rows = matches(session, level, keys, **how)
    return describe(session, level, rows, visible=how["visible"])


def _height(level: Level) -> int:
    """How far above an instance."""
    return len(_LEVELS) - 1 - _LEVELS.index(level)


def _above(level: Level, height: int) -> Iterator[Level]:
    """The levels over this one, from below, up to a height."""
    return (one for one in reversed(_LEVELS) if _height(level) < _height(one) <= height)


class _Descriptions:
    """What is asked about rows whose numbers are known: compiled once, run on the driver's cursor."""

    def __init__(self, dialect: Dialect) -> None:
        self._is_sqlite = dialect.name == "sqlite"
        self.of = {
            level: Prepared(_description(level).where(self._among(_ENTITIES[level].id)), dialect)
            for level in Level
        }
        of_series = select(Series.study_pk, Series.modality, Series.number_of_instances)
        self.series = Prepared(of_series.where(self._among(Series.study_pk)), dialect)
        of_instances = (
            select(Series.study_pk, Instance.sop_class_uid)
            .join(Instance, Instance.series_pk == Series.id)
            .distinct()
            .order_by(Instance.sop_class_uid)
        )
        self.sop_classes = Prepared(of_instances.where(self._among(Series.study_pk)), dialect)

    def _among(self, column: Any) -> ColumnElement[bool]:
        """One statement for any number of rows."""
        if self._is_sqlite:
            numbers = func.json_each(bindparam("rows", type_=String())).table_valued("value")
            among: ColumnElement[bool] = column.in_(select(numbers.c.value))
        else:
            among = column == any_(bindparam("rows", type_=ARRAY(Integer)))
        return among

    def run(self, statement: Prepared, cursor: Any, rows: Sequence[int]) -> list[Any]:
        told = json.dumps(rows) if self._is_sqlite else list(rows)
        return list(statement.run(cursor, {"rows": told}).fetchall())


def prepare(connection: Connection) -> None:
    """Compile the statements."""
    _descriptions(connection.dialect)


@lru_cache(maxsize=8)
def _descriptions(dialect: Dialect) -> _Descriptions:
    return _Descriptions(dialect)


def _description(level: Level) -> Any:
    query = select(_ENTITIES[level].id, *(column for _, _, column in _COLUMNS[level]))
    for above in _above(level, len(_LEVELS)):
        query = query.join(_ENTITIES[above], _UPWARD[above])
    return query


_Column = InstrumentedAttribute[Any]


def _columns_of(level: Level) -> list[tuple[str, str, _Column]]:
    told = [
        (one.tag, one.vr, one.column) for one in ATTRIBUTES.values() if _height(one.level) >= _height(level)
    ]
    if level is not Level.PATIENT:
        told.append(("00080051", "SQ", Study.institution_code))  # Issuer of Accession Number Sequence
    if level is Level.SERIES:
        told.append(("00201209", "IS", Series.number_of_instances))
    if level is Level.INSTANCE:
        told.append(("00083002", "UI", Instance.transfer_syntax_uid))  # Available Transfer Syntax UID
    return told


_COLUMNS = {level: _columns_of(level) for level in Level}


def _dataset(columns: Sequence[tuple[str, str, _Column]], row: Sequence[Any]) -> Dataset:
    found: Dataset = {}
    for (tag, vr, _), value in zip(columns, row[1:], strict=True):
        if value is None or value == "":
            found[tag] = {"vr": vr}
        else:
            if vr == "PN":
                value = name_groups(value)
            elif vr == "DA":
                value = str(value).replace("-", "")  # a date, or SQLite's text of one
            elif vr == "SQ":
                value = {"00400031": {"vr": "UT", "Value": [value]}}  # Local Namespace Entity ID
            found[tag] = {"vr": vr, "Value": [value]}
    return found


# What stands in no column: studies, series and instances of a patient; modalities, series and instances of a
# study.
_COUNTS: dict[Level, tuple[str, str, str]] = {
    Level.PATIENT: ("00201200", "00201202", "00201204"),
    Level.STUDY: ("00080061", "00201206", "00201208"),
}


def _count_in_patients(session: Session, page: dict[int, Dataset], visible: ColumnElement[bool]) -> None:
    counted = {
        pk: numbers
        for pk, *numbers in session.execute(
            select(
                Study.patient_pk,
                func.count(Study.id.distinct()),
                func.count(),
                func.sum(Series.number_of_instances),
            )
            .join(Series, Series.study_pk == Study.id)
            .where(Study.patient_pk.in_(page), visible)
            .group_by(Study.patient_pk)
        )
    }
    for pk, found in page.items():
        for tag, number in zip(_COUNTS[Level.PATIENT], counted.get(pk, (0, 0, 0)), strict=True):
            found[tag] = {"vr": "IS", "Value": [number]}


def _count_in_studies(all_series: Iterable[tuple[int, str, int]], page: dict[int, Dataset]) -> None:
    inside: dict[int, list[tuple[str, int]]] = {pk: [] for pk in page}
    for pk, modality, instances in all_series:
        if pk in inside:
            inside[pk].append((modality, instances))
    for pk, series in inside.items():
        modalities = sorted({modality for modality, _ in series if modality})
        page[pk]["00080061"] = {"vr": "CS", "Value": modalities}
        page[pk]["00201206"] = {"vr": "IS", "Value": [len(series)]}
        page[pk]["00201208"] = {"vr": "IS", "Value": [sum(instances for _, instances in series)]}


def _name_classes(told: Iterable[tuple[int, str]], page: dict[int, Dataset]) -> None:
    for found in page.values():
        found[SOP_CLASSES_IN_STUDY] = {"vr": "UI", "Value": []}
    for pk, sop_class_uid in told:
        if pk in page:
            page[pk][SOP_CLASSES_IN_STUDY]["Value"].append(sop_class_uid)
