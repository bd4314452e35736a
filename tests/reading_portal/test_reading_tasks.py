"""A reader's day over HTTP: claim, write, sign; and what the second reader hears."""

from dataclasses import replace

from reading_portal.problems import MEDIA_TYPE
from tests.builders import ZHANG
from tests.cast import password_of
from tests.reading_portal.conftest import FINDINGS, IMPRESSION, Portal


def test_a_reader_claims_writes_and_signs(portal: Portal) -> None:
    exam = portal.an_exam(priority="urgent")
    chen = portal.by("chen")

    (task,) = chen.get("/api/reading-tasks", params={"state": "ready"}).json()["items"]
    claimed = chen.post(f"/api/reading-tasks/{exam.task_id}/claim", json={}).json()
    again = chen.post(f"/api/reading-tasks/{exam.task_id}/claim").json()
    kept = chen.put(
        f"/api/reading-tasks/{exam.task_id}/report",
        json={"fence": claimed["fence"], "findings": FINDINGS, "impression": IMPRESSION},
    ).json()
    signed = chen.post(
        f"/api/reading-tasks/{exam.task_id}/sign",
        json={"fence": claimed["fence"], "password": password_of("chen")},
    )

    assert task["study_instance_uid"] == exam.study_instance_uid
    assert task["accession_number"] == exam.accession_number and task["priority"] == "urgent"
    assert again["fence"] == claimed["fence"]
    assert kept == {"revision": 1, "unprintable": [], "doubts": []}
    assert signed.status_code == 200, signed.text
    assert signed.json() | {"report_id": 0} == {"report_id": 0, "version": 1, "status": "final"}
    assert chen.get(f"/api/reading-tasks/{exam.task_id}").json()["state"] == "completed"


def test_a_second_reader_cannot_claim_a_claimed_task(portal: Portal) -> None:
    exam = portal.an_exam()
    first = portal.by("chen").post(f"/api/reading-tasks/{exam.task_id}/claim", json={})

    second = portal.by("wu").post(f"/api/reading-tasks/{exam.task_id}/claim", json={})

    assert first.status_code == 200
    assert second.status_code == 409 and second.headers["content-type"] == MEDIA_TYPE
    assert second.json()["type"] == "urn:reading-center:problem:lost-race"
    assert second.json()["holder"] == "chen" and second.json()["since"].endswith("Z")


def test_a_stale_fence_is_refused_and_the_text_that_was_written_before_stands(portal: Portal) -> None:
    exam = portal.an_exam()
    old = portal.written(exam, by="chen")
    wu = portal.by("wu")
    new = wu.post(f"/api/reading-tasks/{exam.task_id}/claim", json={"takeover": True}).json()["fence"]
    wu.put(
        f"/api/reading-tasks/{exam.task_id}/report",
        json={"fence": new, "findings": "吴敏所见", "impression": "吴敏印象"},
    )

    late = portal.by("chen").put(
        f"/api/reading-tasks/{exam.task_id}/report",
        json={"fence": old, "findings": "迟到的话", "impression": "迟到的话"},
    )
    steps = {
        verb: portal.by("chen").post(f"/api/reading-tasks/{exam.task_id}/{verb}", json={"fence": old} | more)
        for verb, more in {
            "heartbeat": {},
            "release": {},
            "return": {"reason": "motion", "note": ""},
            "suspend": {"reason": "break"},
            "hand-over": {"note": "请接手"},
            "sign": {"password": password_of("chen")},
        }.items()
    }

    assert new > old
    assert late.status_code == 409 and late.json()["type"] == "urn:reading-center:problem:stale-fence"
    assert late.json()["holder"] == "wu" and "claim again" in late.json()["remedy"]
    assert {verb: answer.status_code for verb, answer in steps.items()} == dict.fromkeys(steps, 409)
    report_id = wu.get(f"/api/reading-tasks/{exam.task_id}").json()["report_id"]
    assert wu.get(f"/api/reports/{report_id}").json()["draft"]["findings"] == "吴敏所见"


def test_next_answers_the_most_urgent_task_and_204_when_nothing_waits(portal: Portal) -> None:
    portal.an_exam(priority="routine")
    urgent = portal.an_exam(priority="stat", patient=replace(ZHANG, patient_id="P002"))
    chen = portal.by("chen")

    first = chen.post("/api/reading-tasks/next")
    chen.post("/api/reading-tasks/next")
    nothing = chen.post("/api/reading-tasks/next")

    assert first.json()["id"] == urgent.task_id and first.json()["fence"] >= 1
    assert nothing.status_code == 204


def test_a_modality_that_takes_two_people_is_final_only_after_the_second(portal: Portal) -> None:
    exam = portal.an_exam(modality="MR", body_part="BRAIN", images=1)
    signed = portal.signed(exam)
    wu = portal.by("wu")
    own = portal.by("chen").post(f"/api/reading-tasks/{exam.task_id}/claim", json={})
    fence = wu.post(f"/api/reading-tasks/{exam.task_id}/claim", json={}).json()["fence"]

    approved = wu.post(
        f"/api/reading-tasks/{exam.task_id}/review",
        json={"fence": fence, "decision": "approve", "note": "", "password": password_of("wu")},
    )

    assert signed["status"] == "preliminary"
    assert own.status_code == 403
    assert approved.status_code == 200, approved.text
    assert (approved.json()["version"], approved.json()["status"]) == (2, "final")
    versions = wu.get(f"/api/reports/{signed['report_id']}/versions").json()["items"]
    assert [(one["standing"], one["author"], one["reviewer"]) for one in versions] == [
        ("superseded", "chen", None),
        ("current", "chen", "wu"),
    ]


def test_a_rejected_report_goes_back_to_the_readers_with_its_words(portal: Portal) -> None:
    exam = portal.an_exam(modality="MR", body_part="BRAIN", images=1)
    signed = portal.signed(exam)
    wu = portal.by("wu")
    fence = wu.post(f"/api/reading-tasks/{exam.task_id}/claim", json={}).json()["fence"]

    wrong = wu.post(
        f"/api/reading-tasks/{exam.task_id}/review",
        json={"fence": fence, "decision": "reject", "note": "请补充左侧", "password": "not-the-password"},
    )
    rejected = wu.post(
        f"/api/reading-tasks/{exam.task_id}/review",
        json={"fence": fence, "decision": "reject", "note": "请补充左侧", "password": password_of("wu")},
    )

    assert wrong.status_code == 403
    assert rejected.json() == {"report_id": signed["report_id"], "version": 1, "status": "preliminary"}
    task = portal.by("chen").get(f"/api/reading-tasks/{exam.task_id}").json()
    assert (task["state"], task["note"]) == ("ready", "请补充左侧")


def test_signing_with_a_wrong_password_signs_nothing_and_the_sixth_attempt_has_to_wait(
    portal: Portal,
) -> None:
    exam = portal.an_exam()
    fence = portal.written(exam)
    chen = portal.by("chen")

    codes = [
        chen.post(
            f"/api/reading-tasks/{exam.task_id}/sign", json={"fence": fence, "password": "not-the-password"}
        ).status_code
        for _ in range(6)
    ]

    assert codes == [403, 403, 403, 403, 403, 429]
    task = chen.get(f"/api/reading-tasks/{exam.task_id}").json()
    assert task["state"] == "claimed"


def test_a_character_that_no_face_can_print_is_said_while_writing_and_refused_when_signing(
    quick_portal: Portal,
) -> None:
    exam = quick_portal.an_exam()
    chen = quick_portal.by("chen")
    fence = quick_portal.written(exam)

    kept = chen.put(
        f"/api/reading-tasks/{exam.task_id}/report",
        json={"fence": fence, "findings": "患者 😀 可", "impression": "未见异常"},
    ).json()
    refused = chen.post(
        f"/api/reading-tasks/{exam.task_id}/sign", json={"fence": fence, "password": password_of("chen")}
    )

    assert len(kept["unprintable"]) == 1
    assert refused.status_code == 422
    assert refused.json()["type"] == "urn:reading-center:problem:unprintable"
    assert refused.json()["characters"] == kept["unprintable"]


def test_tasks_are_paged_most_urgent_first(quick_portal: Portal) -> None:
    for number, priority in enumerate(("routine", "stat", "urgent", "asap", "routine")):
        patient = replace(ZHANG, patient_id=f"P10{number}")
        quick_portal.an_exam(priority=priority, patient=patient, images=1)
    chen = quick_portal.by("chen")

    first = chen.get("/api/reading-tasks", params={"limit": 2}).json()
    second = chen.get("/api/reading-tasks", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    third = chen.get("/api/reading-tasks", params={"limit": 2, "cursor": second["next_cursor"]}).json()

    seen = [one["priority"] for page in (first, second, third) for one in page["items"]]
    assert seen == ["stat", "asap", "urgent", "routine", "routine"]
    assert third["next_cursor"] is None


def test_a_suspended_task_stays_with_its_reader_and_a_returned_one_goes_home(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()
    chen, task = quick_portal.by("chen"), f"/api/reading-tasks/{exam.task_id}"

    fence = chen.post(f"{task}/claim", json={}).json()["fence"]
    suspended = chen.post(f"{task}/suspend", json={"fence": fence, "reason": "prior-needed"}).json()
    resumed = chen.post(f"{task}/claim", json={}).json()
    returned = chen.post(
        f"{task}/return", json={"fence": resumed["fence"], "reason": "motion", "note": "呼吸运动伪影"}
    )

    assert (suspended["state"], suspended["holder"]) == ("suspended", "chen")
    assert returned.status_code == 200, returned.text
    assert (returned.json()["state"], returned.json()["reason"]) == ("returned", "motion")
