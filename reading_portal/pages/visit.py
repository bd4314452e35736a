"""A visit to a page: the person, the moment, the words, and how a template becomes an answer.

Every page takes `Looking` (keeps nothing) or `Acting` (one transaction, committed before the answer).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.orm import Session

from reading_portal.dependencies import CurrentSession, Now, OpenSession, ReadSession, now_of, signed_in
from reading_portal.problems import Problem
from reading_portal.words import Words, language_of, words
from storage.institutions import institution_names
from worklist.break_glass import MAY_OPEN
from worklist.people import Role, Who
from worklist.policy import Policy, read_policy

TEMPLATES = Path(__file__).parent.parent / "templates"
LANGUAGE_COOKIE = "language"

# Where each role works: path, name of the room, roles that enter; the first one of a person is home.
ROOMS: tuple[tuple[str, str, tuple[Role, ...]], ...] = (
    ("/worklist", "Worklist", (Role.READER, Role.REVIEWER, Role.DIRECTOR, Role.QUALITY)),
    ("/exams", "Exams", (Role.TECHNICIAN, Role.CLINICIAN, Role.DIRECTOR)),
    ("/orders/new", "Register", (Role.TECHNICIAN, Role.CLINICIAN)),
    ("/unmatched", "Unmatched", (Role.TECHNICIAN, Role.DIRECTOR)),
    ("/persons", "Same person", (Role.TECHNICIAN, Role.DIRECTOR)),
    ("/results", "Reports", (Role.CLINICIAN, Role.TECHNICIAN, Role.DIRECTOR, Role.QUALITY)),
    ("/templates", "Templates", (Role.READER, Role.REVIEWER)),
    ("/admin/connections", "Connections", (Role.ADMINISTRATOR, Role.DIRECTOR)),
    ("/quarantine", "Kept aside", (Role.TECHNICIAN, Role.ADMINISTRATOR, Role.DIRECTOR)),
    ("/admin/people", "People", (Role.ADMINISTRATOR,)),
    ("/admin/devices", "Devices", (Role.ADMINISTRATOR,)),
    ("/admin/audit", "Audit", (Role.AUDITOR, Role.DIRECTOR)),
    ("/admin/break-glass", "Emergency reviews", (Role.DIRECTOR, Role.AUDITOR, Role.QUALITY)),
)

# What the scripts of a page say; they find it in data-words of <body>.
SCRIPT_WORDS = (
    "A key image must be of this exam.",
    "All right",
    "The browser cannot turn speech into text here.",
    "There is no microphone, or the browser may not use it.",
    "This browser may send your voice to its maker to turn it into text. Dictate all the same?",
    "caption",
    "Also open in another tab: {0}",
    "Write here",
    "You went on with this exam in another tab.",
    "Compare them",
    "Copy my text",
    "Findings",
    "Image quality",
    "Impression",
    "Key images",
    "Recommendation",
    "Result",
    "Text from {0} that had not reached the server is in its place again.",
    "This computer keeps no text; only what is saved on the server is safe.",
    "Two versions of this text: one from {0} on this computer, another on the server.",
    "Undo",
    "both, one below the other",
    "negative",
    "positive",
    "{0} holds this exam.",
    "A blank is not filled in yet.",
    "Cannot be printed: {0}",
    "Copied.",
    "Copy the text",
    "female",
    "kept on this computer only",
    "Key image",
    "left",
    "live",
    "Load again",
    "male",
    "Normal report inserted. Check every sentence.",
    "not saved yet",
    "Nothing is waiting for you now.",
    "reconnecting",
    "remove",
    "right",
    "saved {0}",
    "saving…",
    "Something went wrong ({0}).",
    "Take over",
    "The check character fits.",
    "The line is down; what you type is kept here.",
    "The impression names the {0} side, the findings name only the {1}.",
    "The text is doubted. Look at it, then sign again.",
    "The text names the {0} side, the study is of the {1}.",
    "The text speaks of both sides, the study is of the {0}.",
    "There is no normal report for such an exam yet.",
    "The text speaks of {0}; the patient is {1}.",
    "This session has ended. Sign in again in another tab; your text stays here.",
)


@lru_cache
def environment(language: str) -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    said = words(language)
    # Old style: a percent sign in a sentence is a percent sign; values go in by .format().
    made.install_gettext_callables(said.gettext, said.ngettext, newstyle=False)  # type: ignore[attr-defined]
    made.globals["static"] = lambda path: f"/static/{path}"
    return made


@dataclass(frozen=True)
class Visit:
    """One request for a page by a person who is signed in."""

    request: Request
    session: Session
    who: Who
    csrf_token: str
    now: datetime
    policy: Policy
    words: Words

    def page(self, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        names = institution_names(self.session)
        known = {
            "person": self.who,
            "institution_name": names.get(self.who.institution_code, self.who.institution_code),
            "institutions": names,
            "rooms": rooms(self.who, self.request.url.path, self.words),
            "may_break_glass": self.who.has(*MAY_OPEN),
            "said": said(self.request, self.words),
            "csrf_token": self.csrf_token,
            "now": self.now,
            "live": True,
        }
        return render(self.request, self.words, self.policy, template, status=status, **(known | values))

    def part(self, template: str, **values: Any) -> HTMLResponse:
        """A fragment for htmx to put into a page that is open."""
        known = {"t": self.words, "now": self.now, "csrf_token": self.csrf_token, "person": self.who}
        known["institutions"] = institution_names(self.session)
        return HTMLResponse(environment(self.words.language).get_template(template).render(known | values))

    def go(self, to: str) -> Response:
        """After a form was acted on: look at this page."""
        if "hx-request" in self.request.headers:
            return Response(status_code=204, headers={"HX-Redirect": to})
        return RedirectResponse(to, status_code=303)

    def undo(self) -> None:
        """Give up what this transaction did, so that the form can be shown again with its mistake."""
        self.session.rollback()
        self.session.info.clear()


def render(
    request: Request, said_in: Words, policy: Policy, template: str, *, status: int = 200, **values: Any
) -> HTMLResponse:
    script_words = {text: said_in.gettext(text) for text in SCRIPT_WORDS}
    known = {
        "t": said_in,
        "center_name": policy.center_name,
        "here": request.url.path if request.method == "GET" else "/",
        "person": None,
        "live": False,
        "said": None,
        "csrf_token": "",
        "script_words": json.dumps(script_words, ensure_ascii=False),
    }
    html = environment(said_in.language).get_template(template).render(known | values)
    return HTMLResponse(html, status_code=status)


def _visit(request: Request, current: CurrentSession, session: Session, now: datetime) -> Visit:
    policy = read_policy(session)
    language = language_of(request.cookies.get(LANGUAGE_COOKIE), current.who.language, policy.language)
    return Visit(
        request, session, current.who, current.csrf_token, now, policy, words(language, policy.timezone)
    )


def looking(request: Request, current: CurrentSession, session: ReadSession, now: Now) -> Visit:
    return _visit(request, current, session, now)


def acting(request: Request, current: CurrentSession, session: OpenSession, now: Now) -> Visit:
    return _visit(request, current, session, now)


Looking = Annotated[Visit, Depends(looking)]
Acting = Annotated[Visit, Depends(acting)]


def rooms(who: Who, path: str, said_in: Words) -> list[dict[str, Any]]:
    return [
        {
            "path": room,
            "label": said_in.gettext(label),
            "is_here": path == room or path.startswith(room + "/"),
        }
        for room, label, roles in ROOMS
        if who.has(*roles)
    ]


def home_of(who: Who) -> str:
    """The first room of this person; the profile for those whose rooms are not built."""
    return next((path for path, _, roles in ROOMS if who.has(*roles)), "/profile")


def said(request: Request, said_in: Words) -> dict[str, str] | None:
    """What the last form did, as a code in the address: `?said=password-changed`."""
    code = request.query_params.get("said", "")
    text = said_in.codes.get(("said", code))
    return {"kind": "good", "text": text} if text else None


def own_path(path: str) -> str:
    """The path if it leads to this portal, else home: a sign-in must not send anyone elsewhere."""
    parts = urlsplit(path)
    is_own = (
        not parts.scheme and not parts.netloc and path.startswith("/") and not path.startswith(("//", "/\\"))
    )
    return path if is_own else "/"


def problem_page(request: Request, problem: Problem) -> Response:
    """A problem as a person sees it; without a session it is the way to the sign-in."""
    if problem.status == 401 and request.method == "GET" and "hx-request" not in request.headers:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sign-in?to={_quoted(target)}", status_code=303)
    found, policy = _quietly(request)
    language = language_of(
        request.cookies.get(LANGUAGE_COOKIE), found.who.language if found else None, policy.language
    )
    said_in = words(language, policy.timezone)
    known: dict[str, Any] = {}
    if found is not None:
        known = {
            "person": found.who,
            "institution_name": found.who.institution_code,
            "rooms": rooms(found.who, request.url.path, said_in),
            "may_break_glass": found.who.has(*MAY_OPEN),
            "csrf_token": found.csrf_token,
        }
    title = problem.title_zh if said_in.is_chinese else problem.title
    detail = said_in.problem(problem.detail) if problem.detail not in ("", problem.title) else ""
    answer = render(
        request, said_in, policy, "problem.html", status=problem.status, title=title, detail=detail,
        number=problem.status, **known,
    )  # fmt: skip
    answer.headers.update(problem.headers)
    return answer


def _quietly(request: Request) -> tuple[Any, Policy]:
    """Who asks and under which policy; nobody and the default where the database is what failed."""
    try:
        now: Callable[[Request], datetime] = now_of
        with request.app.state.database.reading() as session:
            policy = read_policy(session)
        return signed_in(request, now(request)), policy
    except Exception:
        return None, Policy()


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(path, safe="/")
