"""Who corrects what a device sent wrong, to what, and what follows for orders, tasks and reports.

The correcting itself is storage.corrections. A report that was signed is never changed by it: somebody looks
at it again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import ColumnElement, exists, false, select, true
from sqlalchemy.orm import Session

from storage import corrections
from storage.corrections import CannotCorrect, Change, Correction
from storage.identity import BadNationalId, find_patient, keep_patient, read_national_id
from storage.imaging import ArrivalState, Origin, Patient, Series, Study
from storage.objects import ObjectStore
from storage.rereading import changes_by, first_headers, how_read
from storage.uids import new_uid
from worklist.arrivals import find_order_of, link_order, unlink_order
from worklist.orders import OPEN, ServiceRequest, same_name
from worklist.people import Role, Who, must_have
from worklist.problems import Missing, Unacceptable, WrongState
from worklist.reading_tasks import TaskState, open_task, task_of
from worklist.reports import ISSUED, DiagnosticReport

MAY_CORRECT = (Role.ADMINISTRATOR, Role.DIRECTOR, Role.TECHNICIAN)
SHORTEST_REASON = 5
SAID_BY_REPORTS = {"PatientName", "StudyDescription"}  # of what a study's text says
SIDES = ("", "L", "R", "B", "U")  # PS3.3 C.7.3.1.1.2, C.8.11.2


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What shall be said instead. None leaves it as it is; what the rows say already corrects the images."""

    order: int | None = None  # the study answers this order, and is of its patient
    patient_id: str | None = None  # of the same institution; a new one is another patient
    name: str | None = None  # all groups, "Zhang^San=张三"
    sex: str | None = None
    birth_date: date | None = None
    accession_number: str | None = None
    study_description: str | None = None
    series: tuple[str, ...] = ()  # whose body part and side are meant; none named: all that were received
    body_part: str | None = None
    laterality: str | None = None


def correctable(person: Who) -> ColumnElement[bool]:
    """The centre's administrators and directors correct every study, technicians those of their place."""
    if person.has(Role.ADMINISTRATOR, Role.DIRECTOR):
        return true()
    own = Study.institution_code == person.institution_code
    return own if person.has(Role.TECHNICIAN) else false()


def find_correctable(session: Session, person: Who, study_instance_uid: str) -> Study:
    """Raises Refused, and Missing for a study that is not the person's to correct."""
    must_have(person, *MAY_CORRECT)
    study = session.scalar(
        select(Study).where(Study.study_instance_uid == study_instance_uid, correctable(person))
    )
    if study is None:
        raise Missing("no such study")
    return study


def may_correct(person: Who, study: Study) -> bool:
    if person.has(Role.ADMINISTRATOR, Role.DIRECTOR):
        return True
    return person.has(Role.TECHNICIAN) and study.institution_code == person.institution_code


def correct_study(
    session: Session,
    study_instance_uid: str,
    wanted: Wanted,
    *,
    reason: str,
    version: int,
    by: Who,
    now: datetime,
) -> Correction:
    """Correct a study; `version` is the one that the person looked at (storage.corrections.version_of).

    Raises Missing, Refused, Unacceptable, and WrongState for the second of two people.
    """
    study = find_correctable(session, by, study_instance_uid)
    if corrections.version_of(session, study) != version:
        raise WrongState("this has been corrected meanwhile")
    if len(reason.strip()) < SHORTEST_REASON:
        raise Unacceptable("a correction takes a reason that others understand later")
    order = _order_wanted(session, study, wanted.order) if wanted.order is not None else None
    _check(wanted)
    patient = order.patient if order is not None else _patient_wanted(session, study, wanted, now)
    accession_number = order.accession_number if order is not None else wanted.accession_number
    told = [
        *_of_the_patient(study, patient, wanted),
        *_of_the_study(study, accession_number, wanted.study_description),
        *_of_the_series(session, study, wanted),
    ]
    if not told and order is None:
        raise Unacceptable("the correction changes nothing")
    is_moved = patient.id != study.patient_pk
    if is_moved and study.arrival_state != ArrivalState.SETTLED:
        # Until then a series more is as likely of the one patient as of the other.
        raise WrongState("images of this study are still arriving; correct it when they are all here")
    if order is not None and _is_signed(session, study):
        raise WrongState("the study has a signed report; its reader withdraws it before the study is moved")
    try:
        made = corrections.correct(
            session, study, told, reason=reason.strip(), version=version, by=by.actor, now=now
        )
    except CannotCorrect as error:
        raise WrongState(str(error)) from error
    made.links = _link(session, study, order, by=by, now=now)
    _have_the_report_verified(session, study, now)
    return made


def undo_correction(
    session: Session,
    study_instance_uid: str,
    correction: int,
    *,
    reason: str,
    version: int,
    by: Who,
    now: datetime,
) -> None:
    """Everything says again what it said before. Raises as `correct_study` does."""
    study = find_correctable(session, by, study_instance_uid)
    if len(reason.strip()) < SHORTEST_REASON:
        raise Unacceptable("a correction takes a reason that others understand later")
    made = next((one for one in corrections.corrections_of(session, study) if one.id == correction), None)
    if made is None:
        raise Missing("no such correction of this study")
    if made.study_pk != study.id:
        raise Unacceptable("this correction was made at another study of the patient; undo it there")
    before, after = made.links.get("order_before"), made.links.get("order_after")
    if before != after and _is_signed(session, study):
        raise WrongState("the study has a signed report; its reader withdraws it before the study is moved")
    try:
        corrections.undo(session, study, made, reason=reason.strip(), version=version, by=by.actor, now=now)
    except CannotCorrect as error:
        raise WrongState(str(error)) from error
    if before != after:
        _link_back(session, study, before, after, by=by, now=now)
    _have_the_report_verified(session, study, now)


def reread_study(
    session: Session,
    objects: ObjectStore,
    study_instance_uid: str,
    charset: str,
    *,
    version: int,
    by: Who,
    now: datetime,
) -> Correction:
    """Read all text of a study from its bytes by this character set; a correction as any other.

    Raises Missing, Refused, Unacceptable, and WrongState for the second of two people.
    """
    study = find_correctable(session, by, study_instance_uid)
    if corrections.version_of(session, study) != version:
        raise WrongState("this has been corrected meanwhile")
    headers = first_headers(session, objects, study)
    seen = how_read(study, headers)
    if seen is None or charset not in {one.charset for one in seen.others}:
        raise Unacceptable("the text of this study cannot be read by this character set")
    told = changes_by(study, headers, charset)
    try:
        made = corrections.correct(
            session, study, told, reason=f"read as {charset}", version=version, by=by.actor, now=now
        )
    except CannotCorrect as error:
        raise WrongState(str(error)) from error
    made.links = _link(session, study, None, by=by, now=now)
    if any(change.keyword in SAID_BY_REPORTS for change in told):
        _have_the_report_verified(session, study, now)
    return made


# --- what is wanted ------------------------------------------------------------------------------


def _order_wanted(session: Session, study: Study, order_id: int) -> ServiceRequest:
    order = session.get(ServiceRequest, order_id)
    if order is None or order.institution_code != study.institution_code:
        raise Unacceptable("a study is matched to an order of its own institution")
    if order.study_pk is not None or order.state not in OPEN:
        raise WrongState(f"the order is {order.state} and takes no study")
    return order


def _patient_wanted(session: Session, study: Study, wanted: Wanted, now: datetime) -> Patient:
    """The patient whom the study shall be of; a new one where nobody has this ID."""
    known = study.patient
    asked = (wanted.patient_id or "").strip()
    if not asked or asked == known.patient_id:
        return known
    target = find_patient(session, issuer=study.institution_code, patient_id=asked)
    if target is not None:
        # A form that was filled for the one patient must not rename the other.
        if wanted.name is not None and target.name and not same_name(wanted.name, target.name):
            raise Unacceptable("the patient of this ID has another name; look at the ID again")
        return target
    return keep_patient(
        session,
        issuer=study.institution_code,
        patient_id=asked,
        name=known.name if wanted.name is None else wanted.name,
        sex=known.sex if wanted.sex is None else wanted.sex,
        birth_date=wanted.birth_date or known.birth_date,
        now=now,
    )


def _of_the_patient(study: Study, patient: Patient, wanted: Wanted) -> list[Change]:
    if patient.id != study.patient_pk:
        sent = study.sent_patient_pk or study.patient_pk
        return [
            Change(corrections.SENT_PATIENT, study.id, sent),
            Change(corrections.PATIENT, study.id, patient.id),
        ]
    said = {"PatientName": wanted.name, "PatientSex": wanted.sex, "PatientBirthDate": wanted.birth_date}
    if patient.national_id:
        _check_national_id(patient.national_id, wanted)
    return [Change(keyword, patient.id, value) for keyword, value in said.items() if value is not None]


def _of_the_study(study: Study, accession_number: str | None, description: str | None) -> list[Change]:
    said = {"AccessionNumber": accession_number, "StudyDescription": description}
    return [Change(keyword, study.id, value.strip()) for keyword, value in said.items() if value is not None]


def _of_the_series(session: Session, study: Study, wanted: Wanted) -> list[Change]:
    received = session.scalars(
        select(Series)
        .where(Series.study_pk == study.id, Series.origin == Origin.RECEIVED)
        .order_by(Series.id)
    ).all()
    chosen = [one for one in received if not wanted.series or one.series_instance_uid in wanted.series]
    said = {"BodyPartExamined": wanted.body_part, "Laterality": wanted.laterality}
    found = [
        Change(keyword, one.id, value.strip().upper())
        for one in chosen
        for keyword, value in said.items()
        if value is not None
    ]
    if wanted.body_part is not None and chosen and chosen[0] is received[0]:
        # A study is of the body part of its first series.
        found.append(Change(corrections.BODY_PART, study.id, wanted.body_part.strip().upper()))
    return found


def _check(wanted: Wanted) -> None:
    if wanted.patient_id is not None and (len(wanted.patient_id) > 64 or "\\" in wanted.patient_id):
        raise Unacceptable("a patient ID has at most 64 characters, and no backslash")
    if wanted.name is not None and (not wanted.name.strip("=^ ") or "\\" in wanted.name):
        raise Unacceptable("a name has a letter at least, and no backslash")
    if wanted.name is not None and any(len(group) > 64 for group in wanted.name.split("=")):
        raise Unacceptable("each group of a name has at most 64 characters")
    if wanted.sex is not None and wanted.sex not in ("M", "F", "O"):
        raise Unacceptable("sex is M, F or O")
    if wanted.accession_number and not re.fullmatch(
        r"[\x21-\x5b\x5d-\x7e]{1,16}", wanted.accession_number.strip()
    ):
        raise Unacceptable("an accession number has 1 to 16 printable characters")
    if wanted.study_description is not None and (
        len(wanted.study_description) > 64 or "\\" in wanted.study_description
    ):
        raise Unacceptable("a study description has at most 64 characters, and no backslash")
    if wanted.body_part is not None and not re.fullmatch(r"[A-Z0-9_ ]{0,16}", wanted.body_part.upper()):
        raise Unacceptable("a body part is a DICOM code such as CHEST")
    if wanted.laterality is not None and wanted.laterality.upper() not in SIDES:
        raise Unacceptable("a side is L, R, B, U or empty")


def _check_national_id(national_id: str, wanted: Wanted) -> None:
    try:
        said = read_national_id(national_id)
    except BadNationalId:
        return
    if wanted.birth_date is not None and said.birth_date != wanted.birth_date:
        raise Unacceptable("the resident ID says another birth date")
    if wanted.sex in ("M", "F") and said.sex != wanted.sex:
        raise Unacceptable("the resident ID says another sex")


# --- what follows --------------------------------------------------------------------------------


def _link(
    session: Session, study: Study, order: ServiceRequest | None, *, by: Who, now: datetime
) -> dict[str, int | None]:
    """Let the study answer the order that it belongs to now; which it answered before and after."""
    before = _order_of(session, study)
    after = before
    is_wrong = before is not None and (order is not None or before.patient_pk != study.patient_pk)
    if before is not None and is_wrong and not _is_signed(session, study):
        unlink_order(session, study, before, by=by.actor, now=now)
        after = None
    if after is None:
        after = order or find_order_of(session, study)
        if after is not None:
            link_order(session, study, after, by=by.actor, now=now)
    _name_anew(session, study)
    return {
        "order_before": before.id if before is not None else None,
        "order_after": after.id if after is not None else None,
    }


def _link_back(
    session: Session, study: Study, before: int | None, after: int | None, *, by: Who, now: datetime
) -> None:
    linked = _order_of(session, study)
    if linked is not None and linked.id == after:
        unlink_order(session, study, linked, by=by.actor, now=now)
        linked = None
    earlier = session.get(ServiceRequest, before) if before is not None else None
    if linked is None and earlier is not None and earlier.study_pk is None and earlier.state in OPEN:
        taken = select(Study.id).where(Study.study_instance_uid == earlier.study_instance_uid)
        if session.scalar(taken) is None:
            earlier.study_instance_uid = study.study_instance_uid
        link_order(session, study, earlier, by=by.actor, now=now)


def _name_anew(session: Session, study: Study) -> None:
    """An order that gave the study its UID and is somebody else's gets another: its exam is still to come.

    The device that works through the worklist would otherwise put the right patient's images into this study.
    """
    wrong = session.scalar(
        select(ServiceRequest).where(
            ServiceRequest.study_instance_uid == study.study_instance_uid,
            ServiceRequest.patient_pk != study.patient_pk,
            ServiceRequest.study_pk.is_(None),
        )
    )
    if wrong is not None:
        wrong.study_instance_uid = new_uid()
        session.flush()


def _have_the_report_verified(session: Session, study: Study, now: datetime) -> None:
    """A signed report of a study that was corrected: somebody must say whether it still holds."""
    order, task = _order_of(session, study), task_of(session, study)
    if order is None or task is None or task.state != TaskState.COMPLETED or not _is_signed(session, study):
        return
    open_task(session, study, order, now=now, purpose="verify", report_id=task.report_id)


def _is_signed(session: Session, study: Study) -> bool:
    issued = exists().where(
        DiagnosticReport.study_pk == study.id,
        DiagnosticReport.current_version.is_not(None),
        DiagnosticReport.status.in_([str(one) for one in ISSUED]),
    )
    return bool(session.scalar(select(issued)))


def _order_of(session: Session, study: Study) -> ServiceRequest | None:
    return session.scalar(select(ServiceRequest).where(ServiceRequest.study_pk == study.id))


def likely_patients(session: Session, study: Study) -> Sequence[ServiceRequest]:
    """Open orders of the institution, the newest first: whose study it may be."""
    return session.scalars(
        select(ServiceRequest)
        .where(
            ServiceRequest.institution_code == study.institution_code,
            ServiceRequest.study_pk.is_(None),
            ServiceRequest.state.in_(OPEN),
        )
        .order_by(ServiceRequest.id.desc())
        .limit(50)
    ).all()
