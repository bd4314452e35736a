"""How alike two patients are: what speaks for one person and what against, weighed by a table.

It proposes, a person decides. The same patient ID of two issuers speaks for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import lru_cache

from storage.charsets import whole_names
from storage.identity import read_national_id
from storage.imaging import Patient


class Evidence(StrEnum):
    SAME_RESIDENT_ID = "same-resident-id"
    SAME_NAME = "same-name"  # in characters, or both only spelled
    SAME_SPELLING = "same-spelling"  # one is in characters, the other its pinyin
    SAME_SOUND = "same-sound"  # other characters that are read alike: a clerk's slip, or a namesake
    SAME_BIRTH_DATE = "same-birth-date"
    NEAR_BIRTH_DATE = "near-birth-date"
    SAME_SEX = "same-sex"
    SAME_PHONE = "same-phone"
    OTHER_RESIDENT_ID = "other-resident-id"
    OTHER_NAME = "other-name"
    OTHER_BIRTH_DATE = "other-birth-date"
    OTHER_SEX = "other-sex"


E = Evidence
# A resident ID outweighs all that may stand against it: whoever has it wrong, a person must look.
WEIGHTS: dict[Evidence, int] = {
    E.SAME_RESIDENT_ID: 20,
    E.SAME_NAME: 4,
    E.SAME_SPELLING: 3,
    E.SAME_SOUND: 2,
    E.SAME_BIRTH_DATE: 4,
    E.NEAR_BIRTH_DATE: 1,
    E.SAME_SEX: 1,
    E.SAME_PHONE: 2,
    E.OTHER_RESIDENT_ID: -4,
    E.OTHER_NAME: -3,
    E.OTHER_BIRTH_DATE: -4,
    E.OTHER_SEX: -4,
}
POSSIBLE = 5  # name and sex, and nothing against it
LIKELY = 8  # name or its pinyin, birth date and sex
STRONG = 15  # a resident ID, and little against it
# Birthdays are told by the lunar calendar too: the same day is 18 to 53 days later by the solar one.
LUNAR_DAYS = 60


class Rank(StrEnum):
    STRONG = "strong"
    LIKELY = "likely"
    POSSIBLE = "possible"
    WEAK = "weak"


@dataclass(frozen=True)
class Resemblance:
    """What speaks for one person, then what speaks against it."""

    evidence: tuple[Evidence, ...]

    @property
    def score(self) -> int:
        return sum(WEIGHTS[one] for one in self.evidence)

    @property
    def rank(self) -> Rank:
        steps = ((STRONG, Rank.STRONG), (LIKELY, Rank.LIKELY), (POSSIBLE, Rank.POSSIBLE))
        return next((rank for least, rank in steps if self.score >= least), Rank.WEAK)


def resemblance(one: Patient, other: Patient) -> Resemblance:
    """Compare two patients; what either of them does not know speaks neither for nor against."""
    found = [*_ids(one, other), *_names(one, other), *_births(one, other), *_rest(one, other)]
    return Resemblance(tuple(sorted(found, key=list(Evidence).index)))


def is_against(evidence: Evidence) -> bool:
    return WEIGHTS[evidence] < 0


def birth_date_of(patient: Patient) -> date | None:
    """As it was told, else as the resident ID says it."""
    if patient.birth_date is None and patient.national_id:
        return read_national_id(patient.national_id).birth_date
    return patient.birth_date


def sex_of(patient: Patient) -> str:
    """M, F, or empty: O and what nobody said tell nothing."""
    if patient.sex not in ("M", "F") and patient.national_id:
        return read_national_id(patient.national_id).sex
    return patient.sex if patient.sex in ("M", "F") else ""


names_of = lru_cache(maxsize=4096)(whole_names)


def near_dates(birth_date: date) -> set[date]:
    """Birth dates that a slip or the other calendar makes of this one, itself among them."""
    first, last = date.min.toordinal(), date.max.toordinal()
    middle = birth_date.toordinal()
    around = range(max(first, middle - LUNAR_DAYS), min(last, middle + LUNAR_DAYS) + 1)
    digits = f"{birth_date.year:04d}{birth_date:%m%d}"
    return {date.fromordinal(day) for day in around} | set(_mistyped(digits))


def _ids(one: Patient, other: Patient) -> Iterator[Evidence]:
    if one.national_id and other.national_id:
        yield E.SAME_RESIDENT_ID if one.national_id == other.national_id else E.OTHER_RESIDENT_ID


def _names(one: Patient, other: Patient) -> Iterator[Evidence]:
    (our_characters, our_spellings), (characters, spellings) = names_of(one.name), names_of(other.name)
    if not our_spellings or not spellings:
        return
    is_read_alike = bool(our_spellings & spellings)
    if our_characters & characters or (is_read_alike and not our_characters and not characters):
        yield E.SAME_NAME
    elif is_read_alike:
        yield E.SAME_SOUND if our_characters and characters else E.SAME_SPELLING
    else:
        yield E.OTHER_NAME


def _births(one: Patient, other: Patient) -> Iterator[Evidence]:
    ours, theirs = birth_date_of(one), birth_date_of(other)
    if ours is None or theirs is None:
        return
    if ours == theirs:
        yield E.SAME_BIRTH_DATE
    else:
        yield E.NEAR_BIRTH_DATE if theirs in near_dates(ours) else E.OTHER_BIRTH_DATE


def _rest(one: Patient, other: Patient) -> Iterator[Evidence]:
    ours, theirs = sex_of(one), sex_of(other)
    if ours and theirs:
        yield E.SAME_SEX if ours == theirs else E.OTHER_SEX
    if one.phone and one.phone == other.phone:
        yield E.SAME_PHONE


def _mistyped(digits: str) -> Iterator[date]:
    """One digit wrong, or two neighbours swapped."""
    spelled = {
        f"{digits[:at]}{digit}{digits[at + 1 :]}" for at in range(len(digits)) for digit in "0123456789"
    } | {f"{digits[:at]}{digits[at + 1]}{digits[at]}{digits[at + 2 :]}" for at in range(len(digits) - 1)}
    for one in spelled:
        try:
            yield date(int(one[:4]), int(one[4:6]), int(one[6:]))
        except ValueError:
            continue
