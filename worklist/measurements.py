"""What a reader has measured in a study: places in pixels, the figures read there, and who calibrated them.

A measurement belongs to its author: others see it, nobody else changes it. It is never removed, only
discarded: undoing is changing it once more. Two windows of one author cannot write over each other: each
change names the revision that it saw.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage import audit, jobs
from storage.audit import Act
from storage.database import Base, Json
from storage.imaging import Instance, Series, Study
from storage.uids import derived_uid
from worklist.people import Role, Who, must_have
from worklist.problems import LostRace, Missing, Refused, Unacceptable


class Kind(StrEnum):
    LENGTH = "length"
    ANGLE = "angle"
    COBB = "cobb"
    BIDIRECTIONAL = "bidirectional"
    RECTANGLE = "rectangle"
    ELLIPSE = "ellipse"
    FREEHAND = "freehand"
    PROBE = "probe"


MOST_POINTS = 2000
# How many points each kind has: at least, at most.
POINTS = {
    Kind.LENGTH: (2, 2),
    Kind.ANGLE: (3, 3),
    Kind.COBB: (4, 4),
    Kind.BIDIRECTIONAL: (4, 4),
    Kind.RECTANGLE: (4, 4),
    Kind.ELLIPSE: (4, 4),
    Kind.FREEHAND: (3, MOST_POINTS),
    Kind.PROBE: (1, 1),
}
MOST_PER_STUDY = 1000
ARCHIVE_JOB = "archive-measurements"


class Calibration(StrEnum):
    """Who says how long a pixel is; the names that the viewer shows beside each figure."""

    PIXEL_SPACING = "pixel_spacing"
    GEOMETRY = "geometry"
    FIDUCIAL = "fiducial"
    DETECTOR = "detector"
    MAGNIFICATION = "magnification"
    REGION = "region"
    OUTSIDE_REGION = "outside_region"
    NONE = "none"


class Quantity(StrEnum):
    LENGTH = "length"
    LONG_AXIS = "long_axis"
    SHORT_AXIS = "short_axis"
    ACROSS = "across"
    DOWN = "down"
    ANGLE = "angle"
    AREA = "area"
    MEAN = "mean"
    DEVIATION = "deviation"
    MIN = "min"
    MAX = "max"
    VALUE = "value"


@dataclass(frozen=True)
class Figure:
    quantity: str
    value: float
    unit: str


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One measurement as drawn: `points` are [column, row] of the frame, 0 at the first pixel's centre.

    A rectangle: a corner, its neighbours in the row and in the column, the opposite one. An ellipse: the ends
    of one axis, then of the other. Two diameters: the longer first.
    """

    kind: str
    sop_instance_uid: str
    frame: int
    points: Sequence[Sequence[float]]
    calibration: str
    figures: Sequence[Figure]


class Measurement(Base):
    __tablename__ = "measurements"
    __table_args__ = (UniqueConstraint("study_pk", "uid"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    study_pk: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    uid: Mapped[str]  # a UUID, chosen by the page that drew it
    kind: Mapped[str]
    sop_instance_uid: Mapped[str]
    frame: Mapped[int]
    points: Mapped[list[Any]] = mapped_column(Json)
    calibration: Mapped[str]
    figures: Mapped[list[dict[str, Any]]]
    revision: Mapped[int]
    author: Mapped[str]
    made_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    discarded_at: Mapped[datetime | None]


def keeps_measurements(person: Who) -> bool:
    return person.has(Role.READER, Role.REVIEWER)


def measurements_of(session: Session, study: Study, *, by: Who) -> list[Measurement]:
    """Everybody's measurements of the study, the oldest first; none for who does not read, as with drafts."""
    if not keeps_measurements(by):
        return []
    return list(
        session.scalars(
            select(Measurement)
            .where(Measurement.study_pk == study.id, Measurement.discarded_at.is_(None))
            .order_by(Measurement.id)
        )
    )


def keep_measurement(
    session: Session, study: Study, uid: str, drawn: Drawn, *, seen: int, by: Who, now: datetime
) -> Measurement:
    """Keep it as drawn; `seen` is the revision that it changes, 0 for a new one. Sent twice, it is kept once.

    Raises LostRace when another window of the author has changed it since.
    """
    must_have(by, Role.READER, Role.REVIEWER)
    _check(session, study, drawn)
    row = _find(session, study, uid)
    if row is None:
        if seen != 0:
            raise Missing("no such measurement")
        return _begin(session, study, uid, drawn, by, now)
    _must_be_own(row, by)
    if row.revision == seen + 1 and row.discarded_at is None and _is_as(row, drawn):
        return row  # the answer to the same request was lost
    _must_be_at(row, seen)
    was_discarded = row.discarded_at is not None
    for name, value in _columns(drawn).items():
        setattr(row, name, value)
    row.revision, row.changed_at, row.discarded_at = seen + 1, now, None
    _tell(session, study, row, "restore-measurement" if was_discarded else "change-measurement", by, now)
    return row


def discard_measurement(
    session: Session, study: Study, uid: str, *, seen: int, by: Who, now: datetime
) -> Measurement:
    """Take it out of sight; keeping it again brings it back. Raises LostRace as `keep_measurement` does."""
    must_have(by, Role.READER, Role.REVIEWER)
    row = _find(session, study, uid)
    if row is None:
        raise Missing("no such measurement")
    _must_be_own(row, by)
    if row.revision == seen + 1 and row.discarded_at is not None:
        return row
    _must_be_at(row, seen)
    row.revision, row.changed_at, row.discarded_at = seen + 1, now, now
    _tell(session, study, row, "discard-measurement", by, now)
    return row


def own_measurements(session: Session, study_pk: int, author: str) -> list[Measurement]:
    """What one author's measurements of a study are now, the oldest first."""
    return list(
        session.scalars(
            select(Measurement)
            .where(
                Measurement.study_pk == study_pk,
                Measurement.author == author,
                Measurement.discarded_at.is_(None),
            )
            .order_by(Measurement.id)
        )
    )


def drawn_in(row: Measurement) -> Drawn:
    return Drawn(
        kind=row.kind,
        sop_instance_uid=row.sop_instance_uid,
        frame=row.frame,
        points=row.points,
        calibration=row.calibration,
        figures=[Figure(**figure) for figure in row.figures],
    )


def export_measurements(session: Session, study: Study, *, by: Who, now: datetime) -> int:
    """Have the author's measurements kept in the study as a DICOM object; how many they are."""
    must_have(by, Role.READER, Role.REVIEWER)
    count = archive_measurements(session, study, by.username)
    if not count:
        raise Unacceptable("you have not measured anything in this study")
    subject = f"study:{study.study_instance_uid}"
    audit.record(session, Act.EXPORT, "export-measurements", subject, by=by.actor, at=now, found=count)
    return count


def archive_measurements(session: Session, study: Study, author: str) -> int:
    """The job that makes the object, in this transaction; the same measurements are archived once."""
    rows = own_measurements(session, study.id, author)
    if rows:
        state = derived_uid(*(f"{row.uid}/{row.revision}" for row in rows))
        key = f"{study.study_instance_uid}/{author}/{state}"
        jobs.enqueue(session, ARCHIVE_JOB, key, {"study_pk": study.id, "author": author})
    return len(rows)


def _begin(session: Session, study: Study, uid: str, drawn: Drawn, by: Who, now: datetime) -> Measurement:
    held = session.scalars(select(Measurement.id).where(Measurement.study_pk == study.id)).all()
    if len(held) >= MOST_PER_STUDY:
        raise Unacceptable(f"a study holds {MOST_PER_STUDY} measurements")
    row = Measurement(
        study_pk=study.id,
        uid=uid,
        revision=1,
        author=by.username,
        made_at=now,
        changed_at=now,
        discarded_at=None,
        **_columns(drawn),
    )
    session.add(row)
    session.flush()
    _tell(session, study, row, "measure", by, now)
    return row


def _find(session: Session, study: Study, uid: str) -> Measurement | None:
    return session.scalar(
        select(Measurement).where(Measurement.study_pk == study.id, Measurement.uid == uid).with_for_update()
    )


def _check(session: Session, study: Study, drawn: Drawn) -> None:
    """What cannot be a place in this study, or a figure, is refused."""
    if drawn.kind not in POINTS:
        raise Unacceptable(f"a measurement is one of: {', '.join(Kind)}")
    least, most = POINTS[Kind(drawn.kind)]
    if not least <= len(drawn.points) <= most:
        raise Unacceptable("the measurement does not have as many points as its kind has")
    frames = session.scalar(
        select(Instance.number_of_frames)
        .join(Series, Series.id == Instance.series_pk)
        .where(Series.study_pk == study.id, Instance.sop_instance_uid == drawn.sop_instance_uid)
    )
    if frames is None:
        raise Unacceptable("the measurement is not in an image of this study")
    if not 1 <= drawn.frame <= max(1, frames):
        raise Unacceptable("the image has no such frame")
    if drawn.calibration not in set(Calibration):
        raise Unacceptable(f"the calibration is one of: {', '.join(Calibration)}")
    for figure in drawn.figures:
        if figure.quantity not in set(Quantity):
            raise Unacceptable(f"a figure is one of: {', '.join(Quantity)}")
        is_metric = re.match(r"mm|cm", figure.unit) is not None
        if is_metric and drawn.calibration in (Calibration.NONE, Calibration.OUTSIDE_REGION):
            raise Unacceptable("millimetres need a calibration")


def _columns(drawn: Drawn) -> dict[str, Any]:
    return {
        "kind": drawn.kind,
        "sop_instance_uid": drawn.sop_instance_uid,
        "frame": drawn.frame,
        "points": [list(point) for point in drawn.points],
        "calibration": drawn.calibration,
        "figures": [asdict(figure) for figure in drawn.figures],
    }


def _is_as(row: Measurement, drawn: Drawn) -> bool:
    return all(getattr(row, name) == value for name, value in _columns(drawn).items())


def _must_be_own(row: Measurement, by: Who) -> None:
    if row.author != by.username:
        raise Refused("a measurement is changed by whoever made it")


def _must_be_at(row: Measurement, seen: int) -> None:
    if row.revision != seen:
        raise LostRace(
            "the measurement was changed in another window", holder=row.author, since=row.changed_at
        )


def _tell(session: Session, study: Study, row: Measurement, verb: str, by: Who, now: datetime) -> None:
    audit.record(
        session,
        Act.STUDY,
        verb,
        f"study:{study.study_instance_uid}",
        by=by.actor,
        at=now,
        measurement=row.kind,
    )
