"""Every row of the house that points at a stored object."""

from __future__ import annotations

from storage.holdings import IMAGES, Holding
from worklist.reports import ReportVersion

REPORTS = Holding(
    ReportVersion,
    ReportVersion.verify_token,
    ReportVersion.pdf_key,
    ReportVersion.pdf_sha256,
    ReportVersion.signed_at,
)
HOLDINGS = (*IMAGES, REPORTS)
