"""DICOM attribute matching (PS3.4 C.2.2.2) as SQL, one table for C-FIND and QIDO alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, false, func, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, aliased

from storage.charsets import token_start
from storage.identity import begins_with, name_matches
from storage.imaging import Instance, Patient, Series, Study
from storage.ranges import BadKey, date_range, moments, time_range

Column = InstrumentedAttribute[Any]


class Level(StrEnum):
    PATIENT = "PATIENT"
    STUDY = "STUDY"
    SERIES = "SERIES"
    INSTANCE = "IMAGE"


_ORDER = list(Level)


@dataclass(frozen=True)
class Attribute:
    keyword: str
    tag: str
    vr: str
    level: Level
    column: Column


# What we match and return: keyword, tag, VR, level, and the column that holds it.
ATTRIBUTES: dict[str, Attribute] = {
    row[0]: Attribute(*row)
    for row in (
        ("PatientName", "00100010", "PN", Level.PATIENT, Patient.name),
        ("PatientID", "00100020", "LO", Level.PATIENT, Patient.patient_id),
        ("IssuerOfPatientID", "00100021", "LO", Level.PATIENT, Patient.issuer),
        ("PatientBirthDate", "00100030", "DA", Level.PATIENT, Patient.birth_date),
        ("PatientSex", "00100040", "CS", Level.PATIENT, Patient.sex),
        ("StudyInstanceUID", "0020000D", "UI", Level.STUDY, Study.study_instance_uid),
        ("StudyDate", "00080020", "DA", Level.STUDY, Study.study_date),
        ("StudyTime", "00080030", "TM", Level.STUDY, Study.study_time),
        ("AccessionNumber", "00080050", "SH", Level.STUDY, Study.accession_number),
        ("StudyID", "00200010", "SH", Level.STUDY, Study.study_id),
        ("StudyDescription", "00081030", "LO", Level.STUDY, Study.study_description),
        ("ReferringPhysicianName", "00080090", "PN", Level.STUDY, Study.referring_physician_name),
        ("SeriesInstanceUID", "0020000E", "UI", Level.SERIES, Series.series_instance_uid),
        ("Modality", "00080060", "CS", Level.SERIES, Series.modality),
        ("SeriesNumber", "00200011", "IS", Level.SERIES, Series.series_number),
        ("SeriesDescription", "0008103E", "LO", Level.SERIES, Series.series_description),
        ("BodyPartExamined", "00180015", "CS", Level.SERIES, Series.body_part_examined),
        ("Laterality", "00200060", "CS", Level.SERIES, Series.laterality),
        ("SOPInstanceUID", "00080018", "UI", Level.INSTANCE, Instance.sop_instance_uid),
        ("SOPClassUID", "00080016", "UI", Level.INSTANCE, Instance.sop_class_uid),
        ("InstanceNumber", "00200013", "IS", Level.INSTANCE, Instance.instance_number),
        ("Rows", "00280010", "US", Level.INSTANCE, Instance.rows),
        ("Columns", "00280011", "US", Level.INSTANCE, Instance.columns),
        ("NumberOfFrames", "00280008", "IS", Level.INSTANCE, Instance.number_of_frames),
    )
}
# Computed, not kept: they are returned, and the modalities are matched as well.
MODALITIES_IN_STUDY = "ModalitiesInStudy"
SOP_CLASSES_IN_STUDY = "SOPClassesInStudy"
# The item of Issuer of Accession Number Sequence: the institution that the study came from.
ISSUER_OF_ACCESSION_NUMBER = "LocalNamespaceEntityID"
MATCHED = {*ATTRIBUTES, MODALITIES_IN_STUDY, SOP_CLASSES_IN_STUDY, ISSUER_OF_ACCESSION_NUMBER}
NOTHING = '""'  # the value that matches none (PS3.4 C.2.2.2.7), where that was agreed


def conditions(
    level: Level,
    keys: Mapping[str, str],
    *,
    visible: ColumnElement[bool],
    fuzzy: bool = False,
    relational: bool = False,
    combined: bool = False,
    empty: bool = False,
) -> list[tuple[Level, ColumnElement[bool]]]:
    """What must be true, of which level. `visible` is a condition over Study. Raises BadKey.

    Keys of the level and of those above narrow the answer, unknown keywords never (PS3.4 C.2.2.1.3).
    `fuzzy`, `relational` and `combined` are what a peer may negotiate (PS3.4 C.5.1.1): names by their
    characters, pinyin and initials; keys of lower levels narrow too; ranges of date and time are one range.
    With `empty` two quotation marks match what has no value, otherwise everything.
    """
    found: list[tuple[Level, ColumnElement[bool]]] = [(Level.STUDY, visible)]
    universal = ("", "*") if empty else ("", "*", NOTHING)
    left = {keyword: value for keyword, value in keys.items() if value not in universal}
    if combined and "-" in left.get("StudyDate", "") and "-" in left.get("StudyTime", ""):
        found.append((Level.STUDY, moments(left.pop("StudyDate"), left.pop("StudyTime"))))
    for keyword, value in left.items():
        if keyword == MODALITIES_IN_STUDY:
            any_of = aliased(Series)  # the level's own series is another one
            same = exists().where(any_of.study_pk == Study.id, any_of.modality != "")
            inside = (
                ~same
                if value == NOTHING
                else exists().where(any_of.study_pk == Study.id, matches_text(any_of.modality, value))
            )
            found.append((Level.STUDY, inside))
        elif keyword == SOP_CLASSES_IN_STUDY:
            some, its = aliased(Instance), aliased(Series)
            classes = [one.strip() for one in value.split("\\")]
            inside = (
                select(some.id)
                .join(its, its.id == some.series_pk)
                .where(its.study_pk == Study.id, some.sop_class_uid.in_(classes))
                .exists()
            )
            found.append((Level.STUDY, inside))
        elif keyword == ISSUER_OF_ACCESSION_NUMBER:
            found.append((Level.STUDY, matches_text(Study.institution_code, value)))
        elif (attribute := ATTRIBUTES.get(keyword)) is not None and (
            relational or _ORDER.index(attribute.level) <= _ORDER.index(level)
        ):
            found.append((attribute.level, _match(attribute, value, fuzzy=fuzzy)))
    if level is Level.PATIENT and not relational:
        found = [(one, said) for one, said in found if one is not Level.STUDY or said is visible]
    here = [(one, said) for one, said in found if _ORDER.index(one) <= _ORDER.index(level)]
    below = [(one, said) for one, said in found if _ORDER.index(one) > _ORDER.index(level)]
    return [*here, (level, _some_below(level, below))] if below else here


# Level → the entity below it, and how that one names it.
_BELOW: dict[Level, tuple[Any, ColumnElement[bool]]] = {
    Level.PATIENT: (Study, Study.patient_pk == Patient.id),
    Level.STUDY: (Series, Series.study_pk == Study.id),
    Level.SERIES: (Instance, Instance.series_pk == Series.id),
}


def _some_below(level: Level, wanted: list[tuple[Level, ColumnElement[bool]]]) -> ColumnElement[bool]:
    """Whether one and the same thing below fulfils all of these."""
    deepest = max(_ORDER.index(one) for one, _ in wanted)
    entity, link = _BELOW[level]
    inside = select(1).select_from(entity).where(link, *(said for _, said in wanted))
    for between in _ORDER[_ORDER.index(level) + 1 : deepest]:
        further, joined = _BELOW[between]
        inside = inside.join(further, joined)
    owner = {Level.PATIENT: Patient, Level.STUDY: Study, Level.SERIES: Series}[level]
    return inside.correlate(owner).exists()


def conditions_on_patient(keys: Mapping[str, str]) -> list[ColumnElement[bool]]:
    """The patient's keys alone, for queries that start from something else, such as the worklist's; a name
    as it is written, or by its characters, pinyin or initials."""
    found = []
    for keyword, value in keys.items():
        attribute = ATTRIBUTES.get(keyword)
        if attribute is None or attribute.level is not Level.PATIENT or value in ("", "*", '""'):
            continue
        ways = [_match(attribute, value, fuzzy=False)]
        if attribute.vr == "PN":
            ways.append(_match(attribute, value, fuzzy=True))
        found.append(or_(*ways))
    return found


def _match(attribute: Attribute, value: str, *, fuzzy: bool) -> ColumnElement[bool]:
    column = attribute.column
    if value == NOTHING:
        return column.is_(None) if attribute.vr in ("DA", "IS", "US") else column == ""
    if attribute.vr == "UI":
        return column.in_([one.strip() for one in value.split("\\")])
    if "\\" in value:
        return or_(*(_match(attribute, one, fuzzy=fuzzy) for one in value.split("\\") if one.strip()))
    if attribute.vr == "DA":
        return date_range(attribute.keyword, column, value)
    if attribute.vr == "TM":
        return time_range(attribute.keyword, column, value)
    if attribute.vr == "PN":
        if fuzzy and attribute.keyword == "PatientName":
            return name_matches(value.replace("*", " "))
        return _name(column, value)
    if attribute.vr in ("IS", "US"):
        try:
            return column == int(value)
        except ValueError:
            raise BadKey(f"{attribute.keyword} is a number") from None
    return matches_text(column, value)


def matches_text(column: InstrumentedAttribute[Any], value: str) -> ColumnElement[bool]:
    """Single value, wild card, or a list of values (PS3.4 C.2.2.2.1, .4, .2)."""
    return or_(*(_pattern(column, one) for one in value.split("\\"))) if value else false()


def _pattern(column: Column | ColumnElement[str], value: str) -> ColumnElement[bool]:
    if "*" not in value and "?" not in value:
        return column == value.strip()
    # Runs of * are one *: `*?*?…` must not make a pattern that backtracks for ever.
    value = re.sub(r"\*+", "*", value.strip())
    escaped = value.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return column.like(escaped.replace("*", "%").replace("?", "_"), escape="!")


def _name(column: Column, value: str) -> ColumnElement[bool]:
    """A person name: any of its groups, without regard to case (PS3.4 C.2.2.2.1 allows both)."""
    if column is not Patient.name or not (groups := _groups(value)):
        return _any_group(column, value)
    starts = [token_start(group) for group in groups]
    if all(starts):
        # No index answers a pattern; the tokens leave few names to try it on.
        return and_(begins_with(starts), _any_group(column, value))
    # Every patient's name is tried, before the studies: one by one these cost ten times as much.
    holder = aliased(Patient)
    return Patient.id.in_(select(holder.id).where(_any_group(holder.name, value)))


def _groups(value: str) -> list[str]:
    groups = (group.strip(" ^") for group in value.lower().split("="))
    return [group for group in groups if group and group != "*"]


def _any_group(column: Any, value: str) -> ColumnElement[bool]:
    """A query that states several groups is answered by any of them: the stored name may have fewer."""
    lowered, ways = func.lower(column), []
    for group in _groups(value):
        befores = [""] if group.startswith("*") else ["", "*="]  # * already stands for other groups
        afters = [""] if group.endswith("*") else ["", "=*"]
        ways += [_pattern(lowered, one + group + other) for one in befores for other in afters]
    return or_(*ways) if ways else true()


def name_groups(value: str) -> dict[str, str]:
    """A PN value as DICOM JSON (PS3.18 F.2.2): its groups by name."""
    groups = zip(("Alphabetic", "Ideographic", "Phonetic"), value.split("="), strict=False)
    return {name: group for name, group in groups if group}
