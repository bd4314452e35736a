"""Ready-made words for a report: a reader's own, the department's, and those that the product brings.

A department is what an institution's people share: its templates are for the modalities that they name, so
that imaging and ECG do not meet. Templates are no evidence; what was signed stands in the report.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, and_, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage.database import Base
from worklist.people import Role, Who, must_have
from worklist.problems import LostRace, Missing, Refused, Unacceptable
from worklist.reports import LONGEST_TEXT


class Shelf(StrEnum):
    """Whose words they are, the nearest first."""

    OWN = "own"
    DEPARTMENT = "department"
    CENTRE = "centre"  # brought by the product; nobody changes them


class ReportTemplate(Base):
    """`username` is empty for the department's. An empty `parts` fits the whole modality."""

    __tablename__ = "report_templates"
    id: Mapped[int] = mapped_column(primary_key=True)
    institution_code: Mapped[str] = mapped_column(ForeignKey("institutions.code"), index=True)
    username: Mapped[str] = mapped_column(default="")
    name: Mapped[str]
    modalities: Mapped[list[str]]
    parts: Mapped[list[str]]
    findings: Mapped[str] = mapped_column(default="")
    impression: Mapped[str] = mapped_column(default="")
    recommendation: Mapped[str] = mapped_column(default="")
    is_normal: Mapped[bool] = mapped_column(default=False)
    version: Mapped[int] = mapped_column(default=1)
    changed_by: Mapped[str]
    changed_at: Mapped[datetime]

    @property
    def shelf(self) -> Shelf:
        return Shelf.OWN if self.username else Shelf.DEPARTMENT

    @property
    def code(self) -> str:
        return f"{self.shelf}-{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateWords:
    """A template as it is offered or kept: DICOM modalities and body parts, and words."""

    name: str
    modalities: tuple[str, ...]
    parts: tuple[str, ...] = ()
    findings: str = ""
    impression: str = ""
    recommendation: str = ""
    is_normal: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    code: str
    shelf: Shelf
    words: TemplateWords


def templates_for(session: Session, who: Who, modality: str, body_part: str, *, language: str) -> list[Offer]:
    """What fits this exam: one's own, then the department's, then the product's; on each shelf those of this
    body part before those of any, and the normal ones first."""

    def fits(words: TemplateWords) -> bool:
        return modality in words.modalities and (not words.parts or body_part.upper() in words.parts)

    order = list(Shelf)
    kept = [Offer(row.code, row.shelf, words_of(row)) for row in templates_of(session, who)]
    fitting = [one for one in (*kept, *centre_templates(language)) if fits(one.words)]
    fitting.sort(
        key=lambda one: (order.index(one.shelf), not one.words.is_normal, not one.words.parts, one.words.name)
    )
    return fitting


def templates_of(session: Session, who: Who) -> list[ReportTemplate]:
    """One's own and the department's, by name."""
    return list(
        session.scalars(
            select(ReportTemplate)
            .where(shelves_of(who, ReportTemplate))
            .order_by(ReportTemplate.username.desc(), ReportTemplate.name, ReportTemplate.id)
        )
    )


def shelves_of(who: Who, noun: Any) -> ColumnElement[bool]:
    """Rows of `noun` that stand on this person's own shelf or on the department's."""
    return or_(
        noun.username == who.username,
        and_(noun.username == "", noun.institution_code == who.institution_code),
    )


def find_template(session: Session, who: Who, template_id: int) -> ReportTemplate:
    """Raises Missing where it is on nobody's shelf that the person may look at."""
    found = session.scalar(
        select(ReportTemplate).where(ReportTemplate.id == template_id, shelves_of(who, ReportTemplate))
    )
    if found is None:
        raise Missing("no such template")
    return found


def may_change(who: Who, shelf: Shelf) -> bool:
    """Everyone who writes reports keeps the own shelf; reviewers and directors keep the department's."""
    if shelf == Shelf.OWN:
        return who.has(Role.READER, Role.REVIEWER)
    return shelf == Shelf.DEPARTMENT and who.has(Role.REVIEWER, Role.DIRECTOR)


def must_change(who: Who, shelf: Shelf) -> None:
    """Raises Refused."""
    if shelf == Shelf.OWN:
        must_have(who, Role.READER, Role.REVIEWER)
    elif not may_change(who, shelf):
        raise Refused("what the department shares is kept by its reviewers and its director")


def add_template(
    session: Session, words: TemplateWords, *, shelf: Shelf, by: Who, now: datetime
) -> ReportTemplate:
    """Raises Refused, Unacceptable."""
    must_change(by, shelf)
    row = ReportTemplate(
        institution_code=by.institution_code,
        username=by.username if shelf == Shelf.OWN else "",
        **_checked(words),
        version=1,
        changed_by=by.username,
        changed_at=now,
    )
    session.add(row)
    session.flush()
    return row


def change_template(
    session: Session, template_id: int, words: TemplateWords, *, seen: int, by: Who, now: datetime
) -> None:
    """`seen` is the version that was looked at. Raises LostRace where it is not the newest any more."""
    row = _changeable(session, template_id, seen=seen, by=by)
    for name, value in _checked(words).items():
        setattr(row, name, value)
    row.version += 1
    row.changed_by, row.changed_at = by.username, now


def discard_template(session: Session, template_id: int, *, seen: int, by: Who) -> None:
    session.delete(_changeable(session, template_id, seen=seen, by=by))


def words_of(row: ReportTemplate) -> TemplateWords:
    return TemplateWords(
        name=row.name,
        modalities=tuple(row.modalities),
        parts=tuple(row.parts),
        findings=row.findings,
        impression=row.impression,
        recommendation=row.recommendation,
        is_normal=row.is_normal,
    )


def centre_templates(language: str) -> list[Offer]:
    """What the product brings, in this language."""
    return list(_brought("" if language == "zh-CN" else "_en"))


def _changeable(session: Session, template_id: int, *, seen: int, by: Who) -> ReportTemplate:
    find_template(session, by, template_id)
    row = session.scalars(
        select(ReportTemplate).where(ReportTemplate.id == template_id).with_for_update()
    ).one()
    must_change(by, row.shelf)
    if row.version != seen:
        raise LostRace("somebody else has changed this template meanwhile", holder=row.changed_by)
    return row


def _checked(words: TemplateWords) -> dict[str, Any]:
    name = words.name.strip()
    if not name or len(name) > 64:
        raise Unacceptable("a template needs a name of at most 64 characters")
    if not words.modalities:
        raise Unacceptable("a template names at least one modality")
    if not (words.findings.strip() or words.impression.strip()):
        raise Unacceptable("a template needs findings or an impression")
    if any(len(text) > LONGEST_TEXT for text in (words.findings, words.impression, words.recommendation)):
        raise Unacceptable(f"a part of a report has at most {LONGEST_TEXT} characters")
    return {
        "name": name,
        "modalities": list(words.modalities),
        "parts": [part.upper() for part in words.parts],
        "findings": words.findings.strip(),
        "impression": words.impression.strip(),
        "recommendation": words.recommendation.strip(),
        "is_normal": words.is_normal,
    }


def _brought(suffix: str) -> Iterator[Offer]:
    for one in _catalogue():
        words = TemplateWords(
            name=one["name" + suffix].strip(),
            modalities=tuple(one["modalities"]),
            parts=tuple(one["parts"]),
            findings=one["findings" + suffix].strip(),
            impression=one["impression" + suffix].strip(),
            is_normal=one.get("is_normal", True),
        )
        yield Offer(one["code"], Shelf.CENTRE, words)


@cache
def _catalogue() -> list[dict[str, Any]]:
    text = files("worklist").joinpath("report_templates.toml").read_text("utf-8")
    loaded: list[dict[str, Any]] = tomllib.loads(text)["templates"]
    return loaded
