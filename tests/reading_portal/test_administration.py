"""What an administrator does on the pages, and that the world outside hears it: devices, people, jobs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from dicom_node.node import Node, build_node
from storage import device_figures, jobs
from storage.database import utc_now
from storage.device_figures import EDGES, NodeState
from storage.instances import find_instance
from storage.institutions import Service
from storage.jobs import Job, JobState
from storage.scrub import examine
from tests import builders
from tests.damage import flip_a_byte
from tests.dicom_node.conftest import settings_for
from tests.dicom_node.devices import dcmtk
from tests.pairs import Pair
from tests.reading_portal.conftest import Portal
from worklist.people import Practitioner

HTML = {"accept": "text/html"}
PASSWORD = re.compile(r"<code>([a-z2-9]{4}(?:-[a-z2-9]{4}){3})</code>")


@pytest.fixture
def node(quick_portal: Portal, sqlite_pair: Pair, tmp_path: Path) -> Iterator[Node]:
    """The node of the centre whose portal this is."""
    opened = build_node(settings_for(sqlite_pair, tmp_path), quick_portal.database, quick_portal.objects)
    opened.start()
    try:
        yield opened
    finally:
        opened.stop()


def is_admitted(node: Node, title: str) -> bool:
    return dcmtk("echoscu", calling=title, node=node)[0] == 0


def a_device(token: str, **words: object) -> dict[str, object]:
    return {
        "csrf_token": token, "ae_title": "T01_NEW", "institution": "T01", "modality": "CT",
        "host": "127.0.0.1", "port": "", "may": list(Service), "is_active": "true",
    } | words  # fmt: skip


def test_a_device_that_was_added_on_the_page_is_admitted_at_once(quick_portal: Portal, node: Node) -> None:
    browser, token = quick_portal.browser("admin")
    assert not is_admitted(node, "T01_NEW")

    added = browser.post("/admin/devices/new", data=a_device(token), follow_redirects=False)

    assert added.headers["location"] == "/admin/devices?said=device-added"
    assert is_admitted(node, "T01_NEW")
    assert "T01_NEW" in browser.get("/admin/devices", headers=HTML).text


def test_a_device_calls_from_its_declared_address_or_not_at_all(quick_portal: Portal, node: Node) -> None:
    browser, token = quick_portal.browser("admin")
    browser.post("/admin/devices/new", data=a_device(token))

    browser.post("/admin/devices/T01_NEW", data=a_device(token, host="192.0.2.7"))
    was_admitted = is_admitted(node, "T01_NEW")
    browser.post("/admin/devices/T01_NEW", data=a_device(token, host="*"))

    assert not was_admitted
    assert is_admitted(node, "T01_NEW")


def test_a_device_that_was_turned_off_is_refused_and_the_page_says_why(
    quick_portal: Portal, node: Node
) -> None:
    browser, token = quick_portal.browser("admin")

    browser.post("/admin/devices/T01_CT", data=a_device(token, is_active="false"))
    was_admitted = is_admitted(node, "T01_CT")
    node.stop()  # what it heard is written down by now

    assert not was_admitted
    assert "主叫 AE 标题未登记" in browser.get("/admin/connections", headers=HTML).text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"ae_title": "T01_CT"}, "该 AE 标题已被使用"),
        ({"port": "99999"}, "端口"),
        ({"host": "not a host"}, "主机"),
        ({"certificate_sha256": "12"}, "SHA-256"),
    ],
)
def test_a_mistake_brings_the_form_back_with_every_word(
    quick_portal: Portal, words: dict[str, str], said: str
) -> None:
    browser, token = quick_portal.browser("admin")

    answer = browser.post("/admin/devices/new", data=a_device(token, modality="ZZ") | words, headers=HTML)

    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert said in answer.text
    assert 'value="ZZ"' in answer.text
    assert '<option value="T01" selected>' in answer.text


def test_a_device_with_a_slash_in_its_title_has_its_page(quick_portal: Portal) -> None:
    browser, token = quick_portal.browser("admin")
    browser.post("/admin/devices/new", data=a_device(token, ae_title="CT/2"))

    page = browser.get("/admin/devices/CT/2", headers=HTML)

    assert page.status_code == 200
    assert 'value="CT/2"' in page.text


def test_a_new_password_is_shown_once_and_ends_the_old_one_with_its_sessions(
    quick_portal: Portal,
) -> None:
    browser, token = quick_portal.browser("admin")
    li, _ = quick_portal.browser("li")

    shown = browser.post("/admin/people/li/password", data={"csrf_token": token})
    password = PASSWORD.search(shown.text)

    assert password is not None
    assert shown.headers["cache-control"] == "no-store"
    assert not PASSWORD.search(browser.get("/admin/people/li", headers=HTML).text)
    assert li.get("/results", headers=HTML, follow_redirects=False).status_code == 303
    for words, status in ((password[1], 303), ("li-password", 403)):
        answer = quick_portal.stranger().post(
            "/sign-in", data={"username": "li", "password": words}, follow_redirects=False
        )
        assert answer.status_code == status


def test_an_account_is_unlocked_again(quick_portal: Portal) -> None:
    browser, token = quick_portal.browser("admin")

    for is_active, status in (("false", 403), ("true", 303)):
        browser.post("/admin/people/li/active", data={"csrf_token": token, "is_active": is_active})
        answer = quick_portal.stranger().post(
            "/sign-in", data={"username": "li", "password": "li-password"}, follow_redirects=False
        )
        assert answer.status_code == status


def test_a_lost_telephone_is_turned_off_by_the_administrator(quick_portal: Portal) -> None:
    with quick_portal.database.transaction() as session:
        session.get_one(Practitioner, "li").otp_secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    browser, token = quick_portal.browser("admin")
    assert "one-time-code" in browser.get("/admin/people/li", headers=HTML).text

    browser.post("/admin/people/li/one-time-code", data={"csrf_token": token})

    answer = quick_portal.stranger().post(
        "/sign-in", data={"username": "li", "password": "li-password"}, follow_redirects=False
    )
    assert answer.status_code == 303


def test_the_page_says_why_a_job_is_stuck_and_sends_it_round_again(quick_portal: Portal) -> None:
    browser, token = quick_portal.browser("admin")
    with quick_portal.database.transaction() as session:
        jobs.enqueue(session, "deliver-report", "1", {"ae_title": "T01_PACS"}, patience=timedelta(0))
        job = jobs.claim(session, ["deliver-report"], owner="worker", now=utc_now() + timedelta(seconds=1))
        assert job is not None
    with quick_portal.database.transaction() as session:
        jobs.retry(session, job, error=ConnectionError("T01_PACS answered A700"), now=utc_now())

    stuck = browser.get("/admin/connections", headers=HTML).text
    director, _ = quick_portal.browser("zhou")
    looked = director.get("/admin/connections", headers=HTML).text
    browser.post(f"/admin/jobs/{job.id}/revive", data={"csrf_token": token})

    assert "T01_PACS 应答 A700" in stuck
    assert "/revive" in stuck
    assert "/revive" not in looked
    with quick_portal.database.reading() as session:
        assert session.get_one(Job, job.id).state == JobState.READY


def test_the_page_says_of_each_device_what_every_node_knows(quick_portal: Portal) -> None:
    # The portal and the nodes share a database and nothing else: this node might stand anywhere.
    now = utc_now()
    with quick_portal.database.transaction() as session:
        for node, status in (("node-1:11112", "0000"), ("node-2:11112", "A700")):
            device_figures.add(
                session,
                node=node,
                ae_title="T01_CT",
                statuses=Counter({status: 7}),
                refusals=Counter({"elsewhere": 3}),
                latency=[0, 7, *[0] * (len(EDGES) - 1)],
                now=now,
            )
            device_figures.see(session, node=node, seen={"T01_CT": now})
            session.merge(
                NodeState(
                    node=node,
                    at=now,
                    started_at=now,
                    associations=4,
                    waiting=1,
                    spool_objects=12,
                    spool_seconds=300.0,
                )
            )
        session.merge(
            NodeState(
                node="node-3:11112",
                at=now - timedelta(hours=1),
                started_at=now,
                associations=0,
                waiting=0,
                spool_objects=0,
                spool_seconds=0.0,
            )
        )
    browser, _ = quick_portal.browser("admin")

    page = browser.get("/admin/connections", headers=HTML).text

    assert "7 / 7" in page
    assert "A700 × 7" in page
    assert "来源地址不符 × 6" in page
    assert "12 个对象等待上传" in page
    assert page.count("无响应") == 1


def test_the_page_names_what_is_damaged_its_device_and_what_to_do(quick_portal: Portal) -> None:
    exam = builders.an_exam(quick_portal.database, quick_portal.objects, images=3)
    with quick_portal.database.reading() as session:
        found = find_instance(session, exam.sop_instance_uids[1])
        assert found is not None
        key = found.object_key
    flip_a_byte(quick_portal.objects, key)
    browser, _ = quick_portal.browser("admin")
    before = browser.get("/admin/connections", headers=HTML).text

    examine(quick_portal.database, quick_portal.objects, key)
    chinese = browser.get("/admin/connections", headers=HTML).text

    assert key not in before
    assert key in chinese
    assert exam.sop_instance_uids[1] in chinese
    assert exam.sop_instance_uids[0] not in chinese
    assert "内容已变" in chinese and "请让设备重新发送" in chinese
