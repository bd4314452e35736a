"""What came under the wrong patient is corrected by a person; bytes and signatures stay as they are."""

import threading
from datetime import date

import pytest
from sqlalchemy import func, select

from storage import answers, audit, matching
from storage.corrections import corrections_of, overlays, version_of
from storage.database import Database, utc_now
from storage.identity import name_matches
from storage.imaging import Instance, Patient, QuarantinedInstance, Series, Study
from storage.indexing import Outcome
from storage.objects import ObjectStore
from storage.uids import new_uid
from tests.builders import a_dataset, an_exam, an_order, keep, settle_exam
from tests.cast import person
from tests.signing import issue_prepared, prepare, sign, withdraw, write
from worklist.corrections import Wanted, correct_study, undo_correction
from worklist.orders import NewPatient, OrderState, ServiceRequest
from worklist.problems import Missing, Refused, StaleFence, Unacceptable, WrongState
from worklist.reading_tasks import ReadingTask, TaskState, task_of

LI = NewPatient(patient_id="P002", name="李四", name_phonetic="Li Si", sex="F", birth_date=date(1971, 5, 6))
REASON = "技师选错了检查申请"


def corrected(
    database: Database, uid: str, *, by: str = "ma", version: int | None = None, **wanted: object
) -> int:
    """The number of the correction."""
    with database.transaction() as session:
        study = session.scalars(select(Study).where(Study.study_instance_uid == uid)).one()
        looked_at = version_of(session, study) if version is None else version
        made = correct_study(
            session,
            uid,
            Wanted(**wanted),  # type: ignore[arg-type]
            reason=REASON,
            version=looked_at,
            by=person(session, by),
            now=utc_now(),
        )
        return made.id


def undone(database: Database, uid: str, correction: int, *, by: str = "ma") -> None:
    with database.transaction() as session:
        study = session.scalars(select(Study).where(Study.study_instance_uid == uid)).one()
        version = version_of(session, study)
        undo_correction(
            session,
            uid,
            correction,
            reason="原来是对的",
            version=version,
            by=person(session, by),
            now=utc_now(),
        )


def rows_of(database: Database, uid: str) -> dict[str, object]:
    """Everything that a correction may touch, as the rows say it."""
    with database.reading() as session:
        study = session.scalars(select(Study).where(Study.study_instance_uid == uid)).one()
        patient, task = study.patient, task_of(session, study)
        orders = session.scalars(select(ServiceRequest).order_by(ServiceRequest.id))
        found = answers.find(
            session, matching.Level.SERIES, {"StudyInstanceUID": uid}, visible=Study.id == study.id
        )
        tokens = session.scalars(select(Patient.id).where(name_matches("lisi")).order_by(Patient.id)).all()
        return {
            "patient": (patient.patient_id, patient.name, patient.sex, patient.birth_date),
            "study": (study.accession_number, study.study_description, study.body_part_examined),
            "sent": study.sent_patient_pk,
            "orders": [(one.state, one.study_pk, one.study_instance_uid) for one in orders],
            "task": task.state if task is not None else None,
            "found": found,
            "tokens": tokens,
            "laid": overlays(session, [one.id for one in study.series]),
        }


def test_a_study_moves_to_the_order_that_it_was_made_for(database: Database, objects: ObjectStore) -> None:
    exam = an_exam(database, objects)
    right = an_order(database, patient=LI)
    before = {one.object_key: objects.get(one.object_key) for one in instances(database)}

    corrected(database, exam.study_instance_uid, order=right.id)

    after = rows_of(database, exam.study_instance_uid)
    assert after["patient"] == ("P002", "Li^Si=李四", "F", date(1971, 5, 6))
    assert after["study"][0] == right.accession_number  # type: ignore[index]
    with database.reading() as session:
        wrong, now = session.get_one(ServiceRequest, exam.order_id), session.get_one(ServiceRequest, right.id)
        study = session.scalars(select(Study)).one()
        assert (wrong.state, wrong.study_pk, now.state, now.study_pk) == (
            OrderState.ORDERED,
            None,
            OrderState.ACQUIRED,
            study.id,
        )
        # The device will image the wrong order's patient one day: into a study of its own.
        assert wrong.study_instance_uid != exam.study_instance_uid
        task = task_of(session, study)
        assert task is not None and (task.state, task.service_request_id) == (TaskState.READY, right.id)
        (event,) = [
            one for one in audit.history(session, f"study:{exam.study_instance_uid}") if one.verb == "correct"
        ]
        assert (event.actor, event.detail["reason"]) == ("ma", REASON)
    assert {key: objects.get(key) for key in before} == before


def instances(database: Database) -> list[Instance]:
    with database.reading() as session:
        found = list(session.scalars(select(Instance)))
        session.expunge_all()
    return found


def test_undoing_restores_exactly(database: Database, objects: ObjectStore) -> None:
    exam = an_exam(database, objects)
    right = an_order(database, patient=LI)
    before = rows_of(database, exam.study_instance_uid)

    moved = corrected(database, exam.study_instance_uid, order=right.id)
    described = corrected(database, exam.study_instance_uid, study_description="头部CT", laterality="L")
    undone(database, exam.study_instance_uid, described)
    undone(database, exam.study_instance_uid, moved)

    after = rows_of(database, exam.study_instance_uid)
    assert after == before
    assert after["laid"] == {}
    with database.reading() as session:
        study = session.scalars(select(Study)).one()
        assert [one.undone_by for one in corrections_of(session, study)] == ["ma", "ma"]
        assert version_of(session, study) == 4


def test_a_later_correction_of_the_same_is_undone_first(database: Database, objects: ObjectStore) -> None:
    exam = an_exam(database, objects)
    first = corrected(database, exam.study_instance_uid, study_description="头部CT")
    corrected(database, exam.study_instance_uid, study_description="腹部CT")

    with pytest.raises(WrongState):
        undone(database, exam.study_instance_uid, first)

    assert rows_of(database, exam.study_instance_uid)["study"][1] == "腹部CT"  # type: ignore[index]


def test_a_mistyped_id_becomes_the_right_one_of_the_same_person(
    database: Database, objects: ObjectStore
) -> None:
    sent = a_dataset(patient_id="P0O1")
    keep(database, objects, sent)
    settle_exam(database, sent.StudyInstanceUID)
    order = an_order(database)

    corrected(database, sent.StudyInstanceUID, patient_id="P001", accession_number=order.accession_number)

    with database.reading() as session:
        study = session.scalars(select(Study)).one()
        assert study.patient_pk == order.patient_pk
        # Whose order it is, is certain now.
        assert session.get_one(ServiceRequest, order.id).study_pk == study.id


def test_a_corrected_name_is_found_by_its_pinyin_in_all_studies_of_the_patient(
    database: Database, objects: ObjectStore
) -> None:
    exams = [an_exam(database, objects) for _ in range(2)]

    made = corrected(database, exams[0].study_instance_uid, name="Li^Si=李四")

    for exam in exams:
        with database.reading() as session:
            study = session.scalars(
                select(Study).where(Study.study_instance_uid == exam.study_instance_uid)
            ).one()
            laid = overlays(session, [one.id for one in study.series])
            found = session.scalars(select(Patient.id).where(name_matches("ls")).order_by(Patient.id)).all()
            assert found == [study.patient_pk]
            assert session.scalars(select(Patient.id).where(name_matches("zs"))).all() == []
            said = [one.values["00100010"]["Value"] for one in laid.values()]
            assert said == [[{"Alphabetic": "Li^Si", "Ideographic": "李四"}]]
    with pytest.raises(Unacceptable):  # where it was made it is undone
        undone(database, exams[1].study_instance_uid, made)
    undone(database, exams[0].study_instance_uid, made)
    with database.reading() as session:
        assert session.scalars(select(Patient.name)).all() == ["Zhang^San=张三"]
        assert len(session.scalars(select(Patient.id).where(name_matches("zs"))).all()) == 1


def test_a_form_filled_for_one_patient_does_not_rename_another(
    database: Database, objects: ObjectStore
) -> None:
    exam = an_exam(database, objects)
    an_order(database, patient=LI)

    with pytest.raises(Unacceptable):
        corrected(database, exam.study_instance_uid, patient_id="P002", name="Zhang^San=张三")

    assert rows_of(database, exam.study_instance_uid)["patient"][0] == "P001"  # type: ignore[index]


def test_a_late_image_of_a_corrected_study_goes_where_the_study_went(
    database: Database, objects: ObjectStore
) -> None:
    first = a_dataset()
    keep(database, objects, first)
    settle_exam(database, first.StudyInstanceUID)
    corrected(database, first.StudyInstanceUID, patient_id="P002", name="Li^Si=李四")
    again = keep(database, objects, first)
    late = a_dataset(
        study_instance_uid=first.StudyInstanceUID, series_instance_uid=first.SeriesInstanceUID, number=2
    )
    # Corrected at the device meanwhile, or the wrong order's own exam under a UID that the device remembered.
    corrected_there = a_dataset(study_instance_uid=first.StudyInstanceUID, patient_id="P002")
    of_the_other = a_dataset(study_instance_uid=first.StudyInstanceUID)

    outcomes = [keep(database, objects, one).outcome for one in (late, corrected_there, of_the_other)]

    assert again.outcome is Outcome.IDENTICAL
    assert outcomes == [Outcome.KEPT, Outcome.KEPT, Outcome.QUARANTINED]
    with database.reading() as session:
        study = session.scalars(select(Study)).one()
        assert (study.patient.patient_id, study.number_of_instances) == ("P002", 3)
        laid = overlays(session, [one.id for one in study.series])
        assert set(laid) == {one.id for one in study.series}
        (aside,) = session.scalars(select(QuarantinedInstance)).all()
        assert aside.sop_instance_uid == of_the_other.SOPInstanceUID


def test_a_study_whose_images_are_still_arriving_is_not_moved(
    database: Database, objects: ObjectStore
) -> None:
    exam = an_exam(database, objects, is_settled=False)

    with pytest.raises(WrongState):
        corrected(database, exam.study_instance_uid, patient_id="P002", name="Li^Si=李四")

    corrected(database, exam.study_instance_uid, study_description="头部CT")


def test_a_signed_report_of_a_corrected_study_is_looked_at_again_and_stays_as_it_was(
    database: Database, objects: ObjectStore
) -> None:
    exam = an_exam(database, objects)
    signed = sign(database, objects, exam.task_id, "chen")
    right = an_order(database, patient=LI)

    with pytest.raises(WrongState):
        corrected(database, exam.study_instance_uid, order=right.id)
    corrected(database, exam.study_instance_uid, patient_id="P002")

    with database.reading() as session:
        study = session.scalars(select(Study)).one()
        task = task_of(session, study)
        assert task is not None
        assert (task.purpose, task.state, task.report_id) == ("verify", TaskState.READY, signed.report_id)
        assert study.patient.patient_id == "P002"
        kept = session.get_one(type(signed), signed.id)
        assert (kept.content["patient_id"], kept.pdf_sha256) == ("P001", signed.pdf_sha256)
    amended = sign(database, objects, task.id, "chen")
    assert (amended.version, amended.content["patient_id"]) == (2, "P002")


def test_after_a_withdrawal_the_study_moves_to_the_right_order_and_is_read_for_it(
    database: Database, objects: ObjectStore
) -> None:
    exam = an_exam(database, objects)
    version = sign(database, objects, exam.task_id, "chen")
    right = an_order(database, patient=LI)
    withdraw(database, objects, version.report_id, "chen")

    corrected(database, exam.study_instance_uid, order=right.id)

    with database.reading() as session:
        assert session.get_one(ServiceRequest, exam.order_id).state == OrderState.ORDERED
        task = session.scalars(select(ReadingTask).order_by(ReadingTask.id.desc())).first()
        assert task is not None
        assert (task.service_request_id, task.state, task.purpose) == (right.id, TaskState.READY, "read")
        assert task.report_id is None


def test_what_a_reader_has_written_goes_with_the_study(database: Database, objects: ObjectStore) -> None:
    exam = an_exam(database, objects)
    fence = write(database, exam.task_id, "chen")
    right = an_order(database, patient=LI)
    prepared = prepare(database, exam.task_id, "chen", fence)

    corrected(database, exam.study_instance_uid, order=right.id)

    with pytest.raises(StaleFence):
        issue_prepared(database, objects, prepared, "chen")
    with database.reading() as session:
        task = session.scalars(select(ReadingTask).order_by(ReadingTask.id.desc())).first()
        assert task is not None and task.report_id == prepared.report_id
    version = sign(database, objects, task.id, "chen")
    assert version.content["patient_name"] == "李四"
    assert version.content["accession_number"] == right.accession_number


def test_a_report_is_not_signed_with_what_was_corrected_while_it_was_sealed(
    database: Database, objects: ObjectStore
) -> None:
    exam = an_exam(database, objects)
    fence = write(database, exam.task_id, "chen")
    prepared = prepare(database, exam.task_id, "chen", fence)

    corrected(database, exam.study_instance_uid, name="Zhang^Shan=张山")

    with pytest.raises(WrongState):
        issue_prepared(database, objects, prepared, "chen")


def test_only_the_right_people_correct(database: Database, objects: ObjectStore) -> None:
    exam = an_exam(database, objects)

    for username, problem in (("he", Missing), ("chen", Refused), ("li", Refused)):
        with pytest.raises(problem):
            corrected(database, exam.study_instance_uid, by=username, study_description="头部CT")
    corrected(database, exam.study_instance_uid, by="zhou", study_description="头部CT")
    corrected(database, exam.study_instance_uid, by="admin", study_description="腹部CT")


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"patient_id": "P\\1"},
        {"name": "^"},
        {"sex": "X"},
        {"accession_number": "A" * 17},
        {"laterality": "LINKS"},
        {"body_part": "胸部"},
        {"birth_date": date(1960, 1, 1)},  # the resident ID says another
    ],
)
def test_nonsense_corrects_nothing(
    database: Database, objects: ObjectStore, wanted: dict[str, object]
) -> None:
    exam = an_exam(database, objects, images=1)
    before = rows_of(database, exam.study_instance_uid)

    with pytest.raises(Unacceptable):
        corrected(database, exam.study_instance_uid, **wanted)

    assert rows_of(database, exam.study_instance_uid) == before


def test_of_two_people_at_the_same_moment_one_corrects(database: Database, objects: ObjectStore) -> None:
    exam = an_exam(database, objects)
    together, heard = threading.Barrier(2), []

    def correct(description: str) -> None:
        together.wait()
        try:
            corrected(database, exam.study_instance_uid, version=0, study_description=description)
            heard.append(description)
        except WrongState:
            heard.append("too late")

    threads = [threading.Thread(target=correct, args=(one,)) for one in ("头部CT", "腹部CT")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert heard.count("too late") == 1
    (winner,) = [one for one in heard if one != "too late"]
    assert rows_of(database, exam.study_instance_uid)["study"][1] == winner  # type: ignore[index]


def test_a_side_is_corrected_for_the_series_that_is_meant(database: Database, objects: ObjectStore) -> None:
    exam = an_exam(database, objects, images=1)
    other = a_dataset(study_instance_uid=exam.study_instance_uid, series_instance_uid=new_uid())
    keep(database, objects, other)

    corrected(database, exam.study_instance_uid, series=(other.SeriesInstanceUID,), laterality="r")

    with database.reading() as session:
        sides = dict(session.execute(select(Series.series_instance_uid, Series.laterality)).all())
        assert sides[other.SeriesInstanceUID] == "R"
        assert sorted(sides.values()) == ["", "R"]
        assert len(overlays(session, session.scalars(select(Series.id)).all())) == 1
        assert session.scalar(select(func.count()).select_from(Study)) == 1
