"""Hanging protocols: which pictures stand where when a study opens, as a reader or a department saved it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, func, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage.database import Base
from storage.institutions import Institution
from worklist.people import Practitioner, Role, Who
from worklist.problems import LostRace, Missing, Refused, Unacceptable

MOST = 100  # of one person, and of one department
# What a whole department sees when it opens a study is for those who answer for it.
FOR_THE_DEPARTMENT = (Role.REVIEWER, Role.DIRECTOR, Role.ADMINISTRATOR)


class HangingProtocol(Base):
    """Of a person or of a department, which is the reading institution; never of both.

    `version` counts the changes, for two people may edit one department's at once.
    """

    __tablename__ = "hanging_protocols"
    __table_args__ = (CheckConstraint("(username IS NULL) <> (institution_code IS NULL)", name="one_owner"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str | None] = mapped_column(ForeignKey("practitioners.username"), index=True)
    institution_code: Mapped[str | None] = mapped_column(ForeignKey("institutions.code"), index=True)
    name: Mapped[str]
    modality: Mapped[str]
    body_part: Mapped[str]  # a region of the viewer; empty for any, as the two below
    laterality: Mapped[str]
    views: Mapped[list[str]]  # the study holds all of these
    layout: Mapped[str]  # rows x columns
    cells: Mapped[list[dict[str, Any]]]  # what to look for in each cell, row by row
    version: Mapped[int]
    changed_by: Mapped[str]
    changed_at: Mapped[datetime]


@dataclass(frozen=True, kw_only=True)
class Hanging:
    """What somebody saves. Saved again for the same studies it takes the place of what was there."""

    name: str
    modality: str
    body_part: str
    laterality: str
    views: tuple[str, ...]
    layout: str
    cells: tuple[dict[str, Any], ...]


def hangings_of(session: Session, person: Who) -> list[HangingProtocol]:
    """The person's own and those of the person's department."""
    mine = or_(
        HangingProtocol.username == person.username,
        HangingProtocol.institution_code == person.institution_code,
    )
    return list(session.scalars(select(HangingProtocol).where(mine).order_by(HangingProtocol.id)))


def may_hang_for_department(person: Who) -> bool:
    return person.has(*FOR_THE_DEPARTMENT)


def save_hanging(
    session: Session,
    hanging: Hanging,
    *,
    for_department: bool,
    seen: int | None,
    by: Who,
    now: datetime,
) -> HangingProtocol:
    """Keep it for these studies. `seen` is the version that the caller knows of; None where none was known.

    Raises Refused, Unacceptable, and LostRace where somebody else changed it meanwhile.
    """
    if for_department and not may_hang_for_department(by):
        raise Refused("a department's hanging is saved by a reviewer, the director or an administrator")
    if not hanging.name.strip():
        raise Unacceptable("a hanging has a name")
    rows, columns = (int(side) for side in hanging.layout.split("x"))
    if len(hanging.cells) != rows * columns:
        raise Unacceptable("a hanging says for every cell of its layout what stands there")
    # Whoever else saves for this owner waits here: one hanging for the same studies, one next version.
    if for_department:
        session.get(Institution, by.institution_code, with_for_update=True)
    else:
        session.get(Practitioner, by.username, with_for_update=True)
    owned = _owned(by, for_department=for_department)
    same = select(HangingProtocol).where(
        owned,
        HangingProtocol.modality == hanging.modality,
        HangingProtocol.body_part == hanging.body_part,
        HangingProtocol.laterality == hanging.laterality,
    )
    row = next((one for one in session.scalars(same) if set(one.views) == set(hanging.views)), None)
    if row is None:
        if (session.scalar(select(func.count()).where(owned)) or 0) >= MOST:
            raise Unacceptable(f"at most {MOST} hangings are kept; discard one first")
        row = HangingProtocol(
            username=None if for_department else by.username,
            institution_code=by.institution_code if for_department else None,
            modality=hanging.modality,
            body_part=hanging.body_part,
            laterality=hanging.laterality,
            version=0,
        )
        session.add(row)
    elif seen != row.version and for_department:
        raise LostRace("the department's hanging was changed meanwhile", holder=row.changed_by)
    row.name, row.views = hanging.name.strip(), sorted(hanging.views)
    row.layout, row.cells = hanging.layout, list(hanging.cells)
    row.version, row.changed_by, row.changed_at = row.version + 1, by.username, now
    session.flush()
    return row


def discard_hanging(session: Session, hanging_id: int, *, by: Who) -> None:
    """Raises Missing for what is not one's own or the own department's, and Refused."""
    row = session.get(HangingProtocol, hanging_id)
    if row is None or (row.username != by.username and row.institution_code != by.institution_code):
        raise Missing("no such hanging")
    if row.username is None and not may_hang_for_department(by):
        raise Refused("a department's hanging is discarded by a reviewer, the director or an administrator")
    session.delete(row)


def _owned(by: Who, *, for_department: bool) -> ColumnElement[bool]:
    if for_department:
        return HangingProtocol.institution_code == by.institution_code
    return HangingProtocol.username == by.username
