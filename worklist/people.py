"""Practitioners, their roles and licences, their sessions; and the one place that says whose it is."""

from __future__ import annotations

import hashlib
import secrets
import threading
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import ColumnElement, ForeignKey, and_, delete, exists, false, func, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, Mapped, Session, mapped_column

from storage import audit
from storage.audit import Act, Actor
from storage.database import Base, utc_now
from storage.imaging import Patient, Study
from storage.institutions import ApplicationEntity, Institution, InstitutionKind
from worklist.agreements import covered, day_of
from worklist.problems import Refused, TooManyAttempts, Unacceptable, WrongCredentials

SESSION_LASTS = timedelta(hours=12)
SESSION_IDLES = timedelta(minutes=60)
ATTEMPTS = 5
ATTEMPTS_WITHIN = timedelta(minutes=5)
SHORTEST_PASSWORD = 8

# 19 MiB, two passes: OWASP's minimum for argon2id, about 90 ms; the gate bounds memory under attack.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_hashing = threading.BoundedSemaphore(4)
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$B3Mnc0CqTrRkhYDjWl6u1XpeoEGY1u4HCXGBqLSWUsc"


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


class PortalSession(Base):
    """A signed-in browser or client; only the hash of its token is kept, so a stolen table opens nothing."""

    __tablename__ = "portal_sessions"
    token_hash: Mapped[str] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(ForeignKey("practitioners.username"), index=True)
    csrf_token: Mapped[str]
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime] = mapped_column(index=True)
    expires_at: Mapped[datetime]
    source: Mapped[str]


class FailedSignIn(Base):
    __tablename__ = "failed_sign_ins"
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(index=True)
    at: Mapped[datetime] = mapped_column(index=True)
    source: Mapped[str]


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


@dataclass(frozen=True)
class SignedIn:
    token: str
    csrf_token: str
    expires_at: datetime
    who: Who


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
        for code, modalities in partners.items():
            readable = sorted(modalities & person.reads)
            if readable:
                ways.append(and_(institution == code, modality.in_(readable)))
    return or_(*ways) if ways else false()


def visible_to_device(session: Session, entity: ApplicationEntity, *, now: datetime) -> ColumnElement[bool]:
    """Studies that a calling AE may find and retrieve: its institution's own; a county AE also those
    that its agreements cover."""
    ways: list[ColumnElement[bool]] = [Study.institution_code == entity.institution_code]
    home = session.get(Institution, entity.institution_code)
    if home is not None and home.kind == InstitutionKind.COUNTY_HOSPITAL:
        for code, modalities in covered(session, home.code, day_of(now)).items():
            ways.append(and_(Study.institution_code == code, Study.modality.in_(sorted(modalities))))
    return or_(*ways)


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


# --- signing in -------------------------------------------------------------------


def hash_password(password: str) -> str:
    """Raises Unacceptable for a password that is too short."""
    if len(password) < SHORTEST_PASSWORD:
        raise Unacceptable(f"a password has at least {SHORTEST_PASSWORD} characters")
    with _hashing:
        return _hasher.hash(password)


def _is_right(password: str, kept: str) -> bool:
    with _hashing:
        try:
            return _hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False


def refuse_after_many(session: Session, username: str, source: str, now: datetime) -> None:
    """Raises TooManyAttempts while this account has failed five times within five minutes."""
    recent = list(
        session.scalars(
            select(FailedSignIn.at)
            .where(FailedSignIn.username == username, FailedSignIn.at > now - ATTEMPTS_WITHIN)
            .order_by(FailedSignIn.at.desc())
            .limit(ATTEMPTS)
        )
    )
    if len(recent) >= ATTEMPTS:
        wait = int((recent[-1] + ATTEMPTS_WITHIN - now).total_seconds()) + 1
        raise TooManyAttempts("too many failed attempts; wait and try again", retry_after=max(1, wait))


def check_credentials(
    session: Session, *, username: str, password: str | None, otp: str | None, source: str, now: datetime
) -> Practitioner:
    """The practitioner whose password (and one-time code, if enrolled) this is.

    Raises WrongCredentials; the caller must then call `remember_failure` in a transaction of its own,
    because this one is rolled back.
    """
    refuse_after_many(session, username, source, now)
    practitioner = session.get(Practitioner, username)
    is_right = _is_right(password or "", practitioner.password_hash if practitioner else _NOBODY)
    if practitioner is None or not practitioner.is_active or not is_right:
        raise WrongCredentials("the name or the password is wrong")
    if practitioner.otp_secret:
        step = _otp_step(practitioner.otp_secret, otp or "", now)
        if step is None or step <= (practitioner.otp_last_step or 0):
            raise WrongCredentials("the one-time code is missing, wrong or used")
        practitioner.otp_last_step = step
    return practitioner


def remember_failure(session: Session, *, username: str, source: str, now: datetime) -> None:
    session.execute(delete(FailedSignIn).where(FailedSignIn.at < now - timedelta(days=1)))
    session.add(FailedSignIn(username=username[:64], at=now, source=source))
    audit.record(
        session,
        Act.SIGN_IN,
        "refuse",
        f"person:{username[:64]}",
        by=Actor(username[:64], None, source),
        outcome="failure",
    )


def sign_in(
    session: Session, *, username: str, password: str, otp: str | None, source: str, now: datetime
) -> SignedIn:
    """Open a session. Raises WrongCredentials (then `remember_failure`) and TooManyAttempts."""
    practitioner = check_credentials(
        session, username=username, password=password, otp=otp, source=source, now=now
    )
    session.execute(delete(FailedSignIn).where(FailedSignIn.username == username))
    session.execute(delete(PortalSession).where(PortalSession.expires_at < now))
    token, csrf_token = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    session.add(
        PortalSession(
            token_hash=_digest(token),
            username=username,
            csrf_token=csrf_token,
            created_at=now,
            last_seen_at=now,
            expires_at=now + SESSION_LASTS,
            source=source,
        )
    )
    person = who(practitioner, source)
    audit.record(session, Act.SIGN_IN, "sign-in", f"person:{username}", by=person.actor)
    return SignedIn(token, csrf_token, now + SESSION_LASTS, person)


def session_of(
    session: Session, token: str, *, now: datetime, source: str = ""
) -> tuple[PortalSession, Who] | None:
    """The live session behind a token and its person; None when it ended, idled out, or the person left."""
    row = session.execute(
        select(PortalSession, Practitioner)
        .join(Practitioner, Practitioner.username == PortalSession.username)
        .where(PortalSession.token_hash == _digest(token))
    ).first()
    if row is None:
        return None
    portal_session, practitioner = row
    if not practitioner.is_active or portal_session.expires_at <= now:
        return None
    if portal_session.last_seen_at + SESSION_IDLES <= now:
        return None
    return portal_session, who(practitioner, source)


def touch_session(session: Session, token_hash: str, *, now: datetime) -> None:
    found = session.get(PortalSession, token_hash)
    if found is not None:
        found.last_seen_at = now


def sign_out(session: Session, token: str, *, by: Who) -> None:
    session.execute(delete(PortalSession).where(PortalSession.token_hash == _digest(token)))
    audit.record(session, Act.SIGN_IN, "sign-out", f"person:{by.username}", by=by.actor)


def confirm_identity(
    session: Session, person: Who, *, password: str | None = None, otp: str | None = None, now: datetime
) -> None:
    """The signer proves again who signs: with the password, or with a one-time code where enrolled.

    Raises WrongCredentials (then `remember_failure`) and TooManyAttempts.
    """
    refuse_after_many(session, person.username, person.source, now)
    practitioner = session.get(Practitioner, person.username)
    if practitioner is None or not practitioner.is_active:
        raise WrongCredentials("the password is wrong")
    if password is not None:
        if not _is_right(password, practitioner.password_hash):
            raise WrongCredentials("the password is wrong")
        return
    step = _otp_step(practitioner.otp_secret, otp or "", now) if practitioner.otp_secret else None
    if step is None or step <= (practitioner.otp_last_step or 0):
        raise WrongCredentials("the one-time code is missing, wrong or used")
    practitioner.otp_last_step = step


def set_password(session: Session, username: str, password: str, *, by: Who) -> None:
    """Change a password and end every other session of that person."""
    practitioner = _known(session, username)
    practitioner.password_hash = hash_password(password)
    session.execute(delete(PortalSession).where(PortalSession.username == username))
    audit.record(session, Act.SIGN_IN, "set-password", f"person:{username}", by=by.actor)


def begin_otp(session: Session, username: str, *, center_name: str) -> str:
    """A new secret, waiting for its first code; returns the otpauth:// address for the QR (RFC 6238)."""
    practitioner = _known(session, username)
    practitioner.otp_pending = pyotp.random_base32(32)
    return pyotp.TOTP(practitioner.otp_pending).provisioning_uri(name=username, issuer_name=center_name)


def confirm_otp(session: Session, username: str, code: str, *, by: Who, now: datetime) -> None:
    practitioner = _known(session, username)
    step = _otp_step(practitioner.otp_pending, code, now) if practitioner.otp_pending else None
    if step is None:
        raise Unacceptable("the code does not fit; check the clock of the telephone and try the next one")
    practitioner.otp_secret, practitioner.otp_pending, practitioner.otp_last_step = (
        practitioner.otp_pending,
        None,
        step,
    )
    audit.record(session, Act.SIGN_IN, "enrol-one-time-code", f"person:{username}", by=by.actor)


def end_otp(session: Session, username: str, *, by: Who) -> None:
    practitioner = _known(session, username)
    practitioner.otp_secret = practitioner.otp_pending = practitioner.otp_last_step = None
    audit.record(session, Act.SIGN_IN, "end-one-time-code", f"person:{username}", by=by.actor)


def set_active(session: Session, username: str, is_active: bool, *, by: Who) -> None:
    practitioner = _known(session, username)
    practitioner.is_active = is_active
    if not is_active:
        session.execute(delete(PortalSession).where(PortalSession.username == username))
    audit.record(
        session, Act.DECLARATION, "activate" if is_active else "deactivate", f"person:{username}", by=by.actor
    )


def on_duty(session: Session, *, now: datetime) -> set[str]:
    """Usernames with a session that was used within its idle time: on duty where no roster is declared."""
    return set(
        session.scalars(
            select(PortalSession.username).where(
                PortalSession.expires_at > now, PortalSession.last_seen_at > now - SESSION_IDLES
            )
        )
    )


def names(session: Session) -> dict[str, str]:
    """Username → name, for showing who holds or signed what."""
    rows = session.execute(select(Practitioner.username, Practitioner.name))
    return {row.username: row.name for row in rows}


def count_people(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Practitioner)) or 0


def _known(session: Session, username: str) -> Practitioner:
    practitioner = session.get(Practitioner, username)
    if practitioner is None:
        raise Unacceptable("no such person")
    return practitioner


def _otp_step(secret: str | None, code: str, now: datetime) -> int | None:
    """The 30-second step that this code belongs to, one step of drift allowed; None when it fits none."""
    if not secret:
        return None
    totp = pyotp.TOTP(secret)
    for drift in (0, -1, 1):
        if secrets.compare_digest(totp.at(now, counter_offset=drift), code.strip()):
            return int(now.timestamp()) // 30 + drift
    return None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
