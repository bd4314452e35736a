"""How complete a study is, said wherever it is shown; and images that come after somebody has looked."""

from __future__ import annotations

import re

import pytest

from storage import changes
from storage.database import utc_now
from storage.imaging import Study
from tests.builders import a_dataset, a_manifest, keep, settle_exam
from tests.cast import password_of
from tests.reading_portal.conftest import FINDINGS, Portal
from worklist.arrivals import settle_studies, weigh_lists
from worklist.policy import Policy
from worklist.reading_tasks import task_of

HTML = {"accept": "text/html"}
QUIET = Policy().quiet


def late_image(portal: Portal, exam) -> None:
    dataset = a_dataset(
        study_instance_uid=exam.study_instance_uid, accession_number=exam.accession_number, number=9
    )
    keep(portal.database, portal.objects, dataset)


def listed(portal: Portal, exam, *uids: str) -> None:
    """The gateway lists these as the study's; time passes."""
    keep(portal.database, portal.objects, a_manifest(exam.study_instance_uid, uids))
    with portal.database.transaction() as session:
        weigh_lists(session, now=utc_now())
        settle_studies(session, now=utc_now() + QUIET * 16, quiet=QUIET)


def text(client, path: str) -> str:
    answer = client.get(path, headers=HTML)
    assert answer.status_code == 200, (path, answer.text)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))


@pytest.mark.parametrize(
    ("names", "sentence", "in_a_list", "counted"),
    [
        (None, "按静默推定完整", "静默推定", None),
        ([], "经网关清单核对完整", None, "应有 2 幅，已到 2 幅"),
        (["1.2.3.4"], "图像不全", "图像不全 2/3", "应有 3 幅，已到 2 幅"),
    ],
)
def test_how_a_study_is_known_to_be_complete_is_said_wherever_it_is_seen(
    quick_portal, names, sentence, in_a_list, counted
):
    exam = quick_portal.an_exam()
    if names is not None:
        listed(quick_portal, exam, *exam.sop_instance_uids, *names)
    reader, technician = quick_portal.by("chen"), quick_portal.by("ma")

    pages = [
        text(reader, f"/reading/{exam.task_id}"),
        text(technician, f"/orders/{exam.order_id}"),
        text(technician, f"/studies/{exam.study_instance_uid}"),
    ]
    lists = [text(reader, "/worklist/rows"), text(technician, "/exams/rows")]
    seen = reader.get(f"/api/studies/{exam.study_instance_uid}").json()

    for page in pages:
        assert sentence in page
        assert counted is None or counted in page
    for one in lists:
        assert in_a_list in one if in_a_list else "静默" not in one and "图像不全" not in one
    assert (
        seen["settled_by"]
        == {None: "quiet", 0: "manifest", 1: "quiet-incomplete"}[None if names is None else len(names)]
    )
    assert (seen["expected_instances"], seen["missing_instances"]) == (
        (None, 0) if names is None else (2 + len(names), len(names))
    )


def test_a_study_that_nobody_ordered_says_how_complete_it_is_too(quick_portal):
    kept = keep(quick_portal.database, quick_portal.objects, a_dataset())
    settle_exam(quick_portal.database, kept.study_instance_uid)

    assert "按静默推定完整" in text(quick_portal.by("ma"), "/unmatched")


def test_whoever_has_the_exam_open_is_told_and_signs_only_what_was_looked_at(quick_portal):
    exam = quick_portal.an_exam()
    reader = quick_portal.by("chen")
    fence = quick_portal.written(exam)
    seen = reader.get(f"{quick_portal.task(exam)}").json()["study_version"]
    words = {"fence": fence, "study_version": seen, "password": password_of("chen")}

    late_image(quick_portal, exam)
    told = text(reader, f"/reading/{exam.task_id}/arrival?seen={seen}")
    refused = reader.post(f"{quick_portal.task(exam)}/sign", json=words)
    in_list = text(reader, "/worklist/rows")
    words["study_version"] = reader.get(f"{quick_portal.task(exam)}").json()["study_version"]
    quiet_again = text(reader, f"/reading/{exam.task_id}/arrival?seen={words['study_version']}")
    signed = reader.post(f"{quick_portal.task(exam)}/sign", json=words)

    assert "您打开检查后又有新图像到达" in told
    assert "您打开检查后又有新图像到达" not in quiet_again
    assert (refused.status_code, signed.status_code) == (409, 200)
    assert "图像仍在接收" in in_list and "有新图像" in in_list


def test_images_that_go_on_coming_are_each_noticed(quick_portal):
    exam = quick_portal.an_exam()
    reader, versions = quick_portal.by("chen"), []

    for _ in range(3):
        late_image(quick_portal, exam)
        versions.append(reader.get(f"{quick_portal.task(exam)}").json()["study_version"])

    assert versions == [2, 3, 4]


def test_images_after_the_signature_are_said_at_home_and_verified_by_a_reader(portal):
    exam = portal.an_exam()
    report = portal.signed(exam)["report_id"]
    clinician, reader = portal.by("li"), portal.by("sun")
    before = text(clinician, f"/reports/{report}")

    late_image(portal, exam)
    task_id = settle_exam(portal.database, exam.study_instance_uid)
    page, results = text(clinician, f"/reports/{report}"), text(clinician, "/results/list")
    exams, rows = text(portal.by("ma"), "/exams/rows?view=all"), text(reader, "/worklist/rows")
    summary = clinician.get(f"/api/reports/{report}").json()
    task = f"/api/reading-tasks/{task_id}"
    reading = text(reader, f"/reading/{task_id}")
    claim = reader.post(f"{task}/claim", json={}).json()
    draft = reader.get(f"/reading/{task_id}/draft").json()["draft"]
    signed = reader.post(f"{task}/sign", json={"fence": claim["fence"], "password": password_of("sun")})

    assert "签发后又有图像到达" not in before
    assert "签发后又有图像到达" in page and "核对报告是否仍然成立" in page
    for one in (results, exams, rows):
        assert "签发后有新图像" in one or "签发后新增图像" in one, one
    assert summary["has_later_images"] is True
    assert "签名后" in reading or "签发后" in reading
    assert draft["findings"] == FINDINGS
    assert (signed.status_code, signed.json()["status"]) == (200, "amended")
    assert "签发后又有图像到达" not in text(clinician, f"/reports/{report}")
    assert clinician.get(f"/api/reports/{report}").json()["has_later_images"] is False
    with portal.database.reading() as session:
        study = session.query(Study).filter_by(study_instance_uid=exam.study_instance_uid).one()
        assert task_of(session, study).state == "completed"


def test_a_study_that_gets_another_patient_is_told_and_signed_only_by_who_has_seen_it(quick_portal):
    exam = quick_portal.an_exam()
    reader, technician = quick_portal.by("chen"), quick_portal.by("ma")
    fence = quick_portal.written(exam)
    task = reader.get(quick_portal.task(exam)).json()
    words = {"fence": fence, "study_mark": task["study_mark"], "password": password_of("chen")}
    look = f"/reading/{exam.task_id}/arrival?seen={task['study_version']}&mark={task['study_mark']}"

    before = text(reader, look)
    technician.post(
        f"/api/studies/{exam.study_instance_uid}/corrections",
        json={"reason": "姓名登记有误", "version": 0, "name": "Wang^Wu=王五"},
    ).raise_for_status()
    told = text(reader, look)
    refused = reader.post(f"{quick_portal.task(exam)}/sign", json=words)
    words["study_mark"] = reader.get(quick_portal.task(exam)).json()["study_mark"]
    signed = reader.post(f"{quick_portal.task(exam)}/sign", json=words)

    assert "更正" not in before
    assert "您打开检查后其信息已被更正" in told and "王五" in told
    assert (refused.status_code, signed.status_code) == (409, 200)
    assert (
        refused.json()["detail"] == "this exam was corrected after it was opened; look at it and sign again"
    )


def test_the_pages_of_all_studies_of_a_patient_hear_that_the_name_was_corrected(quick_portal):
    exam, other = quick_portal.an_exam(), quick_portal.an_exam()
    quick_portal.by("ma").post(
        f"/api/studies/{exam.study_instance_uid}/corrections",
        json={"reason": "姓名登记有误", "version": 0, "name": "Wang^Wu=王五"},
    ).raise_for_status()

    with quick_portal.database.reading() as session:
        told = {one.subject for one in changes.since(session, 0) if one.verb == "corrected"}

    assert told == {f"study:{one.study_instance_uid}" for one in (exam, other)}


def test_whoever_writes_about_a_study_that_is_another_patient_s_is_told_whose_it_is(quick_portal):
    exam = quick_portal.an_exam()
    reader = quick_portal.by("chen")
    fence = quick_portal.written(exam)
    task = reader.get(quick_portal.task(exam)).json()

    quick_portal.by("ma").post(
        f"/api/studies/{exam.study_instance_uid}/corrections",
        json={"reason": "选错了患者", "version": 0, "patient_id": "P777", "name": "Wang^Wu=王五"},
    ).raise_for_status()
    mark = f"seen={task['study_version']}&mark={task['study_mark']}"
    told = text(reader, f"/reading/{exam.task_id}/arrival?{mark}")
    refused = reader.post(
        f"{quick_portal.task(exam)}/sign",
        json={"fence": fence, "study_mark": task["study_mark"], "password": password_of("chen")},
    )

    assert "您打开检查后其信息已被更正" in told and "王五" in told and "P777" in told
    assert refused.status_code == 409
