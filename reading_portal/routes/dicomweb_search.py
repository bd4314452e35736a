"""QIDO-RS: studies, series and instances that match, as DICOM JSON."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, HTTPException, Response
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from reading_portal.dicom_json import MEDIA_TYPE, UTF_8, dumps, keyword_of, tag_of, vr_of
from reading_portal.negotiation import best_media_type
from reading_portal.routes.dicomweb_request import Ask, Asked, Uid, json_answer
from reading_portal.viewing import note_query
from storage.answers import find
from storage.audit import Act
from storage.corrections import overlays
from storage.imaging import Instance, Series, Study
from storage.instance_headers import PLACE, HeaderPlace, attributes_of
from storage.matching import ATTRIBUTES, Level
from storage.objects import ObjectStore
from storage.overlays import overlaid
from storage.ranges import BadKey
from worklist.people import visible_to

router = APIRouter()

# How many rows one answer holds at most, and where nothing is said.
MOST, USUAL = 5000, 1000
MOST_OFFSET = 10_000_000
LISTED = {"UI", "CS"}  # a comma between values is a list here; in other representations it is text
WORDS = {
    "limit",
    "offset",
    "includefield",
    "fuzzymatching",
    "emptyvaluematching",
    "multiplevaluematching",
    "accept",
}


@router.get("/studies")
def search_studies(ask: Ask) -> Response:
    """Studies that match attributes by keyword or tag; `limit`, `offset`, `includefield`, `fuzzymatching`,
    `emptyvaluematching`, `multiplevaluematching`."""
    return _search(ask, Level.STUDY, {})


@router.get("/series")
def search_all_series(ask: Ask) -> Response:
    """Series of all studies that match."""
    return _search(ask, Level.SERIES, {})


@router.get("/instances")
def search_all_instances(ask: Ask) -> Response:
    """Instances of all studies that match."""
    return _search(ask, Level.INSTANCE, {})


@router.get("/studies/{study}/series")
def search_series(study: Uid, ask: Ask) -> Response:
    """Series of a study that match."""
    return _search(ask, Level.SERIES, {"StudyInstanceUID": study})


@router.get("/studies/{study}/instances")
def search_instances_of_study(study: Uid, ask: Ask) -> Response:
    """Instances of a study that match."""
    return _search(ask, Level.INSTANCE, {"StudyInstanceUID": study})


@router.get("/studies/{study}/series/{series}/instances")
def search_instances_of_series(study: Uid, series: Uid, ask: Ask) -> Response:
    """Instances of a series that match."""
    return _search(ask, Level.INSTANCE, {"StudyInstanceUID": study, "SeriesInstanceUID": series})


def _search(ask: Asked, level: Level, within: dict[str, str]) -> Response:
    if best_media_type(ask.accept, (MEDIA_TYPE, "application/json")) is None:
        raise HTTPException(406, f"search results are {MEDIA_TYPE}")
    limit = min(_number(ask, "limit", USUAL), MOST)
    offset = _number(ask, "offset", 0)
    keys = _keys(ask) | within
    how = {"fuzzy": _is_wanted(ask, "fuzzymatching"), "empty": _is_wanted(ask, "emptyvaluematching")}
    _is_wanted(ask, "multiplevaluematching")  # a list of values is one always (PS3.4 C.2.2.2.8)
    headers = {}
    with ask.reading() as session:
        visible = visible_to(session, ask.who, Study)
        try:
            # One more than asked for tells whether something is left.
            rows = find(session, level, keys, visible=visible, limit=limit + 1, offset=offset, **how)
        except BadKey as error:
            raise HTTPException(400, str(error)) from None
        if len(rows) > limit:
            headers["Warning"] = '299 reading-center "There are additional results that can be requested"'
            rows = rows[:limit]
        _include(session, ask.objects, ask.request.query_params.getlist("includefield"), level, rows)
    if within and rows:  # one study, which stands in the trail once an hour
        ask.note(within["StudyInstanceUID"], Act.QUERY, "search")
    elif not within:
        kind = f"dicomweb-{str(level).lower()}"
        note_query(ask.database, ask.who, kind, found=len(rows), searched=keys, now=ask.now)
    for row in rows:
        row["00080005"] = UTF_8
        row["00080056"] = {"vr": "CS", "Value": ["ONLINE"]}
        row["00081190"] = {"vr": "UR", "Value": [_retrieve_url(ask.base, row)]}
    return json_answer(ask.request, dumps([dict(sorted(row.items())) for row in rows]), MEDIA_TYPE, headers)


def _keys(ask: Asked) -> dict[str, str]:
    """Matching keys by keyword; parameters that are no attributes say nothing about one."""
    keys: dict[str, str] = {}
    for name, value in ask.request.query_params.multi_items():
        if name.lower() in WORDS or (keyword := keyword_of(name)) is None:
            continue
        if len(value) > 8000:
            raise HTTPException(400, f"{keyword} is longer than any list of values")
        if vr_of(tag_of(keyword)) in LISTED:
            value = value.replace(",", "\\")
        keys[keyword] = value.strip()
    return keys


def _include(
    session: Session, objects: ObjectStore, fields: list[str], level: Level, rows: list[dict[str, Any]]
) -> None:
    """Attributes asked for that stand in no column, from the header of the first instance of each row."""
    asked = [name for text in fields for name in text.split(",")]
    known = {attribute.tag for attribute in ATTRIBUTES.values()}
    wanted = {tag_of(keyword) for name in asked if (keyword := keyword_of(name.strip())) is not None} - known
    everything = level is Level.INSTANCE and "all" in (name.strip().lower() for name in asked)
    if not rows or not (wanted or everything):
        return
    uid, statement = _REPRESENTATIVES[level]
    uids = [row[uid]["Value"][0] for row in rows if row.get(uid, {}).get("Value")]
    headers: dict[str, dict[str, Any]] = {}
    for start in range(0, len(uids), 500):
        found = session.execute(statement(uids[start : start + 500])).all()
        laid = overlays(session, {series_pk for _, series_pk, *_ in found})
        for name, series_pk, header, *place in found:
            kept = header if header is not None else attributes_of(objects, HeaderPlace(*place))
            headers[name] = overlaid(kept, laid.get(series_pk))
    for row in rows:
        header = headers.get(row.get(uid, {}).get("Value", [""])[0], {})
        for tag, element in header.items():
            if (everything or tag in wanted) and tag not in row:
                row[tag] = element


def _first_of_studies(uids: list[str]) -> Select[Any]:
    newest = (
        select(func.min(Instance.id).label("id"))
        .join(Series, Series.id == Instance.series_pk)
        .join(Study, Study.id == Series.study_pk)
        .where(Study.study_instance_uid.in_(uids))
        .group_by(Study.id)
        .subquery()
    )
    return (
        select(Study.study_instance_uid, Series.id, Instance.header, *PLACE)
        .join(newest, newest.c.id == Instance.id)
        .join(Series, Series.id == Instance.series_pk)
        .join(Study, Study.id == Series.study_pk)
    )


def _first_of_series(uids: list[str]) -> Select[Any]:
    newest = (
        select(func.min(Instance.id).label("id"))
        .join(Series, Series.id == Instance.series_pk)
        .where(Series.series_instance_uid.in_(uids))
        .group_by(Series.id)
        .subquery()
    )
    return (
        select(Series.series_instance_uid, Series.id, Instance.header, *PLACE)
        .join(newest, newest.c.id == Instance.id)
        .join(Series, Series.id == Instance.series_pk)
        .join(Study, Study.id == Series.study_pk)
    )


def _instances_by_uid(uids: list[str]) -> Select[Any]:
    return (
        select(Instance.sop_instance_uid, Series.id, Instance.header, *PLACE)
        .join(Series, Series.id == Instance.series_pk)
        .join(Study, Study.id == Series.study_pk)
        .where(Instance.sop_instance_uid.in_(uids))
    )


_REPRESENTATIVES = {
    Level.STUDY: ("0020000D", _first_of_studies),
    Level.SERIES: ("0020000E", _first_of_series),
    Level.INSTANCE: ("00080018", _instances_by_uid),
}


def _retrieve_url(base: str, row: Mapping[str, Any]) -> str:
    url = base
    for word, tag in (("studies", "0020000D"), ("series", "0020000E"), ("instances", "00080018")):
        values = row.get(tag, {}).get("Value")
        if values:
            url += f"/{word}/{values[0]}"
    return url


def _is_wanted(ask: Asked, name: str) -> bool:
    said = ask.request.query_params.get(name, "false").lower()
    if said not in ("true", "false", ""):
        raise HTTPException(400, f"{name} is true or false")
    return said == "true"


def _number(ask: Asked, name: str, default: int) -> int:
    text = ask.request.query_params.get(name)
    if text is None or text == "":
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) > MOST_OFFSET:
        raise HTTPException(400, f"{name} is a number from 0")
    return int(text)
