"""The portal's words, Chinese and English: catalogues, and how dates, ages, names and codes are said.

Catalogues are the committed `locale/*/portal.po`, read once when first needed. Sentences are keyed by their
English text; a code ("stat", "awaiting-review") is keyed by itself in the context of its vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from babel.messages.pofile import read_po

LOCALE = Path(__file__).parent / "locale"
LANGUAGES = {"zh-CN": "zh_CN", "en": "en"}
DEFAULT = "zh-CN"
# Vocabularies whose codes appear inside sentences.
_SPOKEN = (
    "task-state",
    "order-state",
    "report-status",
    "order-verb",
    "task-verb",
    "role",
    "return-reason",
    "suspend-reason",
)
_HOLE = re.compile(r"\\\{[^{}]*\\\}")


@dataclass(frozen=True)
class Words:
    """Everything that a page says in one language, with the clock of the centre."""

    language: str
    sentences: Mapping[str, str]
    codes: Mapping[tuple[str, str], str]
    patterns: tuple[tuple[re.Pattern[str], str], ...] = field(default=(), repr=False)
    timezone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Asia/Shanghai"))

    @property
    def is_chinese(self) -> bool:
        return self.language == DEFAULT

    def gettext(self, text: str) -> str:
        return self.sentences.get(text) or text

    def ngettext(self, one: str, many: str, number: int) -> str:
        return self.gettext(one if number == 1 and not self.is_chinese else many)

    def code(self, vocabulary: str, value: str | None) -> str:
        """A code in words; a code that no catalogue knows is shown as it is."""
        return self.codes.get((vocabulary, value)) or value if value else ""

    def body_part(self, code: str | None, laterality: str | None = None) -> str:
        """Body Part Examined with its side: 左膝关节, left knee, knee (both); empty where there is none."""
        side, part = self.code("laterality", laterality), self.code("body-part", code)
        if self.is_chinese or not (side and part):
            return side + part
        return f"{part} ({side})" if laterality == "B" else f"{side} {part}"

    def problem(self, sentence: str) -> str:
        """A sentence of the mind, which may carry values: matched against the catalogue's patterns."""
        said = self._translated(sentence)
        return said[:1].upper() + said[1:]

    def _translated(self, sentence: str) -> str:
        if sentence in self.sentences:
            return self.gettext(sentence)
        for pattern, translated in self.patterns:
            if found := pattern.fullmatch(sentence):
                return translated.format(*(self._value(value) for value in found.groups()))
        return sentence

    def _value(self, value: str) -> str:
        """A value inside a sentence: often a state or a role, or a list of them."""
        parts = value.split(", ")
        said = [
            next((self.codes[v, part] for v in _SPOKEN if (v, part) in self.codes), part) for part in parts
        ]
        return ("、" if self.is_chinese else ", ").join(said)

    # --- moments -------------------------------------------------------------------------------------------

    def local(self, moment: datetime) -> datetime:
        return moment.astimezone(self.timezone)

    def moment(self, moment: datetime | None, now: datetime | None = None) -> str:
        """`14:05` today, `11-22 14:05` this year, else with the year; centre's time."""
        if moment is None:
            return ""
        here = self.local(moment)
        if now is not None and self.local(now).date() == here.date():
            return here.strftime("%H:%M")
        if now is not None and self.local(now).year == here.year:
            return here.strftime("%m-%d %H:%M")
        return here.strftime("%Y-%m-%d %H:%M")

    def span(self, seconds: float) -> str:
        """A length of time in the largest unit that says enough: 40 秒, 12 分, 3 小时 5 分, 4 天."""
        minutes = int(abs(seconds) // 60)
        if minutes < 1:
            return self.gettext("{0} s").format(int(abs(seconds)))
        if minutes < 60:
            return self.gettext("{0} min").format(minutes)
        if minutes < 48 * 60:
            return self.gettext("{0} h {1} min").format(minutes // 60, minutes % 60)
        return self.gettext("{0} d").format(minutes // (24 * 60))

    # --- persons -------------------------------------------------------------------------------------------

    def person_name(self, name: str | None) -> str:
        """The group of a DICOM PN (PS3.5 6.2.1) for this reader: ideographic in Chinese, else Latin."""
        groups = [
            group.replace("^", " ").strip() if "^" in group else group for group in (name or "").split("=")
        ]
        latin, ideographic = groups[0], groups[1] if len(groups) > 1 else ""
        if self.is_chinese or not latin:
            return ideographic.replace(" ", "") or latin or self.gettext("(no name)")
        return f"{latin} {ideographic.replace(' ', '')}".strip()

    def sex(self, code: str | None) -> str:
        return self.code("sex", code or "unknown")

    def age(self, birth_date: date | None, on: date | datetime | None) -> str:
        """Years from two years on, months from two months on, else days, as children's doctors count."""
        if birth_date is None or on is None:
            return ""
        on = self.local(on).date() if isinstance(on, datetime) else on
        days = (on - birth_date).days
        months = (on.year - birth_date.year) * 12 + on.month - birth_date.month - (on.day < birth_date.day)
        if months >= 24:
            return self.gettext("{0} y").format(months // 12)
        if months >= 2:
            return self.gettext("{0} mo").format(months)
        return self.gettext("{0} d").format(max(days, 0))


@lru_cache
def words(language: str, timezone: str = "Asia/Shanghai") -> Words:
    """The words of a language; raises KeyError for one that is not spoken here."""
    with (LOCALE / LANGUAGES[language] / "portal.po").open("rb") as file:
        catalogue = read_po(file, locale=LANGUAGES[language])
    sentences: dict[str, str] = {}
    codes: dict[tuple[str, str], str] = {}
    for message in catalogue:
        if not isinstance(message.id, str) or not message.id or not isinstance(message.string, str):
            continue
        if message.context:
            codes[(message.context, message.id)] = message.string
        else:
            sentences[message.id] = message.string
    patterns = tuple(
        (re.compile(_HOLE.sub("(.+?)", re.escape(text))), said)
        for text, said in sentences.items()
        if said and re.search(r"\{[a-z]", text)
    )
    return Words(language, sentences, codes, patterns, ZoneInfo(timezone))


def language_of(*wishes: str | None) -> str:
    """The first wish that is a language spoken here; Chinese where none is."""
    for wish in wishes:
        if wish in LANGUAGES:
            return wish
        if wish and wish.lower().startswith("en"):
            return "en"
    return DEFAULT
