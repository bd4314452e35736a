"""What a client accepts: the Accept header or its query parameter (PS3.18 8.3.3), read into choices. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[^;,"]+|[;,]')


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing the client would take; for multipart, `media_type` is the type of the parts."""

    media_type: str
    is_multipart: bool
    transfer_syntax_uid: str | None
    weight: float

    def takes(self, media_type: str) -> bool:
        if self.media_type in ("*/*", media_type):
            return True
        return self.media_type.endswith("/*") and media_type.startswith(self.media_type[:-1])


def choices(accept: str | None) -> list[Choice]:
    """What the client would take, best first; everything where it says nothing."""
    found = [choice for words in _split(accept or "*/*") if (choice := _choice(words)) is not None]
    return sorted(found, key=lambda choice: -choice.weight)


def best_media_type(accept: str | None, offered: Sequence[str]) -> str | None:
    """The first of `offered` that the client likes best as a single part; None where it takes none."""
    for choice in choices(accept):
        if not choice.is_multipart:
            for media_type in offered:
                if choice.takes(media_type):
                    return media_type
    return None


def _split(header: str) -> Iterator[list[str]]:
    """Ranges at commas, parameters at semicolons; inside quotation marks both are text."""
    words: list[str] = [""]
    for piece in _PIECE.findall(header[:8192]):
        if piece == ",":
            yield words
            words = [""]
        elif piece == ";":
            words.append("")
        else:
            words[-1] += piece
    yield words


def _choice(words: list[str]) -> Choice | None:
    range_ = words[0].strip().lower()
    if "/" not in range_:
        return None
    parameters = {}
    for word in words[1:]:
        name, _, value = word.partition("=")
        parameters[name.strip().lower()] = value.strip().strip('"')
    try:
        weight = float(parameters.get("q", "1"))
    except ValueError:
        weight = 0.0
    if weight <= 0:
        return None
    is_multipart = range_.startswith("multipart/")
    media_type = parameters.get("type", "*/*").lower() if is_multipart else range_
    return Choice(media_type, is_multipart, parameters.get("transfer-syntax"), weight)
