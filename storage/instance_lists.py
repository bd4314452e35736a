"""InstanceList: what a sender says belongs to a study, by a Key Object document or a storage commitment.

A Key Object Selection titled Manifest (PS3.16 CID 7010; IHE XDS-I) lists a study's instances in its Current
Requested Procedure Evidence Sequence (PS3.3 C.17.6.2.1). It is written down in the very transaction that
indexes the document, so that a list is never known without its document nor lost after a crash.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from storage.attributes import values_of
from storage.database import Base
from storage.headers import KEY_OBJECT_SELECTION, Header

MANIFEST = ("113030", "DCM")

CONCEPT_NAME, CODE_VALUE, CODING_SCHEME = "0040A043", "00080100", "00080102"
EVIDENCE, REFERENCED_SERIES, REFERENCED_SOP = "0040A375", "00081115", "00081199"
STUDY_UID, SOP_UID = "0020000D", "00081155"


class ListKind(StrEnum):
    MANIFEST = "manifest"
    COMMITMENT = "commitment"


class InstanceList(Base):
    """One list of one sender about one study; its words never change."""

    __tablename__ = "instance_lists"
    __table_args__ = (
        UniqueConstraint("kind", "key", "study_instance_uid"),
        Index(
            "ix_instance_lists_unweighed",
            "id",
            sqlite_where=text("weighed_at IS NULL"),
            postgresql_where=text("weighed_at IS NULL"),
        ),
        Index(None, "ae_title", "listed_at"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    key: Mapped[str]  # the document's SOP Instance UID, or the request's Transaction UID and a digest
    ae_title: Mapped[str]
    institution_code: Mapped[str]
    # A commitment names no study; empty until one of its instances is here.
    study_instance_uid: Mapped[str] = mapped_column(default="", index=True)
    instance_uids: Mapped[list[str]]
    number_of_instances: Mapped[int]
    listed_at: Mapped[datetime]
    weighed_at: Mapped[datetime | None]  # when it was last held against what is here


def is_manifest(header: Header) -> bool:
    """Whether this object says what belongs to a study, instead of belonging to it."""
    if header.sop_class_uid != KEY_OBJECT_SELECTION:
        return False
    return any(
        (_first(item, CODE_VALUE), _first(item, CODING_SCHEME)) == MANIFEST
        for item in values_of(header.attributes, CONCEPT_NAME)
    )


def listed_in(header: Header) -> dict[str, list[str]]:
    """Study Instance UID → SOP Instance UIDs, as a manifest lists them; each once, in order."""
    found: dict[str, dict[str, None]] = {}
    for study in values_of(header.attributes, EVIDENCE):
        listed = found.setdefault(_first(study, STUDY_UID), {})
        for series in values_of(study, REFERENCED_SERIES):
            for item in values_of(series, REFERENCED_SOP):
                listed[_first(item, SOP_UID)] = None
    return {uid: [one for one in listed if one] for uid, listed in found.items() if uid and any(listed)}


def _first(item: dict[str, Any], tag: str) -> str:
    return str(next(iter(values_of(item, tag)), "") or "").strip()
