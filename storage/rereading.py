"""How the text of a study was read, how else it can be read, and what changes when a person knows better.

Always from the bytes as they were sent: the first image of each series says what its rows were made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.attributes import read_as, text_of, text_values
from storage.charsets import plausible
from storage.corrections import CHARSET, Change
from storage.headers import TEXTS, Header, read_header
from storage.imaging import Instance, Origin, Series, Study
from storage.objects import IN_MEMORY, ObjectMissing, ObjectStore
from storage.rejections import InstanceRejected

MOST_SERIES = 200
# What is shown of a reading: enough for whoever knows the language to see which is right.
SAMPLE = ("patient_name", "study_description", "series_description", "referring_physician_name")
OF_THE_STUDY = {
    "StudyDescription": "study_description",
    "StudyID": "study_id",
    "ReferringPhysicianName": "referring_physician_name",
}


@dataclass(frozen=True)
class Reading:
    """What the text is by one character set."""

    charset: str
    texts: dict[str, str]  # of SAMPLE, those that are not empty


@dataclass(frozen=True)
class TextSeen:
    """How a study's text was read: what was declared, what we read it by, and how else it can be read."""

    declared: tuple[str, ...]
    used: str
    is_guess: bool  # the declaration said otherwise, or nothing
    chosen: str | None  # by a person
    now: Reading
    others: tuple[Reading, ...]


def first_headers(session: Session, objects: ObjectStore, study: Study) -> dict[int, Header]:
    """The header of the first received image of each series, by the key of its row."""
    first = (
        select(func.min(Instance.id))
        .join(Series, Series.id == Instance.series_pk)
        .where(Series.study_pk == study.id, Instance.origin == Origin.RECEIVED)
        .group_by(Series.id)
    )
    rows = session.execute(
        select(
            Instance.series_pk,
            Instance.object_key,
            Instance.size,
            Instance.dataset_offset,
            Instance.transfer_syntax_uid,
        )
        .where(Instance.id.in_(first))
        .order_by(Instance.id)
        .limit(MOST_SERIES)
    )
    found = {}
    for series_pk, key, size, offset, syntax in rows:
        try:
            with objects.open_range(key, offset) as stream:
                is_large = size > IN_MEMORY and stream.seekable()
                found[series_pk] = read_header(stream if is_large else stream.read(), syntax)
        except (ObjectMissing, InstanceRejected):
            continue
    return found


def how_read(study: Study, headers: Mapping[int, Header]) -> TextSeen | None:
    """Of the image that has most to say; None where nothing can be read."""
    if not headers:
        return None
    header = max(headers.values(), key=lambda one: len(plausible(_texts(one))))
    now = _reading(header, study.text_charset)
    others: list[Reading] = []
    for charset in plausible(_texts(header)):
        other = _reading(header, charset)
        if all(other.texts != one.texts for one in (now, *others)):
            others.append(other)
    return TextSeen(
        header.specific_character_set,
        header.charset_evidence,
        header.is_charset_guess,
        study.text_charset,
        now,
        tuple(others),
    )


def changes_by(study: Study, headers: Mapping[int, Header], charset: str) -> list[Change]:
    """What the rows shall say when the study's text is read by this character set.

    A row that says something else than its bytes, from an order or a correction, is left as it is.
    """
    found = [Change(CHARSET, study.id, charset)]
    if not headers:
        return found
    header = next(iter(headers.values()))
    cells = [("PatientName", study.patient.id, study.patient.name, "patient_name")]
    cells += [(keyword, study.id, getattr(study, name), name) for keyword, name in OF_THE_STUDY.items()]
    for keyword, pk, said, name in cells:
        before, after = (_text(header, name, by) for by in (study.text_charset, charset))
        if said == before != after:
            found.append(Change(keyword, pk, after))
    for series in study.series:
        if (header_ := headers.get(series.id)) is None:
            continue
        before, after = (_text(header_, "series_description", by) for by in (study.text_charset, charset))
        if series.series_description == before != after:
            found.append(Change("SeriesDescription", series.id, after))
    return found


def _reading(header: Header, charset: str | None) -> Reading:
    texts = {name: _text(header, name, charset) for name in SAMPLE}
    return Reading(charset or header.charset_evidence, {name: text for name, text in texts.items() if text})


def _text(header: Header, name: str, charset: str | None) -> str:
    return text_of(header.walked.elements.get(TEXTS[name]), read_as(header.encoding, charset))


def _texts(header: Header) -> list[bytes]:
    return list(chain(text_values(header.walked.elements), header.walked.texts))
