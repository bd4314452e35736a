"""Devices as the administrator keeps them: add, change, end. The node's gatekeeper reads these rows."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage import audit, changes, device_figures
from storage.audit import Act, AuditEvent
from storage.changes import Topic
from storage.institutions import CHARACTER_SETS, ApplicationEntity, Institution, Service
from worklist.people import Role, Who, must_have
from worklist.problems import Missing, Unacceptable


@dataclass(frozen=True, kw_only=True)
class Device:
    """What an administrator says of an application entity."""

    institution: str
    modality: str | None
    host: str
    port: int | None
    may: tuple[str, ...]
    tls: bool = False
    certificate_sha256: str | None = None
    character_set: str | None = None
    is_active: bool = True


def all_devices(session: Session, *, by: Who) -> list[ApplicationEntity]:
    must_have(by, Role.ADMINISTRATOR, Role.DIRECTOR)
    return list(
        session.scalars(
            select(ApplicationEntity).order_by(
                ApplicationEntity.is_active.desc(),
                ApplicationEntity.institution_code,
                ApplicationEntity.ae_title,
            )
        )
    )


def find_device(session: Session, ae_title: str, *, by: Who) -> ApplicationEntity:
    must_have(by, Role.ADMINISTRATOR)
    found = session.get(ApplicationEntity, ae_title)
    if found is None:
        raise Missing("no such device")
    return found


def add_device(session: Session, ae_title: str, device: Device, *, by: Who, now: datetime) -> None:
    """Raises Refused, Unacceptable."""
    must_have(by, Role.ADMINISTRATOR)
    # PS3.5 6.2: an AE title has up to 16 characters of the default repertoire, without backslash.
    if not re.fullmatch(r"[\x21-\x5b\x5d-\x7e](?:[\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?", ae_title):
        raise Unacceptable("an AE title has 1 to 16 ASCII characters and no backslash")
    if session.get(ApplicationEntity, ae_title) is not None:
        raise Unacceptable("a device has this AE title already")
    _check(session, device)
    session.add(ApplicationEntity(ae_title=ae_title, **_columns(device)))
    _tell(session, ae_title, "add", device, by, now)


def change_device(session: Session, ae_title: str, device: Device, *, by: Who, now: datetime) -> None:
    row = find_device(session, ae_title, by=by)
    _check(session, device)
    changed = [name for name, value in _columns(device).items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, _columns(device)[name])
    if changed:
        _tell(session, ae_title, "change", device, by, now, changed=changed)


def last_seen(session: Session) -> dict[str, datetime]:
    """AE title → when any node last heard it; for those that none has heard since it keeps figures, from
    the trail."""
    seen = device_figures.last_seen(session)
    silent = [f"ae:{one}" for one in session.scalars(select(ApplicationEntity.ae_title)) if one not in seen]
    if silent:
        rows = (
            select(AuditEvent.actor, func.max(AuditEvent.at))
            .where(AuditEvent.act == Act.ASSOCIATION.value, AuditEvent.outcome == "success")
            .where(AuditEvent.actor.in_(silent))
            .group_by(AuditEvent.actor)
        )
        seen |= {row[0].removeprefix("ae:"): row[1] for row in session.execute(rows)}
    return seen


def _columns(device: Device) -> dict[str, object]:
    return {
        "institution_code": device.institution,
        "modality": device.modality,
        "host": device.host.strip(),
        "port": device.port,
        "may": list(device.may),
        "tls": device.tls,
        "certificate_sha256": device.certificate_sha256,
        "character_set": device.character_set,
        "is_active": device.is_active,
    }


def _check(session: Session, device: Device) -> None:
    if session.get(Institution, device.institution) is None:
        raise Unacceptable("no such institution")
    if device.modality is not None and not re.fullmatch(r"[A-Z]{2,4}", device.modality):
        raise Unacceptable("a modality is a DICOM code such as CT, DX, US or ECG")
    if not _is_host(device.host.strip()):
        raise Unacceptable("the host is an address, a host name, or * for any")
    if device.port is not None and not 1 <= device.port <= 65535:
        raise Unacceptable("a port lies between 1 and 65535")
    if not set(device.may) <= set(Service):
        raise Unacceptable("one of the permissions does not exist")
    if device.certificate_sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", device.certificate_sha256):
        raise Unacceptable("a certificate's SHA-256 has 64 hexadecimal digits")
    if device.character_set not in (None, *CHARACTER_SETS):
        raise Unacceptable("no such character set")


def _is_host(host: str) -> bool:
    if host == "*":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return re.fullmatch(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", host) is not None
    return True


def _tell(
    session: Session, ae_title: str, verb: str, device: Device, by: Who, now: datetime, **detail: Any
) -> None:
    audit.record(session, Act.DECLARATION, verb, f"device:{ae_title}", by=by.actor, at=now, **detail)
    changes.publish(
        session, Topic.DEVICE, f"device:{ae_title}", verb, institution_code=device.institution,
        modality=device.modality or "",
    )  # fmt: skip
