"""Macros: an abbreviation that becomes a text while one writes, a reader's own or the department's."""

from __future__ import annotations

import re

from sqlalchemy import ForeignKey, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage.database import Base
from worklist.people import Who
from worklist.problems import Missing, Unacceptable
from worklist.report_templates import Shelf, must_change, shelves_of

LONGEST_MACRO = 4000
MOST = 500  # on one shelf: all of them travel with the reading page


class ReportMacro(Base):
    """`username` is empty for the department's."""

    __tablename__ = "report_macros"
    __table_args__ = (UniqueConstraint("institution_code", "username", "abbreviation"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    institution_code: Mapped[str] = mapped_column(ForeignKey("institutions.code"))
    username: Mapped[str] = mapped_column(default="")
    abbreviation: Mapped[str]
    text: Mapped[str]

    @property
    def shelf(self) -> Shelf:
        return Shelf.OWN if self.username else Shelf.DEPARTMENT


def macros_of(session: Session, who: Who) -> list[ReportMacro]:
    """The department's and one's own, in the order of the alphabet."""
    return list(
        session.scalars(
            select(ReportMacro)
            .where(shelves_of(who, ReportMacro))
            .order_by(ReportMacro.abbreviation, ReportMacro.username)
        )
    )


def expansions(session: Session, who: Who) -> dict[str, str]:
    """Text by abbreviation; where both shelves have it, one's own counts."""
    return {one.abbreviation: one.text for one in macros_of(session, who)}


def add_macro(session: Session, abbreviation: str, text: str, *, shelf: Shelf, by: Who) -> ReportMacro:
    """Raises Refused, Unacceptable; nothing is written over."""
    must_change(by, shelf)
    abbreviation, text = abbreviation.strip(), text.strip()
    if not re.fullmatch(r"\S{2,16}", abbreviation):
        raise Unacceptable("an abbreviation has 2 to 16 characters and no space")
    if not text or len(text) > LONGEST_MACRO:
        raise Unacceptable(f"a macro has a text of at most {LONGEST_MACRO} characters")
    username = by.username if shelf == Shelf.OWN else ""
    there = session.scalars(
        select(ReportMacro).where(
            ReportMacro.username == username, ReportMacro.institution_code == by.institution_code
        )
    ).all()
    if any(one.abbreviation == abbreviation for one in there):
        raise Unacceptable(f"there is already a text for {abbreviation}; discard it first")
    if len(there) >= MOST:
        raise Unacceptable(f"a shelf holds at most {MOST} macros")
    row = ReportMacro(
        institution_code=by.institution_code, username=username, abbreviation=abbreviation, text=text
    )
    session.add(row)
    session.flush()
    return row


def discard_macro(session: Session, macro_id: int, *, by: Who) -> None:
    row = session.scalar(select(ReportMacro).where(ReportMacro.id == macro_id, shelves_of(by, ReportMacro)))
    if row is None:
        raise Missing("no such macro")
    must_change(by, row.shelf)
    session.delete(row)
