"""Public: does the printed report in somebody's hand still stand? No patient data beyond initials."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from reading_portal.dependencies import ReadSession
from reading_portal.pages.visit import LANGUAGE_COOKIE, render
from reading_portal.words import language_of, words
from worklist.policy import read_policy
from worklist.reports import verification

router = APIRouter()


@router.get("/verify/{token}")
def show_verification(
    request: Request, session: ReadSession, token: Annotated[str, Path(max_length=128)]
) -> Response:
    policy = read_policy(session)
    accepted = request.headers.get("accept-language", "")
    said_in = words(
        language_of(
            request.cookies.get(LANGUAGE_COOKIE), "en" if accepted.startswith("en") else None, policy.language
        ),
        policy.timezone,
    )
    found = verification(session, token)
    return render(
        request, said_in, policy, "verify.html", status=200 if found else 404, found=found,
        standing=found.standing if found else "unknown",
    )  # fmt: skip
