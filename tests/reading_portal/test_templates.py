"""Templates and macros: everyone's own, the department's, and those of other systems."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from tests.reading_portal.conftest import Portal
from worklist.report_macros import ReportMacro
from worklist.report_templates import ReportTemplate

HTML = {"accept": "text/html"}
KNEE = {
    "shelf": "own",
    "name": "膝关节 未见异常",
    "modalities": ["MR"],
    "parts": ["KNEE"],
    "findings": "半月板\r\n未见撕裂。",
    "impression": "膝关节MR未见异常。",
    "is_normal": "true",
    "version": "0",
}


def keeps(client: httpx.Client, path: str = "/templates/new", **changes: Any) -> httpx.Response:
    return client.post(path, data=KNEE | changes, headers=HTML, follow_redirects=False)


def templates(portal: Portal) -> list[ReportTemplate]:
    with portal.database.reading() as session:
        found = list(session.scalars(select(ReportTemplate).order_by(ReportTemplate.id)))
        session.expunge_all()
        return found


def offered(portal: Portal, username: str, **exam: Any) -> list[str]:
    """Names in the order in which the reading page offers them."""
    task = portal.an_exam(**exam).task_id
    text = portal.by(username).get(f"/reading/{task}", headers=HTML).text
    select_ = re.search(r'<select id="template".*?</select>', text, re.S)
    assert select_ is not None
    return re.findall(r'<option value="[^"]+"[^>]*>([^<]*)<', select_[0])


def test_a_reader_s_own_template_is_offered_first_and_to_nobody_else(quick_portal: Portal) -> None:
    keeps(quick_portal.by("chen"), modalities=["CT"], parts=["CHEST"], name="我的胸部")

    assert offered(quick_portal, "chen")[0] == "我的胸部"
    assert "我的胸部" not in offered(quick_portal, "wu")
    (row,) = templates(quick_portal)
    assert row.findings == "半月板\n未见撕裂。"


def test_what_the_department_keeps_is_offered_to_all_of_it_after_one_s_own(quick_portal: Portal) -> None:
    keeps(quick_portal.by("wu"), modalities=["CT"], parts=[], name="科室胸部", shelf="department")
    keeps(quick_portal.by("chen"), modalities=["CT"], parts=[], name="我的胸部")

    assert offered(quick_portal, "chen")[:3] == ["我的胸部", "科室胸部", "胸部平扫 未见异常"]


def test_a_reader_looks_at_the_department_s_templates_and_a_reviewer_changes_them(
    quick_portal: Portal,
) -> None:
    chen, wu = quick_portal.by("chen"), quick_portal.by("wu")
    refused = keeps(chen, shelf="department")
    assert refused.status_code == 422 and "科室共用内容由本科室审核医师和主任维护" in refused.text

    assert keeps(wu, shelf="department").status_code == 303
    (row,) = templates(quick_portal)

    assert chen.get(f"/templates/{row.id}", headers=HTML).status_code == 200
    assert keeps(chen, f"/templates/{row.id}", version="1", name="别的").status_code == 422
    assert keeps(wu, f"/templates/{row.id}", version="1", name="新名").status_code == 303
    assert [one.name for one in templates(quick_portal)] == ["新名"]


def test_another_s_own_template_is_not_there_for_anybody(quick_portal: Portal) -> None:
    keeps(quick_portal.by("chen"))
    (row,) = templates(quick_portal)
    wu = quick_portal.by("wu")

    assert wu.get(f"/templates/{row.id}", headers=HTML).status_code == 404
    assert wu.get(f"/templates/{row.id}/mrrt", headers=HTML).status_code == 404
    assert keeps(wu, f"/templates/{row.id}", version="1").status_code == 404
    assert wu.post(f"/templates/{row.id}/discard", data={"version": "1"}, headers=HTML).status_code == 404
    assert len(templates(quick_portal)) == 1


def test_who_changes_a_template_that_somebody_else_has_changed_keeps_every_word(quick_portal: Portal) -> None:
    wu = quick_portal.by("wu")
    keeps(wu, shelf="department")
    (row,) = templates(quick_portal)
    keeps(wu, f"/templates/{row.id}", version="1", findings="第一位的文字")

    late = keeps(wu, f"/templates/{row.id}", version="1", findings="第二位的文字")

    assert late.status_code == 409
    assert "第二位的文字" in late.text and "他人已修改此模板" in late.text
    assert templates(quick_portal)[0].findings == "第一位的文字"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": " "}, "模板需要名称"),
        ({"modalities": []}, "至少要选一种检查类型"),
        ({"findings": "", "impression": " "}, "模板需要填写所见或诊断意见"),
        ({"findings": "长" * 20_001}, "最多"),
    ],
)
def test_a_template_that_makes_no_sense_comes_back_with_its_words(
    quick_portal: Portal, changes: dict[str, Any], why: str
) -> None:
    answer = keeps(quick_portal.by("chen"), **changes)

    assert answer.status_code == 422
    assert why in answer.text
    assert templates(quick_portal) == []


def test_a_template_goes_out_as_mrrt_and_comes_in_again(quick_portal: Portal) -> None:
    chen = quick_portal.by("chen")
    keeps(chen)
    (row,) = templates(quick_portal)

    file = chen.get(f"/templates/{row.id}/mrrt", headers=HTML)
    form = chen.post("/templates/import", files={"file": ("knee.html", file.content)}, headers=HTML)

    assert file.headers["content-disposition"].startswith("attachment")
    assert form.status_code == 200
    assert "半月板\n未见撕裂。</textarea>" in form.text
    assert 'value="膝关节 未见异常"' in form.text
    assert re.search(r'name="modalities" value="MR" checked', form.text)
    assert len(templates(quick_portal)) == 1, "nothing is kept before the reader says so"


def test_a_file_that_is_no_template_is_said_to_be_none(quick_portal: Portal) -> None:
    answer = quick_portal.by("chen").post(
        "/templates/import", files={"file": ("x.pdf", b"%PDF-1.7")}, headers=HTML
    )

    assert answer.status_code == 422
    assert "这不是报告模板：没有章节" in answer.text


def test_an_abbreviation_is_one_s_own_before_it_is_the_department_s(quick_portal: Portal) -> None:
    chen, wu = quick_portal.by("chen"), quick_portal.by("wu")
    wu.post("/templates/macros", data={"abbreviation": "wjyc", "text": "科室", "shelf": "department"})
    chen.post("/templates/macros", data={"abbreviation": "wjyc", "text": "本人", "shelf": "own"})
    task = quick_portal.an_exam().task_id

    chens, wus = (one.get(f"/reading/{task}", headers=HTML).text for one in (chen, wu))

    assert re.search(r'data-macros="([^"]*)"', chens)[1] == "{&#34;wjyc&#34;: &#34;\\u672c\\u4eba&#34;}"  # type: ignore[index]
    assert "\\u79d1\\u5ba4" in wus


def test_an_abbreviation_that_is_taken_is_never_written_over(quick_portal: Portal) -> None:
    chen = quick_portal.by("chen")
    macro = {"abbreviation": "wjyc", "text": "未见异常", "shelf": "own"}
    assert chen.post("/templates/macros", data=macro, follow_redirects=False).status_code == 303

    again = chen.post("/templates/macros", data=macro | {"text": "别的文字"}, headers=HTML)

    assert again.status_code == 422
    assert "缩写 wjyc 已有对应全文" in again.text and "别的文字" in again.text
    with quick_portal.database.reading() as session:
        assert [one.text for one in session.scalars(select(ReportMacro))] == ["未见异常"]


def test_only_who_keeps_an_abbreviation_discards_it(quick_portal: Portal) -> None:
    quick_portal.by("wu").post(
        "/templates/macros", data={"abbreviation": "wjyc", "text": "科室", "shelf": "department"}
    )
    with quick_portal.database.reading() as session:
        pk = session.scalars(select(ReportMacro)).one().id

    refused = quick_portal.by("chen").post(f"/templates/macros/{pk}/discard", headers=HTML)
    done = quick_portal.by("wu").post(f"/templates/macros/{pk}/discard", follow_redirects=False)

    assert (refused.status_code, done.status_code) == (403, 303)
