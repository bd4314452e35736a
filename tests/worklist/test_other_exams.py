"""What came before an exam and what came after it: by when they were made, not by when they arrived."""

from storage.database import Database
from storage.imaging import Study
from storage.objects import ObjectStore
from tests.builders import a_dataset, an_exam, keep
from tests.cast import person
from tests.signing import sign
from worklist.other_exams import other_exams
from worklist.people import who

SHANGHAI = "Asia/Shanghai"


def kept(database: Database, objects: ObjectStore, study_date: str, study_time: str = "083000") -> str:
    """Another exam of the same patient, made at this moment, arriving now; its Study Instance UID."""
    dataset = a_dataset()
    dataset.StudyDate, dataset.StudyTime = study_date, study_time
    keep(database, objects, dataset)
    return str(dataset.StudyInstanceUID)


def around(
    database: Database, study_instance_uid: str, username: str = "chen"
) -> tuple[list[str], list[str]]:
    with database.reading() as session:
        study = session.query(Study).filter_by(study_instance_uid=study_instance_uid).one()
        seen_by = who(person(session, username))
        earlier, later = other_exams(session, study, timezone=SHANGHAI, seen_by=seen_by)
        return [one.study_instance_uid for one in earlier], [one.study_instance_uid for one in later]


def test_an_old_exam_that_arrives_last_is_an_earlier_one(database, objects):
    this = kept(database, objects, "20251108")

    years_ago, before = kept(database, objects, "20190301"), kept(database, objects, "20251001")
    after = kept(database, objects, "20251201")

    assert around(database, this) == ([before, years_ago], [after])
    assert around(database, years_ago) == ([], [after, this, before])


def test_the_same_day_is_parted_by_the_clock_and_the_same_minute_by_arrival(database, objects):
    afternoon = kept(database, objects, "20251108", "150000")
    morning = kept(database, objects, "20251108", "090000")
    again = kept(database, objects, "20251108", "150000")

    assert around(database, afternoon) == ([morning], [again])
    assert around(database, again) == ([afternoon, morning], [])


def test_who_may_not_see_an_exam_is_not_told_of_it(database, objects):
    this, other = kept(database, objects, "20251108"), kept(database, objects, "20251001")

    assert around(database, this, "li") == ([other], [])
    assert around(database, this, "he") == ([], [])


def test_a_report_is_not_compared_with_an_exam_of_the_future(database, objects):
    exam = an_exam(database, objects)
    kept(database, objects, "20990101")
    kept(database, objects, "20190301")

    version = sign(database, objects, exam.task_id, "chen")

    assert version.content["comparison"].startswith("2019-03-01")
