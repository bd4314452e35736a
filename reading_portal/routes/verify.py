"""Whether a printed report still stands: for whoever holds its token, with no patient data but initials."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path

from reading_portal.dependencies import ReadSession
from reading_portal.shapes import Answer
from worklist import reports
from worklist.problems import Missing

router = APIRouter(prefix="/api/verify", tags=["verify"])


class Verified(Answer):
    standing: str  # current | superseded | withdrawn
    version: int
    current_version: int | None
    status: str
    signed_at: datetime
    content_hash: str
    pdf_sha256: str
    center_name: str
    institution_name: str
    modality: str
    initials: str


@router.get("/{token}")
def verify(token: Annotated[str, Path(max_length=64)], session: ReadSession) -> Verified:
    """Public. What `/verify/{token}` shows to a person, for a program."""
    found = reports.verification(session, token)
    if found is None:
        raise Missing("no report bears this code")
    return Verified.model_validate(found)
