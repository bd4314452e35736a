"""Who may send, query and receive: the county's institutions and their application entities."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage.database import Base


class InstitutionKind(StrEnum):
    COUNTY_HOSPITAL = "county_hospital"
    TOWNSHIP = "township"
    VILLAGE = "village"
    COMMISSION = "commission"


class Service(StrEnum):
    """What a device may do; the vocabulary of `may` in the declaration."""

    STORE = "store"
    FIND = "find"
    MOVE = "move"
    GET = "get"
    WORKLIST = "worklist"
    MPPS = "mpps"
    COMMIT = "commit"


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
    may: Mapped[list[str]]
    certificate_sha256: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(default=True)


def find_application_entity(session: Session, ae_title: str) -> ApplicationEntity | None:
    """The active device of this AE title, or None."""
    found = session.get(ApplicationEntity, ae_title.strip())
    return found if found is not None and found.is_active else None


def institution_names(session: Session) -> dict[str, str]:
    rows = session.execute(select(Institution.code, Institution.name))
    return {row.code: row.name for row in rows}
