"""Ranges of dates and times as DICOM asks for them (PS3.4 C.2.2.2.5), as SQL."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.orm import InstrumentedAttribute

from storage.imaging import Study

Column = InstrumentedAttribute[Any]


class BadKey(ValueError):
    """A matching key that cannot be understood; the message names its keyword."""


def date_range(keyword: str, column: Column, value: str) -> ColumnElement[bool]:
    start, dash, end = value.strip().partition("-")
    if not dash:
        return column == _date(keyword, start)
    return and_(
        *([column >= _date(keyword, start)] if start else []),
        *([column <= _date(keyword, end)] if end else []),
    )


def _date(keyword: str, text: str) -> date:
    try:
        # The old form with dots is in PS3.5 6.2 for reading.
        return datetime.strptime(text.strip().replace(".", ""), "%Y%m%d").date()
    except ValueError:
        raise BadKey(f"{keyword} is a date or a range of dates, YYYYMMDD-YYYYMMDD") from None


def time_range(keyword: str, column: Column, value: str) -> ColumnElement[bool]:
    """TM values sort as text: 10, 1030 and 103000.5 are prefixes of the moments that they mean."""
    start, dash, end = (part.strip().replace(":", "") for part in value.partition("-"))
    if not re.fullmatch(r"[\d.]*", start + end):
        raise BadKey(f"{keyword} is a time or a range of times, HHMMSS-HHMMSS")
    if not dash:
        return and_(column >= start, column < start + "~")
    return and_(*([column >= start] if start else []), *([column < end + "~"] if end else []))


def moments(dates: str, times: str) -> ColumnElement[bool]:
    """Two ranges that are one (PS3.4 C.2.2.2.5.1): from the first day's time to the last day's."""
    first, _, last = (part.strip() for part in dates.partition("-"))
    start, _, end = (part.strip().replace(":", "") for part in times.partition("-"))
    if not re.fullmatch(r"[\d.]*", start + end):
        raise BadKey("StudyTime is a time or a range of times, HHMMSS-HHMMSS")
    found = []
    if first:
        day = _date("StudyDate", first)
        found.append(or_(Study.study_date > day, and_(Study.study_date == day, Study.study_time >= start)))
    if last:
        day = _date("StudyDate", last)
        until = end + "~" if end else "~"
        found.append(or_(Study.study_date < day, and_(Study.study_date == day, Study.study_time < until)))
    return and_(*found) if found else Study.id == Study.id
