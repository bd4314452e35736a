"""Measurements as a page sends them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from storage.database import Database
from storage.imaging import Instance, Series, Study
from tests import builders

A_LENGTH = "0b7f3c52-6a14-4d10-9a55-3f3c0d9e7a01"


def a_length(exam: builders.Exam, database: Database | None = None, **changes: Any) -> dict[str, Any]:
    """A line of 30.0 mm in the exam's first image."""
    return {
        "revision": 0,
        "kind": "length",
        "sop_instance_uid": first_image(exam, database) if database else "1.2.3",
        "frame": 1,
        "points": [[10.5, 12.25], [50.5, 12.25]],
        "calibration": "pixel_spacing",
        "figures": [{"quantity": "length", "value": 30.0, "unit": "mm"}],
    } | changes


def first_image(exam: builders.Exam, database: Database) -> str:
    with database.reading() as session:
        return str(
            session.scalars(
                select(Instance.sop_instance_uid)
                .join(Series, Series.id == Instance.series_pk)
                .join(Study, Study.id == Series.study_pk)
                .where(Study.study_instance_uid == exam.study_instance_uid)
                .order_by(Instance.instance_number, Instance.id)
            ).first()
        )
