"""The declaration (center.toml): read, checked, compared with what is, and put in force.

Applying twice changes nothing. What is absent stays; `active = false` ends it. Passwords are set only when
a person is new.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import select
from sqlalchemy.orm import Session

from center import migrate
from center.complaints import Complaint
from center.migrate import SchemaState
from storage import audit
from storage.audit import Act
from storage.database import Base, Database, utc_now
from storage.institutions import (
    CHARACTER_SETS,
    USUAL_SERVICES,
    ApplicationEntity,
    Institution,
    InstitutionKind,
    Service,
)
from worklist.agreements import Agreement
from worklist.people import Grade, Practitioner, Role
from worklist.policy import Policy, read_policy, write_policy
from worklist.recognition_items import SCOPES, QualityCertificate, RecognitionItem
from worklist.sessions import hash_password

Entry = dict[str, Any]


class BadDeclaration(ValueError):
    """The file cannot be applied; the message says where and why."""


def apply(database: Database, text: str) -> list[str]:
    """Put the declaration in force in one transaction; return one line for each difference.

    Raises BadDeclaration.
    """
    declared = _declared(text)

    def work(session: Session) -> list[str]:
        lines = list(_differences(session, declared))
        if lines:
            audit.record(session, Act.DECLARATION, "apply", "declaration", differences=len(lines))
        return lines

    return database.in_transaction(work)


def check(database_url: str, text: str) -> list[str]:
    """The lines that `apply` would return; nothing is changed, made or migrated.

    Where there is no database yet, everything is new. Raises BadDeclaration, and Complaint where the
    database's schema is another than ours.
    """
    declared = _declared(text)
    state = migrate.state_of(database_url)
    if state is SchemaState.OTHER:
        raise Complaint("the database's schema is not this version's; run `reading-center migrate` first")
    with TemporaryDirectory() as folder:
        if state is SchemaState.NONE:
            database_url = f"sqlite:///{folder}/empty.sqlite"
            migrate.migrate(database_url)
        database = Database(database_url, pool_size=1)
        try:
            with database.transaction() as session:
                lines = list(_differences(session, declared))
                session.rollback()
                session.info.clear()
                return lines
        finally:
            database.dispose()


def _declared(text: str) -> Entry:
    try:
        declared = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadDeclaration(f"the file is not TOML: {error}") from None
    unknown = set(declared) - {"center", "policy", *_TABLES}
    if unknown:
        raise BadDeclaration(f"unknown table: {', '.join(sorted(unknown))}")
    return declared


def _differences(session: Session, declared: Entry) -> Iterator[str]:
    yield from _policy(session, declared.get("center", {}), declared.get("policy", {}))
    for table, apply_entry in _TABLES.items():
        for number, entry in enumerate(declared.get(table, []), start=1):
            if not isinstance(entry, dict):
                raise BadDeclaration(f"[[{table}]] is a list of tables")
            try:
                yield from apply_entry(session, dict(entry))
            except (KeyError, TypeError, ValueError) as error:
                what = f"misses {error}" if isinstance(error, KeyError) else str(error)
                raise BadDeclaration(f"[[{table}]] number {number}: {what}") from None
        session.flush()


def _policy(session: Session, center: Entry, policy: Entry) -> Iterator[str]:
    now = read_policy(session)
    new = replace(
        now,
        center_name=str(center.get("name", now.center_name)),
        timezone=str(center.get("timezone", now.timezone)),
        language=str(center.get("language", now.language)),
        review=tuple(policy.get("review", now.review)),
        quiet_seconds=int(policy.get("quiet_seconds", now.quiet_seconds)),
        most_leases=int(policy.get("most_leases", now.most_leases)),
    )
    try:
        ZoneInfo(new.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        raise BadDeclaration(f"[center] timezone: no such zone: {new.timezone}") from None
    if new.language not in ("zh-CN", "en"):
        raise BadDeclaration("[center] language is zh-CN or en")
    if not 1 <= new.quiet_seconds <= 3600:
        raise BadDeclaration("[policy] quiet_seconds lies between 1 and 3600")
    for name in Policy.__dataclass_fields__:
        if getattr(now, name) != getattr(new, name):
            yield f"~ policy {name}: {getattr(now, name)} → {getattr(new, name)}"
    write_policy(session, new)


def _institution(session: Session, entry: Entry) -> Iterator[str]:
    code = _one_of_form(entry.pop("code"), r"[A-Z0-9]{1,16}", "code has 1 to 16 of A-Z and 0-9")
    values = {
        "name": str(entry.pop("name")),
        "kind": _one_of(entry.pop("kind"), InstitutionKind, "kind"),
        "reports_to": entry.pop("reports_to", None),
        "is_active": bool(entry.pop("active", True)),
    }
    _no_more(entry)
    yield from _keep(session, Institution, {"code": code}, values, f"institution {code}")


def _device(session: Session, entry: Entry) -> Iterator[str]:
    title = _one_of_form(
        entry.pop("ae_title"), r"(?=.*\S)[\x20-\x5b\x5d-\x7e]{1,16}", "ae_title has 1 to 16 ASCII characters"
    ).strip()
    certificate, shows = entry.pop("certificate_sha256", None), entry.pop("character_set", None)
    values = {
        "institution_code": _institution_code(session, entry.pop("institution")),
        "modality": entry.pop("modality", None),
        "host": str(entry.pop("host")),
        "port": entry.pop("port", None),
        "tls": bool(entry.pop("tls", False)),
        "may": [str(_one_of(one, Service, "may")) for one in entry.pop("may", list(USUAL_SERVICES))],
        "certificate_sha256": certificate.replace(":", "").lower() if certificate else None,
        "character_set": _one_of(shows, CHARACTER_SETS, "character_set") if shows is not None else None,
        "is_active": bool(entry.pop("active", True)),
    }
    _no_more(entry)
    yield from _keep(session, ApplicationEntity, {"ae_title": title}, values, f"device {title}")


def _person(session: Session, entry: Entry) -> Iterator[str]:
    username = _one_of_form(entry.pop("username"), r"[a-z0-9][a-z0-9._-]{0,63}", "username: a-z, 0-9, . _ -")
    password, password_hash = entry.pop("password", None), entry.pop("password_hash", None)
    grade = entry.pop("grade", None)
    values = {
        "name": str(entry.pop("name")),
        "institution_code": _institution_code(session, entry.pop("institution")),
        "roles": [str(_one_of(role, Role, "roles")) for role in entry.pop("roles")],
        "reads": [str(one) for one in entry.pop("reads", [])],
        "license_number": entry.pop("license_number", None),
        "license_until": _day(entry.pop("license_until", None)),
        "grade": _one_of(grade, Grade, "grade") if grade is not None else None,
        "language": entry.pop("language", None),
        "is_active": bool(entry.pop("active", True)),
    }
    _no_more(entry)
    person = session.get(Practitioner, username)
    if person is None:
        if password is None and password_hash is None:
            raise ValueError(f"{username} is new and needs a password or a password_hash")
        values |= {"password_hash": password_hash or hash_password(str(password)), "created_at": utc_now()}
    yield from _keep(session, Practitioner, {"username": username}, values, f"person {username}")


def _agreement(session: Session, entry: Entry) -> Iterator[str]:
    key = {
        "asks": _institution_code(session, entry.pop("asks")),
        "reads": _institution_code(session, entry.pop("reads")),
    }
    values = {
        "modalities": [str(one) for one in entry.pop("modalities")],
        "starts_on": _day(entry.pop("from", None)),
        "until": _day(entry.pop("until")),
        "is_active": bool(entry.pop("active", True)),
    }
    _no_more(entry)
    yield from _keep(session, Agreement, key, values, f"agreement {key['asks']} → {key['reads']}")


def _certificate(session: Session, entry: Entry) -> Iterator[str]:
    key = {
        "institution_code": _institution_code(session, entry.pop("institution")),
        "device": str(entry.pop("device")),
        "item": str(entry.pop("item")),
        "starts_on": _day(entry.pop("from")),
    }
    scope = str(entry.pop("scope"))
    if scope not in SCOPES:
        raise ValueError(f"scope is one of {', '.join(SCOPES)}")
    values = {"scope": scope, "until": _day(entry.pop("until")), "is_active": bool(entry.pop("active", True))}
    _no_more(entry)
    yield from _keep(session, QualityCertificate, key, values, f"certificate {key['device']} {key['item']}")


def _item(session: Session, entry: Entry) -> Iterator[str]:
    item = _one_of_form(entry.pop("item"), r"[A-Z0-9][A-Z0-9-]{0,31}", "item has 1 to 32 of A-Z, 0-9 and -")
    values = {
        "name": str(entry.pop("name")),
        "modality": str(entry.pop("modality")),
        "body_part": str(entry.pop("body_part", "")).upper(),
        "valid_days": int(entry.pop("valid_days")),
        "is_active": bool(entry.pop("active", True)),
    }
    _no_more(entry)
    yield from _keep(session, RecognitionItem, {"item": item}, values, f"recognition item {item}")


_TABLES = {
    "institutions": _institution,
    "devices": _device,
    "people": _person,
    "agreements": _agreement,
    "recognition_items": _item,
    "quality_certificates": _certificate,
}


def _keep(session: Session, noun: type[Base], key: Entry, values: Entry, title: str) -> Iterator[str]:
    """Make or complete one row; say what is new or different."""
    row = session.scalar(select(noun).filter_by(**key))
    if row is None:
        session.add(noun(**key, **values))
        yield f"+ {title}"
        return
    for name, value in values.items():
        if getattr(row, name) != value:
            yield f"~ {title}: {name}"
            setattr(row, name, value)


def _institution_code(session: Session, code: Any) -> str:
    if session.get(Institution, str(code)) is None:
        raise ValueError(f"no institution has the code {code}")
    return str(code)


def _one_of(value: Any, words: Any, name: str) -> Any:
    if value not in set(words):
        raise ValueError(f"{name} is one of {', '.join(words)}")
    return str(value)


def _one_of_form(value: Any, form: str, sentence: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(form, value):
        raise ValueError(sentence)
    return value


def _day(value: Any) -> date | None:
    if value is None or (isinstance(value, date) and type(value) is date):
        return value
    raise ValueError("a day is written 2028-12-31, without quotation marks")


def _no_more(entry: Entry) -> None:
    if entry:
        raise ValueError(f"unknown word: {', '.join(sorted(entry))}")
