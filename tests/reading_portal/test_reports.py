"""A report after its signature: read, verified, added to, withdrawn, acknowledged; never edited."""

import hashlib
import io

from pyhanko.pdf_utils.reader import PdfFileReader

from tests.cast import password_of
from tests.reading_portal.conftest import FINDINGS, Portal
from worklist.signing import verify_pdf


def _landscape_pages(pdf: bytes) -> int:
    """How many pages are wider than high: those that a trace is printed on to scale."""
    pages = PdfFileReader(io.BytesIO(pdf)).root["/Pages"]["/Kids"]
    boxes = [[float(side) for side in page["/MediaBox"]] for page in (kid.get_object() for kid in pages)]
    return sum(right - left > top - bottom for left, bottom, right, top in boxes)


def test_the_township_reads_the_sealed_report_and_acknowledges_it(portal: Portal) -> None:
    exam = portal.an_exam()
    key_image = {"sop_instance_uid": exam.sop_instance_uids[0], "frame": 1, "caption": "轴位"}
    report = portal.signed(exam, key_images=[key_image], recommendation="3 个月后复查")["report_id"]
    li = portal.by("li")

    listed = li.get("/api/reports").json()["items"]
    said = li.get(f"/api/reports/{report}").json()
    pdf = li.get(f"/api/reports/{report}/pdf")
    first = li.post(f"/api/reports/{report}/acknowledge")
    second = li.post(f"/api/reports/{report}/acknowledge")

    assert [one["id"] for one in listed] == [report]
    assert said["status"] == "final" and said["content"]["findings"] == FINDINGS
    assert said["content"]["key_images"][0]["sop_instance_uid"] == exam.sop_instance_uids[0]
    assert said["draft"] is None
    assert pdf.status_code == 200 and pdf.headers["content-type"] == "application/pdf"
    assert hashlib.sha256(pdf.content).hexdigest() == said["pdf_sha256"]
    assert pdf.headers["x-report-standing"] == "current"
    verdict = verify_pdf(pdf.content, trust_roots=[portal.app.state.authority.ca_pem()])
    assert verdict.is_valid and [one.username for one in verdict.signers] == ["chen"]
    assert verdict.content_hash == said["content_hash"]
    assert first.json() == second.json() == {"report_id": report, "version": 1, "is_acknowledged": True}
    assert li.get(f"/api/orders/{exam.order_id}").json()["state"] == "closed"


def test_an_approved_report_bears_both_seals(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam(modality="MR", body_part="BRAIN", images=1)
    report = quick_portal.signed(exam)["report_id"]
    fence = quick_portal.claimed(exam, by="wu")
    quick_portal.by("wu").post(
        f"{quick_portal.task(exam)}/review",
        json={"fence": fence, "decision": "approve", "note": "", "password": password_of("wu")},
    )

    preliminary = quick_portal.by("li").get(f"/api/reports/{report}/pdf", params={"version": 1})
    final = quick_portal.by("li").get(f"/api/reports/{report}/pdf")

    root = quick_portal.app.state.authority.ca_pem()
    verdict = verify_pdf(final.content, trust_roots=[root])
    assert verdict.is_valid and [one.username for one in verdict.signers] == ["chen", "wu"]
    assert verify_pdf(preliminary.content, trust_roots=[root]).is_valid
    assert preliminary.headers["x-report-standing"] == "superseded"
    assert preliminary.headers["x-report-current-version"] == "2"
    assert 'rel="latest-version"' in preliminary.headers["link"]


def test_an_ecg_report_carries_its_trace_without_being_asked(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam(modality="ECG", body_part="HEART", images=1)
    report = quick_portal.signed(exam)["report_id"]

    pdf = quick_portal.by("li").get(f"/api/reports/{report}/pdf")

    assert pdf.status_code == 200
    assert _landscape_pages(pdf.content) == 1


def test_an_addendum_is_a_new_version_and_the_old_one_is_still_there(portal: Portal) -> None:
    exam = portal.an_exam()
    report = portal.signed(exam)["report_id"]
    chen = portal.by("chen")
    before = chen.get(f"/api/reports/{report}/pdf").content

    wrong = chen.post(
        f"/api/reports/{report}/addenda",
        json={"text": "补充", "reason": "更正", "password": "not-the-password"},
    )
    added = chen.post(
        f"/api/reports/{report}/addenda",
        json={"text": "与前片比较，结节无变化。", "reason": "调阅前片", "password": password_of("chen")},
    )

    assert wrong.status_code == 403
    assert added.status_code == 201, added.text
    assert added.json() == {"report_id": report, "version": 2, "status": "appended"}
    old = chen.get(f"/api/reports/{report}/pdf", params={"version": 1})
    new = chen.get(f"/api/reports/{report}/pdf")
    assert old.content == before and old.headers["x-report-standing"] == "superseded"
    verdict = verify_pdf(new.content, trust_roots=[portal.app.state.authority.ca_pem()])
    assert verdict.is_valid and verdict.content is not None
    assert verdict.content["addenda"][0]["text"] == "与前片比较，结节无变化。"
    assert portal.by("li").get(f"/api/reports/{report}").json()["is_acknowledged"] is False


def test_a_withdrawn_report_says_so_wherever_it_is_asked_for(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()
    report = quick_portal.signed(exam)["report_id"]
    token = quick_portal.by("li").get(f"/api/reports/{report}").json()["verify_url"].rsplit("/", 1)[1]
    before = quick_portal.stranger().get(f"/api/verify/{token}").json()

    withdrawn = quick_portal.by("chen").post(
        f"/api/reports/{report}/withdraw", json={"reason": "患者身份错误", "password": password_of("chen")}
    )

    after = quick_portal.stranger().get(f"/api/verify/{token}").json()
    assert withdrawn.status_code == 200, withdrawn.text
    assert withdrawn.json()["status"] == "entered-in-error"
    assert (before["standing"], after["standing"]) == ("current", "withdrawn")
    assert quick_portal.by("li").get(f"/api/reports/{report}").json()["status"] == "entered-in-error"


def test_verification_shows_initials_and_nothing_more_of_the_patient(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()
    report = quick_portal.signed(exam)["report_id"]
    token = quick_portal.by("li").get(f"/api/reports/{report}").json()["verify_url"].rsplit("/", 1)[1]

    known = quick_portal.stranger().get(f"/api/verify/{token}")
    unknown = quick_portal.stranger().get("/api/verify/not-a-token-that-we-made")

    assert known.json()["standing"] == "current" and known.json()["initials"] == "Z.S."
    assert not {"张三", "P001", "1958", exam.accession_number} & set(known.text.replace('"', " ").split())
    assert "张" not in known.text and "P001" not in known.text
    assert unknown.status_code == 404


def test_a_key_image_of_another_study_is_never_signed(quick_portal: Portal) -> None:
    exam, other = quick_portal.an_exam(), quick_portal.an_exam()
    fence = quick_portal.written(exam, key_images=[{"sop_instance_uid": other.sop_instance_uids[0]}])

    answer = quick_portal.by("chen").post(
        f"{quick_portal.task(exam)}/sign", json={"fence": fence, "password": password_of("chen")}
    )

    assert answer.status_code == 422 and "key image 1" in answer.json()["detail"]
    assert quick_portal.by("li").get("/api/reports").json()["items"] == []


def test_a_critical_result_is_heard_and_said_back_by_the_ordering_unit(portal: Portal) -> None:
    exam = portal.an_exam()
    raised = portal.by("chen").post(
        "/api/critical-results",
        json={
            "study_instance_uid": exam.study_instance_uid,
            "category": "minutes",
            "statement": "右侧张力性气胸",
        },
    )
    path = f"/api/critical-results/{raised.json()['id']}/acknowledge"

    heard = portal.by("li").get("/api/critical-results", params={"open": True}).json()["items"]
    by_reader = portal.by("wu").post(path, json={"read_back": "收到"})
    said_back = portal.by("li").post(path, json={"read_back": "右侧张力性气胸，立即穿刺"})
    twice = portal.by("li").post(path, json={"read_back": "右侧张力性气胸"})

    assert raised.status_code == 201 and [one["statement"] for one in heard] == ["右侧张力性气胸"]
    assert by_reader.status_code == 403
    assert (said_back.status_code, said_back.json()["state"]) == (200, "acknowledged")
    assert twice.status_code == 409 and twice.json()["holder"] == "li"
