"""One's own account: password, one-time code, language."""

import re
from typing import Annotated

import pyotp
import segno
from fastapi import APIRouter, Form
from fastapi.responses import Response

from reading_portal import sign_in as admission
from reading_portal.dependencies import TheDatabase, TheSettings
from reading_portal.pages.visit import Acting, Looking, Visit
from worklist import sessions
from worklist.people import Practitioner
from worklist.problems import Problem, Unacceptable, WrongCredentials

router = APIRouter()
Secret = Annotated[str, Form(max_length=256)]


@router.get("/profile")
def show_profile(visit: Looking) -> Response:
    return _page(visit)


@router.post("/profile/password")
def change_password(
    visit: Looking,
    database: TheDatabase,
    settings: TheSettings,
    current: Secret,
    new: Secret,
    again: Secret,
    otp: Annotated[str, Form(max_length=16)] = "",
) -> Response:
    """Ends every other session; this browser gets a new one."""
    who, code = visit.who, otp.replace(" ", "") or None
    try:
        if new != again:
            raise Unacceptable("the two new passwords differ")
        admission.confirm_identity(database, who, password=current, otp=None, now=visit.now)
        with database.transaction() as session:
            sessions.set_password(session, who.username, new, by=who)
        signed_in = admission.sign_in(
            database, username=who.username, password=new, otp=code, source=who.source, now=visit.now
        )
    except WrongCredentials as error:
        return _page(visit, password_problem=visit.words.problem(str(error)), status=403)
    except Problem as error:
        return _page(visit, password_problem=visit.words.problem(str(error)), status=422)
    answer = visit.go("/profile?said=password-changed")
    admission.give_cookie(answer, signed_in, settings, now=visit.now)
    return answer


@router.post("/profile/one-time-code")
def begin_one_time_code(visit: Acting) -> Response:
    """A new secret as a QR code; it counts once the first code from it was typed in."""
    address = sessions.begin_otp(visit.session, visit.who.username, center_name=visit.policy.center_name)
    return _page(visit, address=address)


@router.post("/profile/one-time-code/confirm")
def confirm_one_time_code(visit: Acting, code: Annotated[str, Form(max_length=16)]) -> Response:
    try:
        sessions.confirm_otp(
            visit.session, visit.who.username, code.replace(" ", ""), by=visit.who, now=visit.now
        )
    except Unacceptable as error:
        return _page(visit, otp_problem=visit.words.problem(str(error)), status=422)
    return visit.go("/profile?said=otp-on")


@router.post("/profile/one-time-code/end")
def end_one_time_code(visit: Looking, database: TheDatabase, current: Secret) -> Response:
    try:
        admission.confirm_identity(database, visit.who, password=current, otp=None, now=visit.now)
    except Problem as error:
        return _page(visit, otp_problem=visit.words.problem(str(error)), status=403)
    with database.transaction() as session:
        sessions.end_otp(session, visit.who.username, by=visit.who)
    return visit.go("/profile?said=otp-off")


def _page(visit: Visit, *, address: str = "", status: int = 200, **problems: str) -> Response:
    practitioner = visit.session.get_one(Practitioner, visit.who.username)
    if not address and practitioner.otp_pending and "otp_problem" in problems:
        # The same secret again: the telephone holds it already.
        address = pyotp.TOTP(practitioner.otp_pending).provisioning_uri(
            name=visit.who.username, issuer_name=visit.policy.center_name
        )
    return visit.page(
        "profile.html",
        status=status,
        me=practitioner,
        qr=segno.make(address, error="m").svg_inline(scale=5, border=2, omitsize=True) if address else "",
        # In fours, as it is typed.
        secret=re.sub(r"(.{4})(?=.)", r"\1 ", address.partition("secret=")[2].partition("&")[0]),
        password_problem=problems.get("password_problem", ""),
        otp_problem=problems.get("otp_problem", ""),
    )
