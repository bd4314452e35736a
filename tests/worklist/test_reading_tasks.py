"""Claims, leases and fences: no task is read twice, no word is lost."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.database import Database, utc_now
from storage.objects import ObjectStore
from tests.builders import an_exam
from tests.cast import person
from worklist.assignment import next_task
from worklist.problems import LostRace, Missing, Problem, Refused, StaleFence
from worklist.reading_tasks import (
    LEASED,
    TRANSITIONS,
    Claim,
    ReadingTask,
    TaskState,
    claim,
    expire_leases,
    hand_over,
    heartbeat,
    release,
    return_to_township,
    suspend,
    tasks_for,
)
from worklist.reports import Draft, abandoned_drafts, keep_draft, report_of_task


def _claim(database: Database, task_id: int, username: str, *, takeover: bool = False) -> Claim:
    with database.transaction() as session:
        return claim(session, task_id, by=person(session, username), now=utc_now(), takeover=takeover)


def test_a_settled_study_with_an_order_becomes_a_task_that_readers_see(database, objects):
    exam = an_exam(database, objects, priority="stat")

    with database.reading() as session:
        seen = tasks_for(session, person(session, "chen"))

    assert [task.id for task in seen] == [exam.task_id]
    assert seen[0].due_at - seen[0].opened_at == timedelta(minutes=30)


def test_a_second_reader_cannot_claim_a_claimed_task(database, objects):
    exam = an_exam(database, objects)
    _claim(database, exam.task_id, "chen")

    with pytest.raises(LostRace) as refusal:
        _claim(database, exam.task_id, "sun")

    assert refusal.value.holder == "chen"


def test_a_repeated_claim_by_the_holder_answers_the_same_fence(database, objects):
    exam = an_exam(database, objects)

    first, second = _claim(database, exam.task_id, "chen"), _claim(database, exam.task_id, "chen")

    assert first.fence == second.fence
    assert second.lease_until >= first.lease_until


def test_of_twenty_claims_at_the_same_moment_one_wins(database, objects):
    exam = an_exam(database, objects)

    def attempt(number: int) -> str | None:
        username = ("chen", "sun", "wu")[number % 3]
        try:
            _claim(database, exam.task_id, username)
        except LostRace:
            return None
        return username

    with ThreadPoolExecutor(10) as pool:
        winners = {winner for winner in pool.map(attempt, range(20)) if winner}

    assert len(winners) == 1
    with database.reading() as session:
        task = session.get(ReadingTask, exam.task_id)
        assert (task.holder, task.fence) == (winners.pop(), 1)


def test_a_takeover_hands_over_every_word_and_fences_the_first_reader_out(database, objects):
    exam = an_exam(database, objects)
    first = _claim(database, exam.task_id, "chen")
    words = Draft(findings="右肺上叶见结节影", impression="建议增强扫描")
    with database.transaction() as session:
        keep_draft(session, exam.task_id, words, by=person(session, "chen"), fence=first.fence, now=utc_now())

    second = _claim(database, exam.task_id, "sun", takeover=True)

    assert second.fence > first.fence
    with pytest.raises(StaleFence), database.transaction() as session:
        keep_draft(
            session,
            exam.task_id,
            Draft(findings="late", impression="late"),
            by=person(session, "chen"),
            fence=first.fence,
            now=utc_now(),
        )
    with database.transaction() as session:
        task = session.get(ReadingTask, exam.task_id)
        report = report_of_task(session, task, now=utc_now())
        assert (report.findings, report.drafted_by) == ("右肺上叶见结节影", "chen")
        keep_draft(
            session,
            exam.task_id,
            Draft(findings="我的描述", impression="我的意见"),
            by=person(session, "sun"),
            fence=second.fence,
            now=utc_now(),
        )
        session.flush()
        assert [(one.username, one.findings) for one in abandoned_drafts(session, report)] == [
            ("chen", "右肺上叶见结节影")
        ]


def test_a_lease_that_ran_out_frees_the_task_and_keeps_the_draft(database, objects):
    exam = an_exam(database, objects)
    held = _claim(database, exam.task_id, "chen")

    with database.transaction() as session:
        freed = expire_leases(session, now=held.lease_until + timedelta(seconds=1))

    assert freed == 1
    with pytest.raises(StaleFence), database.transaction() as session:
        heartbeat(session, exam.task_id, by=person(session, "chen"), fence=held.fence, now=utc_now())
    assert _claim(database, exam.task_id, "sun").fence > held.fence


def test_a_reader_holds_at_most_three_leases(database, objects):
    exams = [an_exam(database, objects, images=1) for _ in range(4)]
    for exam in exams[:3]:
        _claim(database, exam.task_id, "chen")

    with pytest.raises(Refused):
        _claim(database, exams[3].task_id, "chen")


def test_next_gives_the_most_urgent_task_first(database, objects):
    routine = an_exam(database, objects, images=1)
    stroke = an_exam(database, objects, images=1, pathway="stroke")

    with database.transaction() as session:
        first = next_task(session, by=person(session, "chen"), now=utc_now())
    with database.transaction() as session:
        second = next_task(session, by=person(session, "chen"), now=utc_now())
    with database.transaction() as session:
        third = next_task(session, by=person(session, "chen"), now=utc_now())

    assert [first.task_id, second.task_id, third] == [stroke.task_id, routine.task_id, None]


def test_a_task_handed_over_to_a_colleague_is_the_colleagues_next(database, objects):
    urgent = an_exam(database, objects, images=1, priority="stat")
    routine = an_exam(database, objects, images=1)
    held = _claim(database, routine.task_id, "chen")
    with database.transaction() as session:
        hand_over(
            session,
            routine.task_id,
            by=person(session, "chen"),
            fence=held.fence,
            note="请看左肺",
            to="sun",
            now=utc_now(),
        )

    with database.transaction() as session:
        offered = next_task(session, by=person(session, "sun"), now=utc_now())

    assert offered.task_id == routine.task_id != urgent.task_id


def test_a_returned_task_opens_again_with_its_old_clock_when_new_images_come(database, objects):
    from tests.builders import a_dataset, keep, settle_exam

    exam = an_exam(database, objects)
    held = _claim(database, exam.task_id, "chen")
    with database.transaction() as session:
        opened_at = session.get(ReadingTask, exam.task_id).opened_at
        return_to_township(
            session,
            exam.task_id,
            by=person(session, "chen"),
            fence=held.fence,
            reason="motion",
            note="请屏气后重扫",
            now=utc_now(),
        )

    keep(
        database,
        objects,
        a_dataset(
            study_instance_uid=exam.study_instance_uid, accession_number=exam.accession_number, number=9
        ),
    )
    task_id = settle_exam(database, exam.study_instance_uid)

    with database.reading() as session:
        again = session.get(ReadingTask, task_id)
        assert task_id != exam.task_id
        assert (again.state, again.opened_at) == (TaskState.READY, opened_at)


def test_nobody_of_another_township_sees_or_claims_the_task(database, objects):
    exam = an_exam(database, objects)

    with pytest.raises(Missing):
        _claim(database, exam.task_id, "he")
    with database.reading() as session:
        assert tasks_for(session, person(session, "he")) == []


def test_who_may_not_see_a_task_never_hears_who_holds_it(database, objects):
    exam = an_exam(database, objects)
    held = _claim(database, exam.task_id, "chen")

    for fence in (held.fence, held.fence + 1):
        with pytest.raises(Missing) as refusal, database.transaction() as session:
            heartbeat(session, exam.task_id, by=person(session, "he"), fence=fence, now=utc_now())

        assert "chen" not in str(vars(refusal.value))


def test_a_reader_without_agreement_for_the_modality_does_not_see_it(database, objects):
    an_exam(database, objects, institution="T02", by="he", modality="MR")

    with database.reading() as session:
        assert tasks_for(session, person(session, "chen")) == []


def test_every_state_but_the_last_ones_can_be_left(database):
    leaving = {state for state, _ in TRANSITIONS}

    assert (
        set(TaskState) - leaving == {TaskState.COMPLETED, TaskState.RETURNED, TaskState.CANCELLED} - leaving
    )
    assert TaskState.COMPLETED not in leaving


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "takeover", "release", "suspend", "heartbeat", "expire", "draft", "next"]),
        st.sampled_from(["chen", "sun"]),
        st.integers(min_value=-1, max_value=0),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=ACTIONS)
def test_no_history_of_claims_lets_a_stale_fence_write(sqlite_county: tuple[Database, ObjectStore], history):
    database, objects = sqlite_county
    exam = an_exam(database, objects, images=1)
    fences: dict[str, int] = {"chen": 0, "sun": 0}
    highest = 0

    for action, username, stale in history:
        try:
            with database.transaction() as session:
                by, fence, now = person(session, username), fences[username] + stale, utc_now()
                before = session.get(ReadingTask, exam.task_id)
                may_write = before.holder == username and before.fence == fence and before.state in LEASED
                if action in ("claim", "takeover"):
                    granted = claim(session, exam.task_id, by=by, now=now, takeover=action == "takeover")
                    fences[username] = granted.fence
                elif action == "next":
                    offered = next_task(session, by=by, now=now)
                    if offered is not None and offered.task_id == exam.task_id:
                        fences[username] = offered.fence
                elif action == "expire":
                    expire_leases(session, now=now + timedelta(hours=1))
                else:
                    words = {"by": by, "fence": fence, "now": now}
                    verb = {
                        "release": partial(release, **words),
                        "heartbeat": partial(heartbeat, **words),
                        "suspend": partial(suspend, reason="consultation", **words),
                        "draft": partial(keep_draft, draft=Draft(findings="a", impression="b"), **words),
                    }[action]
                    verb(session, exam.task_id)
                    assert may_write, f"{action} went through without the fence"
        except Problem:
            pass
        with database.reading() as session:
            task = session.get(ReadingTask, exam.task_id)
            assert task.fence >= highest, "a fence never goes back"
            assert (task.holder is None) or task.state in (*LEASED, TaskState.SUSPENDED)
            highest = task.fence
