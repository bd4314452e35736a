"""Signing in and proving again who one is: the failure is kept in a transaction of its own."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

from starlette.responses import Response

from reading_portal.dependencies import SESSION_COOKIE
from storage.database import Database
from storage.settings import Settings
from worklist import sessions
from worklist.people import Who
from worklist.problems import WrongCredentials
from worklist.sessions import SignedIn


def sign_in(
    database: Database, *, username: str, password: str, otp: str | None, source: str, now: datetime
) -> SignedIn:
    """Open a session. Raises WrongCredentials and TooManyAttempts; failures are counted."""
    otp = _digits(otp)
    try:
        with database.reading() as session:
            proven = sessions.prove_password(
                session, username=username, password=password, source=source, now=now
            )
        with database.transaction() as session:
            return sessions.sign_in(session, proven, otp=otp, source=source, now=now)
    except WrongCredentials:
        _count(database, username, source, now)
        raise


def confirm_identity(
    database: Database, who: Who, *, password: str | None, otp: str | None, now: datetime
) -> None:
    """The signer proves again who signs. Raises WrongCredentials, TooManyAttempts; counts failures."""
    otp = _digits(otp)
    try:
        # A one-time code is used up, which is a write; a password is only looked at.
        with database.transaction() if password is None else database.reading() as session:
            sessions.confirm_identity(session, who, password=password, otp=otp, now=now)
    except WrongCredentials:
        _count(database, who.username, who.source, now)
        raise


def give_cookie(response: Response, signed_in: SignedIn, settings: Settings, *, now: datetime) -> None:
    """The browser's session: out of reach of scripts, not sent along by foreign pages' forms."""
    response.set_cookie(
        SESSION_COOKIE,
        signed_in.token,
        max_age=int((signed_in.expires_at - now).total_seconds()),
        httponly=True,
        samesite="lax",
        secure=urlsplit(settings.public_url).scheme == "https",
        path="/",
    )


def take_cookie(response: Response) -> None:
    response.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="lax")


def _digits(otp: str | None) -> str | None:
    """Codes are compared in constant time, which takes ASCII only; anything else is a wrong code."""
    return otp if otp is None or otp.isascii() else ""


def _count(database: Database, username: str, source: str, now: datetime) -> None:
    with database.transaction() as session:
        sessions.remember_failure(session, username=username, source=source, now=now)
