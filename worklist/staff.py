"""People as the administrator keeps them: add, change, hand out a new password. Signing in is in `people`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage import audit
from storage.audit import Act
from storage.institutions import Institution
from worklist.people import Grade, Practitioner, Role, Who, must_have
from worklist.problems import Missing, Unacceptable
from worklist.sessions import hash_password

LANGUAGES = ("zh-CN", "en")
READABLE = ("CT", "MR", "DX", "CR", "US", "MG", "ECG", "XA", "RF", "NM")


@dataclass(frozen=True, kw_only=True)
class Person:
    """What an administrator says of somebody."""

    name: str
    institution: str
    roles: tuple[str, ...]
    reads: tuple[str, ...] = ()
    license_number: str | None = None
    license_until: date | None = None
    grade: str | None = None


def everyone(session: Session, *, by: Who) -> list[Practitioner]:
    must_have(by, Role.ADMINISTRATOR)
    return list(
        session.scalars(
            select(Practitioner).order_by(
                Practitioner.is_active.desc(), Practitioner.institution_code, Practitioner.username
            )
        )
    )


def find_person(session: Session, username: str, *, by: Who) -> Practitioner:
    must_have(by, Role.ADMINISTRATOR)
    found = session.get(Practitioner, username)
    if found is None:
        raise Missing("no such person")
    return found


def add_person(
    session: Session, username: str, person: Person, *, password: str, by: Who, now: datetime
) -> Practitioner:
    """Somebody new, with a first password. Raises Refused, Unacceptable."""
    must_have(by, Role.ADMINISTRATOR)
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", username):
        raise Unacceptable("a username has a-z, 0-9, dot, underscore and hyphen")
    if session.get(Practitioner, username) is not None:
        raise Unacceptable("somebody has this username already")
    _check(session, person)
    row = Practitioner(
        username=username,
        password_hash=hash_password(password),
        created_at=now,
        is_active=True,
        **_columns(person),
    )
    session.add(row)
    audit.record(
        session, Act.DECLARATION, "add", f"person:{username}", by=by.actor, at=now, roles=[*person.roles]
    )
    return row


def change_person(session: Session, username: str, person: Person, *, by: Who, now: datetime) -> None:
    """Name, institution, roles and licence. An administrator never takes the own role away."""
    row = find_person(session, username, by=by)
    _check(session, person)
    if username == by.username and Role.ADMINISTRATOR not in person.roles:
        raise Unacceptable("administrators do not take the own role away; ask another one")
    changed = [name for name, value in _columns(person).items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, _columns(person)[name])
    if changed:
        audit.record(
            session, Act.DECLARATION, "change", f"person:{username}", by=by.actor, at=now, changed=changed
        )


def choose_language(session: Session, person: Who, language: str) -> None:
    row = session.get(Practitioner, person.username)
    if language not in LANGUAGES:
        raise Unacceptable("the language is zh-CN or en")
    if row is not None:
        row.language = language


def _columns(person: Person) -> dict[str, object]:
    return {
        "name": person.name.strip(),
        "institution_code": person.institution,
        "roles": list(person.roles),
        "reads": list(person.reads),
        "license_number": person.license_number,
        "license_until": person.license_until,
        "grade": person.grade,
    }


def _check(session: Session, person: Person) -> None:
    if not person.name.strip() or len(person.name) > 64:
        raise Unacceptable("a person has a name of at most 64 characters")
    if session.get(Institution, person.institution) is None:
        raise Unacceptable("no such institution")
    if not person.roles or not set(person.roles) <= set(Role):
        raise Unacceptable("a person has at least one role")
    if not set(person.reads) <= set(READABLE):
        raise Unacceptable("nobody reads that modality here")
    if person.grade is not None and person.grade not in set(Grade):
        raise Unacceptable("the grade is trainee, attending or senior")
