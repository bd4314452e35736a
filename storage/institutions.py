"""Who may send, query and receive: the county's institutions and their application entities."""

from __future__ import annotations

import json
from enum import StrEnum
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Dialect, ForeignKey, bindparam, false, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage.database import Base, Database
from storage.looks import Looks
from storage.prepared import Prepared


class InstitutionKind(StrEnum):
    COUNTY_HOSPITAL = "county_hospital"
    TOWNSHIP = "township"
    VILLAGE = "village"
    COMMISSION = "commission"


class Service(StrEnum):
    """What a device may do, and be told; the vocabulary of `may` in the declaration."""

    STORE = "store"
    FIND = "find"
    MOVE = "move"
    GET = "get"
    WORKLIST = "worklist"
    MPPS = "mpps"
    COMMIT = "commit"
    NOTIFY = "notify"  # hears by Instance Availability Notification what it may fetch; only when declared


# What a device may do whose declaration does not say.
USUAL_SERVICES = tuple(service for service in Service if service is not Service.NOTIFY)


# What a device may be declared to show: defined terms of PS3.3 C.12.1.1.2, and what Chinese vendors call GBK.
CHARACTER_SETS = ("GB18030", "GBK", "ISO 2022 IR 58", "ISO_IR 192", "ISO_IR 100")


class Institution(Base):
    """A hospital or health centre; its code is also the issuer of its patient IDs."""

    __tablename__ = "institutions"
    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[str]
    reports_to: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(default=True)


class ApplicationEntity(Base):
    """A device or archive that speaks DICOM to us (PS3.7, PS3.8)."""

    __tablename__ = "application_entities"
    ae_title: Mapped[str] = mapped_column(primary_key=True)
    institution_code: Mapped[str] = mapped_column(ForeignKey("institutions.code"), index=True)
    modality: Mapped[str | None]
    host: Mapped[str]
    port: Mapped[int | None]
    tls: Mapped[bool] = mapped_column(default=False, server_default=false())  # how we call it
    may: Mapped[list[str]]
    certificate_sha256: Mapped[str | None]
    character_set: Mapped[str | None]  # what it can show, where its requests say something else
    is_active: Mapped[bool] = mapped_column(default=True)


def find_application_entity(session: Session, ae_title: str) -> ApplicationEntity | None:
    """The active device of this AE title, or None."""
    found = session.get(ApplicationEntity, ae_title.strip())
    return found if found is not None and found.is_active else None


class Devices:
    """The declared devices, asked for at every association: each look sees what was committed before it."""

    def __init__(self, database: Database) -> None:
        self._looks = Looks(database)
        self._found: dict[str, tuple[tuple[Any, ...], ApplicationEntity]] = {}  # as the row was last seen

    def find(self, ae_title: str) -> ApplicationEntity | None:
        """The active device of this AE title, or None. It belongs to no session."""
        row = self._looks.at(lambda connection: _row(connection, ae_title.strip()))
        if row is None:
            return None
        before, device = self._found.get(ae_title, (None, None))
        if device is None or row != before:
            found = dict(zip(_COLUMNS, row, strict=True))
            if isinstance(found["may"], str):
                found["may"] = json.loads(found["may"])
            device = ApplicationEntity(**found)
            self._found[ae_title] = row, device
        return device if device.is_active else None

    def close(self) -> None:
        self._looks.close()


_COLUMNS = tuple(column.key for column in ApplicationEntity.__table__.columns)


def _row(connection: Connection, ae_title: str) -> tuple[Any, ...] | None:
    cursor = connection.connection.cursor()
    try:
        found = _by_title(connection.dialect).run(cursor, {"title": ae_title}).fetchone()
        return tuple(found) if found is not None else None
    finally:
        cursor.close()


@lru_cache(maxsize=8)
def _by_title(dialect: Dialect) -> Prepared:
    columns = ApplicationEntity.__table__.columns
    return Prepared(select(*columns).where(ApplicationEntity.ae_title == bindparam("title")), dialect)


def institution_kind(session: Session, code: str) -> str | None:
    return session.connection().scalar(select(Institution.kind).where(Institution.code == code))


def institution_names(session: Session) -> dict[str, str]:
    rows = session.execute(select(Institution.code, Institution.name))
    return {row.code: row.name for row in rows}
