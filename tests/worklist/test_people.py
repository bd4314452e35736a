"""Signing in, and who sees what."""

from datetime import date, timedelta

import pyotp
import pytest
from sqlalchemy import select

from storage.database import utc_now
from storage.imaging import Patient, Study
from tests.builders import NewPatient, an_exam, an_order
from tests.cast import password_of, person
from worklist.break_glass import open_access, pending, review
from worklist.orders import ServiceRequest
from worklist.people import Practitioner, visible_to
from worklist.problems import Missing, Refused, TooManyAttempts, Unacceptable, WrongCredentials
from worklist.reading_tasks import ReadingTask
from worklist.recognition import decide, find_equivalent
from worklist.sessions import (
    SESSION_IDLES,
    begin_otp,
    confirm_identity,
    confirm_otp,
    prove_password,
    remember_failure,
    session_of,
    set_active,
    set_password,
    sign_in,
)


def _sign_in(database, username: str, password: str | None = None, otp: str | None = None):
    said = {"source": "10.0.0.1", "now": utc_now()}
    with database.reading() as session:
        proven = prove_password(
            session, username=username, password=password or password_of(username), **said
        )
    with database.transaction() as session:
        return sign_in(session, proven, otp=otp, **said)


def _seen(database, username: str) -> list[str]:
    with database.reading() as session:
        who = person(session, username)
        return list(session.scalars(select(Study.study_instance_uid).where(visible_to(session, who, Study))))


def test_a_session_lives_while_it_is_used_and_ends_when_it_idles(database):
    signed_in = _sign_in(database, "chen")

    with database.reading() as session:
        assert session_of(session, signed_in.token, now=utc_now())[1].username == "chen"
        assert session_of(session, signed_in.token, now=utc_now() + SESSION_IDLES) is None
        assert session_of(session, signed_in.token + "x", now=utc_now()) is None


def test_five_wrong_passwords_close_the_account_for_a_while_even_for_the_right_one(database):
    for _ in range(5):
        with pytest.raises(WrongCredentials):
            _sign_in(database, "chen", "wrong")
        with database.transaction() as session:
            remember_failure(session, username="chen", source="10.0.0.1", now=utc_now())

    with pytest.raises(TooManyAttempts) as refusal:
        _sign_in(database, "chen")

    assert 0 < refusal.value.retry_after <= 301


def test_an_unknown_name_and_a_wrong_password_are_answered_alike(database):
    with pytest.raises(WrongCredentials) as unknown:
        _sign_in(database, "nobody", "wrong-password")
    with pytest.raises(WrongCredentials) as wrong:
        _sign_in(database, "chen", "wrong-password")

    assert str(unknown.value) == str(wrong.value)


def test_a_one_time_code_is_asked_for_once_enrolled_and_taken_once(database):
    now = utc_now()
    with database.transaction() as session:
        begin_otp(session, "chen", center_name="中心")
        secret = session.get(Practitioner, "chen").otp_pending
        code = pyotp.TOTP(secret).at(now - timedelta(seconds=30))
        confirm_otp(session, "chen", code, by=person(session, "chen"), now=now)

    with pytest.raises(WrongCredentials):
        _sign_in(database, "chen")
    code = pyotp.TOTP(secret).at(utc_now())
    assert _sign_in(database, "chen", otp=code)
    with pytest.raises(WrongCredentials):
        _sign_in(database, "chen", otp=code)


def test_a_new_password_ends_the_old_sessions_and_a_deactivated_person_is_out(database):
    signed_in = _sign_in(database, "chen")
    with database.transaction() as session:
        set_password(session, "chen", "a-new-password", by=person(session, "admin"))
        assert session_of(session, signed_in.token, now=utc_now()) is None
        with pytest.raises(Unacceptable):
            set_password(session, "chen", "short", by=person(session, "admin"))
    again = _sign_in(database, "chen", "a-new-password")
    with database.transaction() as session:
        set_active(session, "chen", False, by=person(session, "admin"))

    with database.reading() as session:
        assert session_of(session, again.token, now=utc_now()) is None
    with pytest.raises(WrongCredentials):
        _sign_in(database, "chen", "a-new-password")


def test_a_password_that_changes_while_it_is_looked_at_opens_nothing(database):
    said = {"source": "10.0.0.1", "now": utc_now()}
    with database.reading() as session:
        proven = prove_password(session, username="chen", password=password_of("chen"), **said)
    with database.transaction() as session:
        set_password(session, "chen", "a-new-password", by=person(session, "admin"))

    with pytest.raises(WrongCredentials), database.transaction() as session:
        sign_in(session, proven, otp=None, **said)


def test_a_signer_proves_again_who_signs(database):
    with database.transaction() as session:
        chen = person(session, "chen")
        confirm_identity(session, chen, password=password_of("chen"), now=utc_now())
        with pytest.raises(WrongCredentials):
            confirm_identity(session, chen, password="wrong", now=utc_now())
        with pytest.raises(WrongCredentials):
            confirm_identity(session, chen, otp="000000", now=utc_now())


@pytest.mark.parametrize(
    ("username", "sees"),
    [
        ("chen", True),
        ("wu", True),
        ("ma", True),
        ("li", True),
        ("he", False),
        ("zhou", True),
        ("his", True),
        ("admin", False),
        ("audit", False),
    ],
)
def test_who_sees_an_exam_of_qingshi(database, objects, username, sees):
    exam = an_exam(database, objects)

    assert _seen(database, username) == ([exam.study_instance_uid] if sees else [])
    with database.reading() as session:
        who = person(session, username)
        for noun in (ReadingTask, ServiceRequest, Patient):
            rows = session.scalars(select(noun).where(visible_to(session, who, noun))).all()
            assert bool(rows) is sees, noun


def test_an_agreement_that_ended_shows_nothing_any_more(database, objects):
    from worklist.agreements import Agreement

    an_exam(database, objects)
    with database.transaction() as session:
        for agreement in session.scalars(select(Agreement)):
            agreement.until = date(2020, 1, 1)

    assert _seen(database, "chen") == []


def test_emergency_access_opens_one_study_for_a_while_and_somebody_else_judges_it(database, objects):
    exam = an_exam(database, objects)
    with database.transaction() as session:
        he = person(session, "he")
        with pytest.raises(Unacceptable):
            open_access(session, by=he, study_instance_uid=exam.study_instance_uid, reason="?", now=utc_now())
        open_access(
            session,
            by=he,
            study_instance_uid=exam.study_instance_uid,
            reason="患者昏迷，急诊转入",
            now=utc_now(),
        )
    assert _seen(database, "he") == [exam.study_instance_uid]
    with database.reading() as session:
        he = person(session, "he")
        later = utc_now() + timedelta(hours=5)
        assert session.scalars(select(Study).where(visible_to(session, he, Study, now=later))).all() == []

    with database.transaction() as session:
        with pytest.raises(Refused):
            pending(session, by=person(session, "he"))
        zhou = person(session, "zhou")
        ((access, _study),) = pending(session, by=zhou)
        review(session, access.id, by=zhou, verdict="unjustified", now=utc_now())

    assert _seen(database, "he") == []


def test_an_equivalent_exam_is_shown_and_accepting_it_spares_the_new_one(database, objects):
    exam = an_exam(database, objects)
    elsewhere = NewPatient(
        patient_id="B-77",
        name="张三",
        sex="M",
        national_id="110105195803140031",
        birth_date=date(1958, 3, 14),
    )
    with database.transaction() as session:
        patient = session.scalar(select(Patient))
        elsewhere = NewPatient(
            patient_id="B-77",
            name="张三",
            sex="M",
            national_id=patient.national_id,
            birth_date=date(1958, 3, 14),
        )
    from tests.builders import an_order

    order = an_order(database, by="he", institution="T02", patient=elsewhere)
    with database.transaction() as session:
        he, order = person(session, "he"), session.get(ServiceRequest, order.id)
        (candidate,) = find_equivalent(session, order, now=utc_now())
        assert (candidate.candidate, candidate.institution, candidate.scope) == (
            exam.study_instance_uid,
            "T01",
            "county",
        )
        words = {"by": he, "now": utc_now(), "candidate": candidate.candidate}
        with pytest.raises(Unacceptable):
            decide(session, order, decision="decline", reason="because", patient_informed=True, **words)
        with pytest.raises(Unacceptable):
            decide(session, order, decision="accept", reason=None, patient_informed=False, **words)
        with pytest.raises(Missing):
            decide(
                session,
                order,
                **(words | {"candidate": "1.2.3"}),
                decision="accept",
                reason=None,
                patient_informed=True,
            )
        record = decide(session, order, decision="accept", reason=None, patient_informed=True, **words)
        assert (record.mark, order.state) == ("县域 HR", "recognised")

    assert _seen(database, "he") == [exam.study_instance_uid]


def test_an_exam_that_is_too_old_or_of_somebody_else_is_not_equivalent(database, objects):
    an_exam(database, objects)
    stranger = an_order(
        database, by="he", institution="T02", patient=NewPatient(patient_id="P001", name="张三", sex="M")
    )
    own = an_order(database)
    with database.reading() as session:
        assert find_equivalent(session, session.get(ServiceRequest, stranger.id), now=utc_now()) == []
        mine = session.get(ServiceRequest, own.id)
        assert len(find_equivalent(session, mine, now=utc_now())) == 1
        assert find_equivalent(session, mine, now=utc_now() + timedelta(days=31)) == []
