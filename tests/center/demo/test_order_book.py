"""The order book fits the declaration: devices, people, agreements, and words that the phantoms know."""

from collections import Counter
from datetime import date

import pytest

from center.demo import county
from center.demo.order_book import HABITS, OPENING, later_case
from center.demo.phantoms import chest_findings, chest_radiograph
from center.demo.phantoms.electrocardiogram import RHYTHMS
from center.demo.phantoms.repertoire import REPERTOIRE
from storage.identity import read_national_id

KNOWN = {
    "ecg": set(RHYTHMS),
    "thorax": set(chest_findings.FINDINGS),
    "thick-thorax": set(chest_findings.FINDINGS),
    "chest-dx": set(chest_radiograph.FINDINGS),
    "chest-cr": set(chest_radiograph.FINDINGS),
    "abdomen-us": {"gallstone", "cyst"},
    "mammogram": {"mass"},
    "brain-mr": {"infarct"},
}
LATER = [later_case(number, today=date(2026, 11, 22)) for number in range(300)]


def test_every_case_can_be_ordered_drawn_and_read() -> None:
    covered = {
        (one["asks"], modality)
        for one in county.declaration()["agreements"]
        for modality in one["modalities"]
    }

    for case in (*OPENING, *LATER):
        assert (case.institution, case.modality) in covered
        assert case.phantom in REPERTOIRE or not case.phantom
        for finding in case.findings:
            assert finding.split("(")[0] in KNOWN[case.phantom]


def test_keys_are_unique_and_what_waits_waits_for_something() -> None:
    keys = Counter(case.key for case in OPENING)

    assert max(keys.values()) == 1
    assert {case.after for case in OPENING if case.after} <= set(keys)


def test_the_opening_shows_the_whole_county_at_work() -> None:
    modalities = Counter(case.modality for case in OPENING if case.phantom)

    assert modalities["ECG"] >= 6
    assert modalities["CT"] >= 3
    assert {"MR", "CR", "DX", "US", "MG"} <= set(modalities)
    assert any(case.pathway == "chest_pain" and case.priority == "stat" for case in OPENING)
    assert any(case.modality == "CT" and case.priority == "stat" for case in OPENING)
    assert any(case.typed for case in OPENING)
    by_person = Counter(case.patient for case in OPENING)
    assert max(by_person.values()) == 2  # somebody has a prior


@pytest.mark.parametrize("case", [case for case in (*OPENING, *LATER) if case.patient.national_id])
def test_resident_ids_are_well_formed_and_agree_with_the_person(case) -> None:  # type: ignore[no-untyped-def]
    said = read_national_id(case.patient.national_id)

    assert said.birth_date == case.patient.birth_date
    assert said.sex == case.patient.sex


def test_a_later_case_is_the_same_when_it_is_asked_for_again() -> None:
    assert later_case(17, today=date(2026, 11, 22)) == later_case(17, today=date(2026, 11, 22))
    assert len({case.phantom for case in LATER}) == len({habit.phantom for habit in HABITS})
