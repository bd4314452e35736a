"""Every row of the house that points at a stored object, and which of these objects are damaged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.faults import ObjectFault, open_faults
from storage.holdings import IMAGES, Holding
from storage.imaging import Instance, QuarantinedInstance, Series, Study
from storage.objects import ObjectMissing, ObjectStore
from storage.places import Unreadable, locate, open_dataset
from worklist.reports import ReportVersion

ENCAPSULATED_PDF, ENCAPSULATED_DOCUMENT = "1.2.840.10008.5.1.4.1.1.104.1", 0x00420011
MOST_COPIES = 50


def archived(database: Database, objects: ObjectStore, pdf_key: str) -> Iterator[bytes]:
    """The document of a report as it lies in its study, encapsulated, where that is byte by byte the same."""
    with database.reading() as session:
        version = session.scalar(select(ReportVersion).where(ReportVersion.pdf_key == pdf_key))
        if version is None:
            return
        size, digest = version.pdf_size, version.pdf_sha256
        copies = session.execute(
            select(Instance.object_key, Instance.size, Instance.dataset_offset, Instance.transfer_syntax_uid)
            .join(Series, Series.id == Instance.series_pk)
            .where(Series.study_pk == version.report.study_pk, Instance.sop_class_uid == ENCAPSULATED_PDF)
            .order_by(Instance.id.desc())
            .limit(MOST_COPIES)
        ).all()
    for key, length, offset, syntax in copies:
        try:
            found = _document(objects, key, length, offset, syntax, size)
        except (ObjectMissing, Unreadable):
            continue
        if hashlib.sha256(found).hexdigest() == digest:
            yield found


def _document(objects: ObjectStore, key: str, length: int, offset: int, syntax: str, size: int) -> bytes:
    dataset = open_dataset(objects, key, size=length, offset=offset, transfer_syntax_uid=syntax)
    try:
        place = locate(dataset, syntax, (ENCAPSULATED_DOCUMENT,))
        return dataset.read(place.at, size) if place is not None and (place.length or 0) >= size else b""
    finally:
        dataset.close()


REPORTS = Holding(
    ReportVersion,
    ReportVersion.verify_token,
    ReportVersion.pdf_key,
    ReportVersion.pdf_sha256,
    ReportVersion.signed_at,
    elsewhere=archived,
)
HOLDINGS = (*IMAGES, REPORTS)
MOST_SHOWN = 50


@dataclass(frozen=True)
class Damaged:
    """A marked object, and whose it is; a report's document has no device."""

    fault: ObjectFault
    ae_title: str
    institution_code: str


def damaged(session: Session) -> list[Damaged]:
    """The newest finds that are not mended, with the device that can send them again."""
    found = open_faults(session, limit=MOST_SHOWN)
    keys = [one.object_key for one in found]
    received = (
        select(Instance.object_key, Instance.calling_ae, Study.institution_code)
        .join(Series, Series.id == Instance.series_pk)
        .join(Study, Study.id == Series.study_pk)
        .where(Instance.object_key.in_(keys))
    )
    aside = select(
        QuarantinedInstance.object_key, QuarantinedInstance.calling_ae, QuarantinedInstance.institution_code
    ).where(QuarantinedInstance.object_key.in_(keys))
    whose = {row[0]: (row[1], row[2]) for asked in (received, aside) for row in session.execute(asked)}
    return [Damaged(one, *whose.get(one.object_key, ("", ""))) for one in found]
