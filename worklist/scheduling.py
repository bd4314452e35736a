"""Scheduled procedure steps: what the modality worklist answers to a device (PS3.4 K.6.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from storage.database import utc_now
from storage.imaging import Patient
from storage.institutions import ApplicationEntity, Institution
from storage.matching import conditions_on_patient, matches_text
from storage.ranges import BadKey
from worklist.orders import OPEN, ServiceRequest
from worklist.people import Practitioner
from worklist.policy import Policy, read_policy
from worklist.recognition_items import items_by_code
from worklist.worklist_item import Dataset, Scheduled, attributes_of

# An order that nobody made in a month is not offered to the devices any more.
OFFERED_FOR = timedelta(days=30)
MOST_ITEMS = 1000


def worklist_items(session: Session, entity: ApplicationEntity, keys: Mapping[str, str]) -> list[Dataset]:
    """The open orders of the asking device's institution that match, the most urgent and oldest first.

    `keys`: keyword → matching string, those of the Scheduled Procedure Step Sequence among them.
    An order that names a station is offered to that station and to whoever asks without a station. Names
    are found as they are written, and by their characters, pinyin and initials: a person at the device
    chooses among the answers. One more than MOST_ITEMS says that there are more. Raises BadKey.
    """
    policy = read_policy(session)
    now = utc_now()
    query = (
        select(ServiceRequest, Patient)
        .join(Patient, Patient.id == ServiceRequest.patient_pk)
        .where(
            ServiceRequest.institution_code == entity.institution_code,
            ServiceRequest.state.in_(OPEN),
            ServiceRequest.study_pk.is_(None),
            ServiceRequest.scheduled_at > now - OFFERED_FOR,
            *conditions_on_patient(keys),
            *_conditions(keys, entity, policy),
        )
        .order_by(ServiceRequest.scheduled_at, ServiceRequest.id)
        .limit(MOST_ITEMS + 1)
    )
    institution = session.get(Institution, entity.institution_code)
    items = items_by_code(session)
    requesters = {
        row.username: row.name
        for row in session.execute(
            select(Practitioner.username, Practitioner.name).where(
                Practitioner.institution_code == entity.institution_code
            )
        )
    }
    zone = ZoneInfo(policy.timezone)
    is_wanted = _clock(
        keys.get("ScheduledProcedureStepStartDate", ""), keys.get("ScheduledProcedureStepStartTime", "")
    )
    return [
        attributes_of(
            Scheduled(
                order,
                patient,
                starts=order.scheduled_at.astimezone(zone),
                placed=order.placed_at.astimezone(zone),
                requester=requesters.get(order.requester, ""),
                institution=institution.name if institution else "",
                item=items.get(order.item or ""),
            ),
            entity,
        )
        for order, patient in session.execute(query)
        if is_wanted(order.scheduled_at.astimezone(zone))
    ]


def _conditions(
    keys: Mapping[str, str], entity: ApplicationEntity, policy: Policy
) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    for keyword, column in (
        ("AccessionNumber", ServiceRequest.accession_number),
        ("RequestedProcedureID", ServiceRequest.accession_number),
        ("ScheduledProcedureStepID", ServiceRequest.accession_number),
        ("Modality", ServiceRequest.modality),
        ("StudyInstanceUID", ServiceRequest.study_instance_uid),
        ("LocalNamespaceEntityID", ServiceRequest.issuer),
    ):
        if keys.get(keyword, "*") not in ("", "*"):
            found.append(matches_text(column, keys[keyword]))
    station = keys.get("ScheduledStationAETitle", "").strip()
    if station and station != "*":
        same_kind: ColumnElement[bool] = ServiceRequest.station_ae.is_(None)
        # An order without a station goes to any device of its modality, so a device that asks for its own
        # title finds the orders of its kind.
        if station == entity.ae_title and entity.modality:
            same_kind = same_kind & (ServiceRequest.modality == entity.modality)
        found.append(or_(matches_text(ServiceRequest.station_ae, station), same_kind))
    if keys.get("ScheduledProcedureStepStartDate", ""):
        found.append(_starts_within(keys["ScheduledProcedureStepStartDate"], policy))
    return found


def _starts_within(value: str, policy: Policy) -> ColumnElement[bool]:
    """Days of the centre's own clock: a device asks for today as its operators see it."""
    start, dash, end = value.strip().partition("-")
    zone = ZoneInfo(policy.timezone)

    def midnight(text: str) -> datetime:
        try:
            return datetime.strptime(text.strip(), "%Y%m%d").replace(tzinfo=zone).astimezone(UTC)
        except ValueError:
            raise BadKey("ScheduledProcedureStepStartDate is a date or a range of dates") from None

    first = midnight(start) if start else datetime(1970, 1, 1, tzinfo=UTC)
    last = midnight(end if dash else start) if (end or not dash) else datetime(9999, 1, 1, tzinfo=UTC)
    after = last + timedelta(days=1) if last.year < 9999 else last
    return (ServiceRequest.scheduled_at >= first) & (ServiceRequest.scheduled_at < after)


def _clock(dates: str, times: str) -> Callable[[datetime], bool]:
    """Whether a step starts when it is asked for, by the centre's own clock.

    Two ranges are one, from the first day's time to the last day's (PS3.4 K.6.1.2.2); otherwise the time is
    one of the day.
    """
    start, dash, end = (part.strip().replace(":", "") for part in times.partition("-"))
    if not re.fullmatch(r"[\d.]*", start + end):
        raise BadKey("ScheduledProcedureStepStartTime is a time or a range of times")
    # 18 and 1800 mean the whole of what they name: they are prefixes.
    last = (end if dash else start) + "~"
    first_day, is_range, last_day = (part.strip() for part in dates.partition("-"))

    def of_the_day(moment: datetime) -> bool:
        return start <= f"{moment:%H%M%S}" < last

    def of_the_span(moment: datetime) -> bool:
        said = (f"{moment:%Y%m%d}", f"{moment:%H%M%S}")
        return (not first_day or (first_day, start) <= said) and (not last_day or said < (last_day, last))

    return of_the_span if is_range and dash else of_the_day
