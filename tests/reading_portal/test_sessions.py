"""Who gets in, for how long, and what a foreign page can make a browser do."""

from datetime import timedelta

import httpx
import pyotp

from storage.database import utc_now
from tests.cast import password_of
from tests.reading_portal.conftest import Portal
from worklist.people import Practitioner


def _sign_in(portal: Portal, username: str, password: str, **words: object) -> httpx.Response:
    return portal.stranger().post("/api/sessions", json={"username": username, "password": password} | words)


def test_a_person_signs_in_with_a_password_and_out_again(portal: Portal) -> None:
    answer = _sign_in(portal, "chen", password_of("chen"))
    bearer = {"authorization": f"Bearer {answer.json()['token']}"}

    seen = portal.stranger().get("/api/sessions/current", headers=bearer)
    left = portal.stranger().delete("/api/sessions/current", headers=bearer)
    afterwards = portal.stranger().get("/api/sessions/current", headers=bearer)

    assert answer.status_code == 201
    assert answer.json()["person"] | {"reads": []} == {
        "username": "chen", "name": "陈雨", "institution": "C01", "roles": ["reader"], "reads": [],
        "license_until": "2099-12-31", "grade": "attending", "language": None,
    }  # fmt: skip
    assert seen.json()["username"] == "chen"
    assert (left.status_code, afterwards.status_code) == (204, 401)
    assert afterwards.headers["content-type"] == "application/problem+json"


def test_five_wrong_passwords_make_even_the_right_one_wait(portal: Portal) -> None:
    wrong = [_sign_in(portal, "chen", "not-the-password").status_code for _ in range(5)]
    right = _sign_in(portal, "chen", password_of("chen"))
    another = _sign_in(portal, "wu", password_of("wu"))

    assert wrong == [401] * 5
    assert right.status_code == 429 and int(right.headers["retry-after"]) > 0
    assert another.status_code == 201


def test_an_unknown_name_and_a_wrong_password_sound_the_same(quick_portal: Portal) -> None:
    unknown = _sign_in(quick_portal, "nobody", "not-the-password")
    wrong = _sign_in(quick_portal, "chen", "not-the-password")

    assert unknown.status_code == wrong.status_code == 401
    assert unknown.json() == wrong.json()


def test_an_enrolled_person_needs_a_one_time_code_and_each_code_is_good_once(quick_portal: Portal) -> None:
    secret = pyotp.random_base32(32)
    with quick_portal.database.transaction() as session:
        chen = session.get(Practitioner, "chen")
        assert chen is not None
        chen.otp_secret = secret
    code = pyotp.TOTP(secret).now()

    without = _sign_in(quick_portal, "chen", password_of("chen"))
    with_it = _sign_in(quick_portal, "chen", password_of("chen"), otp=code)
    again = _sign_in(quick_portal, "chen", password_of("chen"), otp=code)

    assert (without.status_code, with_it.status_code, again.status_code) == (401, 201, 401)


def test_an_idle_session_ends_and_one_that_is_used_goes_on(quick_portal: Portal) -> None:
    used, idle = quick_portal.by("chen"), quick_portal.by("wu")
    start = utc_now()

    for minutes in (40, 80):
        quick_portal.app.state.clock = lambda minutes=minutes: start + timedelta(minutes=minutes)
        assert used.get("/api/sessions/current").status_code == 200
    answer = idle.get("/api/sessions/current")

    assert answer.status_code == 401


def test_a_person_who_is_locked_out_is_out_at_once(quick_portal: Portal) -> None:
    chen = quick_portal.by("chen")
    with quick_portal.database.transaction() as session:
        row = session.get(Practitioner, "chen")
        assert row is not None
        row.is_active = False

    assert chen.get("/api/sessions/current").status_code == 401
    assert _sign_in(quick_portal, "chen", password_of("chen")).status_code == 401


def test_the_cookie_is_out_of_reach_of_scripts_and_is_new_at_every_sign_in(quick_portal: Portal) -> None:
    first = _sign_in(quick_portal, "chen", password_of("chen"), cookie=True)
    second = _sign_in(quick_portal, "chen", password_of("chen"), cookie=True)

    said = first.headers["set-cookie"].lower()
    assert "httponly" in said and "samesite=lax" in said and "path=/" in said
    assert first.json()["token"] is None and first.json()["csrf_token"]
    assert first.cookies["session"] != second.cookies["session"]


def test_a_browser_needs_the_csrf_token_of_its_session(portal: Portal) -> None:
    exam = portal.an_exam()
    browser, csrf_token = portal.browser("chen")
    claim = f"/api/reading-tasks/{exam.task_id}/claim"

    refused = {
        "without a token": browser.post(claim, json={}),
        "with another's token": browser.post(claim, json={}, headers={"x-csrf-token": "x" * 43}),
        "from another site": browser.post(
            claim, json={}, headers={"x-csrf-token": csrf_token, "sec-fetch-site": "cross-site"}
        ),
        "from another origin": browser.post(
            claim, json={}, headers={"x-csrf-token": csrf_token, "origin": "https://evil.example"}
        ),
    }
    accepted = browser.post(
        claim,
        json={},
        headers={
            "x-csrf-token": csrf_token,
            "sec-fetch-site": "same-origin",
            "origin": "http://portal.example",
        },
    )

    assert {how: answer.status_code for how, answer in refused.items()} == dict.fromkeys(refused, 403)
    assert all(one.json()["type"].endswith("foreign-request") for one in refused.values())
    assert accepted.status_code == 200
    assert browser.get("/api/reading-tasks").status_code == 200


def test_a_foreign_page_cannot_sign_a_browser_in(quick_portal: Portal) -> None:
    answer = quick_portal.stranger().post(
        "/api/sessions",
        json={"username": "chen", "password": password_of("chen"), "cookie": True},
        headers={"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
    )

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
