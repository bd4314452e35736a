"""The township's pages as its technician and its clinician use them on their first day."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import httpx
import pyotp
from sqlalchemy import func, select

from storage.audit import AuditEvent
from storage.database import utc_now
from storage.imaging import Patient
from tests.builders import ZHANG, a_dataset, an_exam, keep, settle_exam
from tests.cast import password_of
from tests.reading_portal.conftest import Portal
from worklist.orders import NewPatient, ServiceRequest
from worklist.recognition import RecognitionRecord
from worklist.reports import ReportVersion

HTML = {"accept": "text/html"}
ORDER = {
    "patient_id": "77", "name": "王小明", "name_phonetic": "Wang Xiaoming", "sex": "M",
    "birth_date": "1970-01-01", "modality": "CT", "body_part": "CHEST", "clinical_information": "咳嗽",
}  # fmt: skip

LI_SI = NewPatient(
    patient_id="P002", name="李四", name_phonetic="Li Si", sex="F", birth_date=date(1971, 5, 2)
)


def sent(browser: httpx.Client, path: str, **form: Any) -> httpx.Response:
    return browser.post(path, data=form, headers=HTML, follow_redirects=False)


def checked(page: str, name: str) -> list[str]:
    """The values of the radio buttons of this name that a browser would show as chosen."""
    return re.findall(rf'name="{name}" value="([^"]*)" class="unseen"(?: required)? checked', page)


def test_two_clerks_who_register_the_same_new_patient_at_once_both_place_their_order(portal: Portal) -> None:
    seats = [portal.browser("ma") for _ in range(4)]

    with ThreadPoolExecutor(len(seats)) as clerks:
        answers = list(
            clerks.map(lambda seat: sent(seat[0], "/orders/new", csrf_token=seat[1], **ORDER), seats)
        )

    assert [answer.status_code for answer in answers] == [303] * len(seats)
    assert len({answer.headers["location"] for answer in answers}) == len(seats)
    with portal.database.reading() as session:
        count = select(func.count()).select_from(Patient).where(Patient.patient_id == "77")
        assert session.scalar(count) == 1


def test_the_choices_of_sex_are_whole_words(quick_portal: Portal) -> None:
    clerk = quick_portal.by("ma")

    said = {
        language: clerk.get("/orders/new", headers=HTML | {"cookie": f"language={language}"}).text
        for language in ("zh-CN", "en")
    }

    choice = re.compile(r'name="sex" value="[MFO]"[^>]*>([^<]*)</label>')
    assert choice.findall(said["zh-CN"]) == ["男", "女", "其他"]
    assert choice.findall(said["en"]) == ["Male", "Female", "Other"]


def test_a_form_that_comes_back_has_kept_every_choice(quick_portal: Portal) -> None:
    browser, token = quick_portal.browser("ma")
    form = ORDER | {"national_id": "110101199003074518", "body_part": "HEAD", "priority": "urgent"}

    back = sent(browser, "/orders/new", csrf_token=token, **form)

    assert back.status_code == 422
    assert checked(back.text, "modality") == ["CT"]
    # One only: of several with this name a browser would show the last, which is hidden.
    assert checked(back.text, "body_part") == ["HEAD"]
    assert checked(back.text, "priority") == ["urgent"]


def test_an_order_is_made_for_a_study_that_came_without_one(quick_portal: Portal) -> None:
    dataset = a_dataset(patient_id="P077", patient_name="Zhang^San=张^三")
    keep(quick_portal.database, quick_portal.objects, dataset)
    uid = str(dataset.StudyInstanceUID)
    settle_exam(quick_portal.database, uid)
    browser, token = quick_portal.browser("ma")
    waiting = browser.get("/unmatched", headers=HTML).text
    form = browser.get(f"/orders/new?study={uid}", headers=HTML).text

    placed = sent(
        browser, "/orders/new", csrf_token=token, study=uid, **ORDER | {"patient_id": "P077", "name": "张三"}
    )

    assert f"/orders/new?study={uid}" in waiting
    assert 'name="patient_id" value="P077"' in form and 'name="name" value="张三"' in form
    assert placed.status_code == 303
    assert uid not in browser.get("/unmatched", headers=HTML).text
    with quick_portal.database.reading() as session:
        order = session.scalars(select(ServiceRequest)).one()
        assert order.study is not None and order.study.study_instance_uid == uid
        assert order.state == "acquired"


def test_declining_an_equivalent_exam_through_the_page_takes_a_coded_reason(quick_portal: Portal) -> None:
    earlier = an_exam(quick_portal.database, quick_portal.objects)
    person = {"patient_id": ZHANG.patient_id, "name": ZHANG.name, "name_phonetic": ZHANG.name_phonetic}
    person |= {"sex": ZHANG.sex, "birth_date": str(ZHANG.birth_date)}
    browser, token = quick_portal.browser("li")
    order = sent(browser, "/orders/new", csrf_token=token, **ORDER | person).headers["location"].split("?")[0]
    said = {
        "csrf_token": token,
        "candidate": earlier.study_instance_uid,
        "decision": "decline",
        "patient_informed": "true",
    }

    shown = browser.get(order, headers=HTML).text
    without = sent(browser, f"{order}/recognition", **said)
    invented = sent(browser, f"{order}/recognition", **said, reason="because")
    coded = sent(browser, f"{order}/recognition", **said, reason="condition-changed")

    assert earlier.study_instance_uid in shown
    assert (without.status_code, invented.status_code, coded.status_code) == (422, 422, 303)
    assert 'role="alert"' in without.text and earlier.study_instance_uid in without.text
    with quick_portal.database.reading() as session:
        (record,) = session.scalars(select(RecognitionRecord)).all()
        assert (record.decision, record.reason) == ("decline", "condition-changed")


def test_an_accepted_exam_closes_the_order_and_is_told_once(quick_portal: Portal) -> None:
    earlier = an_exam(quick_portal.database, quick_portal.objects)
    browser, token = quick_portal.browser("li")
    person = {"patient_id": ZHANG.patient_id, "name": ZHANG.name, "name_phonetic": ZHANG.name_phonetic}
    person |= {"sex": ZHANG.sex, "birth_date": str(ZHANG.birth_date)}
    order = sent(browser, "/orders/new", csrf_token=token, **ORDER | person).headers["location"].split("?")[0]

    sent(
        browser, f"{order}/recognition", csrf_token=token, candidate=earlier.study_instance_uid,
        decision="accept", patient_informed="true",
    )  # fmt: skip
    shown = browser.get(order, headers=HTML).text

    assert "已互认" in shown
    assert shown.count("采用同类检查") == 1 and "采用互认结果" not in shown


def test_a_one_time_code_is_set_up_used_and_given_up_on_the_profile_page(quick_portal: Portal) -> None:
    browser, token = quick_portal.browser("li")

    begun = sent(browser, "/profile/one-time-code", csrf_token=token).text
    secret = "".join(re.findall(r"<code>([A-Z2-7 ]{20,})</code>", begun)[0].split())
    wrong = sent(browser, "/profile/one-time-code/confirm", csrf_token=token, code="000000")
    right = sent(browser, "/profile/one-time-code/confirm", csrf_token=token, code=pyotp.TOTP(secret).now())
    door = {"username": "li", "password": password_of("li"), "to": "/"}
    without = sent(quick_portal.stranger(), "/sign-in", **door)
    # No code counts twice; the next one is good already, for clocks that run ahead.
    next_code = pyotp.TOTP(secret).at(utc_now(), counter_offset=1)
    with_it = sent(quick_portal.stranger(), "/sign-in", **door, otp=next_code)
    ended_wrongly = sent(browser, "/profile/one-time-code/end", csrf_token=token, current="guess")
    ended = sent(browser, "/profile/one-time-code/end", csrf_token=token, current=password_of("li"))
    afterwards = sent(quick_portal.stranger(), "/sign-in", **door)

    assert "<svg" in begun
    # The same secret is shown again: the telephone holds it already.
    assert wrong.status_code == 422 and secret in "".join(wrong.text.split())
    assert right.headers["location"] == "/profile?said=otp-on"
    assert (without.status_code, with_it.status_code) == (403, 303)
    assert (ended_wrongly.status_code, ended.status_code) == (403, 303)
    assert afterwards.status_code == 303


def test_emergency_access_leaves_its_reason_and_opens_this_patients_study_only(quick_portal: Portal) -> None:
    opened = quick_portal.an_exam()
    other = quick_portal.an_exam(patient=LI_SI)
    browser, token = quick_portal.browser("he")
    asked = {"csrf_token": token, "institution": "T01", "number": opened.accession_number}
    closed = browser.get(f"/studies/{opened.study_instance_uid}", headers=HTML)

    too_short = sent(browser, "/emergency/open", **asked, study=opened.study_instance_uid, reason="急救")
    sent(browser, "/emergency/open", **asked, study=opened.study_instance_uid, reason="患者昏迷送入本院抢救")

    assert closed.status_code == 404
    assert ">急救</textarea>" in too_short.text
    assert browser.get(f"/studies/{opened.study_instance_uid}", headers=HTML).status_code == 200
    assert browser.get(f"/studies/{other.study_instance_uid}", headers=HTML).status_code == 404
    with quick_portal.database.reading() as session:
        traces = session.scalars(select(AuditEvent).where(AuditEvent.actor == "he")).all()
        reasons = [trace.detail.get("reason") for trace in traces]
    assert "患者昏迷送入本院抢救" in reasons


def test_an_order_shows_its_report_and_names_devices_by_their_ae_title(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()
    signed = quick_portal.signed(exam)

    shown = quick_portal.by("li").get(f"/orders/{exam.order_id}", headers=HTML).text

    assert f'href="/reports/{signed["report_id"]}"' in shown
    assert "ae:" not in shown


def test_a_read_back_that_says_too_little_is_kept_in_its_field(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()
    raised = quick_portal.by("chen").post(
        "/api/critical-results",
        json={
            "study_instance_uid": exam.study_instance_uid,
            "category": "minutes",
            "statement": "张力性气胸",
        },
    )
    browser, token = quick_portal.browser("li")

    back = sent(
        browser, f"/critical-results/{raised.json()['id']}/acknowledge", csrf_token=token, read_back="。"
    )

    assert back.status_code == 422
    assert 'name="read_back" value="。"' in back.text
    # The list refreshes itself while somebody types: htmx keeps an element that has an id and says so.
    refreshed = browser.get("/results/list", headers=HTML).text
    assert re.search(r'<input id="read-back-\d+" hx-preserve name="read_back" value=""', refreshed)


def test_a_preliminary_report_is_genuine_but_not_shown_as_final(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam(modality="MR", body_part="BRAIN")
    report = quick_portal.signed(exam)["report_id"]
    with quick_portal.database.reading() as session:
        token = session.scalar(select(ReportVersion.verify_token).where(ReportVersion.report_id == report))

    said = quick_portal.stranger().get(f"/verify/{token}", headers=HTML).text

    assert "verdict-valid" not in said
    assert "尚待第二位医师审核" in said
