"""Work for later is done, once a worker lives; never by two who both believe in their lease."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select

from storage import jobs
from storage.database import utc_now
from storage.jobs import Job, JobState
from worklist.worker import PermanentFailure, run_job


def _enqueue(database, key: str = "one", **words) -> None:
    with database.transaction() as session:
        jobs.enqueue(session, "test", key, {"key": key}, **words)


def _claim(database, owner: str, *, later: timedelta = timedelta(0)) -> Job | None:
    with database.transaction() as session:
        return jobs.claim(session, ["test"], owner=owner, now=utc_now() + later)


def _job(database) -> Job:
    with database.reading() as session:
        return session.scalar(select(Job))


def test_a_job_of_a_rolled_back_cause_does_not_exist(database):
    with pytest.raises(RuntimeError), database.transaction() as session:
        jobs.enqueue(session, "test", "one", {})
        raise RuntimeError

    assert _job(database) is None


def test_the_same_work_twice_is_one_job(database):
    _enqueue(database)
    _enqueue(database)

    assert _claim(database, "a") is not None
    assert _claim(database, "a") is None


def test_forty_jobs_and_eight_workers_do_each_once(database):
    for number in range(40):
        _enqueue(database, str(number))
    done: list[str] = []

    def work(number: int) -> None:
        owner = f"worker-{number}"
        while run_job(database, {"test": lambda job: done.append(job.payload["key"])}, owner=owner):
            pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    assert sorted(done, key=int) == [str(number) for number in range(40)]


def test_a_worker_that_died_loses_its_job_to_another(database):
    _enqueue(database)
    dead = _claim(database, "dead")

    second = _claim(database, "alive", later=jobs.LEASE + timedelta(seconds=1))

    assert second.id == dead.id
    with database.transaction() as session:
        assert not jobs.finish(session, dead, now=utc_now())
        assert jobs.finish(session, second, now=utc_now())


def test_a_failure_is_tried_again_later_and_given_up_when_patience_ends(database):
    _enqueue(database, patience=timedelta(seconds=1))

    def fail(job: Job) -> None:
        raise ConnectionError("the receiver is off")

    run_job(database, {"test": fail}, owner="a")

    job = _job(database)
    assert (job.state, job.attempts) == (JobState.DEAD, 1)
    assert job.last_error == "ConnectionError: the receiver is off"


def test_a_failure_that_quotes_a_patient_is_kept_without_its_words(database):
    _enqueue(database)

    def fail(job: Job) -> None:
        raise ValueError("张三 19600101 is no name")

    run_job(database, {"test": fail}, owner="a")

    assert _job(database).last_error == "ValueError: the worker's log says where"


def test_an_error_of_the_system_is_kept_without_the_path_that_it_names(database):
    _enqueue(database)

    def fail(job: Job) -> None:
        raise FileNotFoundError(2, "No such file or directory", "/data/patients/张三.pdf")

    run_job(database, {"test": fail}, owner="a")

    assert _job(database).last_error == "FileNotFoundError: No such file or directory"


def test_a_permanent_failure_is_not_tried_again_until_somebody_says_so(database):
    _enqueue(database)

    def fail(job: Job) -> None:
        raise PermanentFailure("the receiver is not declared")

    run_job(database, {"test": fail}, owner="a")
    assert _job(database).state == JobState.DEAD

    with database.transaction() as session:
        assert jobs.revive(session, _job(database).id, now=utc_now())
    assert _claim(database, "a") is not None
