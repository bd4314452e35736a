"""The keys of a reader: what differs from those that the page begins with, the same at every computer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage.database import Base
from worklist.people import Who
from worklist.problems import Unacceptable

MOST_ACTIONS, MOST_KEYS = 200, 4
_ACTION = re.compile(r"[a-z][a-z0-9_]{0,40}")
# Modifiers in this order, then one character or the name of a key as browsers say it (UI Events key values).
_KEY = re.compile(r"(Ctrl\+)?(Alt\+)?(Shift\+)?(\S|Space|[A-Z][A-Za-z0-9]{1,20})")


class Shortcuts(Base):
    """One row a person. The last word counts: nobody else writes it."""

    __tablename__ = "shortcuts"
    username: Mapped[str] = mapped_column(ForeignKey("practitioners.username"), primary_key=True)
    keys: Mapped[dict[str, Any]]
    changed_at: Mapped[datetime]


def shortcuts_of(session: Session, person: Who) -> dict[str, list[str]]:
    """Action → its keys, only where they are not those that the page begins with."""
    row = session.get(Shortcuts, person.username)
    return dict(row.keys) if row is not None else {}


def choose_shortcuts(
    session: Session, person: Who, keys: Mapping[str, Sequence[str]], *, now: datetime
) -> None:
    """Raises Unacceptable where a key is none, or where one key would do two things."""
    if len(keys) > MOST_ACTIONS or any(len(own) > MOST_KEYS for own in keys.values()):
        raise Unacceptable(f"at most {MOST_ACTIONS} actions with {MOST_KEYS} keys each")
    if not all(_ACTION.fullmatch(action) for action in keys):
        raise Unacceptable("an action is named by small letters, digits and underscores")
    every = [key for own in keys.values() for key in own]
    if not all(_KEY.fullmatch(key) for key in every):
        raise Unacceptable("a key is written like L, Shift+L or Ctrl+ArrowUp")
    if len(set(every)) < len(every):
        raise Unacceptable("one key does one thing")
    row = session.get(Shortcuts, person.username)
    if row is None:
        row = Shortcuts(username=person.username)
        session.add(row)
    row.keys, row.changed_at = {action: list(own) for action, own in keys.items()}, now
