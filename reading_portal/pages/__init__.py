"""The server-rendered pages, one file per noun. `router` carries them all; `problem_page` shows an error."""

from fastapi import APIRouter

from reading_portal.pages import (
    audit,
    break_glass,
    connections,
    corrections,
    devices,
    display_check,
    exams,
    orders,
    people,
    persons,
    profile,
    quarantine,
    reading,
    report_templates,
    results,
    sentences,
    sign_in,
    studies,
    unmatched,
    verify,
    worklist,
)
from reading_portal.pages.visit import problem_page

__all__ = ["problem_page", "router"]

NOUNS = (
    sign_in,
    profile,
    display_check,
    worklist,
    reading,
    report_templates,
    orders,
    exams,
    unmatched,
    persons,
    results,
    studies,
    corrections,
    connections,
    quarantine,
    people,
    devices,
    audit,
    break_glass,
    verify,
    sentences,
)

router = APIRouter(include_in_schema=False)
for _noun in NOUNS:
    router.include_router(_noun.router)
