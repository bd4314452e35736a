"""A signed report is evidence: nothing overwrites it, and only the right people issue it."""

import dataclasses

import pytest
from sqlalchemy import select

from storage.database import utc_now
from storage.jobs import Job
from tests.builders import a_dataset, an_exam, keep, settle_exam
from tests.cast import person
from tests.signing import WORDS, append, issue_prepared, prepare, sign, withdraw, write
from worklist.issuing import content_to_sign, impression_lines, reject
from worklist.orders import OrderState, ServiceRequest
from worklist.people import Practitioner
from worklist.problems import LostRace, Missing, Refused, StaleFence, Unacceptable, WrongState
from worklist.reading_tasks import ReadingTask, TaskState, claim
from worklist.reports import (
    Draft,
    ReportStatus,
    ReportVersion,
    Standing,
    acknowledge,
    keep_draft,
    report_for,
    reports_for,
    verification,
    version_of,
)


def test_a_signed_report_is_final_and_its_words_are_the_readers(database, objects):
    exam = an_exam(database, objects)

    version = sign(database, objects, exam.task_id, "chen")

    assert (version.version, version.status, version.standing) == (1, ReportStatus.FINAL, Standing.CURRENT)
    assert version.content["impression"] == ["右肺上叶结节，建议增强扫描", "主动脉硬化"]
    assert version.content["patient_name"] == "张三"
    assert version.content["recognition_mark"] == "县域 HR"
    with database.reading() as session:
        assert session.get(ReadingTask, exam.task_id).state == TaskState.COMPLETED
        assert session.get(ServiceRequest, exam.order_id).state == OrderState.REPORTED
        jobs = session.scalars(select(Job.kind)).all()
        assert jobs == ["archive-report"]


def test_the_township_sees_the_signed_report_and_not_the_draft(database, objects):
    exam = an_exam(database, objects)
    write(database, exam.task_id, "chen")
    with database.reading() as session:
        report_id = session.get(ReadingTask, exam.task_id).report_id
        with pytest.raises(Missing):
            report_for(session, person(session, "li"), report_id)

    with database.transaction() as session:
        fence = claim(session, exam.task_id, by=person(session, "chen"), now=utc_now()).fence
    issue_prepared(database, objects, prepare(database, exam.task_id, "chen", fence), "chen")

    with database.reading() as session:
        assert [one.id for one in reports_for(session, person(session, "li"))] == [report_id]
        assert reports_for(session, person(session, "he")) == []
        with pytest.raises(Missing):
            report_for(session, person(session, "he"), report_id)


def test_where_the_modality_asks_for_two_the_author_signs_preliminary_and_another_person_makes_it_final(
    database, objects
):
    exam = an_exam(database, objects, modality="MR", body_part="BRAIN")

    first = sign(database, objects, exam.task_id, "wu")
    with pytest.raises(Refused):  # Dr Wu is a reviewer, and the author
        sign(database, objects, exam.task_id, "wu", is_review=True)
    with pytest.raises(Refused):  # Dr Chen is no reviewer
        sign(database, objects, exam.task_id, "chen", is_review=True)
    assert first.status == ReportStatus.PRELIMINARY
    with database.transaction() as session:
        session.get(Practitioner, "sun").roles = ["reader", "reviewer"]
    second = sign(database, objects, exam.task_id, "sun", is_review=True)

    assert (second.version, second.status, second.reviewer, second.author) == (
        2,
        ReportStatus.FINAL,
        "sun",
        "wu",
    )
    with database.reading() as session:
        standings = session.execute(select(ReportVersion.version, ReportVersion.standing)).all()
        assert sorted(map(tuple, standings)) == [(1, Standing.SUPERSEDED), (2, Standing.CURRENT)]


def test_a_rejected_report_goes_back_to_its_author_with_the_note(database, objects):
    exam = an_exam(database, objects, modality="MR", body_part="BRAIN")
    sign(database, objects, exam.task_id, "chen")

    with database.transaction() as session:
        wu = person(session, "wu")
        fence = claim(session, exam.task_id, by=wu, now=utc_now()).fence
        reject(session, exam.task_id, by=wu, fence=fence, note="请补充DWI描述", now=utc_now())

    with database.reading() as session:
        task = session.get(ReadingTask, exam.task_id)
        assert (task.state, task.note, task.reserved_for) == (TaskState.READY, "请补充DWI描述", "chen")


def test_a_stale_fence_signs_nothing(database, objects):
    exam = an_exam(database, objects)
    fence = write(database, exam.task_id, "chen")
    prepared = prepare(database, exam.task_id, "chen", fence)
    with database.transaction() as session:
        claim(session, exam.task_id, by=person(session, "sun"), now=utc_now(), takeover=True)

    with pytest.raises(StaleFence):
        issue_prepared(database, objects, prepared, "chen")

    with database.reading() as session:
        assert session.scalars(select(ReportVersion)).all() == []


def test_words_that_changed_while_the_document_was_sealed_are_not_signed(database, objects):
    exam = an_exam(database, objects)
    fence = write(database, exam.task_id, "chen")
    prepared = prepare(database, exam.task_id, "chen", fence)
    with database.transaction() as session:
        other = dataclasses.replace(WORDS, findings="改了")
        keep_draft(session, exam.task_id, other, by=person(session, "chen"), fence=fence, now=utc_now())

    with pytest.raises(WrongState):
        issue_prepared(database, objects, prepared, "chen")


def test_images_that_came_while_the_document_was_sealed_stop_the_signature(database, objects):
    exam = an_exam(database, objects)
    fence = write(database, exam.task_id, "chen")
    prepared = prepare(database, exam.task_id, "chen", fence)
    keep(database, objects, a_dataset(study_instance_uid=exam.study_instance_uid, number=7))

    with pytest.raises(LostRace):
        issue_prepared(database, objects, prepared, "chen")


def test_the_same_prepared_signature_is_issued_once(database, objects):
    exam = an_exam(database, objects)
    fence = write(database, exam.task_id, "chen")
    prepared = prepare(database, exam.task_id, "chen", fence)
    issue_prepared(database, objects, prepared, "chen")

    with pytest.raises(LostRace):
        issue_prepared(database, objects, prepared, "chen")


def test_an_expired_licence_does_not_sign(database, objects):
    from datetime import date

    exam = an_exam(database, objects)
    fence = write(database, exam.task_id, "chen")
    with database.transaction() as session:
        session.get(Practitioner, "chen").license_until = date(2020, 1, 1)

    with pytest.raises(Refused, match="licence"), database.transaction() as session:
        content_to_sign(session, exam.task_id, by=person(session, "chen"), fence=fence, now=utc_now())


def test_an_empty_report_is_not_signed(database, objects):
    exam = an_exam(database, objects)
    fence = write(database, exam.task_id, "chen", Draft(findings="  ", impression=""))

    with pytest.raises(Unacceptable):
        prepare(database, exam.task_id, "chen", fence)


def test_an_addendum_is_a_new_version_and_the_old_one_stays_word_for_word(database, objects):
    exam = an_exam(database, objects)
    first = sign(database, objects, exam.task_id, "chen")
    second = append(database, objects, first.report_id, "chen", "与2025年旧片对比，结节无变化。")
    third = append(database, objects, first.report_id, "wu", "建议三个月复查。")

    assert (second.version, second.status, second.previous_hash) == (
        2,
        ReportStatus.APPENDED,
        first.content_hash,
    )
    assert third.previous_hash == second.content_hash
    assert [one["text"] for one in third.content["addenda"]] == [
        "与2025年旧片对比，结节无变化。",
        "建议三个月复查。",
    ]
    assert third.content["findings"] == first.content["findings"]
    with database.reading() as session:
        report = report_for(session, person(session, "li"), first.report_id)
        assert version_of(session, report, 1).content == first.content
        assert verification(session, first.verify_token).standing == Standing.SUPERSEDED
        assert verification(session, third.verify_token).standing == Standing.CURRENT


def test_later_words_stay_with_a_report_that_is_amended_after_late_images(database, objects):
    exam = an_exam(database, objects)
    first = sign(database, objects, exam.task_id, "chen")
    append(database, objects, first.report_id, "wu", "建议三个月复查。")
    late = a_dataset(study_instance_uid=exam.study_instance_uid, accession_number=exam.accession_number)
    keep(database, objects, late)
    task_id = settle_exam(database, exam.study_instance_uid)

    amended = sign(database, objects, task_id, "chen")

    assert amended.status == ReportStatus.AMENDED
    assert [one["text"] for one in amended.content["addenda"]] == ["建议三个月复查。"]


def test_a_withdrawn_report_is_said_to_be_withdrawn_whichever_version_is_asked(database, objects):
    exam = an_exam(database, objects)
    first = sign(database, objects, exam.task_id, "chen")

    statement = withdraw(database, objects, first.report_id, "wu")

    assert statement.status == ReportStatus.ENTERED_IN_ERROR
    with database.reading() as session:
        for version in (first, statement):
            assert verification(session, version.verify_token).standing == Standing.WITHDRAWN
        assert verification(session, first.verify_token).initials == "Z.S."
        assert verification(session, "nothing-like-it") is None


def test_only_the_ordering_side_acknowledges_and_a_new_version_asks_again(database, objects):
    exam = an_exam(database, objects)
    version = sign(database, objects, exam.task_id, "chen")

    with database.transaction() as session:
        report = report_for(session, person(session, "li"), version.report_id)
        with pytest.raises(Refused):
            acknowledge(session, report, by=person(session, "chen"), now=utc_now())
        acknowledge(session, report, by=person(session, "li"), now=utc_now())
        acknowledge(session, report, by=person(session, "li"), now=utc_now())
    with database.reading() as session:
        assert session.get(ServiceRequest, exam.order_id).state == OrderState.CLOSED
    append(database, objects, version.report_id, "chen", "补充说明")
    with database.reading() as session:
        assert session.get(ServiceRequest, exam.order_id).state == OrderState.REPORTED


@pytest.mark.parametrize(
    ("typed", "lines"),
    [
        ("1. 肺结节\n2、主动脉硬化", ["肺结节", "主动脉硬化"]),
        ("2.5 cm 肝囊肿", ["2.5 cm 肝囊肿"]),
        ("1.5 cm 结节\n\n 2) 3.0 T MR", ["1.5 cm 结节", "3.0 T MR"]),
        ("3. 三天后复查", ["3. 三天后复查"]),
    ],
)
def test_a_number_that_counts_the_line_goes_and_a_measurement_stays(typed, lines):
    assert impression_lines(typed) == lines


def test_an_addendum_does_not_move_the_moment_of_the_review(database, objects):
    exam = an_exam(database, objects, modality="MR", body_part="BRAIN")
    sign(database, objects, exam.task_id, "chen")
    final = sign(database, objects, exam.task_id, "wu", is_review=True)

    later = append(database, objects, final.report_id, "chen", "补充：DWI未见高信号。")

    assert later.content["reviewer"] == final.content["reviewer"]
    assert later.content["addenda"][0]["author"]["institution_name"] == "云岭县人民医院"
