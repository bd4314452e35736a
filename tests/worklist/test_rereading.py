"""Text that was read by the wrong character set is read anew from its bytes when a person says by which."""

from contextlib import closing

import pytest
from sqlalchemy import select

from storage.corrections import corrections_of, overlays, version_of
from storage.database import Database, utc_now
from storage.headers import read_header
from storage.identity import name_matches
from storage.imaging import Instance, Patient, Series, Study
from storage.indexing import Sender
from storage.ingest import Ingest
from storage.instance_headers import QUIET, fill_headers
from storage.objects import ObjectStore
from storage.rereading import first_headers, how_read
from storage.uids import new_uid
from tests.builders import a_dataset, an_exam, an_order, bytes_of, settle_exam
from tests.cast import person
from worklist.corrections import reread_study, undo_correction
from worklist.problems import Missing, Refused, Unacceptable, WrongState

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
# Names of rare characters alone: their GBK looks like no Chinese, and is read as Latin letters.
NAME, CHEST = "嬲嫑".encode("gbk"), "嫑".encode("gbk")


def sent(
    database: Database,
    objects: ObjectStore,
    study: str,
    *,
    series: str | None = None,
    name: bytes = NAME,
    description: bytes = CHEST,
) -> bytes:
    """An image whose text is these bytes, with ISO_IR 100 declared; the dataset as it was sent."""
    dataset = a_dataset(study_instance_uid=study, series_instance_uid=series or new_uid())
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName, dataset.SeriesDescription = "x" * len(name), "y" * len(description)
    dataset.StudyDescription = "z" * len(description)
    raw = bytes_of(dataset).replace(b"x" * len(name), name)
    for letter in (b"y", b"z"):
        raw = raw.replace(letter * len(description), description)
    with closing(Ingest(database, objects)) as ingest:
        ingest.keep(read_header(raw, EXPLICIT_LITTLE), raw, sender=Sender("T01_CT", "T01", "127.0.0.1"))
    return raw


def reread(database: Database, objects: ObjectStore, uid: str, charset: str, *, by: str = "ma") -> int:
    with database.transaction() as session:
        study = session.scalars(select(Study).where(Study.study_instance_uid == uid)).one()
        version = version_of(session, study)
        who = person(session, by)
        return reread_study(session, objects, uid, charset, version=version, by=who, now=utc_now()).id


def filled(database: Database, objects: ObjectStore) -> list[str]:
    """The names that the kept headers say, when the worker has filled them in."""
    fill_headers(database, objects, now=utc_now() + 2 * QUIET)
    with database.reading() as session:
        headers = session.scalars(select(Instance.header).order_by(Instance.id)).all()
        return [header["00100010"]["Value"][0]["Alphabetic"] for header in headers if header is not None]


def said(database: Database) -> tuple[object, ...]:
    with database.reading() as session:
        study, series = session.scalars(select(Study)).one(), session.scalars(select(Series)).first()
        assert series is not None
        found = session.scalars(select(Patient.id).where(name_matches("嫑"))).all()
        return study.patient.name, study.study_description, series.series_description, len(found)


def test_how_it_was_read_is_shown_with_every_other_way(database: Database, objects: ObjectStore) -> None:
    uid = new_uid()
    sent(database, objects, uid)

    with database.reading() as session:
        study = session.scalars(select(Study)).one()
        seen = how_read(study, first_headers(session, objects, study))

    assert seen is not None
    assert (seen.declared, seen.used, seen.is_guess, seen.chosen) == (
        ("ISO_IR 100",),
        "ISO_IR 100",
        False,
        None,
    )
    assert seen.now.texts["patient_name"] == NAME.decode("latin_1")
    by_charset = {one.charset: one.texts for one in seen.others}
    assert by_charset["GB18030"]["patient_name"] == "嬲嫑"
    assert "ISO_IR 192" not in by_charset  # no UTF-8 at all


def test_one_choice_reads_everything_anew_and_undoing_restores_exactly(
    database: Database, objects: ObjectStore
) -> None:
    uid = new_uid()
    raw = sent(database, objects, uid)
    before, wrong = said(database), filled(database, objects)

    made = reread(database, objects, uid, "GB18030")

    assert said(database) == ("嬲嫑", "嫑", "嫑", 1)
    assert filled(database, objects) == ["嬲嫑"]
    with database.reading() as session:
        study = session.scalars(select(Study)).one()
        (one,) = corrections_of(session, study)
        assert (one.made_by, one.id) == ("ma", made)
        (laid,) = overlays(session, [series.id for series in study.series]).values()
        assert laid.charset == "GB18030"
        (key, offset) = session.execute(select(Instance.object_key, Instance.dataset_offset)).one()
    assert objects.get(key)[offset:] == raw
    with database.transaction() as session:
        undo_correction(
            session, uid, made, reason="原来读得对", version=1, by=person(session, "ma"), now=utc_now()
        )
    assert said(database) == before
    assert filled(database, objects) == wrong


def test_later_images_of_the_study_follow_the_choice(database: Database, objects: ObjectStore) -> None:
    uid = new_uid()
    sent(database, objects, uid)
    reread(database, objects, uid, "GB18030")

    sent(database, objects, uid)

    assert filled(database, objects) == ["嬲嫑", "嬲嫑"]
    with database.reading() as session:
        assert session.scalars(select(Series.series_description)).all() == ["嫑", "嫑"]


def test_what_an_order_or_a_correction_says_is_not_read_over(
    database: Database, objects: ObjectStore
) -> None:
    order = an_order(database)  # says who the patient is
    sent(database, objects, order.study_instance_uid)
    settle_exam(database, order.study_instance_uid)

    reread(database, objects, order.study_instance_uid, "GB18030")

    assert said(database)[:2] == ("Zhang^San=张三", "嫑")


def test_a_series_that_declares_the_truth_is_not_read_otherwise(
    database: Database, objects: ObjectStore
) -> None:
    exam = an_exam(database, objects, images=1)
    sent(database, objects, exam.study_instance_uid)

    reread(database, objects, exam.study_instance_uid, "GB18030")

    fill_headers(database, objects, now=utc_now() + 2 * QUIET)
    with database.reading() as session:
        first, second = session.scalars(select(Instance.header).order_by(Instance.id)).all()
    assert first is not None and second is not None
    assert first["00100010"]["Value"][0]["Ideographic"] == "张三"
    assert second["00100010"]["Value"][0]["Alphabetic"] == "嬲嫑"


@pytest.mark.parametrize(
    ("by", "charset", "problem"),
    [
        ("ma", "ISO_IR 192", Unacceptable),
        ("ma", "KOI8", Unacceptable),
        ("chen", "GB18030", Refused),
        ("he", "GB18030", Missing),
    ],
)
def test_only_what_can_be_and_by_whom_it_may_be(
    database: Database, objects: ObjectStore, by: str, charset: str, problem: type[Exception]
) -> None:
    uid = new_uid()
    sent(database, objects, uid)

    with pytest.raises(problem):
        reread(database, objects, uid, charset, by=by)


def test_the_second_of_two_people_is_told(database: Database, objects: ObjectStore) -> None:
    uid = new_uid()
    sent(database, objects, uid)
    reread(database, objects, uid, "GB18030")

    with database.transaction() as session, pytest.raises(WrongState):
        reread_study(session, objects, uid, "ISO_IR 149", version=0, by=person(session, "ma"), now=utc_now())
