"""Words that lists are searched by: they name patients, so they travel in a header, never in an address."""

from typing import Annotated
from urllib.parse import unquote

from fastapi import Header

# Percent-encoded UTF-8, because a header holds no Chinese; `portal.js` moves the search field there.
SearchWords = Annotated[str, Header(alias="X-Search", max_length=600)]
LONGEST = 64


def searched(header: str) -> str:
    return unquote(header).strip()[:LONGEST]
