"""A patient of an issuer: the row, the resident-ID check, names by characters and pinyin."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Dialect,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.orm import Session

from storage.charsets import pinyin_tokens
from storage.imaging import Patient, PatientNameToken
from storage.prepared import Prepared

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECKS = "10X98765432"


class BadNationalId(ValueError):
    """The resident ID number cannot be right; the message says why."""


@dataclass(frozen=True)
class NationalId:
    """A resident identity number (GB 11643): what it says of its holder."""

    text: str
    birth_date: date
    sex: str  # M | F


def read_national_id(text: str) -> NationalId:
    """Check length, birth date and check character (GB 11643, ISO 7064 MOD 11-2). Raises BadNationalId."""
    text = text.strip().upper()
    if len(text) != 18 or not text[:17].isdigit() or text[17] not in "0123456789X":
        raise BadNationalId("a resident ID has 17 digits and a check character")
    if (
        _CHECKS[sum(int(digit) * weight for digit, weight in zip(text, _WEIGHTS, strict=False)) % 11]
        != text[17]
    ):
        raise BadNationalId("the check character of the resident ID does not fit; look for a mistyped digit")
    try:
        birth_date = datetime.strptime(text[6:14], "%Y%m%d").date()
    except ValueError:
        raise BadNationalId("the birth date inside the resident ID does not exist") from None
    return NationalId(text, birth_date, "M" if int(text[16]) % 2 else "F")


def find_patient(session: Session, *, issuer: str, patient_id: str) -> Patient | None:
    return session.scalar(select(Patient).where(Patient.issuer == issuer, Patient.patient_id == patient_id))


def keep_patient(
    session: Session,
    *,
    issuer: str,
    patient_id: str,
    name: str,
    sex: str,
    birth_date: date | None,
    now: datetime,
    national_id: str | None = None,
    phone: str | None = None,
) -> Patient:
    """The patient of this issuer and ID; made when new. What is known already is completed, never changed."""
    session.flush()
    connection = session.connection()
    cursor = connection.connection.cursor()
    try:
        said = Demographics(issuer, patient_id, name, sex, birth_date)
        pk = patient_pk(cursor, connection.dialect, said, now=now)
    finally:
        cursor.close()
    patient = session.get_one(Patient, pk, populate_existing=True)
    if phone and not patient.phone:
        patient.phone, patient.compared_at = phone, None
    if national_id and not patient.national_id:
        patient.national_id, patient.compared_at = read_national_id(national_id).text, None
    return patient


@dataclass(frozen=True)
class Demographics:
    """A patient as one object or order names him; `name` with all PN groups."""

    issuer: str
    patient_id: str
    name: str
    sex: str
    birth_date: date | None


def patient_pk(cursor: Any, dialect: Dialect, said: Demographics, *, now: datetime) -> int:
    """The row of this patient, made when new and completed where it knew less. On the driver's cursor."""
    ours = _statements(dialect)
    key = {"issuer": said.issuer, "patient_id": said.patient_id}
    row = ours.find.run(cursor, key).fetchone()
    told = {"name": said.name, "sex": said.sex, "birth_date": said.birth_date}
    if row is None:
        new = {**key, **told, **_NOT_KNOWN, "created_at": now}
        pk = int(ours.insert.run(cursor, new).fetchone()[0])
        _index_name(ours, cursor, pk, said.name)
        return pk
    pk, name, sex, birth_date = row
    is_more = (said.name and not name) or (said.sex and not sex) or (said.birth_date and not birth_date)
    if is_more:
        ours.complete.run(cursor, {"pk": pk, **{f"said_{word}": value for word, value in told.items()}})
    if said.name and not name:
        _index_name(ours, cursor, pk, said.name)
    return int(pk)


_NOT_KNOWN = dict.fromkeys(("national_id", "phone", "person_id", "compared_at"))


class _Statements:
    def __init__(self, dialect: Dialect) -> None:
        self.find = Prepared(
            select(Patient.id, Patient.name, Patient.sex, Patient.birth_date).where(
                Patient.issuer == bindparam("issuer"), Patient.patient_id == bindparam("patient_id")
            ),
            dialect,
        )
        columns = [column.key for column in Patient.__table__.columns if column.key != "id"]
        self.insert = Prepared(insert(Patient).returning(Patient.id), dialect, columns=columns)
        self.complete = Prepared(
            update(Patient)
            .where(Patient.id == bindparam("pk"))
            .values(
                name=case((Patient.name == "", bindparam("said_name")), else_=Patient.name),
                sex=case((Patient.sex == "", bindparam("said_sex")), else_=Patient.sex),
                birth_date=func.coalesce(
                    Patient.birth_date, bindparam("said_birth_date", type_=Patient.birth_date.type)
                ),
                compared_at=null(),
            ),
            dialect,
        )
        self.token = Prepared(insert(PatientNameToken), dialect, columns=["patient_id", "token"])


@lru_cache(maxsize=8)
def _statements(dialect: Dialect) -> _Statements:
    return _Statements(dialect)


def _index_name(statements: _Statements, cursor: Any, pk: int, name: str) -> None:
    statements.token.run_many(
        cursor, [{"patient_id": pk, "token": token} for token in sorted(pinyin_tokens(name))]
    )


def rename(session: Session, patient: Patient, name: str) -> None:
    """The patient's name as it is now, and what it is found by."""
    patient.name = name
    session.execute(delete(PatientNameToken).where(PatientNameToken.patient_id == patient.id))
    session.flush()
    session.add_all(PatientNameToken(patient_id=patient.id, token=token) for token in pinyin_tokens(name))
    session.flush()


def name_matches(query: str) -> ColumnElement[bool]:
    """Patients whose name begins, anywhere, with these characters, this pinyin or these initials."""
    words = [word for word in query.lower().replace("^", " ").replace("=", " ").split() if word]
    return and_(
        true(),  # no word at all leaves nobody out
        *(begins_with([word]) for word in words),
    )


def begins_with(starts: Iterable[str]) -> ColumnElement[bool]:
    """Patients of whose tokens (`charsets.pinyin_tokens`) one begins with one of these."""
    token = PatientNameToken.token
    ranges = (and_(token >= start, token < start + "\U0010ffff") for start in starts)
    return Patient.id.in_(select(PatientNameToken.patient_id).where(or_(*ranges)))
