"""Practitioners, their roles and licences, their sessions; and the one place that says whose it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import lru_cache

from sqlalchemy import ColumnElement, ForeignKey, and_, exists, false, func, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, Mapped, Session, mapped_column

from storage.audit import Actor
from storage.database import Base, utc_now
from storage.imaging import Patient, Study
from storage.institutions import ApplicationEntity, InstitutionKind, institution_kind
from worklist.agreements import covered, day_of
from worklist.problems import Refused


class Role(StrEnum):
    READER = "reader"
    REVIEWER = "reviewer"
    TECHNICIAN = "technician"
    CLINICIAN = "clinician"
    QUALITY = "quality"
    DIRECTOR = "director"
    SETTLEMENT = "settlement"
    COMMISSION = "commission"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"
    INTEGRATION = "integration"


class Grade(StrEnum):
    TRAINEE = "trainee"
    ATTENDING = "attending"
    SENIOR = "senior"


class Practitioner(Base):
    __tablename__ = "practitioners"
    username: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    institution_code: Mapped[str] = mapped_column(ForeignKey("institutions.code"), index=True)
    roles: Mapped[list[str]]
    reads: Mapped[list[str]]
    license_number: Mapped[str | None]
    license_until: Mapped[date | None]
    grade: Mapped[str | None]
    language: Mapped[str | None]
    password_hash: Mapped[str]
    otp_secret: Mapped[str | None]  # a one-time code is asked for when this is set
    otp_pending: Mapped[str | None]  # shown as a QR, waiting for the first right code
    otp_last_step: Mapped[int | None]  # a code is taken once (RFC 6238 5.2)
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime]


class StudyAccess(Base):
    """A right to see one study beyond one's own: an emergency, or a recognised result."""

    __tablename__ = "study_accesses"
    id: Mapped[int] = mapped_column(primary_key=True)
    study_pk: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    username: Mapped[str | None]
    institution_code: Mapped[str | None]
    reason: Mapped[str]
    kind: Mapped[str]  # break-glass | recognition
    opened_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    reviewed_by: Mapped[str | None]
    reviewed_at: Mapped[datetime | None]
    verdict: Mapped[str | None]


@dataclass(frozen=True)
class Who:
    """The person behind a request, as far as rights go."""

    username: str
    name: str
    institution_code: str
    roles: frozenset[str]
    reads: frozenset[str] = frozenset()
    license_number: str | None = None
    license_until: date | None = None
    grade: str | None = None
    language: str | None = None
    source: str = ""

    def has(self, *roles: Role) -> bool:
        """Whether the person has any of these roles."""
        return any(role.value in self.roles for role in roles)

    @property
    def actor(self) -> Actor:
        return Actor(self.username, self.institution_code, self.source)


def who(practitioner: Practitioner, source: str = "") -> Who:
    return Who(
        username=practitioner.username,
        name=practitioner.name,
        institution_code=practitioner.institution_code,
        roles=frozenset(practitioner.roles),
        reads=frozenset(practitioner.reads),
        license_number=practitioner.license_number,
        license_until=practitioner.license_until,
        grade=practitioner.grade,
        language=practitioner.language,
        source=source,
    )


def must_have(person: Who, *roles: Role) -> None:
    """Raises Refused unless the person has one of the roles."""
    if not person.has(*roles):
        raise Refused(f"this takes one of the roles: {', '.join(roles)}")


# --- whose it is ------------------------------------------------------------------


def visible_to(
    session: Session, person: Who, noun: type[Base], *, now: datetime | None = None
) -> ColumnElement[bool]:
    """The one predicate behind every query that leaves the house: rows of `noun` that the person may see.

    Works for Study and for every table that has `study_pk`, or `institution_code` and `modality`.
    """
    now = now or utc_now()
    if noun is Study:
        return _visible_studies(session, person, now)
    if noun is Patient:
        return Patient.id.in_(select(Study.patient_pk).where(_visible_studies(session, person, now))) | (
            Patient.issuer == person.institution_code
            if person.has(Role.TECHNICIAN, Role.CLINICIAN)
            else false()
        )
    columns = noun.__table__.columns
    places = []
    if "institution_code" in columns and "modality" in columns:
        places.append(_by_place(session, person, columns["institution_code"], columns["modality"], now))
    if "study_pk" in columns:
        places.append(columns["study_pk"].in_(select(Study.id).where(_visible_studies(session, person, now))))
    if not places:
        raise TypeError(f"visible_to does not know whose {noun.__name__} is")
    return or_(*places)


def _visible_studies(session: Session, person: Who, now: datetime) -> ColumnElement[bool]:
    mine = [StudyAccess.username == person.username]
    if person.has(Role.CLINICIAN):  # who relies on a recognised result may see it
        mine.append(StudyAccess.institution_code == person.institution_code)
    granted = exists().where(
        StudyAccess.study_pk == Study.id,
        or_(*mine),
        or_(StudyAccess.expires_at.is_(None), StudyAccess.expires_at > now),
    )
    return or_(_by_place(session, person, Study.institution_code, Study.modality, now), granted)


def _by_place(
    session: Session,
    person: Who,
    institution: ColumnElement[str] | InstrumentedAttribute[str],
    modality: ColumnElement[str] | InstrumentedAttribute[str],
    now: datetime,
) -> ColumnElement[bool]:
    if person.has(Role.DIRECTOR, Role.INTEGRATION, Role.QUALITY):
        return true()
    ways: list[ColumnElement[bool]] = []
    if person.has(Role.TECHNICIAN, Role.CLINICIAN):
        ways.append(institution == person.institution_code)
    if person.has(Role.READER, Role.REVIEWER):
        partners = covered(session, person.institution_code, day_of(now))
        partners.setdefault(person.institution_code, set(person.reads))
        readable = {code: modalities & person.reads for code, modalities in partners.items()}
        ways += _places(institution, modality, readable)
    return or_(*ways) if ways else false()


def _places(
    institution: ColumnElement[str] | InstrumentedAttribute[str],
    modality: ColumnElement[str] | InstrumentedAttribute[str],
    modalities: Mapping[str, Collection[str]],
) -> list[ColumnElement[bool]]:
    """These modalities of these institutions; those of the same ones in one condition, which is quicker."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for code in sorted(modalities):
        if modalities[code]:
            alike.setdefault(tuple(sorted(modalities[code])), []).append(code)
    return [and_(institution.in_(codes), modality.in_(some)) for some, codes in sorted(alike.items())]


def visible_to_device(session: Session, entity: ApplicationEntity, *, now: datetime) -> ColumnElement[bool]:
    """Studies that a calling AE may find and retrieve: its institution's own; a county AE also those
    that its agreements cover."""
    partners: dict[str, set[str]] = {}
    if institution_kind(session, entity.institution_code) == InstitutionKind.COUNTY_HOSPITAL:
        partners = covered(session, entity.institution_code, day_of(now))
    return _studies_of(
        entity.institution_code, tuple((code, tuple(sorted(partners[code]))) for code in sorted(partners))
    )


@lru_cache(maxsize=64)
def _studies_of(own: str, partners: tuple[tuple[str, tuple[str, ...]], ...]) -> ColumnElement[bool]:
    """One's own studies and these modalities of these partners. Kept, because to compose it costs a query."""
    return or_(
        Study.institution_code == own, *_places(Study.institution_code, Study.modality, dict(partners))
    )


def may_read(
    session: Session, person: Who, *, institution_code: str, modality: str, now: datetime
) -> str | None:
    """Why this person may not read this modality for this institution now; None if nothing does."""
    if not person.has(Role.READER, Role.REVIEWER):
        return "only readers and reviewers read"
    today = day_of(now)
    if person.license_until is not None and person.license_until < today:
        return "the reader's licence has expired"
    if modality not in person.reads:
        return f"the reader is not entitled to read {modality}"
    if institution_code != person.institution_code and modality not in covered(
        session, person.institution_code, today
    ).get(institution_code, set()):
        return "no valid agreement lets the reader's institution read this"
    return None


def names(session: Session) -> dict[str, str]:
    """Username → name, for showing who holds or signed what."""
    rows = session.execute(select(Practitioner.username, Practitioner.name))
    return {row.username: row.name for row in rows}


def count_people(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Practitioner)) or 0
