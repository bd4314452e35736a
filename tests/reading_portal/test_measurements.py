"""Measurements are kept by the server as they are drawn, belong to their author, and are never lost."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import select

from storage.audit import AuditEvent
from tests.reading_portal.conftest import Portal
from tests.reading_portal.drawn import A_LENGTH, a_length


def _address(study: str, uid: str = A_LENGTH) -> str:
    return f"/api/studies/{study}/measurements/{uid}"


def _seen(client: httpx.Client, study: str) -> list[dict[str, Any]]:
    answer = client.get(f"/api/studies/{study}/measurements")
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_a_measurement_is_there_again_for_its_author_and_for_a_colleague(portal: Portal) -> None:
    exam = portal.an_exam()
    drawn = a_length(exam, portal.database)

    kept = portal.by("chen").put(_address(exam.study_instance_uid), json=drawn)

    assert kept.status_code == 200, kept.text
    (own,) = _seen(portal.by("chen"), exam.study_instance_uid)
    (theirs,) = _seen(portal.by("wu"), exam.study_instance_uid)
    asked = {name: own[name] for name in ("kind", "points", "calibration", "figures", "frame")}
    assert asked == {name: drawn[name] for name in asked}
    assert (own["revision"], own["is_own"], theirs["is_own"]) == (1, True, False)
    assert theirs["author_name"]


@pytest.mark.parametrize("username", ["li", "ma"])
def test_who_does_not_read_sees_no_measurement_and_is_told_that_none_is_kept(
    quick_portal: Portal, username: str
) -> None:
    exam = quick_portal.an_exam()
    address, drawn = _address(exam.study_instance_uid), a_length(exam, quick_portal.database)
    quick_portal.by("chen").put(address, json=drawn)

    seen = quick_portal.by(username).get(f"/api/studies/{exam.study_instance_uid}/measurements")
    kept = quick_portal.by(username).put(address, json=drawn)

    assert (seen.status_code, seen.json()["items"], seen.json()["keeps"]) == (200, [], False)
    assert kept.status_code == 403


def test_deleting_and_undoing_keep_one_history_with_every_step_in_the_trail(portal: Portal) -> None:
    exam = portal.an_exam()
    chen, address = portal.by("chen"), _address(exam.study_instance_uid)
    drawn = a_length(exam, portal.database)
    chen.put(address, json=drawn)

    chen.put(address, json=drawn | {"revision": 1, "points": [[10.5, 12.25], [60.5, 12.25]]})
    gone = chen.delete(f"{address}?revision=2")
    hidden = _seen(chen, exam.study_instance_uid)
    back = chen.put(address, json=drawn | {"revision": 3})

    assert (gone.json()["revision"], hidden, back.json()["revision"]) == (3, [], 4)
    with portal.database.reading() as session:
        verbs = session.scalars(
            select(AuditEvent.verb)
            .where(AuditEvent.act == "study-record", AuditEvent.actor == "chen")
            .order_by(AuditEvent.seq)
        ).all()
    assert list(verbs) == ["measure", "change-measurement", "discard-measurement", "restore-measurement"]


def test_the_same_request_sent_twice_is_kept_once(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()
    chen, address = quick_portal.by("chen"), _address(exam.study_instance_uid)
    drawn = a_length(exam, quick_portal.database)

    answers = [chen.put(address, json=drawn) for _ in range(2)]
    gone = [chen.delete(f"{address}?revision=1") for _ in range(2)]

    assert [(one.status_code, one.json()["revision"]) for one in answers] == [(200, 1), (200, 1)]
    assert [(one.status_code, one.json()["revision"]) for one in gone] == [(200, 2), (200, 2)]


def test_a_second_window_does_not_write_over_the_first(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()
    chen, address = quick_portal.by("chen"), _address(exam.study_instance_uid)
    drawn = a_length(exam, quick_portal.database)
    chen.put(address, json=drawn)
    first = {"revision": 1, "points": [[1, 1], [2, 2]]}
    chen.put(address, json=drawn | first)

    second = chen.put(address, json=drawn | {"revision": 1, "points": [[3, 3], [4, 4]]})

    assert second.status_code == 409
    assert _seen(chen, exam.study_instance_uid)[0]["points"] == first["points"]


def test_nobody_changes_or_deletes_what_a_colleague_measured(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()
    address, drawn = _address(exam.study_instance_uid), a_length(exam, quick_portal.database)
    quick_portal.by("chen").put(address, json=drawn)

    changed = quick_portal.by("wu").put(address, json=drawn | {"revision": 1})
    gone = quick_portal.by("wu").delete(f"{address}?revision=1")

    assert (changed.status_code, gone.status_code) == (403, 403)


@pytest.mark.parametrize(
    "wrong",
    [
        {"calibration": "none"},
        {"calibration": "outside_region"},
        {"sop_instance_uid": "1.2.3.4"},
        {"frame": 2},
        {"points": [[1, 1]]},
        {"points": [[1, 1], [2, 2, 3]]},
        {"points": [[1, 1], [2, 1e9]]},
        {"kind": "guess"},
        {"figures": [{"quantity": "charm", "value": 1.0, "unit": "mm"}]},
    ],
    ids=str,
)
def test_what_cannot_be_a_measurement_of_this_study_is_refused(
    quick_portal: Portal, wrong: dict[str, Any]
) -> None:
    exam = quick_portal.an_exam()

    answer = quick_portal.by("chen").put(
        _address(exam.study_instance_uid), json=a_length(exam, quick_portal.database, **wrong)
    )

    assert answer.status_code == 422, answer.text
    assert _seen(quick_portal.by("chen"), exam.study_instance_uid) == []
