"""What a display shows of a test pattern, before a day of reading: after SMPTE RP 133 and AAPM TG18-QC."""

from fastapi import APIRouter
from fastapi.responses import Response

from reading_portal.pages.visit import Looking

router = APIRouter()


@router.get("/display-check")
def show_display_check(visit: Looking) -> Response:
    return visit.page("display_check.html", live=False)
