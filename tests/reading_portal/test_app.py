"""What every answer carries, what every log line leaves out, and how the door behaves when pressed."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from reading_portal.app import build_app
from reading_portal.headers import CONTENT_SECURITY_POLICY, LONGEST_BODY
from reading_portal.static_files import STATIC
from storage.objects import FolderStore, ObjectStore
from tests.builders import ZHANG
from tests.cast import password_of
from tests.reading_portal.conftest import Portal


@pytest.mark.parametrize("path", ["/healthz", "/api/orders", "/sign-in", "/nowhere", "/static/mark.svg"])
def test_every_answer_carries_the_security_headers(quick_portal: Portal, path: str) -> None:
    headers = quick_portal.stranger().get(path).headers

    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


def test_answers_about_patients_are_never_kept_by_a_browser(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()
    report = quick_portal.signed(exam)["report_id"]
    li = quick_portal.by("li")

    for path in ("/api/orders", f"/api/reports/{report}", f"/api/reports/{report}/pdf", "/fhir/Patient"):
        assert li.get(path).headers["cache-control"] == "no-store", path


def test_a_bundle_with_its_hash_in_its_name_is_kept_for_ever(quick_portal: Portal) -> None:
    bundles = sorted((STATIC / "viewer" / "assets").glob("*-????????.js"))
    if not bundles:
        pytest.skip("the viewer's bundle has not been built")

    hashed = quick_portal.stranger().get(f"/static/viewer/assets/{bundles[0].name}")
    plain = quick_portal.stranger().get("/static/mark.svg")

    assert "immutable" in hashed.headers["cache-control"]
    assert plain.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(("accepted", "encoding"), [("gzip, br", "br"), ("gzip", "gzip"), ("br;q=0", None)])
def test_a_bundle_travels_compressed_to_whoever_takes_it(
    quick_portal: Portal, accepted: str, encoding: str | None
) -> None:
    compressed = sorted((STATIC / "viewer" / "assets").glob("*.js.br"))
    if not compressed:
        pytest.skip("the viewer's bundle has not been built")
    name = compressed[0].name.removesuffix(".br")

    headers = {"accept-encoding": accepted}
    answer = quick_portal.stranger().get(f"/static/viewer/assets/{name}", headers=headers)

    assert answer.status_code == 200
    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["vary"] == "accept-encoding"
    beside = compressed[0].with_name(name + {"br": ".br", "gzip": ".gz"}.get(encoding or "", ""))
    assert int(answer.headers["content-length"]) == beside.stat().st_size


def test_logs_figures_and_errors_name_no_patient(quick_portal: Portal) -> None:
    canary = replace(
        ZHANG, patient_id="CANARY77", name="司马金丝", name_phonetic="Sima Jinsi", phone="13900000077"
    )
    li = quick_portal.by("li")
    with capture_logs() as lines:
        exam = quick_portal.an_exam(patient=canary)
        report = quick_portal.signed(exam, findings="金丝雀所见")["report_id"]
        li.get("/api/orders", params={"patient": "司马金丝"})
        li.get("/api/studies", params={"patient": "CANARY77"})
        li.get("/fhir/Patient", params={"identifier": "CANARY77", "name": "司马"})
        li.get(f"/api/reports/{report}")
        li.post("/api/orders", json={"patient": {"name": "司马金丝", "patient_id": "CANARY77"}})
        li.get("/no/such/司马金丝", headers={"accept": "application/json"})
    figures = quick_portal.stranger().get("/metrics").text

    told = repr(lines) + figures
    assert len(lines) > 5
    for secret in (
        "司马",
        "金丝",
        "Sima",
        "CANARY77",
        "13900000077",
        canary.national_id or "?",
        exam.accession_number,
    ):
        assert secret not in told
    assert exam.study_instance_uid not in figures
    assert 'route="/api/reports/{report_id}"' in figures


def test_an_unforeseen_error_is_a_problem_without_its_message(
    quick_portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_words: Any, **_named: Any) -> None:
        raise RuntimeError("张三 cannot be handled")

    monkeypatch.setattr("reading_portal.routes.orders.orders.orders_for", broken)
    answer = quick_portal.by("li").get("/api/orders")

    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:reading-center:problem:unexpected"
    assert "张三" not in answer.text


def test_a_body_beyond_measure_is_refused_before_it_is_read(quick_portal: Portal) -> None:
    li = quick_portal.by("li")

    def stream() -> Any:
        for _ in range(LONGEST_BODY // 100_000 + 2):
            yield b" " * 100_000

    announced = li.post("/api/orders", content=b" " * (LONGEST_BODY + 1))
    streamed = li.post("/api/orders", content=stream(), headers={"content-type": "application/json"})

    assert (announced.status_code, streamed.status_code) == (413, 413)


def test_readiness_says_what_is_missing(portal: Portal) -> None:
    class Gone(FolderStore):
        def size(self, key: str) -> int:
            raise OSError("no route to host")

    ready = portal.stranger().get("/readyz")
    gone: ObjectStore = Gone.__new__(Gone)
    portal.app.state.objects, portal.app.state.authority = gone, None
    not_ready = portal.stranger().get("/readyz")

    assert (ready.status_code, ready.json()) == (200, {"ready": True, "missing": []})
    assert (not_ready.status_code, not_ready.json()["missing"]) == (
        503,
        ["object-store", "signing-authority"],
    )
    assert portal.stranger().get("/healthz").status_code == 200


def test_without_an_authority_nothing_is_signed_and_the_draft_stands(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()
    fence = quick_portal.written(exam)
    quick_portal.app.state.authority = None

    answer = quick_portal.by("chen").post(
        f"{quick_portal.task(exam)}/sign", json={"fence": fence, "password": password_of("chen")}
    )

    assert answer.status_code == 503
    assert quick_portal.by("chen").get(quick_portal.task(exam)).json()["state"] == "claimed"


def test_sixty_writers_and_readers_at_once_are_all_answered(portal: Portal) -> None:
    """Open transactions wait for worker threads and worker threads for transactions: never in a circle."""
    exams = [portal.an_exam(images=1) for _ in range(3)]
    chen = portal.by("chen")
    fence = portal.written(exams[0])

    def press(number: int) -> int:
        if number % 3 == 0:
            return chen.get("/api/reading-tasks").status_code
        if number % 3 == 1:
            draft = {"fence": fence, "findings": f"第 {number} 次", "impression": "未见异常"}
            return chen.put(f"{portal.task(exams[0])}/report", json=draft).status_code
        return chen.get(f"/api/orders/{exams[1].order_id}").status_code

    began = time.monotonic()
    with ThreadPoolExecutor(60) as many:
        codes = list(many.map(press, range(120)))

    assert codes == [200] * 120
    assert time.monotonic() - began < 60


def test_two_orders_for_one_new_patient_at_the_same_moment_are_both_placed(portal: Portal) -> None:
    order = {
        "institution": "T01",
        "patient": {"patient_id": "NEW1", "name": "新患者", "sex": "F", "birth_date": "1990-01-01"},
        "modality": "CT",
        "body_part": "CHEST",
    }
    li = portal.by("li")

    with ThreadPoolExecutor(6) as many:
        answers = list(many.map(lambda _: li.post("/api/orders", json=order), range(6)))

    assert [one.status_code for one in answers] == [201] * 6
    assert len({one.json()["accession_number"] for one in answers}) == 6


def test_building_the_application_opens_nothing(quick_portal: Portal) -> None:
    state = quick_portal.app.state

    app = build_app(state.settings, state.database, state.objects, state.authority)

    assert not app.state.broadcast.is_stopping
    assert app.state.broadcast._thread is None
