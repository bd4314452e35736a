"""WADO-RS rendered and thumbnail: pictures of frames, instances, series and studies."""

import hashlib
import os
from functools import partial
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, HTTPException, Path, Query, Response

from reading_portal.dicom_json import first
from reading_portal.ecg_paper import ecg_svg
from reading_portal.frames import FrameTable, NoSuchFrame, StoredPixels, read_frame
from reading_portal.image_format import number_in
from reading_portal.negotiation import best_media_type
from reading_portal.rendering import (
    JPEG,
    PNG,
    CannotRender,
    Viewport,
    parse_viewport,
    parse_window,
    render_frame,
)
from reading_portal.retrieval import StoredInstance, bulk_of, find_visible, full_header_of
from reading_portal.routes.dicomweb_request import FOR_EVER, Ask, Asked, Uid
from reading_portal.waveforms import read_ecg
from storage.indexing import ABOUT_IMAGES
from storage.places import Unreadable

router = APIRouter()

FrameNumber = Annotated[int, Path(ge=1, le=999_999)]
WindowText = Annotated[str | None, Query(alias="window", max_length=100)]
ViewportText = Annotated[str | None, Query(alias="viewport", max_length=100)]
Quality = Annotated[int, Query(ge=1, le=100)]

SVG, PDF = "image/svg+xml", "application/pdf"
THUMBNAIL = Viewport(128, 128)
VERSION = 1  # of the drawing: raised when the same file is drawn differently, so that caches let go
ENCAPSULATED_DOCUMENT, WAVEFORM_SEQUENCE = 0x00420011, "54000100"
REPRESENTATIVE_FRAME = "00286010"
# A radiograph takes some 100 MB while it is drawn; more at a time than processors only takes memory.
AT_ONCE = max(2, os.cpu_count() or 2)


class Look:
    """How the picture is wanted: window, viewport and quality from the query."""

    def __init__(
        self, window: WindowText = None, viewport: ViewportText = None, quality: Quality = 90
    ) -> None:
        try:
            self.window = parse_window(window) if window else None
            self.viewport = parse_viewport(viewport) if viewport else None
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        self.quality = quality

    @property
    def words(self) -> str:
        return f"{self.window} {self.viewport} {self.quality}"

    def small(self) -> "Look":
        """The same as a thumbnail, unless the query says how large."""
        self.viewport = self.viewport or THUMBNAIL
        return self


Wanted = Annotated[Look, Depends(Look, scope="function")]


@router.get("/studies/{study}/rendered")
async def study_rendered(study: Uid, ask: Ask, look: Wanted) -> Response:
    """A picture of the image that stands for the study."""
    return await _in_turn(ask, look, study)


@router.get("/studies/{study}/series/{series}/rendered")
async def series_rendered(study: Uid, series: Uid, ask: Ask, look: Wanted) -> Response:
    """A picture of the image in the middle of the series."""
    return await _in_turn(ask, look, study, series)


@router.get("/studies/{study}/series/{series}/instances/{instance}/rendered")
async def instance_rendered(study: Uid, series: Uid, instance: Uid, ask: Ask, look: Wanted) -> Response:
    """A picture of one instance; of an ECG its trace as SVG, of an encapsulated PDF the PDF."""
    return await _in_turn(ask, look, study, series, instance)


@router.get("/studies/{study}/series/{series}/instances/{instance}/frames/{frame}/rendered")
async def frame_rendered(
    study: Uid, series: Uid, instance: Uid, frame: FrameNumber, ask: Ask, look: Wanted
) -> Response:
    """A picture of one frame (from 1)."""
    return await _in_turn(ask, look, study, series, instance, frame)


@router.get("/studies/{study}/thumbnail")
async def study_thumbnail(study: Uid, ask: Ask, look: Wanted) -> Response:
    """A small picture of the study."""
    return await _in_turn(ask, look.small(), study)


@router.get("/studies/{study}/series/{series}/thumbnail")
async def series_thumbnail(study: Uid, series: Uid, ask: Ask, look: Wanted) -> Response:
    """A small picture of the series."""
    return await _in_turn(ask, look.small(), study, series)


@router.get("/studies/{study}/series/{series}/instances/{instance}/thumbnail")
async def instance_thumbnail(study: Uid, series: Uid, instance: Uid, ask: Ask, look: Wanted) -> Response:
    """A small picture of the instance."""
    return await _in_turn(ask, look.small(), study, series, instance)


@router.get("/studies/{study}/series/{series}/instances/{instance}/frames/{frame}/thumbnail")
async def frame_thumbnail(
    study: Uid, series: Uid, instance: Uid, frame: FrameNumber, ask: Ask, look: Wanted
) -> Response:
    """A small picture of one frame."""
    return await _in_turn(ask, look.small(), study, series, instance, frame)


async def _in_turn(
    ask: Asked,
    look: Look,
    study: str,
    series: str | None = None,
    instance: str | None = None,
    frame: int | None = None,
) -> Response:
    """Draw when it is this one's turn. Who waits holds no thread and no connection: two hundred previews
    of a study must not keep a colleague's worklist waiting.
    """
    state = ask.request.app.state
    if not hasattr(state, "drawing"):
        state.drawing = CapacityLimiter(AT_ONCE)
    work = partial(_picture, ask, look, study, series, instance, frame)
    return await to_thread.run_sync(work, limiter=state.drawing)


def _picture(
    ask: Asked, look: Look, study: str, series: str | None, instance: str | None, frame: int | None
) -> Response:
    with ask.reading() as session:
        found = find_visible(session, ask.who, study, series, instance)
        one = found[0] if instance is not None else _representative(found)
        header = full_header_of(session, ask.objects, one)
        is_image = one.rows is not None and WAVEFORM_SEQUENCE not in header and "00420012" not in header
        pixels = ask.pixels_of(session, one) if is_image else None
    kinds = _kinds(header)
    media_type = best_media_type(ask.accept, kinds)
    if media_type is None:
        raise HTTPException(406, f"this can be drawn as {', '.join(kinds)}")
    if frame is not None and not 1 <= frame <= one.number_of_frames:
        raise HTTPException(404, f"the instance has frames 1 to {one.number_of_frames}")
    frame = frame or max(1, min(one.number_of_frames, number_in(header, REPRESENTATIVE_FRAME, 1)))
    ask.note(study)
    words = f"{one.tag} {frame} {look.words} {media_type} {VERSION}"
    headers = {
        "ETag": f'"{hashlib.sha256(words.encode()).hexdigest()[:24]}"',
        # What stands for a study may be another image when more have come; an instance stays itself.
        "Cache-Control": FOR_EVER if instance is not None else "private, no-cache",
        "Vary": "Accept",
    }
    if ask.has(headers["ETag"]):
        return Response(status_code=304, headers=headers)
    try:
        data = _drawn(ask, one, header, pixels, look, frame, media_type)
    except NoSuchFrame as error:
        raise HTTPException(404, str(error)) from error
    except (CannotRender, Unreadable) as error:
        raise HTTPException(422, str(error)) from error
    return Response(data, media_type=media_type, headers=headers)


def _kinds(header: dict[str, Any]) -> tuple[str, ...]:
    """The media types that this object can be drawn as, the natural one first."""
    if WAVEFORM_SEQUENCE in header:
        return (SVG,)
    if "00420012" in header:
        return (str(first(header, "00420012")),)
    return (JPEG, PNG)


def _drawn(
    ask: Asked,
    one: StoredInstance,
    header: dict[str, Any],
    found: tuple[StoredPixels, FrameTable] | None,
    look: Look,
    frame: int,
    media_type: str,
) -> bytes:
    def bulk(path: tuple[int, ...]) -> bytes | None:
        return bulk_of(ask.objects, one, path)

    if WAVEFORM_SEQUENCE in header:
        return ecg_svg(read_ecg(header, bulk)).encode()
    if "00420012" in header:
        if media_type != PDF:
            raise CannotRender("Only PDF documents are shown.")
        document = bulk((ENCAPSULATED_DOCUMENT,))
        if document is None or not document.lstrip()[:5].startswith(b"%PDF-"):
            raise CannotRender("The object does not hold the document that its header names.")
        return document
    if found is None:
        raise CannotRender("This object holds no image.")
    pixels, table = found
    return render_frame(
        read_frame(ask.objects, pixels, table, frame),
        pixels.served_transfer_syntax_uid,
        header,
        frame=frame,
        bulk=bulk,
        window=look.window,
        viewport=look.viewport,
        quality=look.quality,
        media_type=media_type,
    ).data


def _representative(found: list[StoredInstance]) -> StoredInstance:
    """The middle image of the first series that has images; else the middle object."""
    images = [one for one in found if one.rows and one.modality not in ABOUT_IMAGES] or found
    series = [one for one in images if one.series_instance_uid == images[0].series_instance_uid]
    return series[len(series) // 2]
