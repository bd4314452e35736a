"""The study as its device sent it and as it is: correct it, and see and take back what was corrected."""

from dataclasses import dataclass, field, fields
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from fastapi.responses import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from reading_portal.dependencies import Objects, TheDatabase, requires
from reading_portal.dicom_json import text
from reading_portal.pages.visit import Acting, Looking, Visit
from reading_portal.shapes import Key, UidKey
from reading_portal.trail import CORRECTED
from reading_portal.viewing import note_view
from storage.corrections import PATIENT, corrections_of, in_force, version_of
from storage.imaging import Instance, Origin, Patient, Series, Study
from storage.instance_headers import PLACE, HeaderPlace, attributes_of
from storage.objects import ObjectStore
from storage.rereading import first_headers, how_read
from worklist.corrections import (
    MAY_CORRECT,
    SIDES,
    Wanted,
    correct_study,
    find_correctable,
    likely_patients,
    reread_study,
    undo_correction,
)
from worklist.orders import ServiceRequest, person_name
from worklist.people import names
from worklist.problems import Unacceptable, WrongState

router = APIRouter(prefix="/studies", dependencies=[Depends(requires(*MAY_CORRECT))])

# What is compared with what the images say: keyword → tag.
COMPARED = {
    "PatientName": "00100010",
    "PatientID": "00100020",
    "PatientSex": "00100040",
    "PatientBirthDate": "00100030",
    "AccessionNumber": "00080050",
    "StudyDescription": "00081030",
    "BodyPartExamined": "00180015",
    "Laterality": "00200060",
}
# What of these a form corrects by itself; a patient's ID is another patient.
IN_THE_FORM = {
    "PatientName": "name",
    "PatientSex": "sex",
    "PatientBirthDate": "birth_date",
    "AccessionNumber": "accession_number",
    "StudyDescription": "study_description",
    "BodyPartExamined": "body_part",
    "Laterality": "laterality",
}
Text = Annotated[str, Form(max_length=256)]


@dataclass(frozen=True)
class Said:
    """Everything that the form can correct, as text."""

    patient_id: str = ""
    name: str = ""
    name_phonetic: str = ""
    sex: str = ""
    birth_date: str = ""
    accession_number: str = ""
    study_description: str = ""
    body_part: str = ""
    laterality: str = ""
    series: list[str] = field(default_factory=list)
    also: list[str] = field(default_factory=list)
    reason: str = ""


@router.get("/{study_instance_uid}/correction")
def show_correction(
    visit: Looking, objects: Objects, database: TheDatabase, study_instance_uid: UidKey
) -> Response:
    answer = _page(visit, objects, study_instance_uid)
    note_view(database, visit.who, study_instance_uid, now=visit.now)
    return answer


@router.post("/{study_instance_uid}/correction/order")
def move_to_order(
    visit: Acting,
    objects: Objects,
    study_instance_uid: UidKey,
    version: Annotated[int, Form(ge=0)],
    order: Annotated[int, Form(ge=1, le=2**31 - 1)],
    reason: Text = "",
) -> Response:
    said = Said(reason=reason)
    return _correct(visit, objects, study_instance_uid, Wanted(order=order), said, version)


@router.post("/{study_instance_uid}/correction")
def correct(
    visit: Acting,
    objects: Objects,
    study_instance_uid: UidKey,
    version: Annotated[int, Form(ge=0)],
    patient_id: Text = "",
    name: Text = "",
    name_phonetic: Text = "",
    sex: Text = "",
    birth_date: Text = "",
    accession_number: Text = "",
    study_description: Text = "",
    body_part: Text = "",
    laterality: Text = "",
    reason: Annotated[str, Form(max_length=1000)] = "",
    series: Annotated[list[str] | None, Form()] = None,
    also: Annotated[list[str] | None, Form()] = None,
) -> Response:
    said = Said(
        patient_id=patient_id.strip(),
        name=name.strip(),
        name_phonetic=name_phonetic.strip(),
        sex=sex,
        birth_date=birth_date.strip(),
        accession_number=accession_number.strip(),
        study_description=study_description.strip(),
        body_part=body_part.strip().upper(),
        laterality=laterality,
        series=series or [],
        also=also or [],
        reason=reason,
    )
    study = find_correctable(visit.session, visit.who, study_instance_uid)
    try:
        wanted = _wanted(study, said)
    except ValueError:
        problem = visit.words.gettext("a birth date is a day of the calendar")
        return _page(visit, objects, study_instance_uid, problem=problem, filled=said, status=422)
    return _correct(visit, objects, study_instance_uid, wanted, said, version)


@router.post("/{study_instance_uid}/correction/text")
def read_anew(
    visit: Acting,
    objects: Objects,
    study_instance_uid: UidKey,
    version: Annotated[int, Form(ge=0)],
    charset: Annotated[str, Form(max_length=64)],
) -> Response:
    try:
        reread_study(
            visit.session,
            objects,
            study_instance_uid,
            charset,
            version=version,
            by=visit.who,
            now=visit.now,
        )
    except (Unacceptable, WrongState) as error:
        return _refused(visit, objects, study_instance_uid, error, Said())
    return visit.go(f"/studies/{study_instance_uid}/correction?said=text-read#text")


@router.post("/{study_instance_uid}/corrections/{correction_id}/undo")
def undo(
    visit: Acting,
    objects: Objects,
    study_instance_uid: UidKey,
    correction_id: Key,
    version: Annotated[int, Form(ge=0)],
    reason: Annotated[str, Form(max_length=1000)] = "",
) -> Response:
    try:
        undo_correction(
            visit.session,
            study_instance_uid,
            correction_id,
            reason=reason,
            version=version,
            by=visit.who,
            now=visit.now,
        )
    except (Unacceptable, WrongState) as error:
        return _refused(visit, objects, study_instance_uid, error, Said(reason=reason))
    return visit.go(f"/studies/{study_instance_uid}/correction?said=correction-undone")


def _correct(
    visit: Visit, objects: ObjectStore, uid: str, wanted: Wanted, said: Said, version: int
) -> Response:
    try:
        correct_study(
            visit.session, uid, wanted, reason=said.reason, version=version, by=visit.who, now=visit.now
        )
    except (Unacceptable, WrongState) as error:
        return _refused(visit, objects, uid, error, said)
    return visit.go(f"/studies/{uid}/correction?said=corrected")


def _refused(
    visit: Visit, objects: ObjectStore, uid: str, error: Unacceptable | WrongState, said: Said
) -> Response:
    visit.undo()
    status = 409 if isinstance(error, WrongState) else 422
    problem = visit.words.problem(str(error))
    # Whoever comes second sees what was corrected, and keeps every word.
    return _page(visit, objects, uid, problem=problem, filled=said, status=status)


def _wanted(study: Study, said: Said) -> Wanted:
    """What the form says otherwise than the rows; and what the images shall say too. Raises ValueError."""
    now = _as_it_is(study)
    other: dict[str, Any] = {
        one.name: getattr(said, one.name)
        for one in fields(Said)
        if getattr(said, one.name) != getattr(now, one.name)
    }
    also = {IN_THE_FORM[keyword] for keyword in said.also if keyword in IN_THE_FORM}
    other |= {name: getattr(said, name) for name in also}
    wanted: dict[str, Any] = {
        name: other[name]
        for name in ("patient_id", "sex", "accession_number", "study_description", "body_part", "laterality")
        if name in other
    }
    if {"name", "name_phonetic"} & other.keys():
        wanted["name"] = (
            study.patient.name
            if said.name == now.name and said.name_phonetic == now.name_phonetic
            else person_name(said.name, said.name_phonetic)
        )
    if said.birth_date and "birth_date" in other:
        wanted["birth_date"] = date.fromisoformat(said.birth_date)
    return Wanted(**wanted, series=tuple(said.series))


def _as_it_is(study: Study) -> Said:
    patient, series = study.patient, [one for one in study.series if one.origin == Origin.RECEIVED]
    name, phonetic = _typed(patient)
    is_nameless = patient.patient_id == f"study {study.study_instance_uid}"
    return Said(
        patient_id="" if is_nameless else patient.patient_id,
        name=name,
        name_phonetic=phonetic,
        sex=patient.sex,
        birth_date=patient.birth_date.isoformat() if patient.birth_date else "",
        accession_number=study.accession_number,
        study_description=study.study_description,
        body_part=series[0].body_part_examined if series else study.body_part_examined,
        laterality=series[0].laterality if series else "",
    )


def _typed(patient: Patient) -> tuple[str, str]:
    """A name as one types it: the ideographic group and the alphabetic one, without delimiters."""
    groups = [group.replace("^", " ").strip() for group in patient.name.split("=")]
    if len(groups) > 1 and groups[1]:
        return groups[1].replace(" ", ""), groups[0]
    return groups[0] if groups[0].isascii() else groups[0].replace(" ", ""), ""


def _page(
    visit: Visit,
    objects: ObjectStore,
    uid: str,
    *,
    problem: str = "",
    filled: Said | None = None,
    status: int = 200,
) -> Response:
    session = visit.session
    study = find_correctable(session, visit.who, uid)
    made = corrections_of(session, study)
    orders = likely_patients(session, study)
    sent = _as_sent(session, objects, study)
    is_form = filled is not None and bool(filled.name or filled.patient_id)
    return visit.page(
        "correction.html",
        status=status,
        study=study,
        patient=study.patient,
        order=session.scalar(select(ServiceRequest).where(ServiceRequest.study_pk == study.id)),
        orders=orders,
        series=[one for one in study.series if one.origin == Origin.RECEIVED],
        form=filled if filled is not None and is_form else _as_it_is(study),
        reason=filled.reason if filled is not None else "",
        sides=SIDES,
        compared=_compared(session, study, sent, visit),
        made=[(one, _told(session, one.changes, visit)) for one in made],
        version=version_of(session, study),
        people=names(session),
        text=how_read(study, first_headers(session, objects, study)),
        problem=problem,
    )


def _as_sent(session: Session, objects: ObjectStore, study: Study) -> dict[str, Any]:
    """The header of the study's first image, as its device wrote it."""
    row = session.execute(
        select(*PLACE)
        .join(Series, Series.id == Instance.series_pk)
        .join(Study, Study.id == Series.study_pk)
        .where(Study.id == study.id, Instance.origin == Origin.RECEIVED)
        .order_by(Instance.id)
        .limit(1)
    ).first()
    return attributes_of(objects, HeaderPlace(*row)) if row is not None else {}


def _compared(session: Session, study: Study, sent: dict[str, Any], visit: Visit) -> list[dict[str, Any]]:
    """What the images say beside what we say; where they differ, whether it is corrected on the way out."""
    patient, now = study.patient, _as_it_is(study)
    ours = {
        "PatientName": patient.name,
        "PatientID": now.patient_id,
        "PatientSex": patient.sex,
        "PatientBirthDate": f"{patient.birth_date:%Y%m%d}" if patient.birth_date else "",
        "AccessionNumber": study.accession_number,
        "StudyDescription": study.study_description,
        "BodyPartExamined": now.body_part,
        "Laterality": now.laterality,
    }
    touched = {change["keyword"] for one in in_force(session, study) for change in one.changes}
    if PATIENT in touched:
        touched |= {"PatientName", "PatientID", "PatientSex", "PatientBirthDate"}
    found = []
    for keyword, tag in COMPARED.items():
        theirs = text(sent, tag) or (text(sent, "00200062") if keyword == "Laterality" else "")
        found.append(
            {
                "keyword": keyword,
                "ours": _shown(keyword, ours[keyword], visit),
                "theirs": _shown(keyword, theirs, visit),
                "differs": bool(sent) and theirs != ours[keyword],
                "is_corrected": keyword in touched,
                "can_follow": keyword in IN_THE_FORM,
            }
        )
    return found


def _told(session: Session, changes: list[dict[str, Any]], visit: Visit) -> list[dict[str, str]]:
    told = []
    for change in changes:
        if change["keyword"] not in CORRECTED:
            continue
        before, after = change["before"], change["after"]
        if change["keyword"] == PATIENT:
            before, after = (_patient(session.get(Patient, pk), visit) for pk in (before, after))
        line = {
            "keyword": change["keyword"],
            "before": _shown(change["keyword"], before, visit),
            "after": _shown(change["keyword"], after, visit),
        }
        if line not in told:  # of several series the same
            told.append(line)
    return told


def _patient(patient: Patient | None, visit: Visit) -> str:
    return f"{visit.words.person_name(patient.name)} {patient.patient_id}" if patient is not None else ""


def _shown(keyword: str, value: str | None, visit: Visit) -> str:
    if not value:
        return ""
    if keyword == "PatientName":
        return " ".join(group.replace("^", " ").strip() for group in value.split("=")).strip()
    if keyword == "PatientSex":
        return visit.words.sex(value)
    if keyword == "PatientBirthDate" and len(value) == 8:
        return f"{value[:4]}-{value[4:6]}-{value[6:]}"
    if keyword == "BodyPartExamined":
        return visit.words.code("body-part", value)
    if keyword == "Laterality":
        return visit.words.code("side", value)
    return value
