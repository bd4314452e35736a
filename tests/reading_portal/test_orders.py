"""Orders, studies without orders, and equivalent exams, over HTTP."""

import json
from typing import Any

import pytest

from tests.builders import a_dataset, an_exam, keep, settle_exam
from tests.reading_portal.conftest import Portal

ORDER: dict[str, Any] = {
    "institution": "T01",
    "patient": {
        "patient_id": "P001",
        "name": "张三",
        "name_phonetic": "Zhang San",
        "sex": "M",
        "birth_date": "1958-03-14",
        "national_id": "110105195803140038",
    },
    "modality": "CT",
    "body_part": "CHEST",
    "priority": "urgent",
    "clinical_information": "咳嗽两周",
}


def test_a_clinician_orders_an_exam_and_finds_it_again(portal: Portal) -> None:
    li = portal.by("li")

    placed = li.post("/api/orders", json=ORDER)
    again = li.get("/api/orders", params={"accession_number": placed.json()["accession_number"]}).json()
    full = li.get(f"/api/orders/{placed.json()['id']}").json()

    assert placed.status_code == 201, placed.text
    said = placed.json()
    assert (said["state"], said["recognition"], said["item"]) == ("ordered", [], "CT-CHEST")
    assert 0 < len(said["accession_number"]) <= 16 and said["study_instance_uid"].startswith("2.25.")
    assert [one["id"] for one in again["items"]] == [said["id"]]
    assert full["patient"]["name"] == "张三" and full["patient"]["birth_date"] == "1958-03-14"
    assert [(one["verb"], one["name"]) for one in full["history"]] == [("place", "李岚")]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"priority": "very"}, "body.priority"),
        ({"priority": True}, "body.priority"),
        ({"unknown": 1}, "body.unknown"),
        ({"scheduled_at": "2026-11-22T10:00:00"}, "body.scheduled_at"),
        ({"scheduled_at": 5}, "body.scheduled_at"),
        ({"patient": ORDER["patient"] | {"sex": "X"}}, "body.patient.sex"),
        ({"patient": ORDER["patient"] | {"name": "张\x00三"}}, "body"),
        ({"patient": ORDER["patient"] | {"name": "张\ud800三"}}, "body"),
    ],
)
def test_a_body_of_another_shape_is_refused_and_nothing_of_it_is_echoed(
    quick_portal: Portal, change: dict[str, Any], where: str
) -> None:
    answer = quick_portal.by("li").post(
        "/api/orders", content=json.dumps(ORDER | change), headers={"content-type": "application/json"}
    )

    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert any(one["where"].startswith(where) for one in answer.json()["errors"])
    assert "张" not in answer.text and "110105195803140038" not in answer.text


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"patient": ORDER["patient"] | {"national_id": "110105195803140039"}}, 422),
        ({"patient": ORDER["patient"] | {"birth_date": "1959-03-14"}}, 422),
        ({"institution": "T02"}, 403),
        ({"station_ae": "T02_CT"}, 422),
        ({"modality": "computed tomography"}, 422),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_with_its_reason(
    quick_portal: Portal, change: dict[str, Any], status: int
) -> None:
    answer = quick_portal.by("li").post("/api/orders", json=ORDER | change)

    assert answer.status_code == status, answer.text
    assert answer.json()["detail"] and "110105195803140039" not in answer.text


def test_an_equivalent_exam_is_shown_at_the_order_and_may_stand_in_for_it(portal: Portal) -> None:
    earlier = an_exam(portal.database, portal.objects)
    li = portal.by("li")

    placed = li.post("/api/orders", json=ORDER).json()
    uninformed = li.post(
        f"/api/orders/{placed['id']}/recognition",
        json={"candidate": earlier.study_instance_uid, "decision": "accept", "patient_informed": False},
    )
    accepted = li.post(
        f"/api/orders/{placed['id']}/recognition",
        json={"candidate": earlier.study_instance_uid, "decision": "accept", "patient_informed": True},
    )

    (candidate,) = placed["recognition"]
    assert candidate["candidate"] == earlier.study_instance_uid and candidate["scope"] == "county"
    assert uninformed.status_code == 422
    assert (accepted.status_code, accepted.json()["state"]) == (201, "recognised")
    full = li.get(f"/api/orders/{placed['id']}").json()
    assert full["decisions"][0]["decision"] == "accept" and full["recognition"] == []


def test_declining_takes_a_coded_reason(quick_portal: Portal) -> None:
    earlier = an_exam(quick_portal.database, quick_portal.objects)
    li = quick_portal.by("li")
    order = li.post("/api/orders", json=ORDER).json()["id"]
    said = {"candidate": earlier.study_instance_uid, "decision": "decline", "patient_informed": True}

    without = li.post(f"/api/orders/{order}/recognition", json=said)
    coded = li.post(f"/api/orders/{order}/recognition", json=said | {"reason": "condition-changed"})

    assert (without.status_code, coded.status_code) == (422, 201)
    assert li.get(f"/api/orders/{order}").json()["state"] == "ordered"


def test_a_study_without_an_order_waits_and_a_technician_matches_it_and_back(portal: Portal) -> None:
    dataset = a_dataset(patient_id="P077", patient_name="Zhang^San=张^三")
    keep(portal.database, portal.objects, dataset)
    uid = str(dataset.StudyInstanceUID)
    settle_exam(portal.database, uid)
    ma = portal.by("ma")
    order = ma.post("/api/orders", json=ORDER).json()

    (waiting,) = ma.get("/api/unmatched-studies").json()["items"]
    matched = ma.post(f"/api/studies/{uid}/match", json={"order": order["id"]})
    twice = ma.post(f"/api/studies/{uid}/match", json={"order": order["id"]})
    seen = ma.get(f"/api/studies/{uid}").json()
    back = ma.post(f"/api/studies/{uid}/unmatch")

    assert waiting["study_instance_uid"] == uid
    assert waiting["likely_orders"][0]["order"]["id"] == order["id"]
    assert "name" in waiting["likely_orders"][0]["reasons"]
    assert (matched.status_code, matched.json()["state"]) == (200, "acquired")
    assert matched.json()["study_instance_uid"] == uid
    assert twice.status_code == 409
    assert (seen["order_id"], seen["reading_task_state"]) == (order["id"], "ready")
    assert (back.status_code, back.json()["state"]) == (200, "ordered")
    assert portal.by("chen").get("/api/reading-tasks").json()["items"] == []


def test_studies_are_found_by_pinyin_and_paged(quick_portal: Portal) -> None:
    for _ in range(3):
        an_exam(quick_portal.database, quick_portal.objects, images=1)
    ma = quick_portal.by("ma")

    first = ma.get("/api/studies", params={"patient": "zhang san", "limit": 2}).json()
    second = ma.get(
        "/api/studies", params={"patient": "zs", "limit": 2, "cursor": first["next_cursor"]}
    ).json()
    nobody = ma.get("/api/studies", params={"patient": "li si"}).json()
    odd = ma.get("/api/studies", params={"cursor": "drop table"})

    uids = [one["study_instance_uid"] for page in (first, second) for one in page["items"]]
    assert len(uids) == len(set(uids)) == 3 and second["next_cursor"] is None
    assert nobody["items"] == [] and odd.status_code == 422


def test_an_order_is_cancelled_with_a_reason_and_only_once(quick_portal: Portal) -> None:
    li = quick_portal.by("li")
    order = li.post("/api/orders", json=ORDER).json()["id"]

    cancelled = li.post(f"/api/orders/{order}/cancel", json={"reason": "患者离院"})
    twice = li.post(f"/api/orders/{order}/cancel", json={"reason": "患者离院"})

    assert (cancelled.json()["state"], cancelled.json()["cancel_reason"]) == ("cancelled", "患者离院")
    assert twice.status_code == 409 and twice.json()["type"].endswith("wrong-state")
