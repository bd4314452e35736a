"""The text beside the images: what is doubted in it, and what writes a part of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from playwright.sync_api import expect
from sqlalchemy import select

from storage.imaging import Instance, Series, Study
from storage.uids import new_uid
from tests import builders
from tests.cast import password_of
from tests.reading_portal.reader_desk import LIST, Desk, sign_with

pytestmark = pytest.mark.usefixtures("everybody_goes_home")
A_WOMAN = replace(builders.ZHANG, name="李芳", name_phonetic="Li Fang", sex="F", national_id=None)


def of_the_right_wrist(desk: Desk) -> builders.Exam:
    patient = replace(A_WOMAN, patient_id=new_uid()[-12:])
    return desk.an_exam(body_part="WRIST", laterality="R", patient=patient)


@pytest.mark.parametrize(
    ("language", "findings", "side", "sex"),
    [
        ("zh-CN", "左侧桡骨远端骨折。前列腺增大。", "报告写的是左侧，而检查为右侧。", "前列腺"),
        (
            "en",
            "The left radius is broken. The prostate is large.",
            "The text names the left side",
            "prostate",
        ),
    ],
)
def test_the_wrong_side_and_sex_are_said_beside_the_text_and_before_the_signature(
    desk: Desk, language: str, findings: str, side: str, sex: str
) -> None:
    exam = of_the_right_wrist(desk)
    seat = desk.seat("chen")
    seat.context.add_cookies([{"name": "language", "value": language, "url": desk.centre.url}])
    page = seat.open(f"/reading/{exam.task_id}")
    expect(page.locator("#findings")).to_be_enabled(timeout=30_000)

    page.locator("#findings").press_sequentially(findings)
    page.fill("#impression", "骨折。")

    warnings = page.locator("#warnings li")
    expect(warnings).to_have_count(2, timeout=5_000)
    expect(warnings.first).to_contain_text(side)
    expect(warnings.last).to_contain_text(sex)
    warnings.last.get_by_role("button").click()
    assert page.evaluate("getSelection().toString()") == sex
    # Never without a way on.
    page.keyboard.press("Control+Enter")
    expect(page.locator("dialog#sign [data-sign-warnings] li")).to_have_count(2)
    expect(page.locator("dialog#sign [data-despite]")).to_be_visible()
    expect(page.locator("dialog#sign [name=secret]")).to_be_focused()
    page.keyboard.type(password_of("chen"))
    page.keyboard.press("Enter")
    page.wait_for_url(LIST, timeout=30_000)
    assert seat.complaints == []


def test_a_doubt_goes_when_the_word_is_right(desk: Desk) -> None:
    page = desk.at_work("chen", of_the_right_wrist(desk)).page
    page.fill("#findings", "左侧桡骨远端骨折。")
    expect(page.locator("#warnings li")).to_have_count(1, timeout=5_000)

    page.fill("#findings", "右侧桡骨远端骨折。")

    expect(page.locator("#warnings li")).to_have_count(0, timeout=5_000)


def test_words_typed_a_moment_before_the_signature_are_doubted_before_it(desk: Desk) -> None:
    page = desk.at_work("chen", of_the_right_wrist(desk)).page
    page.fill("#impression", "骨折。")
    page.fill("#findings", "左侧桡骨远端骨折。")

    sign_with(page, "Control+Enter", "")

    expect(page.locator("dialog#sign [data-sign-warnings] li")).to_have_count(1, timeout=5_000)


def test_what_is_doubted_stands_beside_the_text_when_the_exam_is_opened_again(desk: Desk) -> None:
    exam = of_the_right_wrist(desk)
    page = desk.at_work("chen", exam).page
    page.fill("#findings", "左侧桡骨远端骨折。")
    expect(page.locator("#warnings li")).to_have_count(1, timeout=5_000)

    page.reload()

    expect(page.locator("#warnings li")).to_have_count(1, timeout=30_000)


def test_a_key_without_a_normal_report_says_so(desk: Desk) -> None:
    page = desk.at_work("chen", desk.an_exam(modality="MR", body_part="KNEE")).page

    page.keyboard.press("F4")

    expect(page.locator("#toasts")).to_contain_text("此类检查还没有正常报告模板")
    assert page.input_value("#findings") == ""


# --- what writes a part of the text ------------------------------------------------------------------------


def test_an_abbreviation_becomes_its_text_and_undo_takes_it_back(desk: Desk) -> None:
    chen = desk.by("chen")
    text = "大小约 ____ mm × ____ mm"
    for short, long in (("dx", text), ("wjyc", "未见明确异常。")):
        chen.post("/templates/macros", data={"abbreviation": short, "text": long, "shelf": "own"})
    page = desk.at_work("chen", desk.an_exam()).page
    findings = page.locator("#findings")

    findings.press_sequentially("两肺wjyc ")
    assert findings.input_value() == "两肺未见明确异常。"
    page.keyboard.press("Control+z")
    assert findings.input_value() == "两肺wjyc"
    page.keyboard.press("Tab")
    assert findings.input_value() == "两肺未见明确异常。"

    findings.press_sequentially("结节dx")
    page.keyboard.press("Tab")
    # The first blank is chosen: what is typed fills it, and F3 goes to the next.
    page.keyboard.type("8")
    page.keyboard.press("F3")
    page.keyboard.type("6")
    assert findings.input_value() == "两肺未见明确异常。结节大小约 8 mm × 6 mm"
    # Where no abbreviation stands, the keys do what they always do.
    page.keyboard.press("End")
    findings.press_sequentially(" xdx ")
    assert findings.input_value().endswith("6 mm xdx ")
    page.keyboard.press("Tab")
    expect(page.locator("#impression")).to_be_focused()


def test_a_blank_that_is_left_is_said_before_the_signature(desk: Desk) -> None:
    page = desk.at_work("chen", desk.an_exam()).page

    page.select_option("#template", "ct-nodule")

    expect(page.locator("#warnings")).to_contain_text("还有未填写的空白", timeout=5_000)
    assert page.evaluate("getSelection().toString()") == "____"


def test_one_s_own_normal_report_is_what_the_key_inserts(desk: Desk) -> None:
    desk.by("chen").post(
        "/templates/new",
        data={
            "name": "脑血管", "modalities": ["CT"], "parts": ["NECK"], "findings": "颈部血管通畅。",
            "impression": "未见异常。", "recommendation": "随访。", "is_normal": "true", "version": "0",
        },
    )  # fmt: skip
    page = desk.at_work("chen", desk.an_exam(body_part="NECK")).page

    page.keyboard.press("F4")
    page.keyboard.press("F4")

    assert page.input_value("#findings") == "颈部血管通畅。"
    assert page.input_value("[name=recommendation]") == "随访。"
    assert page.is_checked("[name=positive][value=false]")


# --- beside the text ---------------------------------------------------------------------------------------

# What a browser with a microphone offers (Web Speech API); the test says what was heard.
HEARING = """window.webkitSpeechRecognition = class extends EventTarget {
    start() { window.hears = (said, isFinal) => { const event = new Event("result");
        event.resultIndex = 0; event.results = [Object.assign([{ transcript: said }], { isFinal })];
        this.dispatchEvent(event); }; }
    stop() { this.dispatchEvent(new Event("end")); } }; delete window.SpeechRecognition;"""


def test_what_is_dictated_is_written_at_the_cursor(desk: Desk) -> None:
    seat = desk.seat("chen")
    seat.page.add_init_script(HEARING)
    asked: list[str] = []
    seat.page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
    page = seat.open(f"/reading/{desk.an_exam().task_id}")
    expect(page.locator("#findings")).to_be_enabled(timeout=30_000)
    page.fill("#findings", "两肺清晰。")
    page.locator("#findings").focus()

    page.keyboard.press("F9")
    expect(page.locator("[data-dictate]")).to_have_attribute("aria-pressed", "true")
    page.evaluate("hears('纵隔', false)")
    page.evaluate("hears('纵隔居中。', true)")

    assert page.input_value("#findings") == "两肺清晰。纵隔居中。"
    page.keyboard.press("F9")
    expect(page.locator("[data-dictate]")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("F9")
    # Where a voice may go is said once.
    assert len(asked) == 1 and "厂商" in asked[0]


def test_without_the_interface_there_is_no_button_that_does_nothing(desk: Desk) -> None:
    seat = desk.seat("chen")
    seat.page.add_init_script("delete window.webkitSpeechRecognition; delete window.SpeechRecognition;")
    page = seat.open(f"/reading/{desk.an_exam().task_id}")
    expect(page.locator("#findings")).to_be_enabled(timeout=30_000)

    expect(page.locator("[data-dictate]")).to_be_hidden()


def test_a_key_image_has_a_caption_and_is_never_of_another_exam(desk: Desk) -> None:
    exam, other = desk.an_exam(), desk.an_exam()
    page = desk.at_work("chen", exam).page
    mark = """uid => document.dispatchEvent(new CustomEvent("viewer:key-image",
        { detail: { sop_instance_uid: uid, frame: 1 } }))"""
    with desk.pair.database.reading() as session:
        uids = {
            one.study_instance_uid: session.scalars(
                select(Instance.sop_instance_uid).join(Series).join(Study).where(
                    Study.study_instance_uid == one.study_instance_uid
                )
            ).first()
            for one in (exam, other)
        }  # fmt: skip

    page.evaluate(mark, uids[other.study_instance_uid])
    expect(page.locator("#toasts")).to_contain_text("关键图像必须属于本次检查")
    expect(page.locator("#key-images li")).to_have_count(0)
    page.evaluate(mark, uids[exam.study_instance_uid])
    page.locator("#key-images input").fill("结节 8 mm")
    expect(page.locator("#kept.is-good")).to_contain_text("已保存", timeout=10_000)
    page.reload()

    expect(page.locator("#key-images input")).to_have_value("结节 8 mm", timeout=30_000)


def test_the_reports_of_earlier_exams_open_by_a_key_and_stay_open(desk: Desk) -> None:
    desk.signed(desk.an_exam())
    exam = desk.an_exam()
    page = desk.at_work("chen", exam).page
    expect(page.locator(".priors article").first).to_be_hidden()

    page.keyboard.press("F6")
    expect(page.locator(".priors article").first).to_be_visible()
    page.reload()

    expect(page.locator(".priors article").first).to_be_visible()
