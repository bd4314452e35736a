"""Signing in and proving who signs: passwords, one-time codes, sessions that can be ended."""

from __future__ import annotations

import hashlib
import secrets
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import ForeignKey, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage import audit
from storage.audit import Act, Actor
from storage.database import Base
from worklist.people import Practitioner, Who, who
from worklist.problems import TooManyAttempts, Unacceptable, WrongCredentials

SESSION_LASTS = timedelta(hours=12)
SESSION_IDLES = timedelta(minutes=60)
ATTEMPTS = 5
ATTEMPTS_WITHIN = timedelta(minutes=5)
SHORTEST_PASSWORD = 8
# 19 MiB, two passes: OWASP's minimum for argon2id, about 90 ms; the gate bounds memory under attack.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


_hashing = threading.BoundedSemaphore(4)
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$B3Mnc0CqTrRkhYDjWl6u1XpeoEGY1u4HCXGBqLSWUsc"


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


@dataclass(frozen=True)
class Proven:
    """A password that was right when it was looked at, and the hash that it was right for."""

    username: str
    password_hash: str


@dataclass(frozen=True)
class SignedIn:
    token: str
    csrf_token: str
    expires_at: datetime
    who: Who


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


def prove_password(session: Session, *, username: str, password: str, source: str, now: datetime) -> Proven:
    """The first step of signing in: it reads only, since hashing takes long and guesses must hold up nobody.

    Raises WrongCredentials; the caller must then call `remember_failure`. Raises TooManyAttempts.
    """
    refuse_after_many(session, username, source, now)
    practitioner = session.get(Practitioner, username)
    is_right = _is_right(password, practitioner.password_hash if practitioner else _NOBODY)
    if practitioner is None or not practitioner.is_active or not is_right:
        raise WrongCredentials("the name or the password is wrong")
    return Proven(username, practitioner.password_hash)


def _use_code(practitioner: Practitioner, otp: str | None, now: datetime) -> None:
    """Each one-time code opens one door once (RFC 6238 5.2)."""
    step = _otp_step(practitioner.otp_secret, otp or "", now) if practitioner.otp_secret else None
    if step is None or step <= (practitioner.otp_last_step or 0):
        raise WrongCredentials("the one-time code is missing, wrong or used")
    practitioner.otp_last_step = step


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


def sign_in(session: Session, proven: Proven, *, otp: str | None, source: str, now: datetime) -> SignedIn:
    """Open a session for a proven password and, where the person has enrolled, a one-time code.

    Raises TooManyAttempts, and WrongCredentials (then `remember_failure`), also where the password has
    changed meanwhile.
    """
    username = proven.username
    refuse_after_many(session, username, source, now)  # again: guesses may have come side by side
    practitioner = session.get(Practitioner, username)
    is_still = practitioner is not None and practitioner.password_hash == proven.password_hash
    if practitioner is None or not practitioner.is_active or not is_still:
        raise WrongCredentials("the name or the password is wrong")
    if practitioner.otp_secret:
        _use_code(practitioner, otp, now)
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
    _use_code(practitioner, otp, now)


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
