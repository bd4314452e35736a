"""Who gets what from every route there is: nothing without a token, nothing of Qingshi for Baishui."""

import re
from collections.abc import Iterator

import pytest
from fastapi.routing import APIRoute

from tests.cast import password_of
from tests.reading_portal.conftest import FINDINGS, Portal
from tests.reading_portal.drawn import A_LENGTH, a_length

# What anyone may call. Everything else answers 401 to a stranger, or the way to the sign-in.
PUBLIC = {
    ("POST", "/api/sessions"),
    ("GET", "/api/verify/{token}"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/fhir/metadata"),
    # Pages that somebody without an account needs.
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("POST", "/language"),
    ("GET", "/sentence"),  # says one of our own sentences in the language of the page
    ("GET", "/verify/{token}"),
    ("POST", "/verify"),
    ("GET", "/verify"),
}


def _routes(portal: Portal) -> Iterator[tuple[str, str]]:
    for route in portal.app.routes:
        yield from _flat(route)


def _flat(route: object) -> Iterator[tuple[str, str]]:
    if isinstance(route, APIRoute):
        for method in sorted(route.methods - {"HEAD"}):
            yield method, route.path_format
    elif hasattr(route, "effective_route_contexts"):
        for context in route.effective_route_contexts():
            for method in sorted(context.methods - {"HEAD"}):
                yield method, context.path_format


def test_every_route_but_the_public_ones_is_closed_to_strangers(quick_portal: Portal) -> None:
    stranger = quick_portal.stranger(follow_redirects=False)
    routes = set(_routes(quick_portal))

    opened = []
    for method, path in sorted(routes - PUBLIC):
        address = re.sub(r"\{[^}]*\}", "1", path)
        for headers in ({}, {"authorization": "Bearer not-a-token"}, {"cookie": "session=not-a-token"}):
            answer = stranger.request(method, address, headers=headers)
            to_sign_in = answer.status_code == 303 and answer.headers["location"].startswith("/sign-in")
            if answer.status_code not in (401, 403) and not to_sign_in:
                opened.append((method, path, answer.status_code))

    assert len(routes) > 50
    assert opened == []


def test_the_schema_is_public_and_holds_nobody(quick_portal: Portal) -> None:
    quick_portal.an_exam()

    answer = quick_portal.stranger().get("/openapi.json")

    assert answer.status_code == 200
    assert "张三" not in answer.text
    assert "/api/reading-tasks/{task_id}/claim" in answer.json()["paths"]


def test_he_jing_of_baishui_finds_nothing_of_qingshi(portal: Portal) -> None:
    exam = portal.an_exam()
    report = portal.signed(exam)["report_id"]
    portal.by("chen").post(
        "/api/critical-results",
        json={"study_instance_uid": exam.study_instance_uid, "category": "minutes", "statement": "气胸"},
    )
    he, study, task = portal.by("he"), exam.study_instance_uid, exam.task_id
    password = {"password": password_of("he")}

    lists = {
        path: he.get(path).json()
        for path in (
            "/api/orders", f"/api/orders?accession_number={exam.accession_number}", "/api/studies",
            "/api/reports",
            "/api/reading-tasks", "/api/unmatched-studies", "/api/critical-results",
            f"/api/reports?study_instance_uid={study}", "/api/studies?patient=zhang",
        )
    }  # fmt: skip
    answers = {
        path: he.request(method, path, json=body).status_code
        for method, path, body in (
            ("GET", f"/api/orders/{exam.order_id}", None),
            ("POST", f"/api/orders/{exam.order_id}/cancel", {"reason": "不要了"}),
            ("POST", f"/api/orders/{exam.order_id}/recognition",
             {"candidate": study, "decision": "decline", "reason": "emergency", "patient_informed": True}),
            ("GET", f"/api/studies/{study}", None),
            ("POST", f"/api/studies/{study}/match", {"order": exam.order_id}),
            ("POST", f"/api/studies/{study}/unmatch", None),
            ("GET", f"/api/studies/{study}/measurements", None),
            ("POST", f"/api/studies/{study}/measurements/export", None),
            ("PUT", f"/api/studies/{study}/measurements/{A_LENGTH}", a_length(exam)),
            ("DELETE", f"/api/studies/{study}/measurements/{A_LENGTH}?revision=1", None),
            ("GET", f"/api/reading-tasks/{task}", None),
            ("POST", f"/api/reading-tasks/{task}/claim", {}),
            ("POST", f"/api/reading-tasks/{task}/heartbeat", {"fence": 1}),
            ("POST", f"/api/reading-tasks/{task}/release", {"fence": 1}),
            ("POST", f"/api/reading-tasks/{task}/return", {"fence": 1, "reason": "motion", "note": ""}),
            ("POST", f"/api/reading-tasks/{task}/suspend", {"fence": 1, "reason": "break"}),
            ("POST", f"/api/reading-tasks/{task}/hand-over", {"fence": 1, "note": ""}),
            ("PUT", f"/api/reading-tasks/{task}/report", {"fence": 1, "findings": "x", "impression": "x"}),
            ("POST", f"/api/reading-tasks/{task}/sign", {"fence": 1} | password),
            ("POST", f"/api/reading-tasks/{task}/review",
             {"fence": 1, "decision": "approve", "note": ""} | password),
            ("GET", f"/api/reports/{report}", None),
            ("GET", f"/api/reports/{report}/pdf", None),
            ("GET", f"/api/reports/{report}/versions", None),
            ("POST", f"/api/reports/{report}/addenda", {"text": "x", "reason": "x"} | password),
            ("POST", f"/api/reports/{report}/withdraw", {"reason": "x"} | password),
            ("POST", f"/api/reports/{report}/acknowledge", None),
            ("POST", "/api/critical-results",
             {"study_instance_uid": study, "category": "minutes", "statement": "x"}),
            ("POST", "/api/critical-results/1/acknowledge", {"read_back": "收到"}),
        )
    }  # fmt: skip

    assert {path: found["items"] for path, found in lists.items()} == {path: [] for path in lists}
    assert answers == dict.fromkeys(answers, 404)


@pytest.mark.parametrize(
    ("username", "method", "path", "body"),
    [
        ("li", "POST", "/api/reading-tasks/{task}/claim", {}),
        ("ma", "POST", "/api/reading-tasks/next", None),
        ("zhou", "POST", "/api/reading-tasks/{task}/claim", {}),
        ("chen", "POST", "/api/orders/{order}/cancel", {"reason": "重复申请"}),
        ("chen", "POST", "/api/studies/{study}/unmatch", None),
        ("li", "POST", "/api/studies/{study}/measurements/export", None),
        ("li", "DELETE", f"/api/studies/{{study}}/measurements/{A_LENGTH}?revision=1", None),
        ("li", "POST", "/api/critical-results",
         {"study_instance_uid": "{study}", "category": "minutes", "statement": "气胸"}),
    ],
)  # fmt: skip
def test_what_one_may_see_but_not_do_is_refused_with_403(
    quick_portal: Portal, username: str, method: str, path: str, body: dict[str, str] | None
) -> None:
    exam = quick_portal.an_exam()
    known = {"task": exam.task_id, "order": exam.order_id, "study": exam.study_instance_uid}
    sent = {key: value.format(**known) for key, value in body.items()} if body is not None else None

    answer = quick_portal.by(username).request(method, path.format(**known), json=sent)

    assert answer.status_code == 403, answer.text
    assert answer.json()["type"] == "urn:reading-center:problem:refused"


def test_a_draft_is_for_readers_and_never_for_the_township(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()
    quick_portal.written(exam)
    report = quick_portal.by("chen").get(f"/api/reading-tasks/{exam.task_id}").json()["report_id"]

    reader = quick_portal.by("wu").get(f"/api/reports/{report}")
    clinician = quick_portal.by("li").get(f"/api/reports/{report}")

    assert reader.json()["draft"]["findings"] == FINDINGS
    assert clinician.status_code == 404
