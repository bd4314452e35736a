"""The pages: who may enter which room, what they say in two languages, and what they never contain."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import select

from reading_portal.pages.visit import SCRIPT_WORDS
from reading_portal.words import LANGUAGES, words
from storage.imaging import Patient
from tests import builders, portal_words
from tests.cast import password_of
from tests.reading_portal.conftest import Portal
from worklist.orders import ServiceRequest
from worklist.people import Practitioner, StudyAccess
from worklist.reading_tasks import ReadingTask
from worklist.reports import DiagnosticReport, version_of

HTML = {"accept": "text/html"}

# Who enters which room; everybody else of the cast who is named in ALL is refused.
ROOMS: dict[str, set[str]] = {
    "/worklist": {"chen", "wu", "zhou"},
    "/exams": {"ma", "li", "he", "zhou"},
    "/orders/new": {"ma", "li", "he"},
    "/unmatched": {"ma", "he", "zhou"},
    "/results": {"chen", "wu", "ma", "li", "he", "zhou"},
    "/emergency": {"chen", "wu", "li", "he"},
    "/admin/connections": {"admin", "zhou"},
    "/admin/people": {"admin"},
    "/admin/devices": {"admin"},
    "/admin/audit": {"audit", "zhou"},
    "/admin/break-glass": {"audit", "zhou"},
}
ALL = ("chen", "wu", "ma", "li", "he", "zhou", "admin", "audit")
HOMES = {
    "chen": "/worklist", "ma": "/exams", "li": "/exams", "zhou": "/worklist", "admin": "/admin/connections",
    "audit": "/admin/audit", "his": "/profile",
}  # fmt: skip


def page(
    client: httpx.Client, path: str, status: int = 200, language: str = "zh-CN", searched: str = ""
) -> str:
    answer = client.get(path, headers=HTML | {"cookie": f"language={language}", "x-search": quote(searched)})
    assert answer.status_code == status, f"{path}: {answer.status_code} {answer.text[:300]}"
    return answer.text


class Inline(HTMLParser):
    """Collects what a strict content security policy forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.found += [
            f"{tag} {name}" for name in names if name == "style" or name.startswith(("on", "hx-on"))
        ]
        if tag == "style" or (tag == "script" and not names.get("src")):
            self.found.append(tag)
        self.found += [value for name, value in attrs if name in ("src", "href") and "://" in (value or "")]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_opens_for_its_roles_and_for_nobody_else(quick_portal: Portal, room: str) -> None:
    statuses = {name: quick_portal.by(name).get(room, headers=HTML).status_code for name in ALL}

    assert statuses == {name: 200 if name in ROOMS[room] else 403 for name in ALL}


@pytest.mark.parametrize(("name", "path"), HOMES.items())
def test_everybody_comes_home_to_the_room_of_their_role(quick_portal: Portal, name: str, path: str) -> None:
    answer = quick_portal.by(name).get("/", headers=HTML, follow_redirects=False)

    assert (answer.status_code, answer.headers["location"]) == (303, path)


def test_a_stranger_is_led_to_the_sign_in_and_back(quick_portal: Portal) -> None:
    stranger = quick_portal.stranger()

    answer = stranger.get("/exams?view=all", headers=HTML, follow_redirects=False)

    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?to=/exams%3Fview%3Dall"
    signed_in = stranger.post(
        "/sign-in",
        data={"username": "ma", "password": password_of("ma"), "to": "/exams?view=all"},
        follow_redirects=False,
    )
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/exams?view=all")
    assert "HttpOnly" in signed_in.headers["set-cookie"]
    assert "马强" in stranger.get("/exams", headers=HTML).text


@pytest.mark.parametrize("to", ["https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example"])
def test_a_sign_in_never_leads_to_another_site(quick_portal: Portal, to: str) -> None:
    answer = quick_portal.stranger().post(
        "/sign-in", data={"username": "ma", "password": password_of("ma"), "to": to}, follow_redirects=False
    )

    assert answer.headers["location"] == "/"


def test_a_wrong_password_is_said_and_the_sixth_is_too_many(quick_portal: Portal) -> None:
    stranger = quick_portal.stranger()
    wrong = {"username": "li", "password": "not-the-password"}

    statuses = [stranger.post("/sign-in", data=wrong).status_code for _ in range(6)]

    assert statuses == [403] * 5 + [429]
    assert "失败次数过多" in stranger.post("/sign-in", data=wrong).text


def test_a_form_without_its_token_is_refused(quick_portal: Portal) -> None:
    browser, token = quick_portal.browser("li")

    without = browser.post("/language", data={"language": "en", "to": "/"}, follow_redirects=False)
    with_it = browser.post(
        "/language", data={"language": "en", "to": "/", "csrf_token": token}, follow_redirects=False
    )

    assert (without.status_code, with_it.status_code) == (403, 303)
    assert "My profile" in page(quick_portal.by("li"), "/profile", language="")


def test_the_worklist_shows_what_waits_and_searches_by_pinyin(quick_portal: Portal) -> None:
    quick_portal.an_exam(priority="stat", pathway="chest_pain")
    chen = quick_portal.by("chen")

    everything = page(chen, "/worklist")
    by_initials, nobody = page(chen, "/worklist", searched="zs"), page(chen, "/worklist", searched="李四")
    in_the_address = page(chen, "/worklist?q=lisi")

    assert all(word in everything for word in ("张三", "胸痛", "危急", "青石镇卫生院", "剩"))
    assert "张三" in by_initials
    assert "张三" not in nobody
    assert "张三" in in_the_address, "an address is no place to search for a name"
    assert "张三" in page(quick_portal.by("ma"), "/exams", searched="张")


def test_filters_are_kept_until_the_next_visit_but_never_a_name(quick_portal: Portal) -> None:
    browser, _ = quick_portal.browser("chen")
    browser.get("/worklist?view=ready&modality=CT", headers=HTML | {"x-search": "zhang"})

    again = browser.get("/worklist", headers=HTML).text

    assert re.search(r'value="ready"[^>]*checked', again)
    assert "zhang" not in again


def test_he_of_baishui_sees_nothing_of_qingshi(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()
    signed = quick_portal.signed(exam)
    he = quick_portal.by("he")

    lists = [page(he, path) for path in ("/exams?view=all", "/results", "/unmatched")]
    lists.append(he.post("/orders/patients", data={"q": "zhang"}, headers=HTML).text)
    hidden = (
        f"/studies/{exam.study_instance_uid}",
        f"/orders/{exam.order_id}",
        f"/reports/{signed['report_id']}",
        f"/reading/{exam.task_id}",
    )
    statuses = [he.get(path, headers=HTML).status_code for path in hidden]

    assert all("张三" not in text for text in lists)
    assert statuses == [404] * 4


def test_the_reading_page_shows_the_first_picture_before_any_script(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()

    text = page(quick_portal.by("chen"), f"/reading/{exam.task_id}")

    assert re.search(r'<section id="viewer"[^>]*data-kind="image"', text)
    picture = re.search(r'<img class="preview" src="([^"]+)"', text)
    assert picture is not None
    drawn = quick_portal.by("chen").get(picture[1].replace("&amp;", "&"))
    assert drawn.headers["content-type"] == "image/jpeg"
    assert "预览，不可用于诊断" in text
    assert f'href="/api/viewer/studies/{exam.study_instance_uid}/manifest"' in text


def test_an_exam_of_a_later_day_is_not_called_an_earlier_one(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()
    for study_date in ("20190301", "20990101"):
        dataset = builders.a_dataset()
        dataset.StudyDate = study_date
        builders.keep(quick_portal.database, quick_portal.objects, dataset)

    text = page(quick_portal.by("chen"), f"/reading/{exam.task_id}")
    told = quick_portal.by("chen").get(f"/api/viewer/studies/{exam.study_instance_uid}/manifest").json()

    earlier, later = text.index("既往检查"), text.index("后续检查")
    assert earlier < text.index("2019-03-01") < later < text.index("2099-01-01")
    others = [(one["study_date"], one["is_later"]) for one in told["priors"]]
    assert others == [("20190301", False), ("20990101", True)]


def test_the_side_is_said_with_the_part_that_it_belongs_to(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam(body_part="KNEE")
    with quick_portal.database.transaction() as session:
        session.get_one(ServiceRequest, exam.order_id).laterality = "L"

    chinese = page(quick_portal.by("chen"), f"/reading/{exam.task_id}")
    english = page(quick_portal.by("chen"), f"/reading/{exam.task_id}", language="en")

    # In the bar above the images and in the question before the signature.
    assert len(re.findall("左膝关节", chinese)) == len(re.findall("left knee", english)) == 3


def test_an_ecg_is_drawn_on_its_paper_by_the_server(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam(modality="ECG", body_part="HEART", images=1)

    text = page(quick_portal.by("chen"), f"/reading/{exam.task_id}")

    assert 'data-kind="ecg"' in text
    assert '<div class="ecg-first"><svg' in text


def test_who_may_not_read_looks_only(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()

    text = page(quick_portal.by("zhou"), f"/reading/{exam.task_id}")

    assert 'data-mode="look"' in text
    assert 'id="findings"' not in text
    assert "仅阅片医师可以阅片" in text


def test_opening_a_page_claims_nothing(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()

    page(quick_portal.by("chen"), f"/reading/{exam.task_id}")

    with quick_portal.database.reading() as session:
        task = session.get_one(ReadingTask, exam.task_id)
        assert task.holder is None


def test_an_order_is_placed_and_a_mistake_brings_the_form_back(quick_portal: Portal) -> None:
    browser, token = quick_portal.browser("ma")
    form = {
        "csrf_token": token, "patient_id": "77", "name": "王小明", "name_phonetic": "Wang Xiaoming",
        "sex": "M", "birth_date": "1970-01-01", "modality": "CT", "body_part": "CHEST",
        "clinical_information": "咳嗽",
    }  # fmt: skip

    mistaken = browser.post("/orders/new", data=form | {"national_id": "110101199003074518"})
    placed = browser.post("/orders/new", data=form, follow_redirects=False)

    assert mistaken.status_code == 422
    assert "校验码不符" in mistaken.text
    assert "王小明" in mistaken.text
    assert placed.status_code == 303
    assert "申请已提交" in browser.get(placed.headers["location"], headers=HTML).text
    with quick_portal.database.reading() as session:
        assert (
            session.scalar(select(Patient.name).where(Patient.patient_id == "77")) == "Wang^Xiaoming=王小明"
        )


def test_a_resident_id_fills_in_birth_date_and_sex(quick_portal: Portal) -> None:
    said = quick_portal.by("ma").post("/orders/resident-id", data={"text": "11010519491231002X"})

    assert said.json() == {"birth_date": "1949-12-31", "sex": "F"}


def test_a_report_is_unread_until_its_clinician_says_so(quick_portal: Portal) -> None:
    signed = quick_portal.signed(quick_portal.an_exam())
    browser, token = quick_portal.browser("li")
    before = browser.get("/results", headers=HTML).text

    answer = browser.post(f"/reports/{signed['report_id']}/acknowledge", data={"csrf_token": token})
    after = browser.get("/results", headers=HTML).text

    assert answer.status_code == 200
    assert ("未读" in before, "未读" in after) == (True, False)
    assert "磨玻璃结节" in browser.get(f"/reports/{signed['report_id']}", headers=HTML).text


def test_emergency_access_opens_one_study_and_waits_to_be_judged(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()
    browser, token = quick_portal.browser("he")
    asked = {"csrf_token": token, "institution": "T01", "number": exam.accession_number}
    found = browser.post("/emergency", data=asked).text
    assert exam.study_instance_uid in found
    assert "张三" not in found

    open_it = asked | {"study": exam.study_instance_uid}
    too_short = browser.post("/emergency/open", data=open_it | {"reason": "急"})
    opened = browser.post(
        "/emergency/open", data=open_it | {"reason": "患者昏迷送入本院"}, follow_redirects=False
    )

    assert too_short.status_code == 422
    assert opened.headers["location"] == f"/studies/{exam.study_instance_uid}"
    assert "张三" in browser.get(opened.headers["location"], headers=HTML).text
    assert "患者昏迷送入本院" in page(quick_portal.by("zhou"), "/admin/break-glass")
    director, director_token = quick_portal.browser("zhou")
    with quick_portal.database.reading() as session:
        access = session.scalars(select(StudyAccess.id)).one()
    director.post(
        f"/admin/break-glass/{access}", data={"csrf_token": director_token, "verdict": "unjustified"}
    )
    assert browser.get(opened.headers["location"], headers=HTML).status_code == 404


def test_an_administrator_adds_somebody_who_can_then_sign_in(quick_portal: Portal) -> None:
    browser, token = quick_portal.browser("admin")
    person = {
        "csrf_token": token,
        "username": "tang",
        "name": "唐宁",
        "institution": "T01",
        "roles": "clinician",
    }

    added = browser.post("/admin/people/new", data=person).text
    again = browser.post("/admin/people/new", data=person)

    password = re.search(r"<code>([a-z2-9]{4}(?:-[a-z2-9]{4}){3})</code>", added)
    assert password is not None
    signed_in = quick_portal.stranger().post(
        "/sign-in", data={"username": "tang", "password": password[1]}, follow_redirects=False
    )
    assert signed_in.status_code == 303
    assert again.status_code == 422
    assert "该账号已存在" in again.text


def test_a_locked_account_is_out_at_once_and_nobody_locks_the_own(quick_portal: Portal) -> None:
    browser, token = quick_portal.browser("admin")
    li, _ = quick_portal.browser("li")

    browser.post("/admin/people/li/active", data={"csrf_token": token, "is_active": "false"})
    own = browser.post("/admin/people/admin/active", data={"csrf_token": token, "is_active": "false"})

    assert li.get("/results", headers=HTML, follow_redirects=False).status_code == 303
    assert own.status_code == 422
    with quick_portal.database.reading() as session:
        assert session.get_one(Practitioner, "admin").is_active


def test_a_printed_report_is_verified_by_anyone_without_naming_the_patient(quick_portal: Portal) -> None:
    signed = quick_portal.signed(quick_portal.an_exam())
    text = page(quick_portal.by("li"), f"/reports/{signed['report_id']}")
    token = re.search(r'href="/verify/([^"]+)"', text)
    assert token is not None

    stranger = quick_portal.stranger()
    known, unknown = page(stranger, f"/verify/{token[1]}"), page(stranger, "/verify/nothing", 404)

    assert "报告真实有效" in known
    assert "Z.S." in known
    assert "张三" not in known
    assert "查无此报告" in unknown


def test_a_preliminary_report_is_genuine_but_not_called_valid_before_its_review(quick_portal: Portal) -> None:
    signed = quick_portal.signed(quick_portal.an_exam(modality="MR", body_part="BRAIN", images=1))
    with quick_portal.database.reading() as session:
        report = session.get_one(DiagnosticReport, signed["report_id"])
        token = version_of(session, report).verify_token

    shown = page(quick_portal.stranger(), f"/verify/{token}")

    assert "<b>初步报告，尚待审核</b>签章真实有效，为当前版本" in shown
    assert "报告真实有效" not in shown


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_and_every_code_is_said_in_both_languages(language: str) -> None:
    catalogue = words(language)

    unsaid_codes = {code for code in portal_words.codes() if not catalogue.codes.get(code)}
    unsaid = {text for text in portal_words.spoken() if not catalogue.sentences.get(text)}

    assert unsaid_codes == set()
    # English sentences are their own keys.
    assert unsaid == set() if language == "zh-CN" else not catalogue.sentences


def test_placeholders_survive_translation() -> None:
    holes = re.compile(r"\{[^}]*\}")

    lost = [
        text
        for text, said in words("zh-CN").sentences.items()
        if len(holes.findall(text)) < len(holes.findall(said))
    ]
    swallowed = [
        text
        for text, said in words("zh-CN").sentences.items()
        if holes.search(text) and not holes.search(said)
    ]

    assert lost == []
    assert swallowed == []


def test_the_scripts_find_all_their_words_in_the_page() -> None:
    assert portal_words.said_by_scripts() - set(SCRIPT_WORDS) == set()


def test_a_problem_with_values_is_said_in_chinese() -> None:
    said = words("zh-CN").problem("a task that is completed cannot release")

    assert said == "任务状态为“已完成”，不能执行“放回任务池”"


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_page_carries_inline_script_or_style_or_reaches_elsewhere(
    quick_portal: Portal, language: str
) -> None:
    exam = quick_portal.an_exam()
    signed = quick_portal.signed(quick_portal.an_exam(body_part="HEAD"))
    pages = [
        *((next(iter(sorted(names))), room) for room, names in ROOMS.items()),
        *(
            ("chen", path)
            for path in (f"/reading/{exam.task_id}", f"/studies/{exam.study_instance_uid}", "/profile")
        ),
        ("li", f"/reports/{signed['report_id']}"),
        ("ma", f"/orders/{exam.order_id}"),
        *(("admin", path) for path in ("/admin/people/new", "/admin/people/chen", "/admin/devices/T01_CT")),
    ]

    for name, path in pages:
        inline = Inline()
        inline.feed(page(quick_portal.by(name), path, language=language))
        assert inline.found == [], path


@pytest.mark.parametrize("room", ["/worklist", "/exams", "/results"])
def test_what_a_sender_wrote_stays_text(quick_portal: Portal, room: str) -> None:
    evil = builders.NewPatient(patient_id="66", name="<script>window.x</script>", sex="M")
    quick_portal.signed(quick_portal.an_exam(patient=evil))
    quick_portal.an_exam(patient=evil)

    text = page(quick_portal.by("zhou"), room)

    assert "&lt;script&gt;window.x" in text
    assert "<script>window.x" not in text
