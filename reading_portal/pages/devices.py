"""Devices: application entities that may open an association, from where, and for what."""

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form
from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy import select

from reading_portal.dependencies import requires
from reading_portal.pages.visit import Acting, Looking, Visit
from reading_portal.pages.worklist import MODALITIES
from storage.institutions import CHARACTER_SETS, USUAL_SERVICES, ApplicationEntity, Institution, Service
from worklist.device_tests import ask_for_test, last_test, worklist_sample
from worklist.devices import Device, add_device, all_devices, change_device, find_device, last_seen
from worklist.people import Role
from worklist.problems import Problem, Unacceptable

router = APIRouter(prefix="/admin/devices", dependencies=[Depends(requires(Role.ADMINISTRATOR))])


class DeviceForm(BaseModel):
    ae_title: str = ""
    institution: str = ""
    modality: str = ""
    host: str = ""
    port: str = ""
    may: list[str] = []
    tls: bool = False
    certificate_sha256: str = ""
    character_set: str = ""
    is_active: bool = False


@router.get("")
def show_devices(visit: Looking) -> Response:
    return visit.page(
        "devices.html", rows=all_devices(visit.session, by=visit.who), seen=last_seen(visit.session)
    )


@router.get("/new")
def show_new(visit: Looking) -> Response:
    return _form(visit, DeviceForm(may=list(USUAL_SERVICES), is_active=True), is_new=True)


@router.post("/new")
def add(visit: Acting, form: Annotated[DeviceForm, Form()]) -> Response:
    try:
        add_device(visit.session, form.ae_title.strip(), _device(form), by=visit.who, now=visit.now)
    except Problem as error:
        visit.undo()
        return _form(visit, form, is_new=True, problem=visit.words.problem(str(error)), status=422)
    return visit.go("/admin/devices?said=device-added")


# A title may hold a slash.
@router.get("/{ae_title:path}")
def show_device(visit: Looking, ae_title: str) -> Response:
    device = find_device(visit.session, ae_title, by=visit.who)
    return _form(visit, _shown(device), is_new=False)


@router.post("/{ae_title:path}/test")
def test(visit: Acting, ae_title: str) -> Response:
    """A C-ECHO to the device; the worker does it, and this page shows what came of it."""
    ask_for_test(visit.session, ae_title, by=visit.who, now=visit.now)
    return visit.go(f"/admin/devices/{quote(ae_title, safe='')}?said=device-test")


@router.post("/{ae_title:path}")
def change(visit: Acting, ae_title: str, form: Annotated[DeviceForm, Form()]) -> Response:
    try:
        change_device(visit.session, ae_title, _device(form), by=visit.who, now=visit.now)
    except Problem as error:
        visit.undo()
        form.ae_title = ae_title
        return _form(visit, form, is_new=False, problem=visit.words.problem(str(error)), status=422)
    return visit.go("/admin/devices?said=device-changed")


def _device(form: DeviceForm) -> Device:
    port = form.port.strip()
    if port and not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise Unacceptable("a port lies between 1 and 65535")
    return Device(
        institution=form.institution,
        modality=form.modality.strip().upper() or None,
        host=form.host,
        port=int(port) if port else None,
        may=tuple(form.may),
        tls=form.tls,
        certificate_sha256=form.certificate_sha256.replace(":", "").strip().lower() or None,
        character_set=form.character_set or None,
        is_active=form.is_active,
    )


def _shown(row: ApplicationEntity) -> DeviceForm:
    return DeviceForm(
        ae_title=row.ae_title,
        institution=row.institution_code,
        modality=row.modality or "",
        host=row.host,
        port=str(row.port or ""),
        may=list(row.may),
        tls=row.tls,
        certificate_sha256=row.certificate_sha256 or "",
        character_set=row.character_set or "",
        is_active=row.is_active,
    )


def _tried(visit: Visit, device: ApplicationEntity) -> dict[str, Any]:
    return {
        "title": device.ae_title,
        "may_test": device.is_active and device.host != "*" and device.port is not None,
        "tried": last_test(visit.session, device.ae_title),
        "sample": worklist_sample(visit.session, device),
    }


def _form(visit: Visit, form: DeviceForm, *, is_new: bool, problem: str = "", status: int = 200) -> Response:
    places = visit.session.execute(
        select(Institution.code, Institution.name)
        .where(Institution.is_active | (Institution.code == form.institution))
        .order_by(Institution.code)
    ).all()
    device = None if is_new else visit.session.get(ApplicationEntity, form.ae_title)
    return visit.page(
        "device.html",
        status=status,
        **(_tried(visit, device) if device is not None else {}),
        form=form,
        is_new=is_new,
        problem=problem,
        places=places,
        services=list(Service),
        character_sets=CHARACTER_SETS,
        modalities=MODALITIES,
    )
