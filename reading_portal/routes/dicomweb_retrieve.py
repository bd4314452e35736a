"""WADO-RS: instances, metadata, frames and bulk data, streamed out of the object store."""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Annotated

import numpy as np
from fastapi import APIRouter, HTTPException, Path, Response
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import Session

from reading_portal.decoding import CannotRender, ImageFormat, image_format
from reading_portal.dicom_json import MEDIA_TYPE as DICOM_JSON
from reading_portal.dicom_json import bulk_path, dumps, metadata
from reading_portal.frames import FLOAT_PIXELS, PIXEL_DATA, NoSuchFrame, read_frame
from reading_portal.multipart import CHUNK, MultipartWriter, OutgoingPart
from reading_portal.negotiation import best_media_type, choices
from reading_portal.recoding import OCTETS, choose_encoding, is_recodable, recode
from reading_portal.retrieval import (
    StoredInstance,
    composed_of,
    dataset_of,
    find_visible,
    has_bulk,
    header_of,
    headers_of,
)
from reading_portal.routes.dicomweb_request import FOR_EVER, Ask, Asked, Uid, address, json_answer, multipart
from storage.audit import Act
from storage.composing import Composed
from storage.objects import IN_MEMORY, ObjectStore
from storage.part10 import meta_bytes
from storage.places import Dataset, Place, Unreadable, locate
from storage.sound import ObjectDamaged, SoundObjects

router = APIRouter()

FrameList = Annotated[str, Path(pattern=r"^[0-9]{1,6}(,[0-9]{1,6})*$", max_length=20_000)]
DICOM = "application/dicom"
PREAMBLE = 128
AE_TITLE = "READINGCENTER"  # whose hands a corrected object comes from (PS3.10 7.1)
FEW_FRAMES = 4
# Bytes that are swapped together when a value was big endian (PS3.5 7.3).
WORDS = {
    "OW": 2,
    "US": 2,
    "SS": 2,
    "AT": 2,
    "OL": 4,
    "OF": 4,
    "UL": 4,
    "SL": 4,
    "FL": 4,
    "OD": 8,
    "FD": 8,
    "OV": 8,
}


@router.get("/studies/{study}")
def retrieve_study(study: Uid, ask: Ask) -> Response:
    """All instances: as they were sent, or with what has been corrected since."""
    return _instances(ask, study)


@router.get("/studies/{study}/series/{series}")
def retrieve_series(study: Uid, series: Uid, ask: Ask) -> Response:
    """The instances of a series: as they were sent, or with what has been corrected since."""
    return _instances(ask, study, series)


@router.get("/studies/{study}/series/{series}/instances/{instance}")
def retrieve_instance(study: Uid, series: Uid, instance: Uid, ask: Ask) -> Response:
    """One instance, likewise: multipart, or alone where Accept says `application/dicom`."""
    return _instances(ask, study, series, instance)


@router.get("/studies/{study}/metadata")
def study_metadata(study: Uid, ask: Ask) -> Response:
    """The headers of all instances as DICOM JSON."""
    return _metadata(ask, study)


@router.get("/studies/{study}/series/{series}/metadata")
def series_metadata(study: Uid, series: Uid, ask: Ask) -> Response:
    """The headers of a series as DICOM JSON."""
    return _metadata(ask, study, series)


@router.get("/studies/{study}/series/{series}/instances/{instance}/metadata")
def instance_metadata(study: Uid, series: Uid, instance: Uid, ask: Ask) -> Response:
    """The header of one instance as DICOM JSON."""
    return _metadata(ask, study, series, instance)


@router.get("/studies/{study}/series/{series}/instances/{instance}/frames/{frames}")
def retrieve_frames(study: Uid, series: Uid, instance: Uid, frames: FrameList, ask: Ask) -> Response:
    """Frames (from 1, comma between them), as stored or recoded without loss, as Accept says."""
    with ask.reading() as session:
        one = find_visible(session, ask.who, study, series, instance)[0]
        pixels, table = ask.pixels_of(session, one)
        image = _image(session, ask.objects, one)
    numbers = [int(number) for number in frames.split(",")]
    arrived = pixels.number_of_frames if table.regions is None else len(table.regions)
    if not all(1 <= number <= arrived for number in numbers):
        raise HTTPException(404, f"the instance has frames 1 to {arrived}")
    served = pixels.served_transfer_syntax_uid
    can_recode = image is not None and pixels.is_native and is_recodable(image)
    encoding = choose_encoding(choices(ask.accept), served=served, is_recodable=can_recode)
    if encoding is None or (not encoding.is_multipart and len(numbers) > 1):
        raise HTTPException(406, "frames cannot be given in any of the types asked for")
    ask.note(study)

    digest = hashlib.sha256(f"{frames} {encoding}".encode()).hexdigest()[:16]
    headers = {"ETag": f'"{one.stored_tag}-{digest}"', "Cache-Control": FOR_EVER, "Vary": "Accept"}
    if ask.has(headers["ETag"]):
        return Response(status_code=304, headers=headers)

    def frame(number: int) -> bytes:
        data = read_frame(ask.objects, pixels, table, number)
        if image is None:
            return data
        return recode(data, image, served=served, wanted=encoding.transfer_syntax_uid)

    # A few are read before the answer begins, so that their failure is a status; many are streamed.
    try:
        early = [frame(number) for number in numbers[:FEW_FRAMES]]
    except (NoSuchFrame, Unreadable, CannotRender) as error:
        raise HTTPException(404 if isinstance(error, NoSuchFrame) else 422, str(error)) from error
    if not encoding.is_multipart:
        return Response(early[0], media_type=encoding.content_type, headers=headers)
    root = address("/dicom-web", one)
    parts = [
        OutgoingPart(encoding.content_type, len(data), [data], f"{root}/frames/{number}")
        for number, data in zip(numbers, early, strict=False)
    ] + [
        OutgoingPart(encoding.content_type, None, _later(frame, number), f"{root}/frames/{number}")
        for number in numbers[FEW_FRAMES:]
    ]
    return multipart(MultipartWriter(parts), encoding.media_type, headers, encoding.transfer_syntax_uid)


@router.get("/studies/{study}/series/{series}/instances/{instance}/bulkdata/{path:path}")
def retrieve_bulk(
    study: Uid, series: Uid, instance: Uid, path: Annotated[str, Path(max_length=300)], ask: Ask
) -> Response:
    """One long value, little endian, whole or by a byte range; encapsulated pixels as a part per frame."""
    try:
        steps = bulk_path(path)
    except ValueError as error:
        raise HTTPException(404, str(error)) from None
    with ask.reading() as session:
        one = find_visible(session, ask.who, study, series, instance)[0]
        found = ask.pixels_of(session, one) if steps in ((PIXEL_DATA,), (FLOAT_PIXELS,)) else None
    ask.note(study)
    if found is not None:
        pixels, table = found
        if table.regions is not None:
            kind = f"{OCTETS}; transfer-syntax={pixels.transfer_syntax_uid}"
            numbers = range(1, min(one.number_of_frames, len(table.regions)) + 1)
            frame = _frame_reader(lambda number: read_frame(ask.objects, pixels, table, number))
            return multipart(MultipartWriter([OutgoingPart(kind, None, frame(n)) for n in numbers]), OCTETS)
    return _value(ask, one, steps)


def part10(objects: SoundObjects, instance: StoredInstance) -> Iterator[bytes]:
    """The object as it leaves, in pieces, its preamble zeroed: a file may be a program (CVE-2019-11687).

    The last piece is given only when the hash is right: a damaged object never arrives whole.
    """
    composed = composed_of(objects, instance)
    if composed is not None:
        yield from _corrected(instance, composed)
        return
    pieces = objects.pieces(instance.object_key, instance.dataset_offset, instance.seal)
    yield bytes(PREAMBLE) + next(pieces)[PREAMBLE:]
    yield from pieces


def _corrected(instance: StoredInstance, composed: Composed) -> Iterator[bytes]:
    with composed:
        yield _meta(instance)
        while chunk := composed.read(CHUNK):
            yield chunk


def _meta(instance: StoredInstance) -> bytes:
    # Not the stored one: it describes the dataset as it was sent.
    return meta_bytes(
        instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid, AE_TITLE
    )


def _instances(ask: Asked, study: str, series: str | None = None, instance: str | None = None) -> Response:
    with ask.reading() as session:
        found = find_visible(session, ask.who, study, series, instance)
    is_one = instance is not None
    wanted = [choice for choice in choices(ask.accept) if choice.takes(DICOM)]
    several = [choice for choice in wanted if choice.is_multipart or choice.media_type == "*/*"]
    if not (wanted if is_one else several):
        raise HTTPException(406, f'instances are {DICOM}, several of them multipart/related; type="{DICOM}"')
    syntaxes = {choice.transfer_syntax_uid for choice in (wanted if is_one else several)}
    if not syntaxes & {None, "*"}:
        found = [one for one in found if one.transfer_syntax_uid in syntaxes]
        if not found:
            raise HTTPException(406, "nothing here is stored in the transfer syntax asked for")
    ask.note(study, Act.EXPORT, "retrieve")
    if is_one and not wanted[0].is_multipart and wanted[0].media_type == DICOM:
        return _alone(ask, found[0])
    whole = [one for one in found if not ask.objects.is_marked(one.object_key)]
    if not whole:
        raise ObjectDamaged(found[0].object_key)
    pieces_of = chain((_begun(ask.objects, whole[0]),), (part10(ask.objects, one) for one in whole[1:]))
    parts = [
        OutgoingPart(
            f"{DICOM}; transfer-syntax={one.transfer_syntax_uid}",
            one.size if one.overlay is None else None,  # what is corrected is composed when its turn comes
            pieces,
        )
        for one, pieces in zip(whole, pieces_of, strict=True)
    ]
    answer = multipart(MultipartWriter(parts), DICOM)
    if len(whole) < len(found):
        # PS3.18 10.4.3: some but not all of what was asked for.
        answer.status_code = 206
        answer.headers["Warning"] = f'299 - "{len(found) - len(whole)} instances are damaged and left out"'
    return answer


def _begun(objects: SoundObjects, one: StoredInstance) -> Iterator[bytes]:
    """The pieces of an instance that was looked at before the answer begins: what fails then is a status.

    A small one is hashed already; a large one breaks off before its end where it is damaged.
    """
    pieces = part10(objects, one)
    try:
        first = b"".join(pieces) if one.size <= IN_MEMORY else next(pieces)
    except Unreadable as error:
        raise HTTPException(422, str(error)) from error
    return chain((first,), pieces)


def _alone(ask: Asked, one: StoredInstance) -> Response:
    headers = {
        "Content-Disposition": f'attachment; filename="{one.sop_instance_uid}.dcm"',
        "Cache-Control": "private, no-cache",  # it may be corrected
        "ETag": f'"{one.tag}"',
    }
    if ask.has(headers["ETag"]):
        return Response(status_code=304, headers=headers)
    try:
        composed = composed_of(ask.objects, one)
    except Unreadable as error:
        raise HTTPException(422, str(error)) from error
    if composed is None:
        headers["Content-Length"] = str(one.size)
        return StreamingResponse(_begun(ask.objects, one), media_type=DICOM, headers=headers)
    headers["Content-Length"] = str(len(_meta(one)) + composed.length)
    return StreamingResponse(_corrected(one, composed), media_type=DICOM, headers=headers)


def _metadata(ask: Asked, study: str, series: str | None = None, instance: str | None = None) -> Response:
    if best_media_type(ask.accept, (DICOM_JSON, "application/json")) is None:
        raise HTTPException(406, f"metadata is {DICOM_JSON}")
    with ask.reading() as session:
        found = find_visible(session, ask.who, study, series, instance)
        headers = headers_of(session, ask.objects, found)
    ask.note(study)
    told = [
        metadata(
            header,
            uri=address(ask.base, one),
            has_pixels=one.rows is not None,
            transfer_syntax_uid=one.transfer_syntax_uid,
            has_bulk=partial(has_bulk, ask.objects, one),
        )
        for one, header in zip(found, headers, strict=True)
    ]
    return json_answer(ask.request, dumps(told), DICOM_JSON)


def _value(ask: Asked, one: StoredInstance, steps: tuple[int, ...]) -> Response:
    try:
        dataset = dataset_of(ask.objects, one)
        place = locate(dataset, one.transfer_syntax_uid, steps)
    except Unreadable as error:
        raise HTTPException(422, str(error)) from error
    if place is None or place.length is None or place.at + place.length > dataset.length:
        dataset.close()
        raise HTTPException(404, "the instance has no such value")
    begin, end = _range(ask.request.headers.get("range"), place.length)

    def chunks() -> Iterator[bytes]:
        try:
            yield from _little_endian(dataset, place, begin, end)
        finally:
            dataset.close()

    is_part = end - begin < place.length
    if not is_part and choices(ask.accept)[:1] and choices(ask.accept)[0].is_multipart:
        return multipart(MultipartWriter([OutgoingPart(OCTETS, place.length, chunks())]), OCTETS)
    headers = {"Content-Length": str(end - begin), "Accept-Ranges": "bytes", "Cache-Control": FOR_EVER}
    if is_part:
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{place.length}"
    return StreamingResponse(chunks(), 206 if is_part else 200, headers=headers, media_type=OCTETS)


def _little_endian(dataset: Dataset, place: Place, begin: int, end: int) -> Iterator[bytes]:
    word = WORDS.get(place.vr, 1) if place.is_big_endian else 1
    for at in range(begin // word * word, end, CHUNK):
        data = dataset.read(place.at + at, min(CHUNK, -(-end // word) * word - at))
        if word > 1:
            whole = len(data) // word * word
            data = np.frombuffer(data[:whole], f">u{word}").astype(f"<u{word}").tobytes() + data[whole:]
        yield data[max(0, begin - at) : max(0, end - at)]


def _image(session: Session, objects: ObjectStore, one: StoredInstance) -> ImageFormat | None:
    try:
        return image_format(header_of(session, objects, one)) if one.rows else None
    except CannotRender:
        return None


def _later(read: Callable[[int], bytes], number: int) -> Iterator[bytes]:
    yield read(number)


def _frame_reader(read: Callable[[int], bytes]) -> Callable[[int], Iterator[bytes]]:
    return lambda number: _later(read, number)


def _range(header: str | None, length: int) -> tuple[int, int]:
    """Begin and end of a single byte range (RFC 9110 14); the whole where there is none."""
    if header is None or not header.startswith("bytes=") or "," in header:
        return 0, length
    first, _, last = header[6:].strip().partition("-")
    try:
        begin = int(first) if first else max(0, length - int(last))
        end = min(int(last) + 1, length) if first and last else length
    except ValueError:
        return 0, length
    if begin >= end:
        raise HTTPException(416, "the range lies outside the value", {"Content-Range": f"bytes */{length}"})
    return begin, end
