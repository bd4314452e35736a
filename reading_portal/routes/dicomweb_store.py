"""STOW-RS: instances come in by HTTP, one result each (PS3.18 10.5)."""

import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO

import structlog
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool

from reading_portal.dependencies import Now, Objects, TheDatabase, requires
from reading_portal.dicom_json import MEDIA_TYPE, dumps
from reading_portal.multipart import BadMultipart, IncomingPart, read_parts
from reading_portal.part10 import Section, read_meta
from reading_portal.routes.dicomweb_request import Uid, base_of
from storage import audit
from storage.audit import Act
from storage.database import Database
from storage.headers import read_header
from storage.instances import Outcome, Sender, keep_instance
from storage.objects import ObjectStore
from storage.rejections import InstanceRejected, Unacceptable
from worklist.people import Role, Who

router = APIRouter()

DICOM = "application/dicom"
LONGEST_BODY = 16 << 30
IN_MEMORY = 4 << 20
PIECE = 1 << 20

# Failure Reason (PS3.18 I.2.2) for what the memory refuses.
REASONS = {
    Unacceptable.EMPTY: 0xC000,
    Unacceptable.IDENTIFIERS: 0xA900,
    Unacceptable.TRUNCATED: 0xC000,
    Unacceptable.MALFORMED: 0xC000,
    Unacceptable.NESTING: 0xC000,
    Unacceptable.TOO_LARGE: 0xA700,
}
PROCESSING_FAILURE, DUPLICATE, MISMATCH, UNSUPPORTED_SYNTAX = 0x0110, 0x0111, 0xA900, 0xC122
# JPIP refers to pixels that lie elsewhere.
REFUSED_SYNTAXES = {"1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.95"}

_log = structlog.get_logger("reading_portal")


@dataclass(frozen=True)
class Result:
    """What became of one instance; `reason` is 0 when it is kept."""

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    reason: int = 0
    sentence: str = ""


Storing = Annotated[Who, Depends(requires(Role.TECHNICIAN, Role.INTEGRATION))]


async def spooled(request: Request, who: Storing) -> AsyncIterator[BinaryIO]:
    """The body in a temporary file, small ones in memory. Not begun before the person is known."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415, "bodies are taken as they are, without a content encoding")
    if int(request.headers.get("content-length") or 0) > LONGEST_BODY:
        raise HTTPException(413, f"a request has at most {LONGEST_BODY} bytes")
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as spool:
        piece, length = bytearray(), 0
        async for chunk in request.stream():
            piece += chunk
            length += len(chunk)
            if length > LONGEST_BODY:
                raise HTTPException(413, f"a request has at most {LONGEST_BODY} bytes")
            if len(piece) >= PIECE:
                await run_in_threadpool(spool.write, bytes(piece))
                piece.clear()
        await run_in_threadpool(spool.write, bytes(piece))
        yield spool  # type: ignore[misc]


Spool = Annotated[BinaryIO, Depends(spooled)]


@router.post("/studies")
def store(
    request: Request, spool: Spool, database: TheDatabase, objects: Objects, who: Storing, now: Now
) -> Response:
    """Keep instances of any study: `multipart/related; type="application/dicom"`."""
    return _store(request, spool, database, objects, who, now, study=None)


@router.post("/studies/{study}")
def store_in_study(
    study: Uid,
    request: Request,
    spool: Spool,
    database: TheDatabase,
    objects: Objects,
    who: Storing,
    now: Now,
) -> Response:
    """Keep instances of this study; those of another one are refused."""
    return _store(request, spool, database, objects, who, now, study=study)


def _store(
    request: Request,
    spool: BinaryIO,
    database: Database,
    objects: ObjectStore,
    who: Who,
    now: Now,
    study: str | None,
) -> Response:
    sender = Sender(ae_title="STOW-RS", institution_code=who.institution_code, source=who.source)
    results: list[Result] = []
    try:
        for section in _sections(request, spool):
            results.append(_keep(section, database, objects, sender, study))
    except BadMultipart as error:
        if not results:
            raise HTTPException(400, str(error)) from None
        results.append(Result(reason=PROCESSING_FAILURE, sentence=str(error)))
    if not results:
        raise HTTPException(400, "the request holds no instance")
    _tell(database, who, results, now)
    kept = [result for result in results if not result.reason]
    status = 200 if len(kept) == len(results) else 202 if kept else 409
    return Response(dumps(_answer(base_of(request), results)), status, media_type=MEDIA_TYPE)


def _sections(request: Request, spool: BinaryIO) -> Iterator[Section]:
    content_type = request.headers.get("content-type", "")
    kind = content_type.split(";")[0].strip().lower()
    if kind == DICOM:
        yield Section(spool, 0, spool.seek(0, 2))
        return
    boundary = re.search(r'boundary="?([^";]+)"?', content_type)
    said = re.search(r'type="?([^";]+)"?', content_type.replace("boundary", ""))
    if kind != "multipart/related" or boundary is None or (said and said.group(1).strip().lower() != DICOM):
        raise HTTPException(415, f'instances come as multipart/related; type="{DICOM}"')
    for part in read_parts(spool, boundary.group(1).strip()):
        if not _is_dicom(part):
            raise HTTPException(415, f"every part is {DICOM}")
        yield Section(spool, part.begin, part.end)


def _is_dicom(part: IncomingPart) -> bool:
    return part.headers.get("content-type", DICOM).split(";")[0].strip().lower() == DICOM


def _keep(
    section: Section, database: Database, objects: ObjectStore, sender: Sender, study: str | None
) -> Result:
    try:
        meta, transfer_syntax_uid = read_meta(section)
        dataset = Section(section, section.tell(), section.seek(0, 2))
        header = read_header(dataset, transfer_syntax_uid)
    except InstanceRejected as error:
        return Result(reason=REASONS[error.kind], sentence=str(error))
    said = Result(
        header.sop_class_uid, header.sop_instance_uid, header.study_instance_uid, header.series_instance_uid
    )
    if transfer_syntax_uid in REFUSED_SYNTAXES:
        return _failed(said, UNSUPPORTED_SYNTAX, "the pixels lie elsewhere and were not sent")
    if study is not None and header.study_instance_uid != study:
        return _failed(said, MISMATCH, "the instance belongs to another study than the address")
    try:
        kept = keep_instance(database, objects, header=header, meta=meta, dataset=dataset, sender=sender)
    except Exception as error:  # one instance that cannot be kept must not cost the others their answer
        _log.error("stow-failed", sop_instance_uid=header.sop_instance_uid, exc_info=error)
        return _failed(said, PROCESSING_FAILURE, "the instance could not be kept; send it again")
    if kept.outcome is Outcome.QUARANTINED:
        return _failed(said, DUPLICATE, kept.reason or "")
    return said


def _failed(said: Result, reason: int, sentence: str) -> Result:
    return Result(
        said.sop_class_uid,
        said.sop_instance_uid,
        said.study_instance_uid,
        said.series_instance_uid,
        reason,
        sentence,
    )


def _tell(database: Database, who: Who, results: list[Result], now: Now) -> None:
    studies = sorted({result.study_instance_uid for result in results if result.study_instance_uid})
    with database.transaction() as session:
        for study in studies or ["unknown"]:
            mine = [result for result in results if result.study_instance_uid == study or not studies]
            failed = sum(1 for result in mine if result.reason)
            audit.record(
                session,
                Act.DELIVERY,
                "store",
                f"study:{study}",
                by=who.actor,
                at=now,
                outcome="failure" if failed == len(mine) else "success",
                kept=len(mine) - failed,
                failed=failed,
                by_service="STOW-RS",
            )


def _answer(base: str, results: list[Result]) -> dict[str, Any]:
    """The Store Instances Response (PS3.18 I.2) as DICOM JSON."""
    told: dict[str, Any] = {}
    studies = {result.study_instance_uid for result in results if not result.reason}
    if len(studies) == 1:
        told["00081190"] = {"vr": "UR", "Value": [f"{base}/studies/{studies.pop()}"]}
    groups = {
        "00081198": [_item(base, one) for one in results if one.reason and one.sop_instance_uid],
        "00081199": [_item(base, one) for one in results if not one.reason],
        "0008119A": [_item(base, one) for one in results if one.reason and not one.sop_instance_uid],
    }
    for tag, items in groups.items():
        if items:
            told[tag] = {"vr": "SQ", "Value": items}
    return told


def _item(base: str, one: Result) -> dict[str, Any]:
    item: dict[str, Any] = {}
    if one.sop_instance_uid:
        item["00081150"] = {"vr": "UI", "Value": [one.sop_class_uid]}
        item["00081155"] = {"vr": "UI", "Value": [one.sop_instance_uid]}
    if one.reason:
        item["00081197"] = {"vr": "US", "Value": [one.reason]}
        # Error Comment: the sentence that a person can act on.
        item["00000902"] = {"vr": "LO", "Value": [one.sentence[:64]]}
    else:
        place = f"{base}/studies/{one.study_instance_uid}/series/{one.series_instance_uid}"
        item["00081190"] = {"vr": "UR", "Value": [f"{place}/instances/{one.sop_instance_uid}"]}
    return item
