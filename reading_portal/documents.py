"""A report as a document: `ReportContent` in, PDF/A-3 out. Pure: the same content gives the same bytes.

The page is described in `print/report.typ`, and what it says in `report_form`. The clinicians' words travel
as JSON and are never read as Typst.
"""

from __future__ import annotations

import io
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import segno
import typst
from PIL import Image

from reading_portal.fonts import faces, unprintable
from reading_portal.report_form import COLUMN, breakable, report_form
from worklist.report_content import ReportContent, canonical_json

__all__ = ["KeyImage", "UnprintableReport", "compose_report", "unprintable"]

# ISO 19005-3, level A: tagged, Unicode, and allowed to carry its machine copy as an attachment.
PDF_STANDARD: Literal["a-3a"] = "a-3a"
_SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg"}
_WIDE = 1.6
_PORTRAIT_MM, _LANDSCAPE_MM = 176.0, 269.0


class UnprintableReport(ValueError):
    """The report holds characters that no face of ours can print; `characters` names them."""

    def __init__(self, characters: list[str]) -> None:
        super().__init__(f"the report cannot be printed as written: {', '.join(characters)}")
        self.characters = characters


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyImage:
    """A picture for the page: PNG, JPEG or SVG bytes.

    `true_width_mm` is for traces drawn to scale (an ECG at 25 mm/s), printed at exactly this width: where the
    page is too narrow, reduced on the page and once more, true, on a landscape one (at most 269 mm).
    """

    data: bytes
    media_type: str
    caption: str = ""
    true_width_mm: float | None = None


def compose_report(content: ReportContent, *, key_images: list[KeyImage], verify_url: str) -> bytes:
    """The report as unsigned PDF/A-3a, with `report.json` (`canonical_json(content)`) attached.

    Raises `UnprintableReport` before anything is printed as an empty box, ValueError for a damaged picture.
    """
    machine_copy = canonical_json(content)
    form = report_form(content)
    form["pictures"] = [_picture(number, image) for number, image in enumerate(key_images, start=1)]
    missing = unprintable("".join(_strings(form)))
    if missing:
        raise UnprintableReport(missing)
    # Files, not memory: typst's in-memory input takes text only. The folder is private (0700), short-lived.
    with tempfile.TemporaryDirectory(prefix="report-") as name:
        folder = Path(name)
        (folder / "report.typ").write_bytes(_source("report.typ"))
        (folder / "report.json").write_bytes(machine_copy)
        (folder / "data.json").write_text(json.dumps(form, ensure_ascii=False), encoding="utf-8")
        (folder / "qr.svg").write_bytes(_qr_code(verify_url))
        for picture, image in zip(form["pictures"], key_images, strict=True):
            (folder / picture["file"]).write_bytes(image.data)
        try:
            return typst.compile(
                str(folder / "report.typ"),
                root=name,
                font_paths=faces(),
                ignore_system_fonts=True,
                format="pdf",
                pdf_standards=[PDF_STANDARD],
                timestamp=_issued_at(content),
            )
        except typst.TypstError as error:
            # What the check above let pass is in the pictures: a label without a glyph, a damaged drawing.
            if missing := unprintable(str(error)):
                raise UnprintableReport(missing) from None
            raise ValueError("a picture of the report cannot be printed") from error


def _picture(number: int, image: KeyImage) -> dict[str, Any]:
    if image.media_type not in _SUFFIXES:
        raise ValueError(f"a key image must be PNG, JPEG or SVG, not {image.media_type}")
    width = image.true_width_mm or 0.0
    width = width if width <= _LANDSCAPE_MM else 0.0
    return {
        "file": f"key{number}.{_SUFFIXES[image.media_type]}",
        "caption": breakable(image.caption, room=COLUMN),
        "alt": image.caption or f"{number}",
        "wide": _is_wide(image),
        "true_width_mm": width,
        "appendix": width > _PORTRAIT_MM,
    }


def _is_wide(image: KeyImage) -> bool:
    """Traces take the width of the page; pictures stand side by side."""
    if image.true_width_mm:
        return True
    if image.media_type == "image/svg+xml":
        box = re.search(rb'viewBox="0 0 ([0-9.]+) ([0-9.]+)"', image.data[:1000])
        return box is None or float(box[1]) / float(box[2]) > _WIDE
    try:
        with Image.open(io.BytesIO(image.data)) as picture:
            width, height = picture.size
    except OSError:
        raise ValueError("a picture of the report cannot be printed") from None
    return width / height > _WIDE


def _issued_at(content: ReportContent) -> datetime | None:
    """The youngest signature; `None` lets typst take the clock, which only an unsigned draft can need."""
    people = [content.author, content.reviewer, *(addendum.author for addendum in content.addenda)]
    people.append(content.withdrawn_by)
    moments = [person.signed_at for person in people if person and person.signed_at]
    return max(moments) if moments else None


def _qr_code(url: str) -> bytes:
    drawn = io.BytesIO()
    segno.make(url, error="m", micro=False).save(drawn, kind="svg", scale=3, border=1, xmldecl=False)
    return drawn.getvalue()


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


@cache
def _source(name: str) -> bytes:
    return files("reading_portal").joinpath("print", name).read_bytes()
