"""Every row of the house that points at a stored object, and which of these objects are damaged."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.faults import ObjectFault, open_faults
from storage.holdings import IMAGES, Holding
from storage.imaging import Instance, QuarantinedInstance, Series, Study
from worklist.reports import ReportVersion

REPORTS = Holding(
    ReportVersion,
    ReportVersion.verify_token,
    ReportVersion.pdf_key,
    ReportVersion.pdf_sha256,
    ReportVersion.signed_at,
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
