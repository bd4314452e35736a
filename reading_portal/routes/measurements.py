"""Measurements of a study: kept by the page while one draws, shown again wherever the study is opened."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field

from reading_portal.dependencies import CurrentPractitioner, Now, OpenSession, ReadSession, TheDatabase
from reading_portal.routes.studies import find_study
from reading_portal.shapes import Answer, Shape, Uid, UidKey
from reading_portal.viewing import note_view
from worklist import measurements
from worklist.measurements import MOST_POINTS, Calibration, Drawn, Kind, Measurement, Quantity
from worklist.people import Who, names

router = APIRouter(prefix="/api/studies/{study_instance_uid}/measurements", tags=["measurements"])

MeasurementKey = Annotated[str, Path(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Revision = Annotated[int, Field(ge=0, le=2**31 - 1)]
Number = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
Place = Annotated[
    list[Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]], Field(min_length=2, max_length=2)
]


class FigureRead(Shape):
    quantity: Annotated[Quantity, Field(strict=False)]
    value: Number
    unit: Annotated[str, Field(max_length=16)]


class MeasurementDrawn(Shape):
    revision: Annotated[Revision, Field(description="the revision that this changes; 0 for a new one")]
    kind: Annotated[Kind, Field(strict=False)]
    sop_instance_uid: Uid
    frame: Annotated[int, Field(ge=1, le=2**31 - 1)]
    points: Annotated[list[Place], Field(min_length=1, max_length=MOST_POINTS)]
    calibration: Annotated[Calibration, Field(strict=False)]
    figures: Annotated[list[FigureRead], Field(max_length=12)]


class FigureSeen(Answer):
    quantity: str
    value: float
    unit: str


class MeasurementSeen(Answer):
    uid: str
    revision: int
    kind: str
    sop_instance_uid: str
    frame: int
    points: list[list[float]]
    calibration: str
    figures: list[FigureSeen]
    author: str
    author_name: str
    is_own: bool
    made_at: datetime
    changed_at: datetime


class Measurements(Answer):
    items: list[MeasurementSeen]
    keeps: Annotated[bool, Field(description="whether what the caller measures is kept")]
    next_cursor: None = None


class Discarded(Answer):
    uid: str
    revision: int


class Exported(Answer):
    measurements: int


@router.get("")
def list_measurements(
    study_instance_uid: UidKey,
    who: CurrentPractitioner,
    session: ReadSession,
    database: TheDatabase,
    now: Now,
) -> Measurements:
    """Everybody's measurements of the study, the oldest first; none for who does not read, as with drafts."""
    study = find_study(session, who, study_instance_uid, now)
    rows = measurements.measurements_of(session, study, by=who)
    people = names(session)
    if rows:
        note_view(database, who, study_instance_uid, now=now)
    return Measurements(
        items=[_seen(row, who, people) for row in rows], keeps=measurements.keeps_measurements(who)
    )


@router.put("/{uid}")
def keep_measurement(
    study_instance_uid: UidKey,
    uid: MeasurementKey,
    body: MeasurementDrawn,
    who: CurrentPractitioner,
    session: OpenSession,
    now: Now,
) -> MeasurementSeen:
    """Keep a new measurement, or the author's change of one; 409 when it was changed in another window."""
    study = find_study(session, who, study_instance_uid, now)
    drawn = Drawn(
        kind=body.kind,
        sop_instance_uid=body.sop_instance_uid,
        frame=body.frame,
        points=body.points,
        calibration=body.calibration,
        figures=[measurements.Figure(one.quantity, one.value, one.unit) for one in body.figures],
    )
    row = measurements.keep_measurement(session, study, uid, drawn, seen=body.revision, by=who, now=now)
    return _seen(row, who, names(session))


@router.delete("/{uid}")
def discard_measurement(
    study_instance_uid: UidKey,
    uid: MeasurementKey,
    who: CurrentPractitioner,
    session: OpenSession,
    now: Now,
    revision: Annotated[int, Query(ge=1, le=2**31 - 1)],
) -> Discarded:
    """Take the author's measurement out of sight; keeping it again brings it back."""
    study = find_study(session, who, study_instance_uid, now)
    row = measurements.discard_measurement(session, study, uid, seen=revision, by=who, now=now)
    return Discarded(uid=row.uid, revision=row.revision)


@router.post("/export", status_code=202)
def export_measurements(
    study_instance_uid: UidKey, who: CurrentPractitioner, session: OpenSession, now: Now
) -> Exported:
    """The caller's measurements become an object of the study (SR, TID 1500); the same ones only once."""
    study = find_study(session, who, study_instance_uid, now)
    return Exported(measurements=measurements.export_measurements(session, study, by=who, now=now))


def _seen(row: Measurement, who: Who, people: dict[str, str]) -> MeasurementSeen:
    columns = (
        "uid", "revision", "kind", "sop_instance_uid", "frame", "points", "calibration", "figures", "author",
        "made_at", "changed_at",
    )  # fmt: skip
    known: dict[str, Any] = {name: getattr(row, name) for name in columns}
    return MeasurementSeen(
        **known, author_name=people.get(row.author, row.author), is_own=row.author == who.username
    )
