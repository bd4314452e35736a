"""What a route may ask for: a transaction, the objects, the moment, and the person behind the request.

A route that writes takes `OpenSession`: the commit happens before the answer, so nobody hears 200 for
something that was not kept. A route that takes `ReadSession` cannot keep anything.
"""

import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request
from sqlalchemy.orm import Session

from reading_portal.problems import ForeignRequest, NotSignedIn
from storage.database import Database
from storage.settings import Settings
from storage.sound import SoundObjects
from worklist import people, sessions
from worklist.authority import CentreAuthority
from worklist.people import Role, Who

SESSION_COOKIE = "session"
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")
# An idle clock that moves once a minute spares a write for every request.
TOUCH_EVERY = timedelta(minutes=1)


def database_of(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


def objects_of(request: Request) -> SoundObjects:
    objects: SoundObjects = request.app.state.objects
    return objects


def settings_of(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def authority_of(request: Request) -> CentreAuthority:
    authority: CentreAuthority | None = request.app.state.authority
    if authority is None:
        raise HTTPException(503, "this process has no signing authority; nothing can be signed here")
    return authority


def now_of(request: Request) -> datetime:
    clock: Callable[[], datetime] = request.app.state.clock
    return clock()


def session_of(request: Request) -> Iterator[Session]:
    with database_of(request).transaction() as session:
        yield session


def reading_of(request: Request) -> Iterator[Session]:
    with database_of(request).reading() as session:
        yield session


# Both are bounded below the number of worker threads: a transaction that is open needs one more thread to
# run its route, and must not wait for threads that all wait for the transaction.
OpenSession = Annotated[Session, Depends(session_of, scope="function", max_concurrency=20)]
ReadSession = Annotated[Session, Depends(reading_of, scope="function", max_concurrency=20)]
TheDatabase = Annotated[Database, Depends(database_of)]
Objects = Annotated[SoundObjects, Depends(objects_of)]
TheSettings = Annotated[Settings, Depends(settings_of)]
Authority = Annotated[CentreAuthority, Depends(authority_of)]
Now = Annotated[datetime, Depends(now_of)]


def _seat() -> Iterator[None]:
    yield


# A report is composed in memory (130 MB) on every core that it can get: a few at a time, the rest waits.
SigningSeat = Depends(_seat, scope="function", max_concurrency=3)


@dataclass(frozen=True)
class SignedInRequest:
    """The live session behind a request, and how the browser or program proved it."""

    token: str
    csrf_token: str
    by_cookie: bool
    who: Who


def source_of(request: Request) -> str:
    """The address that the request came from; behind the proxy, uvicorn has already put the caller's here."""
    return request.client.host if request.client else ""


def signed_in(request: Request, now: Now) -> SignedInRequest | None:
    """Who sends this request: by bearer token, else by session cookie; None for nobody."""
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    by_cookie = scheme.lower() != "bearer"
    token = request.cookies.get(SESSION_COOKIE, "") if by_cookie else bearer.strip()
    if not token:
        return None
    database = database_of(request)
    with database.reading() as session:
        found = sessions.session_of(session, token, now=now, source=source_of(request))
        if found is None:
            return None
        portal_session, who = found
        answer = SignedInRequest(token, portal_session.csrf_token, by_cookie, who)
        token_hash, is_stale = portal_session.token_hash, now - portal_session.last_seen_at > TOUCH_EVERY
    if is_stale:
        with database.transaction() as session:
            sessions.touch_session(session, token_hash, now=now)
    return answer


MaybeSignedIn = Annotated[SignedInRequest | None, Depends(signed_in)]


def must_be_signed_in(found: MaybeSignedIn) -> SignedInRequest:
    if found is None:
        raise NotSignedIn("a valid token is needed")
    return found


CurrentSession = Annotated[SignedInRequest, Depends(must_be_signed_in)]


def practitioner_of(current: CurrentSession) -> Who:
    return current.who


CurrentPractitioner = Annotated[Who, Depends(practitioner_of)]


def requires(*roles: Role) -> Callable[[Who], Who]:
    """A dependency that answers with the person, or refuses one who has none of the roles."""

    def permitted(who: CurrentPractitioner) -> Who:
        people.must_have(who, *roles)
        return who

    return permitted


async def csrf_protected(request: Request, found: MaybeSignedIn) -> None:
    """Refuse what a foreign page makes the user's browser send. Stands before every route of the portal.

    A bearer token is never sent by a browser on its own, so programs need no CSRF token.
    """
    if request.method in SAFE_METHODS or (found is not None and not found.by_cookie):
        return
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise ForeignRequest("the browser says that another site sent this")
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc not in _own_hosts(request):
        raise ForeignRequest("the browser says that another site sent this")
    if found is None:
        return
    said = request.headers.get("x-csrf-token", "")
    if not said and request.headers.get("content-type", "").startswith(FORM_TYPES):
        field = (await request.form()).get("csrf_token", "")
        said = field if isinstance(field, str) else ""
    if not hmac.compare_digest(said.encode(), found.csrf_token.encode()):
        raise ForeignRequest("the CSRF token is missing or not this session's; load the page again")


CsrfProtected = Depends(csrf_protected)


def _own_hosts(request: Request) -> set[str]:
    return {request.headers.get("host", ""), urlsplit(settings_of(request).public_url).netloc}
