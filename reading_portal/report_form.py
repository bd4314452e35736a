"""What a printed report says and where: the content in the words of its language, in page order."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

from reading_portal.fonts import without_unseen
from reading_portal.words import Words as Catalogue
from reading_portal.words import words as catalogue_of
from worklist.report_content import ReportContent, Signatory, canonical_json, content_hash

Words = dict[str, Any]
Plain = dict[str, Any]

# How many Latin letters a part of the page surely holds side by side. A longer run without a space gets a
# place to break: nothing that was signed may hang over the edge.
COLUMN, LINE = 20, 38
ROOM = {"facts": COLUMN, "version_line": COLUMN, "signatories": COLUMN}


# What a version after the first final one is called on the page, before it says which one it supersedes.
RESTATED = ("amended", "appended")


def report_form(content: ReportContent) -> dict[str, Any]:
    """Everything that `print/report.typ` prints but the pictures, as strings in the order of the page."""
    plain = json.loads(canonical_json(content))
    language = "zh" if content.language.startswith("zh") else "en"
    words = _labels()[language]
    form_title = _joined(words, words["modality"].get(content.modality, content.modality), words["report"])
    version = words["version"].format(content.version)
    number = f"{words['number']} {content.accession_number or content.report_uid}-V{content.version}"
    patient = [
        plain["patient_name"],
        words["sex_"].get(content.patient_sex, ""),
        _age(content.patient_age, words),
        f"{words['patient_id']} {plain['patient_id']}",
    ]
    form: Plain = {
        "lang": language,
        "region": "cn" if language == "zh" else "us",
        "words": {key: value for key, value in words.items() if isinstance(value, str)},
        "center": plain["center_name"],
        "form_title": form_title,
        "mark": "" if content.status == "entered-in-error" else plain["recognition_mark"],
        "version_line": [words["number"], number.removeprefix(words["number"]).strip()],
        "number_line": version,
        "page": words["page"],
        "page_head": "   ".join(text for text in (*patient, number) if text),
        "footer": [words["sealed"], _footer(words, content)],
        "watermark": _watermark(content.status, language),
        "notices": list(_notices(plain, words, content)),
        "facts": list(_facts(plain, words, content)),
        "sections": list(_sections(plain, words, content)),
        "signatories": list(_signatories(words, content)),
        "qr_alt": words["verify"],
    }
    form = {part: breakable(value, room=ROOM.get(part, LINE)) for part, value in form.items()}
    # What stands in the file's metadata is for machines and stays in one piece.
    return form | {
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
    }


def _facts(plain: Plain, words: Words, content: ReportContent) -> Iterator[Plain]:
    """The block that says who was examined, where, when and how. Empty facts do not take up room."""
    phonetic = plain["patient_name_phonetic"]
    yield {"label": words["name"], "value": plain["patient_name"], "big": True, "note": phonetic}
    yield {"label": words["sex"], "value": words["sex_"].get(content.patient_sex, "—")}
    yield {"label": words["age"], "value": _age(content.patient_age, words)}
    # The examined institution's own numbers need no issuer beside them.
    issuer = plain["patient_issuer"] if content.patient_issuer != content.institution_code else ""
    yield {"label": words["patient_id"], "value": plain["patient_id"], "note": issuer}
    rows = [
        ("exam", plain["exam_name"]),
        ("performed_at", _moment(content.performed_at, content.timezone)),
        ("accession", plain["accession_number"]),
        ("institution", plain["institution_name"]),
        ("birth_date", plain["patient_birth_date"] or ""),
        ("body_part", _capital(_catalogue(words).body_part(plain["body_part"], content.laterality))),
        ("department", plain["department"]),
        ("requester", plain["requester_name"]),
        ("device", plain["device_name"]),
        ("technician", plain["technician_name"]),
        ("quality", plain["image_quality"]),
    ]
    yield from ({"label": words[key], "value": value} for key, value in rows if value)


def _notices(plain: Plain, words: Words, content: ReportContent) -> Iterator[Plain]:
    """What must be read before anything else, most serious first."""
    zone = content.timezone
    if content.status == "entered-in-error":
        small = [_signed(content.withdrawn_by, zone)] if content.withdrawn_by else []
        yield _notice("alarm", words["withdrawn"], _lines(plain["withdrawn_reason"]), small)
    if content.status == "preliminary":
        yield _notice("amber", words["preliminary_note"], [])
    if critical := content.critical:
        told = [
            (words["critical_notified"], critical.notified_to, critical.notified_at),
            (words["critical_read_back"], critical.read_back, critical.acknowledged_at),
        ]
        small = [f"{label}  {who}  {_moment(at, zone)}".rstrip() for label, who, at in told if who or at]
        how_soon = _catalogue(words).code("critical-category", critical.category)
        head = f"{words['critical']}  {how_soon}".rstrip()
        yield _notice("alarm", head, _lines(critical.statement), small)
    if content.supersedes_version is not None:
        head = words["supersedes"].format(content.version, content.supersedes_version)
        if content.status in RESTATED:
            head = f"{_capital(_catalogue(words).code('report-status', content.status))}  {head}"
        yield _notice("amber", head, [])
    for addendum in content.addenda:
        reason = f"{words['addendum_reason']}  {addendum.reason}"
        yield _notice(
            "brand", words["addendum"], _lines(addendum.text), [reason, _signed(addendum.author, zone)]
        )


def _signed(person: Signatory, zone: str) -> str:
    return f"{person.name}  {_moment(person.signed_at, zone)}"


def _notice(colour: str, head: str, lines: list[str], small: list[str] | None = None) -> dict[str, Any]:
    return {"colour": colour, "head": head, "lines": lines, "small": small or []}


def _sections(plain: Plain, words: Words, content: ReportContent) -> Iterator[Plain]:
    for key, text in [
        ("clinical", plain["clinical_information"]),
        ("technique", plain["technique"]),
        ("comparison", plain["comparison"]),
        ("ai", "；".join(plain["ai_used"])),
    ]:
        if text:
            yield {"kind": "inline", "head": words[key], "lines": _lines(text)}
    if content.measurements:
        yield {"kind": "table", "head": words["measurements"], "rows": plain["measurements"]}
    findings = words.get(f"findings_{content.modality}", words["findings"])
    if content.findings.strip():
        yield {"kind": "text", "head": findings, "lines": _lines(plain["findings"])}
    said = [text.strip() for text in plain["impression"] if text.strip()]
    impression = [_without_number(text, number) for number, text in enumerate(said, start=1)]
    yield {"kind": "numbered", "head": words["impression"], "lines": impression}
    if content.recommendation.strip():
        yield {"kind": "text", "head": words["recommendation"], "lines": _lines(plain["recommendation"])}


def _signatories(words: Words, content: ReportContent) -> Iterator[dict[str, Any]]:
    people: list[tuple[str, str, Signatory | None]] = [("author", "written_at", content.author)]
    if content.reviewer or content.status == "preliminary":
        people.append(("reviewer", "reviewed_at", content.reviewer))
    for label, moment_label, person in people:
        if person is None:
            yield {"label": words[label], "name": "", "title": "", "lines": []}
            continue
        title = words["title_"].get(person.title, person.title)
        lines = [person.institution_name]
        if person.license_number:
            lines.append(f"{words['license']} {person.license_number}")
        if person.signed_at:
            lines.append(f"{words[moment_label]} {_moment(person.signed_at, content.timezone)}")
        yield {"label": words[label], "name": person.name, "title": title, "lines": lines}


def _watermark(status: str, language: str) -> list[str]:
    """Both languages, whoever reads: a preliminary report is dangerous when it passes for final."""
    latin = {"preliminary": "PRELIMINARY", "entered-in-error": "WITHDRAWN"}.get(status)
    own = _labels()[language]["watermark"].get(status, "")
    return [text for text in (own, latin) if text]


def _footer(words: Words, content: ReportContent) -> str:
    zone = words["zone_"].get(content.timezone) or words["zone_"]["other"].format(content.timezone)
    return _joined(words, words["advice"], words["times"].format(zone))


def _joined(words: Words, *parts: str) -> str:
    return ("" if words is _labels()["zh"] else " ").join(parts)


def _catalogue(words: Words) -> Catalogue:
    """The portal's words for DICOM's codes: paper and screen say the same."""
    return catalogue_of("zh-CN" if words is _labels()["zh"] else "en")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _moment(moment: datetime | None, zone: str) -> str:
    return moment.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M") if moment else ""


def _age(age: str, words: Words) -> str:
    """DICOM's AS (`058Y`) as people say it; anything else as it came."""
    match = re.fullmatch(r"0*(\d+)([YMWD])", age)
    return words["age_"][match[2]].format(match[1]) if match else age or "—"


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _without_number(text: str, number: int) -> str:
    """An impression that already begins with its own number does not get a second one; `2.5 cm` stays."""
    return re.sub(rf"^{number}\s*(?:[、)）]|[.．](?!\d))\s*", "", text)


def breakable(value: Any, *, room: int) -> Any:
    """Without invisible marks, and with a place to break after every run of `room` Latin letters."""
    if isinstance(value, str):
        return re.sub(rf"([!-~]{{{room}}})(?=[!-~])", "\\1\u200b", without_unseen(value))
    if isinstance(value, dict):
        return {key: breakable(item, room=room) for key, item in value.items()}
    if isinstance(value, list):
        return [breakable(item, room=room) for item in value]
    return value


@cache
def _labels() -> dict[str, dict[str, Any]]:
    # `sex` and `age` are both a label and a table of values; the tables are [zh.sex_] and [zh.age_].
    return tomllib.loads(files("reading_portal").joinpath("print", "labels.toml").read_text("utf-8"))
