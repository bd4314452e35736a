"""The server-rendered pages, one file per noun. `router` carries them all; `problem_page` shows an error."""

from fastapi import APIRouter

from reading_portal.pages import (
    reading,
    sign_in,
    worklist,
)
from reading_portal.pages.visit import problem_page

__all__ = ["problem_page", "router"]

router = APIRouter(include_in_schema=False)
for _noun in (sign_in, worklist, reading):
    router.include_router(_noun.router)
