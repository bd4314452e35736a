"""No word is lost: a line that is cut, a lease that is taken, a browser that dies, two tabs of one exam."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import update

from tests import builders
from tests.browser import Seat
from tests.cast import password_of
from tests.reading_portal.reader_desk import FINDINGS, IMPRESSION, LIST, Desk, sign_with
from worklist.reading_tasks import ReadingTask

pytestmark = pytest.mark.usefixtures("everybody_goes_home")


def writes(desk: Desk, username: str, exam: builders.Exam, **words: str) -> None:
    """Takes the exam over, writes, and lets it go."""
    client, task = desk.by(username), f"/api/reading-tasks/{exam.task_id}"
    fence = client.post(f"{task}/claim", json={"takeover": True}).json()["fence"]
    draft = {"fence": fence, "findings": "", "impression": ""} | words
    client.put(f"{task}/report", json=draft).raise_for_status()
    client.post(f"{task}/release", json={"fence": fence}).raise_for_status()


def types_without_a_line(seat: Seat, **words: str) -> None:
    seat.context.set_offline(True)
    for name, text in words.items():
        seat.page.fill(f"#report [name={name}]", text)
    expect(seat.page.locator("#kept")).to_have_text("仅保存在本机", timeout=10_000)


def dies(seat: Seat) -> None:
    seat.page.close()
    # The page's last word, said while it closes, must meet the dead line too, or the server has it already.
    time.sleep(1)
    seat.context.set_offline(False)


def opens_again(seat: Seat, exam: builders.Exam) -> Page:
    seat.page = seat.context.new_page()
    seat.page.goto(f"{seat.url}/reading/{exam.task_id}")
    expect(seat.page.locator("#findings")).to_be_enabled(timeout=30_000)
    return seat.page


def test_words_typed_while_the_line_was_down_are_there_again_after_a_restart(desk: Desk) -> None:
    exam = desk.an_exam()
    seat = desk.at_work("chen", exam)
    types_without_a_line(seat, findings=FINDINGS)
    dies(seat)

    page = opens_again(seat, exam)

    expect(page.locator("[data-banner]")).to_contain_text("尚未传到服务器的文字已恢复")
    assert page.input_value("#findings") == FINDINGS
    expect(page.locator("#kept.is-good")).to_contain_text("已保存", timeout=10_000)
    assert desk.words(exam) == FINDINGS
    # Not asked for, so it can be taken back.
    page.locator("[data-banner]").get_by_role("button", name="撤销").click()
    assert page.input_value("#findings") == ""


def test_a_line_that_comes_back_brings_the_words_to_the_server_by_itself(desk: Desk) -> None:
    exam = desk.an_exam()
    seat = desk.at_work("chen", exam)
    seat.context.set_offline(True)
    seat.page.fill("#findings", FINDINGS)
    expect(seat.page.locator("#kept")).to_have_text("仅保存在本机", timeout=10_000)

    seat.context.set_offline(False)

    expect(seat.page.locator("#kept.is-good")).to_contain_text("已保存", timeout=15_000)
    assert desk.words(exam) == FINDINGS


def test_the_words_go_on_when_the_lease_ran_out_and_nobody_else_has_come(desk: Desk) -> None:
    exam = desk.an_exam()
    seat = desk.at_work("chen", exam)
    types_without_a_line(seat, findings=FINDINGS)
    with desk.pair.database.transaction() as session:
        session.execute(
            update(ReadingTask)
            .where(ReadingTask.id == exam.task_id)
            .values(state="ready", holder=None, fence=ReadingTask.fence + 1)
        )

    seat.context.set_offline(False)

    expect(seat.page.locator("#kept.is-good")).to_contain_text("已保存", timeout=20_000)
    assert seat.page.input_value("#findings") == FINDINGS
    assert desk.words(exam) == FINDINGS


def test_parts_that_only_one_of_two_has_changed_are_put_together(desk: Desk) -> None:
    exam = desk.an_exam()
    seat = desk.at_work("chen", exam)
    seat.page.fill("#findings", "共同的所见。")
    expect(seat.page.locator("#kept.is-good")).to_contain_text("已保存", timeout=10_000)
    types_without_a_line(seat, findings=FINDINGS)
    dies(seat)
    writes(desk, "wu", exam, findings="共同的所见。", impression=IMPRESSION)

    page = opens_again(seat, exam)

    expect(page.locator("[data-banner]")).to_contain_text("已恢复")
    assert (page.input_value("#findings"), page.input_value("#impression")) == (FINDINGS, IMPRESSION)


def test_where_both_have_changed_a_part_the_reader_sees_both_and_decides(desk: Desk) -> None:
    exam = desk.an_exam()
    seat = desk.at_work("chen", exam)
    types_without_a_line(seat, findings="两肺清晰。右肺上叶见结节影。", impression=IMPRESSION)
    dies(seat)
    writes(desk, "wu", exam, findings="两肺清晰。左肺下叶见斑片影。", impression="吴敏的印象")

    page = opens_again(seat, exam)

    dialog = page.locator("dialog#versions")
    expect(dialog).to_be_visible()
    expect(dialog.locator("mark")).to_have_text(
        ["右肺上叶见结节影。", "左肺下叶见斑片影。", IMPRESSION, "吴敏的印象"]
    )
    # Decided later: what is written meanwhile, and what waits, are both kept over a restart.
    page.keyboard.press("Escape")
    assert page.input_value("#findings") == "两肺清晰。左肺下叶见斑片影。"
    page.fill("#findings", "两肺清晰。左肺下叶见斑片影。纵隔居中。")
    expect(page.locator("#kept.is-good")).to_contain_text("已保存", timeout=10_000)
    page.reload()
    expect(dialog).to_be_visible(timeout=30_000)
    page.keyboard.press("Escape")
    # No signature before it is decided.
    page.keyboard.press("Control+Enter")
    expect(dialog).to_be_visible()
    dialog.locator("[name=findings][value=both]").check()
    dialog.locator("[name=impression][value=mine]").check()
    dialog.get_by_role("button", name="采用所选").click()

    both = "两肺清晰。左肺下叶见斑片影。纵隔居中。\n两肺清晰。右肺上叶见结节影。"
    assert page.input_value("#findings") == both
    assert page.input_value("#impression") == IMPRESSION
    sign_with(page, "Control+Enter", password_of("chen"))
    page.wait_for_url(LIST, timeout=30_000)
    assert desk.words(exam) == both


def test_who_lost_the_lease_keeps_every_word_and_is_told_who_has_it(desk: Desk) -> None:
    exam = desk.an_exam()
    seat = desk.at_work("chen", exam)
    wu, task = desk.by("wu"), f"/api/reading-tasks/{exam.task_id}"
    fence = wu.post(f"{task}/claim", json={"takeover": True}).json()["fence"]

    seat.page.fill("#findings", FINDINGS)
    banner = seat.page.locator("[data-banner]")
    expect(banner).to_contain_text("吴敏", timeout=10_000)
    assert seat.page.input_value("#findings") == FINDINGS
    expect(seat.page.locator("[data-normal-report]")).to_be_disabled()
    # While the other writes, her own words are within reach.
    seat.page.reload()
    expect(banner.get_by_role("button", name="复制我的文字")).to_be_visible(timeout=30_000)
    wu.put(f"{task}/report", json={"fence": fence, "findings": "吴敏的文字", "impression": "无"})
    wu.post(f"{task}/release", json={"fence": fence})
    seat.page.reload()

    dialog = seat.page.locator("dialog#versions")
    expect(dialog).to_be_visible(timeout=30_000)
    assert seat.page.input_value("#findings") == "吴敏的文字"
    dialog.locator("[name=findings][value=mine]").check()
    dialog.get_by_role("button", name="采用所选").click()
    assert seat.page.input_value("#findings") == FINDINGS
    assert seat.page.input_value("#impression") == "无"


def test_one_exam_is_written_in_the_newest_of_its_tabs(desk: Desk) -> None:
    exam = desk.an_exam()
    seat = desk.at_work("chen", exam)
    first = seat.page
    first.fill("#findings", FINDINGS)

    second = opens_again(seat, exam)

    expect(first.locator("[data-banner]")).to_contain_text("您已在另一标签页继续此检查")
    expect(first.locator("#findings")).not_to_be_editable()
    expect(second.locator("#findings")).to_be_editable()
    expect(second.locator("#findings")).to_have_value(FINDINGS)


def test_two_patients_at_once_are_said_in_both_tabs(desk: Desk) -> None:
    one, other = desk.an_exam(), desk.an_exam(modality="ECG", body_part="HEART")
    seat = desk.at_work("chen", one)
    first = seat.page

    second = opens_again(seat, other)

    expect(first.locator("[data-other-tabs]")).to_contain_text("ECG")
    expect(second.locator("[data-other-tabs]")).to_contain_text("张三 CT")
    second.close()
    expect(first.locator("[data-other-tabs]")).to_be_hidden()
