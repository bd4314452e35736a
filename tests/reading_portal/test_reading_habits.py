"""How somebody likes to read is kept on the server: the keys, and what hangs where."""

from typing import Any

import pytest

from tests.reading_portal.conftest import Portal

KEYS, HANGINGS = "/api/viewer/shortcuts", "/api/viewer/hangings"
LUNG_BESIDE_MEDIASTINUM: dict[str, Any] = {
    "for_department": False,
    "version": None,
    "name": "胸部双窗",
    "modality": "CT",
    "body_part": "chest",
    "laterality": "",
    "views": [],
    "layout": "1x2",
    "cells": [
        {
            "source": 0,
            "standing": "current",
            "modality": "CT",
            "laterality": "",
            "view": "",
            "plane": "axial",
            "description": "肺窗",
            "window": 2,
        },
        None,
    ],
}


def test_keys_follow_their_reader_and_nobody_else(portal: Portal) -> None:
    mine = {"length": ["D"], "angle": ["Shift+D", "Ctrl+ArrowUp"]}

    assert portal.by("chen").put(KEYS, json={"keys": mine}).status_code == 204

    assert portal.by("chen").get(KEYS).json() == {"keys": mine}
    assert portal.by("wu").get(KEYS).json() == {"keys": {}}
    portal.by("chen").put(KEYS, json={"keys": {}})
    assert portal.by("chen").get(KEYS).json() == {"keys": {}}


@pytest.mark.parametrize(
    "keys",
    [
        {"length": ["D"], "angle": ["D"]},
        {"length": ["two keys"]},
        {"length": ["<script>"]},
        {"Length; drop": ["D"]},
        {"length": ["A", "B", "C", "D", "E"]},
        {"length": "D"},
    ],
    ids=str,
)
def test_a_key_that_is_none_or_would_do_two_things_is_refused(
    quick_portal: Portal, keys: dict[str, Any]
) -> None:
    assert quick_portal.by("chen").put(KEYS, json={"keys": keys}).status_code == 422
    assert quick_portal.by("chen").get(KEYS).json() == {"keys": {}}


def test_a_hanging_is_found_by_who_saved_it_and_takes_the_place_of_the_one_before(portal: Portal) -> None:
    first = portal.by("chen").put(HANGINGS, json=LUNG_BESIDE_MEDIASTINUM)
    again = portal.by("chen").put(HANGINGS, json=LUNG_BESIDE_MEDIASTINUM | {"name": "肺与纵隔"})

    assert (first.status_code, again.status_code) == (200, 200)
    kept = portal.by("chen").get(HANGINGS).json()["hangings"]
    assert [(one["name"], one["version"]) for one in kept] == [("肺与纵隔", 2)]
    assert kept[0]["cells"] == LUNG_BESIDE_MEDIASTINUM["cells"]
    assert portal.by("sun").get(HANGINGS).json()["hangings"] == []
    assert portal.by("sun").delete(f"{HANGINGS}/{kept[0]['id']}").status_code == 404
    assert portal.by("chen").delete(f"{HANGINGS}/{kept[0]['id']}").status_code == 204
    assert portal.by("chen").get(HANGINGS).json()["hangings"] == []


def test_a_department_s_hanging_is_everybody_s_there_and_its_answerable_people_s_to_change(
    portal: Portal,
) -> None:
    ours = LUNG_BESIDE_MEDIASTINUM | {"for_department": True}
    assert portal.by("chen").put(HANGINGS, json=ours).status_code == 403
    kept = portal.by("wu").put(HANGINGS, json=ours).json()

    assert kept["for_department"] is True
    assert [one["name"] for one in portal.by("chen").get(HANGINGS).json()["hangings"]] == ["胸部双窗"]
    assert portal.by("chen").get(HANGINGS).json()["may_hang_for_department"] is False
    assert portal.by("ma").get(HANGINGS).json()["hangings"] == []
    assert portal.by("chen").delete(f"{HANGINGS}/{kept['id']}").status_code == 403


def test_who_did_not_see_the_department_s_newest_hanging_does_not_write_over_it(portal: Portal) -> None:
    ours = LUNG_BESIDE_MEDIASTINUM | {"for_department": True}
    version = portal.by("wu").put(HANGINGS, json=ours).json()["version"]
    portal.by("zhou").put(HANGINGS, json=ours | {"version": version, "name": "主任的"}).raise_for_status()

    late = portal.by("wu").put(HANGINGS, json=ours | {"version": version, "name": "吴敏的"})

    assert (late.status_code, late.json()["holder"]) == (409, "zhou")
    assert [one["name"] for one in portal.by("wu").get(HANGINGS).json()["hangings"]] == ["主任的"]


@pytest.mark.parametrize(
    "nonsense",
    [
        {"layout": "5x1"},
        {"layout": "2x2"},
        {"name": " "},
        {"cells": [None]},
        {"laterality": "X"},
        {"more": 1},
    ],
    ids=str,
)
def test_a_hanging_without_sense_is_refused(quick_portal: Portal, nonsense: dict[str, Any]) -> None:
    answer = quick_portal.by("chen").put(HANGINGS, json=LUNG_BESIDE_MEDIASTINUM | nonsense)

    assert answer.status_code == 422
    assert quick_portal.by("chen").get(HANGINGS).json()["hangings"] == []
