"""A problem's sentence in the language of the page: scripts ask for it when the API has refused."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response

from reading_portal.pages.visit import LANGUAGE_COOKIE
from reading_portal.words import language_of, words

router = APIRouter()


@router.get("/sentence")
def say(
    request: Request, text: Annotated[str, Query(max_length=2000)], language: str | None = None
) -> Response:
    chosen = language_of(language, request.cookies.get(LANGUAGE_COOKIE))
    return PlainTextResponse(words(chosen).problem(text))
