"""A report as a document: `ReportContent` in, PDF/A-3 out. Pure: the same content gives the same bytes.

The page is described in `print/report.typ`; what it says around the clinicians' words, in
`print/labels.toml`. The words themselves travel as JSON and are never read as Typst.
"""

from __future__ import annotations

import io
import json
import re
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import segno
import typst
from PIL import Image

from reading_portal.fonts import faces, unprintable, without_unseen
from worklist.report_content import ReportContent, Signatory, canonical_json, content_hash

__all__ = ["KeyImage", "UnprintableReport", "compose_report", "unprintable"]

# ISO 19005-3, level A: tagged, Unicode, and allowed to carry its machine copy as an attachment.
PDF_STANDARD = "a-3a"
_SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg"}
_WIDE = 1.6
_LANDSCAPE_MM = 269.0


class UnprintableReport(ValueError):
    """The report holds characters that no face of ours can print; `characters` names them."""

    def __init__(self, characters: list[str]) -> None:
        super().__init__(f"the report cannot be printed as written: {', '.join(characters)}")
        self.characters = characters


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyImage:
    """A picture for the page: PNG, JPEG or SVG bytes.

    `true_width_mm` is for traces drawn to scale (an ECG at 25 mm/s): besides the picture on the page, the
    trace is printed once more on a landscape page at exactly this width.
    """

    data: bytes
    media_type: str
    caption: str = ""
    true_width_mm: float | None = None


def compose_report(content: ReportContent, *, key_images: list[KeyImage], verify_url: str) -> bytes:
    """The report as unsigned PDF/A-3a, with `report.json` (`canonical_json(content)`) attached.

    Raises `UnprintableReport` before anything is printed as an empty box.
    """
    machine_copy = canonical_json(content)
    form = _form(json.loads(machine_copy), content, key_images)
    missing = unprintable("".join(_strings(form)))
    if missing:
        raise UnprintableReport(missing)
    # Files, not memory: typst's in-memory input takes text only. The folder is private (0700) and short-lived.
    with tempfile.TemporaryDirectory(prefix="report-") as name:
        folder = Path(name)
        (folder / "report.typ").write_bytes(_source("report.typ"))
        (folder / "report.json").write_bytes(machine_copy)
        (folder / "data.json").write_text(json.dumps(form, ensure_ascii=False), encoding="utf-8")
        (folder / "qr.svg").write_bytes(_qr_code(verify_url))
        for picture, image in zip(form["pictures"], key_images, strict=True):
            (folder / picture["file"]).write_bytes(image.data)
        pdf: bytes = typst.compile(
            folder / "report.typ",
            root=folder,
            font_paths=faces(),
            ignore_system_fonts=True,
            format="pdf",
            pdf_standards=[PDF_STANDARD],
            timestamp=_issued_at(content),
        )
    return pdf


def _form(plain: dict[str, Any], content: ReportContent, key_images: list[KeyImage]) -> dict[str, Any]:
    """Everything the template prints, as strings in the order of the page."""
    language = "zh" if content.language.startswith("zh") else "en"
    words = _labels()[language]
    form_title = _joined(words, words["modality"].get(content.modality, content.modality), words["report"])
    version = words["version"].format(content.version)
    number = f"{words['number']} {content.accession_number or content.report_uid}-V{content.version}"
    return _visible(
        {
            "lang": language,
            "region": "cn" if language == "zh" else "us",
            "words": {key: value for key, value in words.items() if isinstance(value, str)},
            "title": f"{content.center_name} {form_title} {number}",
            "authors": [s.name for s in (content.author, content.reviewer) if s],
            "description": f"{form_title} urn:oid:{content.report_uid} v{content.version} {content.status}",
            "keywords": [
                f"urn:oid:{content.report_uid}",
                f"version:{content.version}",
                f"status:{content.status}",
                f"content-sha256:{content_hash(content)}",
                f"study:{content.study_instance_uid}",
                f"manifest-sha256:{content.study_manifest_hash}",
            ],
            "center": plain["center_name"],
            "form_title": form_title,
            "mark": plain["recognition_mark"],
            "version_line": number,
            "number_line": f"{version}",
            "page": words["page"],
            "page_head": f"{plain['patient_name']}  {number}",
            "footer": [words["sealed"], _footer(words, content)],
            "watermark": _watermark(content.status, language),
            "notices": list(_notices(plain, words, content)),
            "facts": list(_facts(plain, words, content)),
            "sections": list(_sections(plain, words, content)),
            "pictures": [_picture(number, image) for number, image in enumerate(key_images, start=1)],
            "signatories": list(_signatories(words, content)),
            "qr_alt": words["verify"],
        }
    )


def _facts(plain: dict[str, Any], words: dict[str, Any], content: ReportContent) -> Iterator[dict[str, Any]]:
    """The block that says who was examined, where, when and how. Empty facts do not take up room."""
    yield {"label": words["name"], "value": plain["patient_name"], "big": True, "note": plain["patient_name_phonetic"]}
    yield {"label": words["sex"], "value": words["sex_"].get(content.patient_sex, "—")}
    yield {"label": words["age"], "value": _age(content.patient_age, words)}
    yield {"label": words["patient_id"], "value": plain["patient_id"], "note": plain["patient_issuer"]}
    rows = [
        ("exam", plain["exam_name"]),
        ("performed_at", _moment(content.performed_at, content.timezone)),
        ("accession", plain["accession_number"]),
        ("institution", plain["institution_name"]),
        ("birth_date", plain["patient_birth_date"] or ""),
        ("body_part", plain["body_part"]),
        ("department", plain["department"]),
        ("requester", plain["requester_name"]),
        ("device", plain["device_name"]),
        ("technician", plain["technician_name"]),
        ("quality", plain["image_quality"]),
    ]
    yield from ({"label": words[key], "value": value} for key, value in rows if value)


def _notices(plain: dict[str, Any], words: dict[str, Any], content: ReportContent) -> Iterator[dict[str, Any]]:
    """What must be read before anything else, most serious first."""
    zone = content.timezone
    if content.status == "entered-in-error":
        yield _notice("alarm", words["withdrawn"], _lines(plain["withdrawn_reason"]))
    if content.status == "preliminary":
        yield _notice("amber", words["preliminary_note"], [])
    if critical := content.critical:
        told = [
            (words["critical_notified"], critical.notified_to, critical.notified_at),
            (words["critical_read_back"], critical.read_back, critical.acknowledged_at),
        ]
        small = [f"{label}  {who}  {_moment(at, zone)}".rstrip() for label, who, at in told if who or at]
        head = f"{words['critical']}  {critical.category}".rstrip()
        yield _notice("alarm", head, _lines(critical.statement), small)
    if content.supersedes_version is not None:
        yield _notice("amber", words["supersedes"].format(content.version, content.supersedes_version), [])
    for addendum in content.addenda:
        signed = f"{addendum.author.name}  {_moment(addendum.author.signed_at, zone)}"
        reason = f"{words['addendum_reason']}  {addendum.reason}"
        yield _notice("brand", words["addendum"], _lines(addendum.text), [reason, signed])


def _notice(colour: str, head: str, lines: list[str], small: list[str] | None = None) -> dict[str, Any]:
    return {"colour": colour, "head": head, "lines": lines, "small": small or []}


def _sections(plain: dict[str, Any], words: dict[str, Any], content: ReportContent) -> Iterator[dict[str, Any]]:
    for key, text in [
        ("clinical", plain["clinical_information"]),
        ("technique", plain["technique"]),
        ("comparison", plain["comparison"]),
        ("ai", "；".join(plain["ai_used"]) if words is _labels()["zh"] else "; ".join(plain["ai_used"])),
    ]:
        if text:
            yield {"kind": "inline", "head": words[key], "lines": _lines(text)}
    if content.measurements:
        yield {"kind": "table", "head": words["measurements"], "rows": plain["measurements"]}
    findings = words.get(f"findings_{content.modality}", words["findings"])
    if content.findings.strip():
        yield {"kind": "text", "head": findings, "lines": _lines(plain["findings"])}
    impression = [_without_number(text.strip(), i) for i, text in enumerate(plain["impression"], 1) if text.strip()]
    yield {"kind": "numbered", "head": words["impression"], "lines": impression}
    if content.recommendation.strip():
        yield {"kind": "text", "head": words["recommendation"], "lines": _lines(plain["recommendation"])}


def _signatories(words: dict[str, Any], content: ReportContent) -> Iterator[dict[str, Any]]:
    people: list[tuple[str, str, Signatory | None]] = [("author", "written_at", content.author)]
    if content.reviewer or content.status == "preliminary":
        people.append(("reviewer", "reviewed_at", content.reviewer))
    for label, moment_label, person in people:
        if person is None:
            yield {"label": words[label], "name": "", "title": "", "lines": []}
            continue
        lines = [
            person.institution_name,
            f"{words['license']} {person.license_number}" if person.license_number else "",
            f"{words[moment_label]} {_moment(person.signed_at, content.timezone)}" if person.signed_at else "",
        ]
        yield {"label": words[label], "name": person.name, "title": person.title, "lines": [x for x in lines if x]}


def _picture(number: int, image: KeyImage) -> dict[str, Any]:
    if image.media_type not in _SUFFIXES:
        raise ValueError(f"a key image must be PNG, JPEG or SVG, not {image.media_type}")
    width = image.true_width_mm or 0.0
    return {
        "file": f"key{number}.{_SUFFIXES[image.media_type]}",
        "caption": image.caption,
        "alt": image.caption or f"{number}",
        "wide": _is_wide(image),
        "true_width_mm": width if 0 < width <= _LANDSCAPE_MM else 0,
    }


def _is_wide(image: KeyImage) -> bool:
    """Traces take the width of the page; pictures stand side by side."""
    if image.media_type == "image/svg+xml" or image.true_width_mm:
        return True
    with Image.open(io.BytesIO(image.data)) as picture:
        width, height = picture.size
    return width / height > _WIDE


def _watermark(status: str, language: str) -> list[str]:
    """Both languages, whoever reads: a preliminary report is dangerous when it passes for final."""
    latin = {"preliminary": "PRELIMINARY", "entered-in-error": "WITHDRAWN"}.get(status)
    own = _labels()[language]["watermark"].get(status, "")
    return [text for text in (own, latin) if text]


def _footer(words: dict[str, Any], content: ReportContent) -> str:
    return f"{words['advice']}{' ' if content.language == 'en' else ''}{words['times'].format(content.timezone)}"


def _joined(words: dict[str, Any], *parts: str) -> str:
    return ("" if words is _labels()["zh"] else " ").join(parts)


def _moment(moment: datetime | None, zone: str) -> str:
    return moment.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M") if moment else ""


def _age(age: str, words: dict[str, Any]) -> str:
    """DICOM's AS (`058Y`) as people say it; anything else as it came."""
    match = re.fullmatch(r"0*(\d+)([YMWD])", age)
    return words["age_"][match[2]].format(match[1]) if match else age or "—"


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _without_number(text: str, number: int) -> str:
    """An impression that already begins with its own number does not get a second one; `2.5 cm` stays."""
    return re.sub(rf"^{number}\s*(?:[、)）]|[.．](?!\d))\s*", "", text)


def _visible(value: Any) -> Any:
    """Without invisible marks, and with room to break in runs of Latin letters that no line could hold."""
    if isinstance(value, str):
        return re.sub(r"([!-~]{38})(?=[!-~])", "\\1\u200b", without_unseen(value))
    if isinstance(value, dict):
        return {key: _visible(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_visible(item) for item in value]
    return value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _issued_at(content: ReportContent) -> datetime | None:
    """The youngest signature; `None` lets typst take the clock, which only an unsigned draft can need."""
    people = [content.author, content.reviewer, *(addendum.author for addendum in content.addenda)]
    moments = [person.signed_at for person in people if person and person.signed_at]
    return max(moments) if moments else None


def _qr_code(url: str) -> bytes:
    drawn = io.BytesIO()
    segno.make(url, error="m", micro=False).save(drawn, kind="svg", scale=3, border=1, xmldecl=False)
    return drawn.getvalue()


@cache
def _labels() -> dict[str, dict[str, Any]]:
    tables = tomllib.loads(_source("labels.toml").decode("utf-8"))
    # `sex` and `age` are both a label and a table of values; the tables are [zh.sex_], [zh.age_].
    return tables


@cache
def _source(name: str) -> bytes:
    return files("reading_portal").joinpath("print", name).read_bytes()
