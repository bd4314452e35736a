"""The keys that a reader chose for the images."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from reading_portal.dependencies import CurrentPractitioner, Now, OpenSession, ReadSession
from reading_portal.shapes import Answer, Shape
from worklist import shortcuts

router = APIRouter(prefix="/api/viewer/shortcuts", tags=["viewer"])

Name = Annotated[str, Field(min_length=1, max_length=48)]


class Keys(Shape):
    """Action → its keys, only where they are not those that the page begins with."""

    keys: Annotated[dict[Name, list[Name]], Field(max_length=shortcuts.MOST_ACTIONS)]


class KeysKept(Answer):
    keys: dict[str, list[str]]


@router.get("")
def look_at_shortcuts(who: CurrentPractitioner, session: ReadSession) -> KeysKept:
    return KeysKept(keys=shortcuts.shortcuts_of(session, who))


@router.put("", status_code=204)
def choose_shortcuts(body: Keys, who: CurrentPractitioner, session: OpenSession, now: Now) -> None:
    """In place of all that was chosen before; 422 where one key would do two things."""
    shortcuts.choose_shortcuts(session, who, body.keys, now=now)
