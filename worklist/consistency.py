"""What a second pair of eyes would doubt in a report: the wrong side, the wrong sex, two parts that disagree.

`doubts_about` is pure: words and facts in, doubts out. Chinese and English are read in the same pass, because
one report may hold both. A doubt never forbids anything; it shows the reader the clause in question.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.imaging import Series, Study
from worklist.orders import ServiceRequest
from worklist.reading_tasks import ReadingTask
from worklist.reports import DiagnosticReport

PARTS = ("findings", "impression", "recommendation")
PROJECTIONS = ("DX", "CR", "MG", "PX", "IO")


class Kind(StrEnum):
    SIDE = "side"  # the clause names the side that was not examined
    BOTH = "both"  # the clause speaks of both sides, one was examined
    UNFOUND = "unfound"  # the impression names a side that the findings do not
    SEX = "sex"  # the word belongs to the other sex
    BLANK = "blank"  # a place of a template that nobody has filled in


@dataclass(frozen=True, slots=True)
class Doubt:
    """`said` is the word, `within` the clause that holds it, `part` the part of the report that holds both;
    `expected` the side (L, R) or sex (F, M) of the study, or the side that the findings name."""

    kind: Kind
    part: str
    said: str
    within: str
    expected: str


_CLAUSE = re.compile(r"[^，,。．.;；!！?？\n]*(?:(?<=\d)[.,](?=\d)[^，,。．.;；!！?？\n]*)*")
_HOW = re.IGNORECASE | re.ASCII  # between Chinese characters an English word is a word
# Neither side of the body: "about 8 mm" (左右), how the patient lay or the beam went, what was left in place.
_NO_SIDE = re.compile(
    r"左右(?!侧|肺|肾|叶|眼|耳|乳|膝|肩|手|足)"
    r"|[左右]侧?(?:卧位?|位片?|前斜位?|后斜位?)"
    r"|\b(?:left|right) (?:lateral )?(?:decubitus|lateral (?:view|projection|position)"
    r"|(?:anterior|posterior) oblique)\b"
    r"|\bright[- ]angle[sd]?\b|\b(?:to|at) the right (?:time|dose)\b"
    r"|\b(?:was|were|been|has|have|had) left\b(?![- ]?(?:sided|lateral))"
    r"|\bleft (?:in place|in situ|behind|untreated|unchanged|alone)\b"
    r"|\b(?:left|right)[- ]handed\b",
    _HOW,
)
_SIDES = {
    "L": re.compile(r"左|\bleft\b|\blt\b", _HOW),
    "R": re.compile(r"右|\bright\b|\brt\b", _HOW),
}
_BOTH = re.compile(r"双侧|双[乳膝肩髋腕踝肘足手眼耳肾]|\bbilateral(?:ly)?\b|\bboth (?:sides?|\w+s)\b", _HOW)
# A look across is no mistake.
_COMPARED = re.compile(r"对比|比较|相比|对照|较[左右]侧|健侧|\bcompar\w+|\bcontralateral\b", _HOW)
_BLANK = re.compile(r"_{3,}")
_OF_THE_OTHER_SEX = {
    "F": re.compile(
        r"前列腺|睾丸|附睾|精囊|精索|输精管|阴茎|阴囊|男性(?!化)"
        r"|\bprostat\w*|\btest(?:is|es|ic\w+)\b|\bepididym\w*|\bseminal ves\w*|\bspermatic cords?\b"
        r"|\bpen(?:is|ile)\b|\bscrot\w*|\bmale\b",
        _HOW,
    ),
    "M": re.compile(
        r"子宫|卵巢|卵泡|输卵管|宫颈|宫腔|阴道|妊娠|孕囊|胎儿|胎盘|女性(?!化)"
        r"|\buter(?:us|i|ine)\b|\bovar(?:y|ies|ian)\b|\bfallopian\b|\bcervix\b|\bvagina(?:l|e)?\b|\bendometri\w*"
        r"|\bpregnan\w*|\bgestational sac\b|\bfet(?:us|al)\b|\bplacenta\w*|\bfemale\b",
        _HOW,
    ),
}


def doubts_about(words: Mapping[str, str], *, side: str, sex: str) -> list[Doubt]:
    """Doubts in the order of the text, at most one of a kind and word in each part.

    `words` maps a part of the report ("findings", "impression", "recommendation") to its text; `side` is L, R
    or B, empty where it has none or none is certain; `sex` is DICOM's.
    """
    found = [doubt for part, text in words.items() for doubt in _in_part(part, text, side, sex)]
    if side not in ("L", "R"):
        found += _disagreement(words)
    return list({(one.kind, one.part, one.said.lower()): one for one in reversed(found)}.values())[::-1]


def doubts_in_draft(session: Session, task: ReadingTask) -> list[Doubt]:
    """Doubts about the words of the task's report as they are kept now."""
    report = session.get(DiagnosticReport, task.report_id) if task.report_id is not None else None
    if report is None:
        return []
    words = {part: getattr(report, part) for part in PARTS}
    side = side_of(session, task.study, task.service_request)
    return doubts_about(words, side=side, sex=task.study.patient.sex)


def side_of(session: Session, study: Study, order: ServiceRequest) -> str:
    """L, R or B, from the order or else from the images; empty where it has no side or none is certain."""
    if order.laterality:
        return order.laterality
    series = session.scalars(select(Series).where(Series.study_pk == study.id)).all()
    # In projections the side is the image's own: of several images in a series we know the first one's only.
    if any(one.modality in PROJECTIONS and one.number_of_instances > 1 for one in series):
        return ""
    sides = {one.laterality for one in series} & {"L", "R", "B"}  # U: an organ without a pair
    return "B" if len(sides) > 1 else next(iter(sides), "")


def _in_part(part: str, text: str, side: str, sex: str) -> Iterator[Doubt]:
    for clause in _clauses(text):
        if side in ("L", "R"):
            yield from _about_side(part, clause, side)
        if blank := _BLANK.search(clause):
            yield Doubt(Kind.BLANK, part, blank[0], clause, "")
        other = _OF_THE_OTHER_SEX.get(sex)
        if other is not None:
            yield from (Doubt(Kind.SEX, part, word[0], clause, sex) for word in other.finditer(clause))


def _about_side(part: str, clause: str, side: str) -> Iterator[Doubt]:
    if _COMPARED.search(clause):
        return
    if both := _BOTH.search(clause):
        yield Doubt(Kind.BOTH, part, both[0], clause, side)
    named = _named(clause)
    other = "R" if side == "L" else "L"
    if other in named:
        yield Doubt(Kind.SIDE, part, named[other], clause, side)


def _disagreement(words: Mapping[str, str]) -> Iterator[Doubt]:
    """An impression of the left where the findings name the right alone, or the other way round."""
    found: set[str] = set()
    for clause in _clauses(words.get("findings", "")):
        found |= _named(clause).keys() | ({"L", "R"} if _BOTH.search(clause) else set())
    if len(found) != 1:
        return
    (only,) = found
    for clause in _clauses(words.get("impression", "")):
        if not _COMPARED.search(clause):
            named = _named(clause)
            yield from (
                Doubt(Kind.UNFOUND, "impression", word, clause, only)
                for side, word in named.items()
                if side != only
            )


def _named(clause: str) -> dict[str, str]:
    """Each side that the clause names, with its word."""
    plain = _NO_SIDE.sub(lambda found: "·" * len(found[0]), clause)
    return {side: found[0] for side, pattern in _SIDES.items() if (found := pattern.search(plain))}


def _clauses(text: str) -> Iterable[str]:
    return (clause for found in _CLAUSE.finditer(text) if (clause := found[0].strip()))
