"""People: who works here, in which roles; a new password, a lost telephone, a leaving."""

import secrets
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy import select

from reading_portal.dependencies import requires
from reading_portal.pages.visit import Acting, Looking, Visit
from storage.institutions import Institution
from worklist.people import Grade, Practitioner, Role
from worklist.problems import Problem, Unacceptable
from worklist.sessions import end_otp, on_duty, set_active, set_password
from worklist.staff import READABLE, Person, add_person, change_person, everyone, find_person

router = APIRouter(prefix="/admin/people", dependencies=[Depends(requires(Role.ADMINISTRATOR))])


class PersonForm(BaseModel):
    username: str = ""
    name: str = ""
    institution: str = ""
    roles: list[str] = []
    reads: list[str] = []
    license_number: str = ""
    license_until: str = ""
    grade: str = ""


@router.get("")
def show_people(visit: Looking) -> Response:
    return visit.page(
        "people.html", rows=everyone(visit.session, by=visit.who), duty=on_duty(visit.session, now=visit.now)
    )


@router.get("/new")
def show_new(visit: Looking) -> Response:
    return _form(visit, PersonForm(), None)


@router.post("/new")
def add(visit: Acting, form: Annotated[PersonForm, Form()]) -> Response:
    password = new_password()
    try:
        person = add_person(
            visit.session,
            form.username.strip(),
            _person(form),
            password=password,
            by=visit.who,
            now=visit.now,
        )
    except Problem as error:
        visit.undo()
        return _form(visit, form, None, problem=visit.words.problem(str(error)), status=422)
    return _password_once(visit, person, password)


@router.get("/{username}")
def show_person(visit: Looking, username: str) -> Response:
    row = find_person(visit.session, username, by=visit.who)
    return _form(visit, _shown(row), row)


@router.post("/{username}")
def change(visit: Acting, username: str, form: Annotated[PersonForm, Form()]) -> Response:
    try:
        change_person(visit.session, username, _person(form), by=visit.who, now=visit.now)
    except Problem as error:
        visit.undo()
        row = find_person(visit.session, username, by=visit.who)
        return _form(visit, form, row, problem=visit.words.problem(str(error)), status=422)
    return visit.go("/admin/people?said=person-changed")


@router.post("/{username}/password")
def reset_password(visit: Acting, username: str) -> Response:
    """A new password, shown once to the administrator, to be handed over in person."""
    row = find_person(visit.session, username, by=visit.who)
    password = new_password()
    set_password(visit.session, username, password, by=visit.who)
    return _password_once(visit, row, password)


@router.post("/{username}/one-time-code")
def end_one_time_code(visit: Acting, username: str) -> Response:
    find_person(visit.session, username, by=visit.who)
    end_otp(visit.session, username, by=visit.who)
    return visit.go(f"/admin/people/{username}?said=otp-off")


@router.post("/{username}/active")
def activate(visit: Acting, username: str, is_active: Annotated[bool, Form()]) -> Response:
    if username == visit.who.username:
        raise Unacceptable("nobody locks the own account")
    find_person(visit.session, username, by=visit.who)
    set_active(visit.session, username, is_active, by=visit.who)
    return visit.go(f"/admin/people?said={'person-activated' if is_active else 'person-deactivated'}")


def new_password() -> str:
    """Four groups that can be read out over a telephone: no 0, O, 1, l; about 79 bits."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(4)) for _ in range(4))


def _password_once(visit: Visit, person: Practitioner, password: str) -> Response:
    visit.session.flush()
    return visit.page("password_once.html", shown=person, password=password)


def _person(form: PersonForm) -> Person:
    try:
        until = date.fromisoformat(form.license_until) if form.license_until else None
    except ValueError:
        raise Unacceptable("the end of the licence is not a date") from None
    return Person(
        name=form.name,
        institution=form.institution,
        roles=tuple(form.roles),
        reads=tuple(form.reads),
        license_number=form.license_number.strip() or None,
        license_until=until,
        grade=form.grade or None,
    )


def _shown(row: Practitioner) -> PersonForm:
    return PersonForm(
        username=row.username,
        name=row.name,
        institution=row.institution_code,
        roles=list(row.roles),
        reads=list(row.reads),
        license_number=row.license_number or "",
        license_until=row.license_until.isoformat() if row.license_until else "",
        grade=row.grade or "",
    )


def _form(
    visit: Visit, form: PersonForm, row: Practitioner | None, *, problem: str = "", status: int = 200
) -> Response:
    places = visit.session.execute(
        select(Institution.code, Institution.name)
        .where(Institution.is_active | (Institution.code == form.institution))
        .order_by(Institution.code)
    ).all()
    return visit.page(
        "person.html",
        status=status,
        form=form,
        row=row,
        problem=problem,
        places=places,
        roles=list(Role),
        readable=READABLE,
        grades=list(Grade),
    )
