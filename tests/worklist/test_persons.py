"""Who may see that two patients are one person, who decides it, and what a link gives to whom."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from storage.database import Database, utc_now
from storage.imaging import Patient, Study
from storage.objects import ObjectStore
from storage.proposals import compare_patients
from tests.builders import ZHANG, Exam, a_dataset, an_exam, an_order, keep
from tests.cast import person
from tests.signing import sign
from worklist.other_exams import other_exams
from worklist.persons import (
    count_studies,
    decide_pair,
    decisions_for,
    look_at_pair,
    look_at_person,
    patients_found,
    proposals_for,
)
from worklist.problems import Missing, Refused, Unacceptable, WrongState
from worklist.recognition import decide as recognise
from worklist.recognition import find_equivalent

REASON = "电话核实，本人曾在两院就诊"
# He has never shown his resident ID at Baishui, and another clerk has given him the same number.
AT_BAISHUI = replace(ZHANG, national_id=None)


def two_hospitals(database: Database, objects: ObjectStore) -> tuple[Exam, Exam]:
    """Zhang San was examined in Qingshi and in Baishui, under the same patient ID."""
    here = an_exam(database, objects)
    there = an_exam(database, objects, institution="T02", by="he", patient=AT_BAISHUI)
    return here, there


def compared(database: Database) -> None:
    while compare_patients(database, now=utc_now()):
        pass


def patient(database: Database, issuer: str, patient_id: str = "P001") -> int:
    with database.reading() as session:
        found = session.scalar(
            select(Patient.id).where(Patient.issuer == issuer, Patient.patient_id == patient_id)
        )
    assert found is not None
    return found


def decided(
    database: Database,
    one: int,
    other: int,
    decision: str = "link",
    *,
    by: str = "zhou",
    reason: str = REASON,
) -> None:
    """What somebody does who has just looked."""
    with database.transaction() as session:
        who = person(session, by)
        version = look_at_pair(session, who, one, other).pair.version
        words = {"reason": reason, "version": version, "by": who, "now": utc_now()}
        decide_pair(session, one, other, decision=decision, **words)  # type: ignore[arg-type]


def priors(database: Database, exam: Exam, username: str) -> list[str]:
    with database.reading() as session:
        study = session.scalars(
            select(Study).where(Study.study_instance_uid == exam.study_instance_uid)
        ).one()
        found = other_exams(session, study, timezone="Asia/Shanghai", seen_by=person(session, username))
        return [one.study_instance_uid for one in (*found.earlier, *found.later)]


def candidates(database: Database, order_id: int) -> list[str]:
    from worklist.orders import ServiceRequest

    with database.reading() as session:
        found = find_equivalent(session, session.get_one(ServiceRequest, order_id), now=utc_now())
        return [one.candidate for one in found]


def test_a_link_shows_a_reader_the_exams_of_both_hospitals_and_an_undo_hides_them_again(
    database: Database, objects: ObjectStore
) -> None:
    here, there = two_hospitals(database, objects)
    one, other = patient(database, "T01"), patient(database, "T02")
    assert priors(database, here, "chen") == []  # the same patient ID at two hospitals is two patients

    decided(database, one, other)
    assert priors(database, here, "chen") == [there.study_instance_uid]
    assert priors(database, there, "chen") == [here.study_instance_uid]

    decided(database, one, other, "undo")
    assert priors(database, here, "chen") == priors(database, there, "chen") == []


def test_a_link_gives_nobody_a_right(database: Database, objects: ObjectStore) -> None:
    here, there = two_hospitals(database, objects)

    decided(database, patient(database, "T01"), patient(database, "T02"))

    assert priors(database, there, "he") == []  # Baishui still sees nothing of Qingshi
    assert priors(database, here, "li") == []
    assert priors(database, there, "zhou") == [here.study_instance_uid]


def test_a_link_lets_the_clinician_recognise_the_exam_and_only_then_see_it(
    database: Database, objects: ObjectStore
) -> None:
    here = an_exam(database, objects)
    order = an_order(database, by="he", institution="T02", patient=AT_BAISHUI)
    assert candidates(database, order.id) == []

    decided(database, patient(database, "T01"), patient(database, "T02"))
    assert candidates(database, order.id) == [here.study_instance_uid]

    from worklist.orders import ServiceRequest

    with database.transaction() as session:
        row = session.get_one(ServiceRequest, order.id)
        words = {"reason": None, "patient_informed": True, "by": person(session, "he"), "now": utc_now()}
        recognise(session, row, candidate=here.study_instance_uid, decision="accept", **words)
    there = an_exam(database, objects, institution="T02", by="he", patient=AT_BAISHUI)
    assert here.study_instance_uid in priors(database, there, "he")  # linked, and allowed


def test_a_report_is_compared_only_with_what_its_author_may_see(
    database: Database, objects: ObjectStore
) -> None:
    """Baishui lets the county read CT, and no ECG."""
    for modality in ("CT", "ECG"):
        dataset = a_dataset(modality=modality)
        dataset.StudyDate = "20190301"
        keep(database, objects, dataset, ae_title=f"T02_{modality}", institution="T02")
    exams = [an_exam(database, objects, modality=modality) for modality in ("CT", "ECG")]
    decided(database, patient(database, "T01"), patient(database, "T02"))

    ct, ecg = (sign(database, objects, exam.task_id, "chen") for exam in exams)

    assert ct.content["comparison"].startswith("2019-03-01")
    assert ecg.content["comparison"] == ""


def test_a_checked_resident_id_shows_a_candidate_until_somebody_says_that_it_is_another_person(
    database: Database, objects: ObjectStore
) -> None:
    here = an_exam(database, objects)
    order = an_order(database, by="he", institution="T02", patient=ZHANG)
    one, other = patient(database, "T01"), patient(database, "T02")
    assert candidates(database, order.id) == [here.study_instance_uid]

    decided(database, one, other, "distinct", reason="身份证为其父所用")
    assert candidates(database, order.id) == []

    decided(database, one, other, "undo", reason="核对有误，确为本人")
    assert candidates(database, order.id) == [here.study_instance_uid]


def test_the_director_sees_every_proposal_and_technicians_those_of_their_own_patients(
    database: Database, objects: ObjectStore
) -> None:
    two_hospitals(database, objects)
    an_order(database, patient=replace(ZHANG, patient_id="P900", national_id=None))
    compared(database)
    one, twice, other = (
        patient(database, "T01"), patient(database, "T01", "P900"), patient(database, "T02"),
    )  # fmt: skip

    def pairs(username: str) -> set[tuple[int, int]]:
        with database.reading() as session:
            found = proposals_for(session, person(session, username))
            return {(proposal.first.id, proposal.second.id) for proposal in found}

    assert pairs("zhou") == {tuple(sorted(pair)) for pair in ((one, other), (one, twice), (twice, other))}
    assert pairs("ma") == {(one, twice)}
    assert pairs("he") == set()
    for username in ("chen", "li", "admin", "audit", "his"):
        with database.reading() as session, pytest.raises(Refused):
            proposals_for(session, person(session, username))


def test_proposals_come_likeliest_first_page_by_page_and_are_found_by_name(
    database: Database, objects: ObjectStore
) -> None:
    for number, birth_date in enumerate((ZHANG.birth_date, ZHANG.birth_date, None)):
        words = {"patient_id": f"Q{number}", "birth_date": birth_date, "national_id": None}
        an_order(database, patient=replace(ZHANG, **words))
    compared(database)

    with database.reading() as session:
        zhou = person(session, "zhou")
        everything = proposals_for(session, zhou)
        first = proposals_for(session, zhou, limit=2)
        rest = proposals_for(session, zhou, limit=2, after=first[-1].position)
        by_pinyin, by_id = (proposals_for(session, zhou, search=text) for text in ("zhangsan", "Q2"))
        nobody = proposals_for(session, zhou, search="lisi")
    positions = [one.position for one in everything]
    assert [one.score for one in everything] == [9, 5, 5]
    assert [one.position for one in (*first, *rest)] == positions == [one.position for one in by_pinyin]
    assert [one.position for one in by_id] == positions[1:]
    assert nobody == []


def test_a_technician_of_baishui_finds_nothing_of_qingshi(database: Database, objects: ObjectStore) -> None:
    two_hospitals(database, objects)
    one, other = patient(database, "T01"), patient(database, "T02")

    with database.transaction() as session:
        he = person(session, "he")
        for ask in (
            lambda: look_at_pair(session, he, one, other),
            lambda: look_at_person(session, he, one),
            lambda: decide_pair(
                session, one, other, decision="link", reason=REASON, version="", by=he, now=utc_now()
            ),
        ):
            with pytest.raises(Missing):
                ask()
        assert [found.id for found in patients_found(session, he, "zhangsan")] == [other]
        assert look_at_person(session, he, other).likely == []

    decided(database, one, other)
    with database.reading() as session:
        he = person(session, "he")
        seen = look_at_person(session, he, other)
        assert (seen.linked, seen.hidden) == ([], 1)
        assert decisions_for(session, he) == []


def test_what_would_move_a_patient_of_another_hospital_is_decided_by_the_centre(
    database: Database, objects: ObjectStore
) -> None:
    two_hospitals(database, objects)
    an_order(database, patient=replace(ZHANG, patient_id="P900"))
    one, twice, other = (
        patient(database, "T01"), patient(database, "T01", "P900"), patient(database, "T02"),
    )  # fmt: skip
    decided(database, one, other)

    with pytest.raises(Refused):
        decided(database, one, twice, by="ma")
    with database.reading() as session:
        seen = look_at_pair(session, person(session, "ma"), one, twice)
        assert (seen.possible, seen.linked, seen.hidden) == ((), [], 1)

    decided(database, one, other, "undo")
    decided(database, one, twice, by="ma")
    with database.reading() as session:
        assert [row.decided_by for row, _, _ in decisions_for(session, person(session, "ma"))] == ["ma"]


def test_the_second_of_two_operators_hears_who_was_first(database: Database, objects: ObjectStore) -> None:
    two_hospitals(database, objects)
    one, other = patient(database, "T01"), patient(database, "T02")
    with database.reading() as session:
        version = look_at_pair(session, person(session, "zhou"), one, other).pair.version
    decided(database, one, other)

    with pytest.raises(WrongState) as heard, database.transaction() as session:
        words = {"reason": REASON, "version": version, "by": person(session, "zhou"), "now": utc_now()}
        decide_pair(session, one, other, decision="distinct", **words)  # type: ignore[arg-type]

    assert (heard.value.holder, heard.value.since is not None) == ("zhou", True)
    with database.reading() as session:
        seen = look_at_pair(session, person(session, "zhou"), one, other)
        assert seen.pair.is_linked and [row.verdict for row in seen.history] == ["same"]


@pytest.mark.parametrize(
    ("decision", "reason"), [("merge", REASON), ("link", ""), ("link", "  短 "), ("link", "长" * 1001)]
)
def test_a_decision_that_makes_no_sense_changes_nothing(
    database: Database, objects: ObjectStore, decision: str, reason: str
) -> None:
    two_hospitals(database, objects)
    one, other = patient(database, "T01"), patient(database, "T02")

    with pytest.raises(Unacceptable):
        decided(database, one, other, decision, reason=reason)

    with database.reading() as session:
        zhou = person(session, "zhou")
        assert decisions_for(session, zhou) == []
        assert count_studies(session, session.scalars(select(Patient))) == {one: 1, other: 1}
