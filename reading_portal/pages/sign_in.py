"""Sign in and out, and the language of the pages."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from reading_portal import sign_in as admission
from reading_portal.dependencies import (
    CurrentSession,
    MaybeSignedIn,
    Now,
    TheDatabase,
    TheSettings,
    source_of,
)
from reading_portal.pages.visit import LANGUAGE_COOKIE, home_of, own_path, render
from reading_portal.words import LANGUAGES, Words, language_of, words
from storage.database import Database
from storage.settings import Settings
from worklist import sessions
from worklist.policy import Policy, read_policy
from worklist.problems import TooManyAttempts, WrongCredentials
from worklist.staff import choose_language

router = APIRouter(include_in_schema=False)
A_YEAR = 365 * 24 * 3600


@router.get("/sign-in")
def show_sign_in(
    request: Request, database: TheDatabase, settings: TheSettings, found: MaybeSignedIn, to: str = "/"
) -> Response:
    if found is not None:
        return RedirectResponse(own_path(to), status_code=303)
    return _door(request, database, settings, to=to)


@router.post("/sign-in")
def sign_in(
    request: Request,
    database: TheDatabase,
    settings: TheSettings,
    now: Now,
    username: Annotated[str, Form(max_length=64)],
    password: Annotated[str, Form(max_length=256)],
    otp: Annotated[str, Form(max_length=16)] = "",
    to: Annotated[str, Form()] = "/",
) -> Response:
    username = username.strip()
    try:
        signed_in = admission.sign_in(
            database,
            username=username,
            password=password,
            otp=otp.replace(" ", "") or None,
            source=source_of(request),
            now=now,
        )
    except WrongCredentials as error:
        return _door(request, database, settings, to=to, username=username, status=403, problem=str(error))
    except TooManyAttempts as error:
        answer = _door(request, database, settings, to=to, username=username, status=429, problem=str(error))
        answer.headers["Retry-After"] = str(error.retry_after)
        return answer
    answer = RedirectResponse(own_path(to), status_code=303)
    admission.give_cookie(answer, signed_in, settings, now=now)
    if signed_in.who.language:
        _remember_language(answer, signed_in.who.language)
    return answer


@router.post("/sign-out")
def sign_out(current: CurrentSession, database: TheDatabase) -> Response:
    with database.transaction() as session:
        sessions.sign_out(session, current.token, by=current.who)
    answer = RedirectResponse("/sign-in", status_code=303)
    admission.take_cookie(answer)
    answer.headers["Clear-Site-Data"] = '"cache"'
    return answer


@router.post("/language")
def change_language(
    found: MaybeSignedIn,
    database: TheDatabase,
    language: Annotated[str, Form()],
    to: Annotated[str, Form()] = "/",
) -> Response:
    chosen = language_of(language)
    if found is not None:
        with database.transaction() as session:
            choose_language(session, found.who, chosen)
    answer = RedirectResponse(own_path(to), status_code=303)
    _remember_language(answer, chosen)
    return answer


@router.get("/")
def home(current: CurrentSession) -> Response:
    return RedirectResponse(home_of(current.who), status_code=303)


def _door(
    request: Request,
    database: Database,
    settings: Settings,
    *,
    to: str,
    username: str = "",
    status: int = 200,
    problem: str | None = None,
) -> Response:
    with database.reading() as session:
        policy = read_policy(session)
    said_in = _words(request, policy)
    return render(
        request,
        said_in,
        policy,
        "sign_in.html",
        status=status,
        to=own_path(to),
        username=username,
        problem=said_in.problem(problem) if problem else None,
        is_demo=(settings.data / "demo.json").is_file(),
    )


def _words(request: Request, policy: Policy) -> Words:
    return words(language_of(request.cookies.get(LANGUAGE_COOKIE), policy.language), policy.timezone)


def _remember_language(answer: Response, language: str) -> None:
    if language in LANGUAGES:
        answer.set_cookie(LANGUAGE_COOKIE, language, max_age=A_YEAR, samesite="lax", path="/")
