"""One person, many patient IDs: issuers, the resident-ID check, names by characters and pinyin."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import ColumnElement, and_, delete, or_, select, true
from sqlalchemy.orm import Session

from storage.charsets import pinyin_tokens
from storage.imaging import Patient, PatientNameToken

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
    patient = find_patient(session, issuer=issuer, patient_id=patient_id)
    if patient is None:
        patient = Patient(issuer=issuer, patient_id=patient_id, name="", sex="", created_at=now)
        session.add(patient)
        session.flush()
    if name and not patient.name:
        patient.name = name
        _index_name(session, patient)
    patient.sex = patient.sex or sex
    patient.birth_date = patient.birth_date or birth_date
    patient.phone = patient.phone or phone
    if national_id and not patient.national_id:
        patient.national_id = read_national_id(national_id).text
    return patient


def _index_name(session: Session, patient: Patient) -> None:
    session.execute(delete(PatientNameToken).where(PatientNameToken.patient_id == patient.id))
    session.add_all(
        PatientNameToken(patient_id=patient.id, token=token) for token in pinyin_tokens(patient.name)
    )


def name_matches(query: str) -> ColumnElement[bool]:
    """Patients whose name begins, anywhere, with these characters, this pinyin or these initials."""
    words = [word for word in query.lower().replace("^", " ").replace("=", " ").split() if word]
    return and_(
        true(),  # no word at all leaves nobody out
        *(
            Patient.id.in_(
                select(PatientNameToken.patient_id).where(
                    PatientNameToken.token >= word, PatientNameToken.token < word + "\U0010ffff"
                )
            )
            for word in words
        ),
    )


def same_person(patient: Patient) -> ColumnElement[bool]:
    """Rows that certainly are this person: the row itself, linked rows, and the same checked resident ID."""
    ways = [Patient.id == patient.id]
    if patient.person_id is not None:
        ways.append(Patient.person_id == patient.person_id)
    if patient.national_id:
        ways.append(Patient.national_id == patient.national_id)
    return or_(*ways)
