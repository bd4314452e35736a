"""The audit trail as those read it who watch over it: in words, in pages, and no more than they may see."""

from __future__ import annotations

import re

from sqlalchemy import select

from reading_portal import trail
from reading_portal.trail import Teller
from reading_portal.words import words
from storage import audit
from storage.audit import Act, AuditEvent
from tests import audit_words
from tests.reading_portal.conftest import Portal
from worklist.people import Role, Who

HTML = {"accept": "text/html", "cookie": "language=zh-CN"}
AUDITOR = Who("audit", "审计员", "C01", frozenset({Role.AUDITOR}), frozenset())
DIRECTOR = Who("zhou", "周正", "C01", frozenset({Role.DIRECTOR}), frozenset())


def told(event: AuditEvent, who: Who = AUDITOR, language: str = "zh-CN") -> trail.Told:
    teller = Teller(words(language), who, people={"chen": "陈雨"}, institutions={})
    return teller.tell(event)


def an_event(act: Act, verb: str, subject: str, **detail: object) -> AuditEvent:
    return AuditEvent(act=act.value, verb=verb, subject=subject, actor="chen", detail=detail)


def test_every_verb_that_is_recorded_has_been_found() -> None:
    # The words themselves are asked for in test_pages: every code in both languages.
    assert audit_words.unfed() == set()
    assert ("reading-task", "take-over") in audit_words.recorded()
    assert ("data-export", "retrieve") in audit_words.recorded()


def test_every_detail_and_every_subject_that_is_recorded_can_be_said() -> None:
    assert audit_words.details() - set(trail.DETAILS) == set()
    assert audit_words.subjects() - set(trail.SUBJECTS) == set()


def test_an_event_is_said_in_the_language_of_the_page() -> None:
    event = an_event(Act.TASK, "take-over", "task:12", state="claimed", previous="chen")

    chinese, english = told(event), told(event, language="en")

    assert (chinese.act, chinese.verb, chinese.subject.kind, chinese.subject.name) == (
        "阅片任务", "接管", "任务", "12",
    )  # fmt: skip
    assert chinese.details == [("状态", "阅读中"), ("此前持有人", "陈雨")]
    assert (english.verb, english.subject.kind) == ("taken over", "Task")


def test_what_a_device_asked_for_is_counted_and_a_failure_shows_its_status() -> None:
    event = an_event(Act.ASSOCIATION, "serve", "association", counts={"C-STORE 0000": 200, "C-FIND A700": 1})

    assert told(event).details == [("请求", "C-STORE × 200、C-FIND (A700) × 1")]


def test_words_about_a_patient_are_for_those_who_may_see_the_patient() -> None:
    event = an_event(Act.ORDER, "cancel", "order:3", reason="张三已转院")

    assert told(event, AUDITOR).details == []
    assert told(event, DIRECTOR).details == [("原因", "张三已转院")]


def test_a_detail_that_nobody_has_a_word_for_is_not_shown() -> None:
    assert told(an_event(Act.STUDY, "match", "study:1.2", secret="x")).details == []


def test_the_trail_is_filtered_by_what_people_call_things(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()
    quick_portal.claimed(exam)
    auditor = quick_portal.by("audit")

    for asked in ({"actor": "陈雨"}, {"actor": "chen"}, {"subject": f"任务 {exam.task_id}"}):
        page = auditor.get("/admin/audit", params=asked | {"act": "reading-task"}, headers=HTML).text
        assert "<b>领取</b>" in page, asked
    center = auditor.get("/admin/audit", params={"actor": "本中心"}, headers=HTML).text
    assert "<b>领取</b>" not in center
    assert "<b>生成</b>" in center


def test_a_long_trail_is_turned_over_page_by_page(quick_portal: Portal) -> None:
    with quick_portal.database.transaction() as session:
        for number in range(450):
            audit.record(session, Act.DECLARATION, "revive", f"job:{number}")
    auditor = quick_portal.by("audit")
    seen: list[int] = []
    address = "/admin/audit?act=configuration"

    for _ in range(4):
        page = auditor.get(address, headers=HTML).text
        seen += [int(number) for number in re.findall(r'class="number quiet">(\d+)<', page)]
        older = re.search(r'href="(/admin/audit\?[^"]*before=\d+)">更早', page)
        if older is None:
            break
        address = older[1].replace("&amp;", "&")

    assert len(seen) >= 450
    assert seen == sorted(set(seen), reverse=True)
    assert "最新" in page


def test_a_broken_chain_is_said(quick_portal: Portal) -> None:
    auditor = quick_portal.by("audit")
    whole = auditor.get("/admin/audit?check=true", headers=HTML).text
    with quick_portal.database.transaction() as session:
        session.scalars(select(AuditEvent).order_by(AuditEvent.seq)).first().actor = "nobody"  # type: ignore[union-attr]

    broken = auditor.get("/admin/audit?check=true", headers=HTML).text

    assert "said-good" in whole
    assert "said-bad" in broken


def test_a_list_that_names_patients_leaves_its_trace_without_the_words(quick_portal: Portal) -> None:
    quick_portal.an_exam()
    ma = quick_portal.by("ma")

    ma.get("/api/studies", params={"patient": "zhang san"})
    ma.get("/api/orders", params={"patient": "nobody at all"})
    ma.get("/dicom-web/studies", params={"PatientName": "Zhang*"})
    ma.get("/api/critical-results")

    with quick_portal.database.reading() as session:
        rows = list(
            session.scalars(select(AuditEvent).where(AuditEvent.verb == "list").order_by(AuditEvent.seq))
        )
    assert [(row.actor, row.subject, row.detail) for row in rows] == [
        ("ma", "list:studies", {"found": 1, "searched": ["patient"]}),
        ("ma", "list:orders", {"found": 0, "searched": ["patient"]}),
        ("ma", "list:dicomweb-study", {"found": 1, "searched": ["PatientName"]}),
    ]
    assert {row.subject.removeprefix("list:") for row in rows} <= set(trail.LISTS)
