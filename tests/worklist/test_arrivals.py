"""A study that stopped growing finds its order, or goes to reconciliation; never away."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from storage.database import utc_now
from storage.imaging import ArrivalState, Study
from storage.institutions import find_application_entity
from tests.builders import a_dataset, an_exam, an_order, keep, settle_exam
from tests.cast import person
from worklist.arrivals import match_study, settle_studies, unmatch_study, unmatched_studies
from worklist.completeness import recount
from worklist.orders import OrderState, ServiceRequest, likely_orders
from worklist.performed_steps import StepEnded, StepExists, StepUnknown, create_step, set_step
from worklist.problems import Unacceptable, WrongState
from worklist.reading_tasks import ReadingTask, TaskState, claim, task_of
from worklist.shortfalls import shortfalls

QUIET = timedelta(seconds=20)


def _step(
    study_instance_uid: str, accession_number: str, state: str, instance_uids: list[str] | None = None
) -> dict:
    attributes = {
        "00400252": {"vr": "CS", "Value": [state]},
        "00400270": {
            "vr": "SQ",
            "Value": [
                {
                    "0020000D": {"vr": "UI", "Value": [study_instance_uid]},
                    "00080050": {"vr": "SH", "Value": [accession_number]},
                }
            ],
        },
    }
    if instance_uids is not None:
        items = [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in instance_uids]
        attributes["00400340"] = {"vr": "SQ", "Value": [{"00081140": {"vr": "SQ", "Value": items}}]}
    return attributes


def _state(database, study_instance_uid: str) -> tuple[str, str | None]:
    with database.reading() as session:
        study = session.scalar(select(Study).where(Study.study_instance_uid == study_instance_uid))
        return study.arrival_state, study.settled_by


def _settle(database, *, later: timedelta = timedelta(0)) -> int:
    with database.transaction() as session:
        return settle_studies(session, now=utc_now() + later, quiet=QUIET)


def test_a_study_settles_after_its_silence_and_not_before(database, objects):
    exam = an_exam(database, objects, is_settled=False)

    early, late = _settle(database), _settle(database, later=QUIET)

    assert (early, late) == (0, 1)
    assert _state(database, exam.study_instance_uid) == (ArrivalState.SETTLED, "quiet")
    with database.reading() as session:
        assert session.get(ServiceRequest, exam.order_id).state == OrderState.ACQUIRED


def test_a_single_ecg_settles_at_once(database, objects):
    exam = an_exam(database, objects, modality="ECG", body_part="", images=1, is_settled=False)

    assert _settle(database) == 1
    assert _state(database, exam.study_instance_uid)[1] == "single-object"


def test_a_study_that_mpps_says_is_complete_settles_at_once(database, objects):
    exam = an_exam(database, objects, is_settled=False)
    with database.transaction() as session:
        entity = find_application_entity(session, "T01_CT")
        begun = _step(exam.study_instance_uid, exam.accession_number, "IN PROGRESS")
        create_step(session, "1.2.3.4", begun, entity=entity, now=utc_now())
        session.flush()
        ended = _step(
            exam.study_instance_uid, exam.accession_number, "COMPLETED", list(exam.sop_instance_uids)
        )
        set_step(session, "1.2.3.4", ended, entity=entity, now=utc_now())

    assert _settle(database) == 1
    assert _state(database, exam.study_instance_uid)[1] == "mpps"


def test_fewer_images_than_the_device_counted_are_waited_for_and_then_said(database, objects):
    exam = an_exam(database, objects, is_settled=False)
    with database.transaction() as session:
        entity = find_application_entity(session, "T01_CT")
        create_step(
            session,
            "1.2.3.5",
            _step(exam.study_instance_uid, exam.accession_number, "IN PROGRESS"),
            entity=entity,
            now=utc_now(),
        )
        session.flush()
        counted = [*exam.sop_instance_uids, "1.2.3.999"]
        set_step(
            session,
            "1.2.3.5",
            _step(exam.study_instance_uid, exam.accession_number, "COMPLETED", counted),
            entity=entity,
            now=utc_now(),
        )

    assert _settle(database, later=QUIET * 2) == 0
    assert _settle(database, later=QUIET * 20) == 1
    assert _state(database, exam.study_instance_uid)[1] == "quiet-incomplete"


def _end(database, step_uid: str, exam, instance_uids: list[str], *, study_instance_uid: str = "") -> None:
    """The device begins a step of this exam and says at once that it is done."""
    words = (study_instance_uid or exam.study_instance_uid, exam.accession_number)
    with database.transaction() as session:
        entity = find_application_entity(session, "T01_CT")
        create_step(session, step_uid, _step(*words, "IN PROGRESS"), entity=entity, now=utc_now())
        session.flush()
        ended = _step(*words, "COMPLETED", instance_uids)
        step = set_step(session, step_uid, ended, entity=entity, now=utc_now())
        session.flush()
        recount(session, step.study_instance_uid, now=utc_now())


def _shortfalls(database) -> list[tuple[str, int, int]]:
    with database.reading() as session:
        found = shortfalls(session, now=utc_now() + timedelta(hours=1))
        return [(one.study_instance_uid, one.counted, one.kept) for one in found]


def test_a_count_that_comes_late_says_that_a_settled_study_is_incomplete(database, objects):
    exam = an_exam(database, objects, is_settled=False)
    _settle(database, later=QUIET)

    _end(database, "1.2.3.6", exam, [*exam.sop_instance_uids, "1.2.3.998", "1.2.3.999"])

    assert _state(database, exam.study_instance_uid) == (ArrivalState.SETTLED, "quiet-incomplete")
    kept = len(exam.sop_instance_uids)
    assert _shortfalls(database) == [(exam.study_instance_uid, kept + 2, kept)]


def test_a_count_that_comes_late_and_agrees_is_a_better_proof_than_silence(database, objects):
    exam = an_exam(database, objects, is_settled=False)
    _settle(database, later=QUIET)

    _end(database, "1.2.3.7", exam, list(exam.sop_instance_uids))

    assert _state(database, exam.study_instance_uid) == (ArrivalState.SETTLED, "mpps")
    assert _shortfalls(database) == []


def test_the_missing_images_end_a_shortfall(database, objects):
    exam = an_exam(database, objects, is_settled=False)
    late = a_dataset(study_instance_uid=exam.study_instance_uid, accession_number=exam.accession_number)
    _end(database, "1.2.3.8", exam, [*exam.sop_instance_uids, late.SOPInstanceUID])
    _settle(database, later=QUIET * 20)
    before = _shortfalls(database)

    keep(database, objects, late)
    _settle(database)

    assert len(before) == 1
    assert _state(database, exam.study_instance_uid) == (ArrivalState.SETTLED, "mpps")
    assert _shortfalls(database) == []


def test_a_step_whose_images_never_came_at_all_is_a_shortfall(database, objects):
    exam = an_exam(database, objects)

    _end(database, "1.2.3.9", exam, ["1.2.3.1", "1.2.3.2"], study_instance_uid="1.2.99")

    assert _shortfalls(database) == [("1.2.99", 2, 0)]


def test_an_ended_step_is_not_changed_and_an_unknown_one_is_said(database):
    with database.transaction() as session:
        entity = find_application_entity(session, "T01_CT")
        neighbour = find_application_entity(session, "T02_CT")
        create_step(session, "1.2.9", _step("1.2.8", "", "IN PROGRESS"), entity=entity, now=utc_now())
        session.flush()
        with pytest.raises(StepExists):
            create_step(session, "1.2.9", _step("1.2.8", "", "IN PROGRESS"), entity=entity, now=utc_now())
        with pytest.raises(StepUnknown):
            set_step(session, "1.2.9", _step("1.2.8", "", "COMPLETED"), entity=neighbour, now=utc_now())
        set_step(session, "1.2.9", _step("1.2.8", "", "COMPLETED"), entity=entity, now=utc_now())
        with pytest.raises(StepEnded):
            set_step(session, "1.2.9", _step("1.2.8", "", "COMPLETED"), entity=entity, now=utc_now())


def test_a_study_without_an_order_waits_for_a_technician_who_matches_and_unmatches_it(database, objects):
    order = an_order(database)
    kept = keep(database, objects, a_dataset())
    assert settle_exam(database, kept.study_instance_uid) is None

    with database.transaction() as session:
        ma = person(session, "ma")
        (study,) = unmatched_studies(session, ma)
        ((likely, reasons),) = likely_orders(session, study)
        assert likely.id == order.id
        assert {"patient-id", "name", "birth-date", "sex", "modality"} <= set(reasons)
        match_study(session, study, likely, by=ma, now=utc_now())
        session.flush()
        task = task_of(session, study)
        assert task.state == TaskState.READY
    with database.transaction() as session:
        ma = person(session, "ma")
        study = session.scalar(select(Study).where(Study.study_instance_uid == kept.study_instance_uid))
        reopened = unmatch_study(session, study, by=ma, now=utc_now())
        session.flush()
        assert (reopened.state, reopened.study_pk) == (OrderState.ORDERED, None)
        assert session.get(ReadingTask, task.id).state == TaskState.CANCELLED
        assert [one.id for one in unmatched_studies(session, ma)] == [study.id]


def test_the_right_accession_number_on_the_wrong_patient_is_not_matched(database, objects):
    order = an_order(database)
    dataset = a_dataset(
        accession_number=order.accession_number, patient_id="P777", patient_name="Wang^Wu=王五"
    )

    kept = keep(database, objects, dataset)

    assert settle_exam(database, kept.study_instance_uid) is None


def test_the_neighbours_accession_number_is_not_ours(database, objects):
    an_order(database, by="he", institution="T02")
    order = an_order(database)
    kept = keep(
        database,
        objects,
        a_dataset(accession_number=order.accession_number),
        ae_title="T02_CT",
        institution="T02",
    )

    assert settle_exam(database, kept.study_instance_uid) is None
    with database.transaction() as session:
        he = person(session, "he")
        (study,) = unmatched_studies(session, he)
        with pytest.raises(Unacceptable):
            match_study(session, study, session.get(ServiceRequest, order.id), by=he, now=utc_now())


def test_late_images_after_the_signature_open_a_task_to_verify_the_report(database, objects):
    from tests.signing import sign

    exam = an_exam(database, objects)
    sign(database, objects, exam.task_id, "chen")

    keep(
        database,
        objects,
        a_dataset(
            study_instance_uid=exam.study_instance_uid, accession_number=exam.accession_number, number=8
        ),
    )
    task_id = settle_exam(database, exam.study_instance_uid)

    with database.reading() as session:
        task = session.get(ReadingTask, task_id)
        assert (task.purpose, task.state) == ("verify", TaskState.READY)


def test_a_matched_study_is_not_matched_again(database, objects):
    exam = an_exam(database, objects)
    other = an_order(database)

    with database.transaction() as session:
        study = session.scalar(select(Study).where(Study.study_instance_uid == exam.study_instance_uid))
        with pytest.raises(WrongState):
            match_study(
                session, study, session.get(ServiceRequest, other.id), by=person(session, "ma"), now=utc_now()
            )
        claim(session, exam.task_id, by=person(session, "chen"), now=utc_now())
