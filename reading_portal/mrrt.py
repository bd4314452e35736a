"""Report templates as IHE MRRT writes them (RAD TF-2, 4.103: HTML5 with sections and fields) as plain words.

A field becomes its value, or a blank (____) with its choices in brackets: our templates are text that a
reader fills in. Nothing of the file is shown as HTML, and scripts in it are never run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape
from html.parser import HTMLParser

from worklist.problems import Unacceptable
from worklist.report_templates import TemplateWords

LARGEST = 512 * 1024
BLANK = "____"
# Which part of a report a section is, by its name; what the order says already is left out.
PARTS = (
    (
        re.compile(r"clinical (information|history|data|diagnos)|indication|history|病史|临床(?!建议)", re.I),
        "",
    ),
    (re.compile(r"impression|conclusion|diagnos|assessment|印象|诊断|结论|意见", re.I), "impression"),
    (re.compile(r"recommendation|follow.?up|建议", re.I), "recommendation"),
    (re.compile(r"findings?|observation|description|所见|表现|描述", re.I), "findings"),
)
MODALITIES = (
    (re.compile(r"computed tomograph|\bCT\b", re.I | re.A), ("CT",)),
    (re.compile(r"magnetic resonance|\bMRI?\b", re.I | re.A), ("MR",)),
    (re.compile(r"ultraso|\bUS\b|超声", re.I | re.A), ("US",)),
    (re.compile(r"mammogra|乳腺X线|钼靶", re.I | re.A), ("MG",)),
    (re.compile(r"\bECG\b|electrocardiogra|心电图", re.I | re.A), ("ECG",)),
    (re.compile(r"radiograph|x-?ray|\bXR\b|\bDX\b|\bCR\b|X线|平片", re.I | re.A), ("DX", "CR")),
)
_BLOCKS = {"p", "section", "header", "div", "br", "tr", "li", "ul", "ol", "table", "h1", "h2", "h3", "h4"}
_SILENT = {"style", "title", "datalist"}


@dataclass(frozen=True, slots=True)
class Imported:
    """`left_out` names sections that have no place in a report of ours."""

    words: TemplateWords
    language: str
    left_out: tuple[str, ...]


def read_mrrt(data: bytes) -> Imported:
    """Raises Unacceptable for what is no report template."""
    if len(data) > LARGEST:
        raise Unacceptable("a template file has at most 512 kB")
    text = _text_of(data)
    if "\x00" in text or "<section" not in text.lower():
        raise Unacceptable("this is no report template: it has no sections")
    reader = _Reader(text)
    parts = {part: reader.text_of(part) for part in ("findings", "impression", "recommendation")}
    title = reader.meta.get("dcterms.title") or reader.title
    coded = " ".join(re.findall(r"meaning\s*=\s*[\"']([^\"']*)", reader.script, re.I))
    modalities = next(
        (said for text in (title, coded) for known, said in MODALITIES if known.search(text)), ()
    )
    if not (parts["findings"] or parts["impression"]):
        raise Unacceptable("this is no report template: it has neither findings nor an impression")
    words = TemplateWords(
        name=" ".join(title.split())[:64],
        modalities=modalities,
        findings=parts["findings"],
        impression=parts["impression"],
        recommendation=parts["recommendation"],
    )
    return Imported(words, reader.meta.get("dcterms.language", ""), tuple(reader.left_out))


def write_mrrt(words: TemplateWords, *, identifier: str, language: str, publisher: str) -> str:
    """The template for another system, as one text area in each section."""
    metas = {
        "dcterms.title": words.name,
        "dcterms.description": words.name,
        "dcterms.identifier": identifier,
        "dcterms.type": "IMAGE_REPORT_TEMPLATE",
        "dcterms.language": language,
        "dcterms.publisher": publisher,
    }
    head = "\n".join(f'<meta name="{name}" content="{escape(value)}">' for name, value in metas.items())
    codes = "".join(
        f'<term><code meaning="{escape(one)}" value="{escape(one)}" scheme="DCM"></code></term>'
        for one in words.modalities
    )
    sections = "\n".join(
        f'<section id="{part}" class="level1" data-section-name="{name}">\n'
        f'<header class="level1">{name}</header>\n'
        f'<p><textarea id="{part}Text" name="{name}" data-field-type="TEXTAREA">{escape(text)}</textarea></p>'
        "\n</section>"
        for part, name, text in (
            ("findings", "Findings", words.findings),
            ("impression", "Impression", words.impression),
            ("recommendation", "Recommendation", words.recommendation),
        )
        if text
    )
    return (
        f'<!DOCTYPE html>\n<html lang="{escape(language)}">\n<head>\n<meta charset="UTF-8">\n'
        f"<title>{escape(words.name)}</title>\n{head}\n"
        f'<script type="text/xml"><template_attributes>{codes}</template_attributes></script>\n'
        f"</head>\n<body>\n{sections}\n</body>\n</html>\n"
    )


def _text_of(data: bytes) -> str:
    """In the character set that the file declares; UTF-8 and GB18030 are tried where that fails."""
    declared = re.search(rb"charset\s*=\s*[\"']?([\w-]+)", data[:2048], re.I)
    for charset in ([declared[1].decode("ascii")] if declared else []) + ["utf-8-sig", "gb18030"]:
        try:
            return data.decode("utf-8-sig" if charset.lower() in ("utf-8", "utf8") else charset)
        except (UnicodeDecodeError, LookupError):
            continue
    raise Unacceptable("this is no text in UTF-8 or GB18030")


@dataclass
class _Choice:
    """A select while it is read."""

    options: list[str] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)
    is_chosen: bool = False


class _Reader(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.meta: dict[str, str] = {}
        self.title = self.script = ""
        self.left_out: list[str] = []
        self._said: dict[str, list[str]] = {}
        self._sections: list[str] = []  # names, the outermost first
        self._open: list[str] = []  # elements whose words are not those of the report, or are a field's
        self._choice: _Choice | None = None
        self._area: list[str] = []
        labels = re.findall(r"<label[^>]*\bfor\s*=\s*[\"']([^\"']+)", text, re.I)
        self._has_unit = {one for one in labels if labels.count(one) > 1} if len(labels) < 2000 else set()
        self.feed(text)
        self.close()

    def text_of(self, part: str) -> str:
        lines = (" ".join(line.split()) for line in "".join(self._said.get(part, [])).split("\n"))
        said = "\n".join(line for line in lines if line)
        return "" if said == BLANK else said

    # --- the parser's events ----------------------------------------------------------------------------

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        if tag == "meta":
            self.meta[has.get("name", "").lower()] = has.get("content", "")
        elif tag in _SILENT or tag == "script":
            self._open.append(tag)
        elif tag == "section":
            self._enter(has.get("data-section-name") or has.get("id", ""))
        elif tag == "textarea":
            self._open.append(tag)
            self._area = []
        elif tag == "select":
            self._choice = _Choice()
        elif tag == "option" and self._choice is not None:
            self._choice.options.append("")
            self._choice.is_chosen = "selected" in has
        elif tag == "input":
            self._say(f" {self._field(has)}")
        if tag in _BLOCKS:
            self._say("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and tag in self._open:
            self._open.remove(tag)
            self._say(f" {''.join(self._area).strip() or BLANK}")
        elif tag in self._open:
            self._open.remove(tag)
        elif tag == "select" and self._choice is not None:
            choice, self._choice = self._choice, None
            options = [" ".join(one.split()) for one in choice.options]
            choices = "/".join(one for one in options if one)
            self._say(" " + (", ".join(choice.chosen) or f"{BLANK} ({choices})"))
        elif tag == "option" and self._choice is not None and self._choice.is_chosen:
            self._choice.chosen.append(" ".join(self._choice.options[-1].split()))
            self._choice.is_chosen = False
        elif tag == "section" and self._sections:
            self._sections.pop()
        if tag in _BLOCKS:
            self._say("\n")

    def handle_data(self, data: str) -> None:
        if "title" in self._open:
            self.title += data
        elif "script" in self._open:
            self.script += data
        elif "textarea" in self._open:
            self._area.append(data)
        elif self._open:
            return
        elif self._choice is not None:
            if self._choice.options:
                self._choice.options[-1] += data
        elif self.lasttag == "header" and len(self._sections) == 1 and self._is_own_part:
            return  # the section's own name: the report has it as a heading
        else:
            self._say(re.sub(r"\s+", " ", data))

    # --- where it goes ----------------------------------------------------------------------------------

    @property
    def _part(self) -> str:
        name = self._sections[0] if self._sections else ""
        return next((part for known, part in PARTS if known.search(name)), "findings")

    @property
    def _is_own_part(self) -> bool:
        return any(known.search(self._sections[0]) for known, _ in PARTS)

    def _enter(self, name: str) -> None:
        self._sections.append(name)
        if len(self._sections) == 1 and not self._part:
            self.left_out.append(name)

    def _say(self, text: str) -> None:
        if self._sections and self._part:
            self._said.setdefault(self._part, []).append(text)

    def _field(self, has: dict[str, str]) -> str:
        kind = has.get("type", "text").lower()
        if kind in ("checkbox", "radio"):
            return "[x] " if "checked" in has else "[ ] "
        if kind in ("hidden", "button", "submit", "reset", "image", "file", "password"):
            return ""
        units = has.get("data-field-units", "")
        unit = f" {units}" if units and has.get("id") not in self._has_unit else ""
        return (has.get("value", "").strip() or BLANK) + unit
