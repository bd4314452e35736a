"""What a page with images holds before any script runs: the first picture, the ECG, the viewer's bundle."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from reading_portal.ecg_paper import ecg_svg
from reading_portal.pages.first_frame import first_frame
from reading_portal.rendering import CannotRender
from reading_portal.retrieval import StoredInstance, bulk_of, find_visible, header_of
from reading_portal.waveforms import read_ecg
from storage.objects import ObjectMissing, ObjectStore
from storage.places import Unreadable
from worklist.people import Who
from worklist.problems import Missing

BUNDLE = Path(__file__).parent.parent / "static" / "viewer"
ENTRY, IMAGES = "src/reading.ts", "src/images.ts"
WAVEFORMS = "1.2.840.10008.5.1.4.1.1.9."
# What images need besides: who draws the first frame, the decoder of the frames that we recode (HTJ2K), and
# the worker of the viewer.
SOON = ("first_frame_worker", "openjph", "decodeImageFrameWorker")
# A phone and a county line get this within a second; the diagnostic image follows.
SIDE, QUALITY = 768, 75


@dataclass(frozen=True)
class FirstPicture:
    """`kind` is image, ecg or none; `url` the rendered preview, `frame` how to draw the same without loss
    (a FirstFrame as JSON), `svg` the ECG on paper, `failure` why not.
    """

    kind: str
    url: str = ""
    frame: str = ""
    svg: str = ""
    failure: str = ""


@dataclass(frozen=True)
class Bundle:
    """The viewer's files, found through the manifest of its build; empty where it was never built.

    `late` is fetched at once, but compiled only when it runs: nothing is painted meanwhile.
    """

    script: str = ""
    preload: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    soon: tuple[str, ...] = ()

    @property
    def everything(self) -> tuple[str, ...]:
        """All that the first image takes, for a page that has time to fetch it beforehand."""
        return tuple(filter(None, (self.script, *self.preload, *self.late, *self.styles, *self.soon)))


def first_picture(session: Session, objects: ObjectStore, who: Who, study_instance_uid: str) -> FirstPicture:
    """The picture that stands for the study: the middle image of its first series, or the ECG."""
    try:
        found = find_visible(session, who, study_instance_uid)
    except Missing:
        return FirstPicture("none")
    ecg = next((one for one in found if one.sop_class_uid.startswith(WAVEFORMS)), None)
    if ecg is not None:
        return _paper(session, objects, ecg)
    images = [one for one in found if one.rows]
    if not images:
        return FirstPicture("none")
    series = [one for one in images if one.series_instance_uid == images[0].series_instance_uid]
    middle = series[len(series) // 2]
    path = f"/dicom-web/studies/{middle.study_instance_uid}/series/{middle.series_instance_uid}"
    root = f"{path}/instances/{middle.sop_instance_uid}"
    frame = first_frame(
        f"{root}/frames/1",
        header_of(session, objects, middle),
        modality=middle.modality,
        transfer_syntax_uid=middle.transfer_syntax_uid,
        number_of_frames=middle.number_of_frames,
    )
    return FirstPicture(
        "image",
        url=f"{root}/rendered?viewport={SIDE},{SIDE}&quality={QUALITY}",
        frame=json.dumps(asdict(frame)) if frame else "",
    )


def _paper(session: Session, objects: ObjectStore, ecg: StoredInstance) -> FirstPicture:
    def bulk(path: tuple[int, ...]) -> bytes | None:
        return bulk_of(objects, ecg, path)

    try:
        return FirstPicture("ecg", svg=ecg_svg(read_ecg(header_of(session, objects, ecg), bulk)))
    except (CannotRender, Unreadable, ObjectMissing) as error:
        return FirstPicture("ecg", failure=str(error))


def bundle(kind: str) -> Bundle:
    """The files of the viewer for images or for the ECG."""
    places = (BUNDLE / "manifest.json", BUNDLE / ".vite" / "manifest.json")
    manifest = next((place for place in places if place.is_file()), None)
    return _bundle(manifest, manifest.stat().st_mtime_ns, kind) if manifest is not None else Bundle()


@lru_cache(maxsize=4)
def _bundle(manifest: Path, _made_at: int, kind: str) -> Bundle:
    chunks: dict[str, dict[str, Any]] = json.loads(manifest.read_text(encoding="utf-8"))
    if ENTRY not in chunks:
        return Bundle()
    # The entry fetches the code for one kind only once it runs; the page knows the kind before.
    late = [one for one in chunks[ENTRY].get("dynamicImports", ()) if (one == IMAGES) == (kind == "image")]
    parts = list(dict.fromkeys(part for name in (ENTRY, *late) for part in _with_imports(chunks, name)))
    styles = dict.fromkeys(style for part in parts for style in chunks[part].get("css", ()))
    assets = [asset for part in parts for asset in chunks[part].get("assets", ()) if kind == "image"]
    soon = [asset for name in SOON for asset in assets if name in asset]
    return Bundle(
        script=f"/static/viewer/{chunks[ENTRY]['file']}",
        preload=tuple(f"/static/viewer/{chunks[part]['file']}" for part in parts[1:] if part not in late),
        late=tuple(f"/static/viewer/{chunks[part]['file']}" for part in late),
        styles=tuple(f"/static/viewer/{style}" for style in styles),
        soon=tuple(f"/static/viewer/{asset}" for asset in dict.fromkeys(soon)),
    )


def _with_imports(chunks: dict[str, dict[str, Any]], name: str) -> Iterator[str]:
    yield name
    for further in chunks[name].get("imports", ()):
        if further != ENTRY:
            yield from _with_imports(chunks, further)
