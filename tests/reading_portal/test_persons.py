"""Patients that may be one person, on the pages and by the programs' door: who sees them, and who decides."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from storage.audit import AuditEvent
from storage.database import utc_now
from storage.imaging import Patient
from storage.proposals import compare_patients
from tests.builders import ZHANG, Exam, an_order
from tests.reading_portal.conftest import Portal

HTML = {"accept": "text/html"}
REASON = "已核对身份证原件"
AT_BAISHUI = replace(ZHANG, national_id=None, name="章三")


def two_hospitals(portal: Portal) -> tuple[Exam, Exam]:
    """Zhang San was examined in Qingshi and in Baishui, where a clerk wrote his name otherwise."""
    here = portal.an_exam()
    there = portal.an_exam(institution="T02", by="he", patient=AT_BAISHUI)
    while compare_patients(portal.database, now=utc_now()):
        pass
    return here, there


def patient(portal: Portal, issuer: str, patient_id: str = "P001") -> int:
    with portal.database.reading() as session:
        return session.scalars(
            select(Patient.id).where(Patient.issuer == issuer, Patient.patient_id == patient_id)
        ).one()


def address(portal: Portal) -> str:
    return f"/api/persons/{patient(portal, 'T01')}/{patient(portal, 'T02')}"


def decided(client: httpx.Client, path: str, decision: str = "link", **words: Any) -> httpx.Response:
    """What somebody does who has just looked."""
    version = client.get(path).json().get("version", "")
    body = {"decision": decision, "reason": REASON, "version": version} | words
    return client.post(f"{path}/decision", json=body)


def test_a_proposal_says_what_speaks_for_it_and_against_it(portal: Portal) -> None:
    two_hospitals(portal)
    zhou = portal.by("zhou")

    (proposal,) = zhou.get("/api/persons/proposals").json()["items"]
    pair = zhou.get(address(portal)).json()
    person = zhou.get(f"/api/persons/{patient(portal, 'T02')}").json()

    assert (proposal["first"]["issuer"], proposal["second"]["issuer"]) == ("T01", "T02")
    assert proposal["evidence_for"] == ["same-sound", "same-birth-date", "same-sex"]
    assert (proposal["evidence_against"], proposal["rank"]) == ([], "possible")
    assert pair["possible"] == ["link", "distinct"]
    assert [one["patient"]["issuer"] for one in person["likely"]] == ["T01"]
    found = zhou.get("/api/persons/proposals", params={"patient": "zhangsan"}).json()["items"]
    assert found == [proposal]


def test_a_link_shows_the_reader_the_other_hospitals_exam_and_undoing_it_hides_it(portal: Portal) -> None:
    here, there = two_hospitals(portal)
    priors = f"/api/viewer/studies/{here.study_instance_uid}/manifest"
    zhou, chen = portal.by("zhou"), portal.by("chen")
    assert chen.get(priors).json()["priors"] == []

    linked = decided(zhou, address(portal))
    (prior,) = chen.get(priors).json()["priors"]
    undone = decided(zhou, address(portal), "undo", reason="核对有误，并非同一人")

    assert linked.json()["is_linked"] is True
    assert prior["study_instance_uid"] == there.study_instance_uid
    assert chen.get(priors).json()["priors"] == []
    (row,) = undone.json()["history"]
    assert (row["decided_by"], row["reason"], row["withdrawal_reason"]) == (
        "zhou", REASON, "核对有误，并非同一人",
    )  # fmt: skip
    with portal.database.reading() as session:
        verbs = session.scalars(
            select(AuditEvent.verb).where(AuditEvent.act == "patient-record").order_by(AuditEvent.seq)
        ).all()
    assert [verb for verb in verbs if verb != "compare"] == ["link", "unlink"]
    assert verbs.count("compare") == 2  # each patient once, for whoever looked


def test_of_two_operators_at_one_moment_one_hears_409_and_who_was_first(portal: Portal) -> None:
    two_hospitals(portal)
    path = address(portal)
    version = portal.by("zhou").get(path).json()["version"]
    bodies = [
        {"decision": decision, "reason": REASON, "version": version} for decision in ("link", "distinct")
    ]

    with ThreadPoolExecutor(2) as both:
        answers = list(both.map(lambda body: portal.by("zhou").post(f"{path}/decision", json=body), bodies))

    assert sorted(answer.status_code for answer in answers) == [200, 409]
    lost = next(answer.json() for answer in answers if answer.status_code == 409)
    assert lost["holder"] == "zhou"
    assert len(portal.by("zhou").get("/api/persons/decisions").json()["items"]) == 1


def test_he_jing_of_baishui_learns_nothing_of_qingshi(portal: Portal) -> None:
    here, there = two_hospitals(portal)
    he, path = portal.by("he"), address(portal)
    others = patient(portal, "T01")

    def nothing() -> None:
        assert he.get("/api/persons/proposals").json()["items"] == []
        assert he.get("/api/persons/decisions").json()["items"] == []
        for address_ in (path, f"/api/persons/{others}"):
            assert he.get(address_).status_code == 404
        assert decided(he, path).status_code == 404
        for page in (path.removeprefix("/api"), f"/persons/{others}"):
            assert he.get(page, headers=HTML).status_code == 404
        mine = f"/api/viewer/studies/{there.study_instance_uid}/manifest"
        assert he.get(mine).json()["priors"] == []
        listed = he.get("/persons", headers=HTML | {"X-Search": "zhangsan"}).text
        assert "青石镇卫生院" not in listed and "白水镇卫生院" in listed

    nothing()
    decided(portal.by("zhou"), path)
    nothing()
    assert he.get(f"/api/persons/{patient(portal, 'T02')}").json()["hidden"] == 1
    assert he.get(f"/api/studies/{here.study_instance_uid}").status_code == 404


def test_a_technician_decides_about_two_ids_of_the_own_hospital_only(quick_portal: Portal) -> None:
    two_hospitals(quick_portal)
    an_order(quick_portal.database, patient=replace(ZHANG, patient_id="P900"))
    ma = quick_portal.by("ma")
    own = f"/api/persons/{patient(quick_portal, 'T01')}/{patient(quick_portal, 'T01', 'P900')}"

    assert decided(ma, own).status_code == 200
    assert decided(ma, own, "undo").status_code == 200
    decided(quick_portal.by("zhou"), address(quick_portal))
    assert decided(ma, own).status_code == 403
    assert ma.get(own).json()["possible"] == []


@pytest.mark.parametrize("username", ["chen", "li", "admin", "audit", "his"])
def test_who_does_not_register_patients_does_not_come_in(quick_portal: Portal, username: str) -> None:
    two_hospitals(quick_portal)
    client, path = quick_portal.by(username), address(quick_portal)

    for asked in ("/api/persons/proposals", "/api/persons/decisions", path, "/api/persons/1", "/persons"):
        assert client.get(asked).status_code == 403
    assert decided(client, path).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {"decision": "merge", "reason": REASON, "version": "x"},
        {"decision": "link", "reason": "", "version": None},
        {"decision": "link", "reason": REASON},
        {"decision": "link", "reason": REASON, "version": "x", "more": 1},
    ],
)
def test_a_decision_that_makes_no_sense_changes_nothing(
    quick_portal: Portal, body: dict[str, object]
) -> None:
    two_hospitals(quick_portal)
    path = address(quick_portal)

    answer = quick_portal.by("zhou").post(f"{path}/decision", json=body)

    assert answer.status_code == 422
    assert quick_portal.by("zhou").get(path).json()["possible"] == ["link", "distinct"]


def test_nobody_is_found_behind_numbers_that_are_nobodys(quick_portal: Portal) -> None:
    two_hospitals(quick_portal)
    zhou, one = quick_portal.by("zhou"), patient(quick_portal, "T01")

    for path in (f"{one}/{one}", f"{one}/999", "999", "999/998"):
        assert zhou.get(f"/api/persons/{path}").status_code == 404
    assert zhou.get("/api/persons/proposals?cursor=1;2").status_code == 422


def test_the_director_compares_and_decides_on_the_page(quick_portal: Portal) -> None:
    two_hospitals(quick_portal)
    path = address(quick_portal).removeprefix("/api")
    browser, token = quick_portal.browser("zhou")

    listed = browser.get("/persons", headers=HTML).text
    page = browser.get(path, headers=HTML).text
    version = page.partition('name="version" value="')[2].partition('"')[0]
    form = {"csrf_token": token, "version": version, "decision": "link"}
    without = browser.post(f"{path}/decision", data=form | {"reason": ""}, headers=HTML)
    done = browser.post(f"{path}/decision", data=form | {"reason": REASON}, follow_redirects=False)
    late = browser.post(
        f"{path}/decision", data=form | {"decision": "distinct", "reason": "两人年龄不符"}, headers=HTML
    )
    after = browser.get("/persons", headers=HTML).text

    assert 'href="/persons"' in listed and f'data-open="{path}"' in listed and "姓名同音不同字" in listed
    assert "<mark>张三</mark>" in page and "<mark>章三</mark>" in page  # what differs is marked
    assert (without.status_code, done.headers["location"]) == (422, "/persons?said=person-decided")
    assert late.status_code == 409
    assert "您查看之后，此项已有变化" in late.text and "周正" in late.text
    assert "两人年龄不符" in late.text and "撤销关联" in late.text
    assert "暂无疑似同一人" in after and REASON in after


def test_every_page_is_there_in_english(quick_portal: Portal) -> None:
    two_hospitals(quick_portal)
    browser, _ = quick_portal.browser("zhou")
    browser.cookies.set("language", "en")
    one = patient(quick_portal, "T01")

    pages = [
        browser.get(path, headers=HTML).text
        for path in ("/persons", f"/persons/{one}", address(quick_portal).removeprefix("/api"))
    ]

    for page, said in zip(
        pages, ("May be the same person", "Compare with somebody else", "differs"), strict=True
    ):
        assert said in page and "疑似" not in page
