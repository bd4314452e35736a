"""What a person says about images that a device sent under a wrong name, number or side.

The bytes stay. A correction changes the rows that say whose and what a study is, and remembers what they said
before; whatever leaves the house afterwards is laid over with what the rows say now (storage.overlays). Each
correction is a row with a reason and can be undone, the last one first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from pydicom.datadict import tag_for_keyword
from sqlalchemy import ForeignKey, func, or_, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage import audit, changes
from storage.audit import Act, Actor
from storage.database import Base
from storage.identity import rename
from storage.imaging import Instance, Patient, Series, Study
from storage.matching import ATTRIBUTES, name_groups
from storage.overlays import Overlay

AT_ONCE = 500

PATIENT, SENT_PATIENT, CHARSET, BODY_PART = "Patient", "SentPatient", "TextCharset", "StudyBodyPart"
# Keyword → the row and the column that say it.
CELLS: dict[str, tuple[type[Patient | Study | Series], str]] = {
    "PatientName": (Patient, "name"),
    "PatientSex": (Patient, "sex"),
    "PatientBirthDate": (Patient, "birth_date"),
    PATIENT: (Study, "patient_pk"),
    SENT_PATIENT: (Study, "sent_patient_pk"),
    CHARSET: (Study, "text_charset"),
    "AccessionNumber": (Study, "accession_number"),
    "StudyDescription": (Study, "study_description"),
    "StudyID": (Study, "study_id"),
    "ReferringPhysicianName": (Study, "referring_physician_name"),
    BODY_PART: (Study, "body_part_examined"),
    "BodyPartExamined": (Series, "body_part_examined"),
    "Laterality": (Series, "laterality"),
    "SeriesDescription": (Series, "series_description"),
}
PATIENT_MODULE = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")
# What speaks of the wrong patient too (PS3.3 C.2.2, C.7.1.1): numbers, names, addresses, the age. Size and
# weight stay: they were measured on whoever lay there.
ALSO_OF_THE_PATIENT = (
    "ReferencedPatientSequence",
    "TypeOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthTime",
    "OtherPatientIDs",
    "OtherPatientNames",
    "OtherPatientIDsSequence",
    "PatientBirthName",
    "PatientAge",
    "PatientAddress",
    "PatientMotherBirthName",
    "PatientTelephoneNumbers",
    "PatientTelecomInformation",
    "PatientComments",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
)
# What the wrong worklist entry brought along (PS3.3 C.4.11, C.7.2.1).
ALSO_OF_THE_ORDER = (
    "IssuerOfAccessionNumberSequence",
    "ReferencedStudySequence",
    "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence",
    "RequestAttributesSequence",
    "RequestedProcedureID",
    "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest",
)
# Keyword → what leaves no more when it is corrected, because it would say the opposite.
ALSO = {
    PATIENT: (*ALSO_OF_THE_PATIENT, *ALSO_OF_THE_ORDER),
    "PatientBirthDate": ("PatientAge",),
    "AccessionNumber": ALSO_OF_THE_ORDER,
    "BodyPartExamined": ("AnatomicRegionSequence",),
}


class Correction(Base):
    """One act of correcting; in force until it is undone."""

    __tablename__ = "corrections"
    id: Mapped[int] = mapped_column(primary_key=True)
    study_pk: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    # Whose own name, sex or birth date it changed: then it is of all his studies.
    patient_pk: Mapped[int | None] = mapped_column(ForeignKey("patients.id"), index=True)
    changes: Mapped[list[dict[str, Any]]]  # keyword, pk, before, after
    links: Mapped[dict[str, Any]]  # what the mind changed along with it
    reason: Mapped[str]
    made_by: Mapped[str]
    made_at: Mapped[datetime]
    undone_by: Mapped[str | None]
    undone_at: Mapped[datetime | None]
    undone_reason: Mapped[str | None]


class CannotCorrect(ValueError):
    """Somebody else has corrected meanwhile, or a later correction stands upon this one."""


@dataclass(frozen=True)
class Change:
    """What a row shall say: the cell by its keyword, the row by its key."""

    keyword: str
    pk: int
    after: Any


def corrections_of(session: Session, study: Study) -> Sequence[Correction]:
    """Every correction of this study and of its patient, the newest first; undone ones too."""
    return session.scalars(select(Correction).where(_about(study)).order_by(Correction.id.desc())).all()


def version_of(session: Session, study: Study) -> int:
    """Grows with every correction of the study or its patient, and with every undoing."""
    counted = select(func.count(), func.count(Correction.undone_at)).where(_about(study))
    made, undone = session.execute(counted).one()
    return int(made + undone)


def mark_of(session: Session, study: Study) -> str:
    """Another one after every correction: whose the study is said to be, and how often that was corrected."""
    return f"{study.patient_pk}.{version_of(session, study)}"


def correct(
    session: Session,
    study: Study,
    wanted: Iterable[Change],
    *,
    reason: str,
    version: int,
    by: Actor,
    now: datetime,
    links: dict[str, Any] | None = None,
) -> Correction:
    """Write down and do what a person decided; `version` is the one that the person looked at.

    What a row says already is written down too: then it is the image that said it otherwise. Raises
    CannotCorrect for the second of two people.
    """
    _hold(session, study)
    if version_of(session, study) != version:
        raise CannotCorrect("this has been corrected meanwhile")
    told = []
    patient_pk = None
    for change in wanted:
        row = _row(session, change.keyword, change.pk)
        before = getattr(row, CELLS[change.keyword][1])
        told.append(
            {
                "keyword": change.keyword,
                "pk": change.pk,
                "before": _as_json(before),
                "after": _as_json(change.after),
            }
        )
        if isinstance(row, Patient):
            patient_pk = row.id
        _write(session, row, change.keyword, change.after)
    correction = Correction(
        study_pk=study.id,
        patient_pk=patient_pk,
        changes=told,
        links=links or {},
        reason=reason,
        made_by=by.name,
        made_at=now,
    )
    session.add(correction)
    session.flush()
    _tell(session, study, correction, "correct", reason, by, now)
    return correction


def undo(
    session: Session,
    study: Study,
    correction: Correction,
    *,
    reason: str,
    version: int,
    by: Actor,
    now: datetime,
) -> None:
    """Let the rows say again what they said before. Raises CannotCorrect where a later one stands upon it."""
    _hold(session, study)
    session.refresh(correction)
    if correction.undone_at is not None or version_of(session, study) != version:
        raise CannotCorrect("this has been corrected meanwhile")
    mine = {(change["keyword"], change["pk"]) for change in correction.changes}
    for later in in_force(session, study):
        theirs = {(change["keyword"], change["pk"]) for change in later.changes}
        if later.id > correction.id and (mine & theirs or {PATIENT} & {word for word, _ in mine | theirs}):
            raise CannotCorrect("a later correction stands upon this one; undo that first")
    for change in reversed(correction.changes):
        row = _row(session, change["keyword"], change["pk"])
        _write(session, row, change["keyword"], _from_json(change["keyword"], change["before"]))
    correction.undone_at, correction.undone_by, correction.undone_reason = now, by.name, reason
    session.flush()
    _tell(session, study, correction, "undo-correction", reason, by, now)


def in_force(session: Session, study: Study) -> list[Correction]:
    """What has not been undone, the oldest first."""
    return [one for one in reversed(corrections_of(session, study)) if one.undone_at is None]


def overlays(session: Session, series_pks: Iterable[int]) -> dict[int, Overlay]:
    """What is laid over the images of these series on their way out; nothing for most."""
    wanted = sorted(set(series_pks))
    found: dict[int, tuple[Series, Study, Patient, list[Correction]]] = {}
    for start in range(0, len(wanted), AT_ONCE):
        rows = session.execute(
            select(Series, Study, Patient, Correction)
            .join(Study, Study.id == Series.study_pk)
            .join(Patient, Patient.id == Study.patient_pk)
            .join(Correction, or_(Correction.study_pk == Study.id, Correction.patient_pk == Patient.id))
            .where(Series.id.in_(wanted[start : start + AT_ONCE]), Correction.undone_at.is_(None))
            .order_by(Correction.id)
        )
        for series, study, patient, correction in rows:
            found.setdefault(series.id, (series, study, patient, []))[3].append(correction)
    laid = {pk: _overlay(*parts) for pk, parts in found.items()}
    return {pk: overlay for pk, overlay in laid.items() if overlay is not None}


def _overlay(series: Series, study: Study, patient: Patient, made: Sequence[Correction]) -> Overlay | None:
    rows: dict[Any, Any] = {Patient: patient, Study: study, Series: series}
    touched, at = set(), None
    for correction in made:
        for change in correction.changes:
            keyword = change["keyword"]
            if rows[CELLS[keyword][0]].id == change["pk"]:
                touched.add(keyword)
                at = correction.made_at
    if study.sent_patient_pk in (None, study.patient_pk):
        touched.discard(PATIENT)  # it went and came back
    if at is None or not touched:
        return None
    keywords = {keyword for keyword in touched if keyword in ATTRIBUTES}
    if PATIENT in touched:
        keywords |= set(PATIENT_MODULE)
    values = {}
    for keyword in keywords:
        attribute = ATTRIBUTES[keyword]
        row = rows[attribute.column.class_]
        value = getattr(row, attribute.column.key)
        if keyword == "PatientID" and value == f"study {study.study_instance_uid}":
            value = ""  # nobody's number: the study is the identity (storage.indexing)
        values[attribute.tag] = _element(attribute.vr, value)
    removed = frozenset(_tag(also) for keyword in touched for also in ALSO.get(keyword, ()))
    charset = study.text_charset if CHARSET in touched else None
    return Overlay(values, at, series.station_ae, removed, charset)


def _about(study: Study) -> Any:
    return or_(Correction.study_pk == study.id, Correction.patient_pk == study.patient_pk)


def _hold(session: Session, study: Study) -> None:
    """One correction of a study and of its patient at a time; and nothing else of them in between."""
    session.flush()
    session.refresh(study, with_for_update=True)
    session.scalars(select(Patient).where(Patient.id == study.patient_pk).with_for_update()).one()


def _row(session: Session, keyword: str, pk: int) -> Patient | Study | Series:
    row = session.get_one(CELLS[keyword][0], pk)
    assert isinstance(row, Patient | Study | Series)
    return row


def _write(session: Session, row: Patient | Study | Series, keyword: str, value: Any) -> None:
    if isinstance(row, Patient):
        row.compared_at = None  # whose he may be is looked at again (storage.proposals)
    if isinstance(row, Patient) and keyword == "PatientName":
        if row.name != value:
            rename(session, row, value)
        return
    setattr(row, CELLS[keyword][1], value)
    session.flush()
    if keyword == PATIENT:
        session.expire(row, ["patient"])
    if keyword == CHARSET:
        # Their headers are read anew, from the bytes (storage.instance_headers).
        of_the_study = select(Series.id).where(Series.study_pk == row.id)
        session.execute(update(Instance).where(Instance.series_pk.in_(of_the_study)).values(header=None))


def _element(vr: str, value: Any) -> dict[str, Any]:
    if value is None or value == "":
        return {"vr": vr}
    if vr == "PN":
        return {"vr": vr, "Value": [name_groups(value)]}
    return {"vr": vr, "Value": [f"{value:%Y%m%d}" if isinstance(value, date) else value]}


@lru_cache(maxsize=64)
def _tag(keyword: str) -> str:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return f"{tag:08X}"


def _as_json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _from_json(keyword: str, value: Any) -> Any:
    return date.fromisoformat(value) if keyword == "PatientBirthDate" and value else value


def _tell(
    session: Session, study: Study, correction: Correction, verb: str, reason: str, by: Actor, now: datetime
) -> None:
    audit.record(
        session,
        Act.STUDY,
        verb,
        f"study:{study.study_instance_uid}",
        by=by,
        at=now,
        correction=correction.id,
        corrected=correction.changes,
        reason=reason,
    )
    concerned = {study.id: study}
    if correction.patient_pk is not None:
        # What is said of a patient is said on the pages of all of that patient's studies.
        its = session.scalars(select(Study).where(Study.patient_pk == correction.patient_pk))
        concerned |= {one.id: one for one in its}
    for one in concerned.values():
        changes.publish(
            session,
            changes.Topic.STUDY,
            f"study:{one.study_instance_uid}",
            "corrected",
            institution_code=one.institution_code,
            modality=one.modality,
        )
