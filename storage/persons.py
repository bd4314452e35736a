"""One person, many patients: which rows a person has linked or told apart, and whom that makes one.

A row of a patient is its issuer's for ever and is never merged. What is kept is decisions about pairs; who is
one person follows from those that stand: `Patient.person_id` only says it again, for the queries. So taking a
decision back leaves exactly what there would be without it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, ForeignKey, Index, or_, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage.database import Base
from storage.imaging import Patient

_LOCK = 0x50455253  # "PERS": one decision at a time on PostgreSQL; SQLite has one writer anyway


class Verdict(StrEnum):
    SAME = "same"
    DISTINCT = "distinct"


class PersonDecision(Base):
    """That two patients are one person, or that they are not; taken back, it stays as history."""

    __tablename__ = "person_decisions"
    __table_args__ = (
        Index(None, "first_pk", "second_pk"),
        Index(
            "uq_person_decisions_standing",
            "first_pk",
            "second_pk",
            unique=True,
            sqlite_where=text("withdrawn_at IS NULL"),
            postgresql_where=text("withdrawn_at IS NULL"),
        ),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    first_pk: Mapped[int] = mapped_column(ForeignKey("patients.id"))  # the smaller of the two
    second_pk: Mapped[int] = mapped_column(ForeignKey("patients.id"), index=True)
    verdict: Mapped[str]
    evidence: Mapped[list[str]]  # what spoke for and against it then (storage.resemblance)
    reason: Mapped[str]
    decided_by: Mapped[str]
    decided_at: Mapped[datetime]
    withdrawn_by: Mapped[str | None]
    withdrawn_at: Mapped[datetime | None]
    withdrawal_reason: Mapped[str | None]

    @property
    def subject(self) -> str:
        return f"identity:{self.id}"


def same_person(session: Session, patient: Patient) -> ColumnElement[bool]:
    """Rows that are this person: the row itself, linked rows, and those that share a checked resident ID.

    Whom a person has told apart is left out, with everyone linked to him. Who may see
    them is asked elsewhere.
    """
    return Patient.id.in_(sorted(ids_of_person(session, patient.id)))


def ids_of_person(session: Session, patient_pk: int) -> set[int]:
    group = group_of(session, patient_pk)
    of_group = Patient.id.in_(group)
    known = list(
        session.scalars(select(Patient.national_id).where(of_group, Patient.national_id.is_not(None)))
    )
    if not known:
        return group
    holders = set(session.scalars(select(Patient.id).where(Patient.national_id.in_(set(known)))))
    return group | (with_linked(session, holders) - set_apart(session, group))


def group_of(session: Session, patient_pk: int) -> set[int]:
    """This patient and those linked to it, by whatever way."""
    return with_linked(session, {patient_pk})


def with_linked(session: Session, patients: Collection[int]) -> set[int]:
    """These patients and everyone linked to any of them."""
    if not patients:
        return set()
    persons = select(Patient.person_id).where(Patient.id.in_(patients), Patient.person_id.is_not(None))
    return {*patients, *session.scalars(select(Patient.id).where(Patient.person_id.in_(persons)))}


def set_apart(session: Session, group: Collection[int]) -> set[int]:
    """Who is certainly not this person: told apart from one of the group, or linked to such a one."""
    others = {
        pk
        for one in decisions_about(session, group, Verdict.DISTINCT)
        for pk in (one.first_pk, one.second_pk)
    }
    return with_linked(session, others - set(group))


def about(patients: Collection[int]) -> ColumnElement[bool]:
    """Decisions that name any of these patients."""
    return or_(PersonDecision.first_pk.in_(patients), PersonDecision.second_pk.in_(patients))


def decisions_about(
    session: Session, patients: Collection[int], verdict: Verdict | None = None
) -> list[PersonDecision]:
    """What stands about any of these patients, the oldest first, as the database has it now."""
    statement = select(PersonDecision).where(about(patients), PersonDecision.withdrawn_at.is_(None))
    if verdict is not None:
        statement = statement.where(PersonDecision.verdict == verdict)
    statement = statement.order_by(PersonDecision.id).execution_options(populate_existing=True)
    return list(session.scalars(statement))


def hold_persons(session: Session) -> None:
    """From here to the end of the transaction nobody else decides about persons or proposes any."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def regroup(session: Session, patients: Collection[int]) -> None:
    """Say again who is one person among these, who must be whole groups as they were or will be."""
    links = decisions_about(session, patients, Verdict.SAME)
    groups: dict[int, set[int]] = {pk: {pk} for pk in patients}
    for one in links:
        joined = groups[one.first_pk] | groups[one.second_pk]
        groups |= dict.fromkeys(joined, joined)
    for members in {min(one): sorted(one) for one in groups.values()}.values():
        # The same group is always called the same; one alone has no name.
        person_id = members[0] if len(members) > 1 else None
        session.execute(
            update(Patient)
            .where(Patient.id.in_(members), Patient.person_id.is_distinct_from(person_id))
            .values(person_id=person_id)
        )
