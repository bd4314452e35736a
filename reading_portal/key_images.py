"""The pictures of a report: the frames that the reader chose, drawn as the viewer first shows them."""

from __future__ import annotations

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from reading_portal.annotated_picture import annotated_picture
from reading_portal.decoding import CannotRender
from reading_portal.documents import KeyImage
from reading_portal.ecg_paper import ecg_svg, page_width
from reading_portal.frames import NoSuchFrame
from reading_portal.rendering import Viewport, render_frame
from reading_portal.retrieval import StoredInstance, bulk_of, find_visible, frame_of, header_of
from reading_portal.waveforms import read_ecg
from storage.imaging import Study
from storage.objects import ObjectStore
from storage.places import Unreadable
from worklist.measurements import Measurement
from worklist.people import Who
from worklist.problems import Missing, Unacceptable
from worklist.report_content import KeyImageReference, ReportContent

# Four to a page: more pixels than this are not printed, but would be carried by every copy of the report.
WIDEST = 1024

WAVEFORM_SEQUENCE = "54000100"

_log = structlog.get_logger("reading_portal")


def draw_key_images(
    session: Session, objects: ObjectStore, content: ReportContent, *, by: Who
) -> list[KeyImage]:
    """One picture for each of the content's key images, in their order; the trace of an ECG without any.

    Raises Unacceptable for one that is not of this study or cannot be drawn: a signed report never
    promises a picture that is not there.
    """
    drawn = []
    for number, reference in enumerate(content.key_images, start=1):
        try:
            (instance,) = find_visible(
                session, by, content.study_instance_uid, instance=reference.sop_instance_uid
            )
            drawn.append(_draw(session, objects, instance, reference, _measured(session, content, reference)))
        except Missing:
            raise Unacceptable(f"key image {number} is not an image of this study") from None
        except (CannotRender, NoSuchFrame, Unreadable) as error:
            _log.warning("key-image-not-drawn", sop_instance_uid=reference.sop_instance_uid, exc_info=error)
            raise Unacceptable(f"key image {number} cannot be drawn; choose another") from None
    if not drawn and content.modality == "ECG":
        drawn = _newest_trace(session, objects, content, by)
    return drawn


def _draw(
    session: Session,
    objects: ObjectStore,
    instance: StoredInstance,
    reference: KeyImageReference,
    measured: list[Measurement],
) -> KeyImage:
    header = header_of(session, objects, instance)
    if WAVEFORM_SEQUENCE in header:
        return _trace(session, objects, instance, reference.caption)
    data, transfer_syntax_uid = frame_of(session, objects, instance, reference.frame)
    columns = int((header.get("00280011", {}).get("Value") or [0])[0])
    is_large = max(columns, instance.rows or 0) > WIDEST
    picture = render_frame(
        data,
        transfer_syntax_uid,
        header,
        frame=reference.frame,
        bulk=lambda path: bulk_of(objects, instance, path),
        viewport=Viewport(WIDEST, WIDEST) if is_large else None,
    )
    if measured and columns and instance.rows:
        data = annotated_picture(picture, columns=columns, rows=instance.rows, drawn=measured)
        return KeyImage(data=data, media_type="image/svg+xml", caption=reference.caption)
    return KeyImage(data=picture.data, media_type=picture.media_type, caption=reference.caption)


def _measured(session: Session, content: ReportContent, reference: KeyImageReference) -> list[Measurement]:
    """What the report's author measured on this frame: the author's words rest on it."""
    return list(
        session.scalars(
            select(Measurement)
            .join(Study, Study.id == Measurement.study_pk)
            .where(
                Study.study_instance_uid == content.study_instance_uid,
                Measurement.sop_instance_uid == reference.sop_instance_uid,
                Measurement.frame == reference.frame,
                Measurement.author == content.author.username,
                Measurement.discarded_at.is_(None),
            )
            .order_by(Measurement.id)
        )
    )


def _trace(session: Session, objects: ObjectStore, instance: StoredInstance, caption: str) -> KeyImage:
    """The ECG on millimetre paper, to be printed to scale."""
    ecg = read_ecg(header_of(session, objects, instance), lambda path: bulk_of(objects, instance, path))
    return KeyImage(
        data=ecg_svg(ecg).encode(),
        media_type="image/svg+xml",
        caption=caption,
        true_width_mm=page_width(ecg),
    )


def _newest_trace(session: Session, objects: ObjectStore, content: ReportContent, by: Who) -> list[KeyImage]:
    for instance in reversed(find_visible(session, by, content.study_instance_uid)):
        if WAVEFORM_SEQUENCE not in header_of(session, objects, instance):
            continue
        try:
            return [_trace(session, objects, instance, "")]
        except (CannotRender, Unreadable) as error:
            # Nobody chose it, so the words alone may be signed.
            _log.warning("trace-not-drawn", sop_instance_uid=instance.sop_instance_uid, exc_info=error)
    return []
