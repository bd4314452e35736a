"""Sessions: sign in for a bearer token or a browser's cookie, sign out."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field

from reading_portal import sign_in
from reading_portal.dependencies import CurrentSession, Now, OpenSession, TheDatabase, TheSettings, source_of
from reading_portal.problems import NotAdmitted
from reading_portal.shapes import Answer, OneTimeCode, Password, Shape
from worklist import sessions
from worklist.people import Who
from worklist.problems import WrongCredentials

router = APIRouter(prefix="/api/sessions", tags=["sessions"])


class NewSession(Shape):
    username: Annotated[str, Field(min_length=1, max_length=64)]
    password: Password
    otp: OneTimeCode | None = None
    cookie: bool = False  # a browser: keep the token in a cookie and answer with the CSRF token instead


class Person(Answer):
    username: str
    name: str
    institution: str
    roles: list[str]
    reads: list[str]
    license_until: str | None
    grade: str | None
    language: str | None


class Session(Answer):
    token: str | None
    csrf_token: str | None
    expires_at: datetime
    person: Person


def person_of(who: Who) -> Person:
    return Person(
        username=who.username,
        name=who.name,
        institution=who.institution_code,
        roles=sorted(who.roles),
        reads=sorted(who.reads),
        license_until=who.license_until.isoformat() if who.license_until else None,
        grade=who.grade,
        language=who.language,
    )


@router.post("", status_code=201)
def open_session(
    body: NewSession,
    request: Request,
    response: Response,
    database: TheDatabase,
    settings: TheSettings,
    now: Now,
) -> Session:
    """Sign in. 401 when name, password or code is wrong; 429 after repeated failures."""
    try:
        signed_in = sign_in.sign_in(
            database,
            username=body.username,
            password=body.password,
            otp=body.otp,
            source=source_of(request),
            now=now,
        )
    except WrongCredentials as error:
        raise NotAdmitted(str(error)) from None
    if body.cookie:
        sign_in.give_cookie(response, signed_in, settings, now=now)
    return Session(
        token=None if body.cookie else signed_in.token,
        csrf_token=signed_in.csrf_token if body.cookie else None,
        expires_at=signed_in.expires_at,
        person=person_of(signed_in.who),
    )


@router.get("/current")
def current_session(current: CurrentSession) -> Person:
    """Who the caller is."""
    return person_of(current.who)


@router.delete("/current", status_code=204)
def end_session(current: CurrentSession, session: OpenSession, response: Response) -> None:
    """Sign out: the token opens nothing from now on."""
    sessions.sign_out(session, current.token, by=current.who)
    sign_in.take_cookie(response)
