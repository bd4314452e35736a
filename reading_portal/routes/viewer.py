"""What the reading page draws from: the manifest of a study, and its ECG."""

from functools import partial
from typing import Any

from fastapi import APIRouter, HTTPException, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from reading_portal.decoding import CannotRender
from reading_portal.dicom_json import dumps, text
from reading_portal.manifest import series_and_documents, study_facts, with_palette
from reading_portal.retrieval import Recent, StoredInstance, bulk_of, find_visible, header_of, headers_of
from reading_portal.routes.dicomweb_request import Ask, Asked, Uid, json_answer
from reading_portal.waveforms import ecg_json, read_ecg
from storage.imaging import Study
from storage.places import Unreadable
from worklist.other_exams import other_exams
from worklist.people import visible_to
from worklist.policy import read_policy
from worklist.problems import Missing

router = APIRouter(prefix="/api/viewer", tags=["viewer"])

WAVEFORMS = "1.2.840.10008.5.1.4.1.1.9."  # the root of all waveform storage SOP classes (PS3.6)
# Series of the studies that were looked at last: the page that prefetched one opens it a moment later.
_series: Recent[tuple[list[dict[str, Any]], list[dict[str, Any]]]] = Recent(64)


@router.get("/studies/{study}/manifest")
def study_manifest(study: Uid, ask: Ask) -> Response:
    """Every header of a study in one small answer: attributes common to a series are stated once."""
    with ask.reading() as session:
        manifest = _manifest(session, ask, study)
    ask.note(study)
    return json_answer(ask.request, dumps(manifest), "application/json")


def _manifest(session: Session, ask: Asked, study: str) -> dict[str, Any]:
    found = find_visible(session, ask.who, study)
    row = _study(session, ask, study)
    # Instances are only added, so their number and the newest of them say whether anything came.
    corrected = frozenset((one.series_pk, one.tag) for one in found if one.overlay is not None)
    key = (found[0].object_key, len(found), max(one.id for one in found), found[0].text_charset, corrected)

    def read() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        headers = headers_of(session, ask.objects, found)
        coloured = [
            with_palette(header, partial(bulk_of, ask.objects, one))
            for one, header in zip(found, headers, strict=True)
        ]
        return series_and_documents(list(zip(found, coloured, strict=True)))

    series, documents = _series.get(key, read)
    age = text(header_of(session, ask.objects, found[0]), "00101010")
    return study_facts(row, row.patient, age=age) | {
        "series": series,
        "documents": documents,
        "priors": _others(session, ask, row),
    }


@router.get("/studies/{study}/ecg")
def study_ecg(study: Uid, ask: Ask, instance: str | None = None) -> Response:
    """The newest ECG of a study, or the one that `instance` names: microvolts, and what the device said."""
    with ask.reading() as session:
        one = _waveform(find_visible(session, ask.who, study), instance)
        header = header_of(session, ask.objects, one)
    ask.note(study)
    try:
        ecg = read_ecg(header, lambda path: bulk_of(ask.objects, one, path))
    except (CannotRender, Unreadable) as error:
        raise HTTPException(422, str(error)) from error
    told = {"study_instance_uid": study, "sop_instance_uid": one.sop_instance_uid} | ecg_json(ecg)
    return json_answer(ask.request, dumps(told), "application/json")


def _waveform(found: list[StoredInstance], instance: str | None) -> StoredInstance:
    for one in reversed(found):
        if instance in (None, one.sop_instance_uid) and one.sop_class_uid.startswith(WAVEFORMS):
            return one
    raise Missing("the study holds no such ECG")


def _study(session: Session, ask: Asked, study: str) -> Study:
    return session.scalars(
        select(Study).where(Study.study_instance_uid == study, visible_to(session, ask.who, Study))
    ).one()


def _others(session: Session, ask: Asked, study: Study) -> list[dict[str, Any]]:
    """Other studies of the same person that the caller may see: earlier ones, then later ones."""
    earlier, later = other_exams(session, study, timezone=read_policy(session).timezone, seen_by=ask.who)
    return [_other(one, is_later=False) for one in earlier] + [_other(one, is_later=True) for one in later]


def _other(study: Study, *, is_later: bool) -> dict[str, Any]:
    return {
        "study_instance_uid": study.study_instance_uid,
        "study_date": study.study_date.strftime("%Y%m%d") if study.study_date else "",
        "description": study.study_description,
        "modality": study.modality,
        "body_part": study.body_part_examined,
        "is_later": is_later,
        "manifest": f"/api/viewer/studies/{study.study_instance_uid}/manifest",
    }
