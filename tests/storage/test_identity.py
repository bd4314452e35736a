"""Resident IDs with their checks, and names as people look for them."""

from datetime import date

import pytest
from sqlalchemy import select

from storage.database import utc_now
from storage.identity import BadNationalId, keep_patient, name_matches, read_national_id
from storage.imaging import Patient


def test_a_resident_id_says_birth_date_and_sex():
    said = read_national_id("11010519491231002x")

    assert (said.birth_date, said.sex, said.text) == (date(1949, 12, 31), "F", "11010519491231002X")


@pytest.mark.parametrize(
    "text", ["", "110105194912310021", "11010519491331002X", "1101051949123100", "ABCDEF"]
)
def test_a_mistyped_resident_id_is_refused(text):
    with pytest.raises(BadNationalId):
        read_national_id(text)


@pytest.mark.parametrize("query", ["曾", "曾国", "zeng", "zengguofan", "zgf", "国藩", "ZENG"])
def test_a_name_is_found_by_characters_pinyin_and_initials(database, query):
    with database.transaction() as session:
        for number, name in enumerate(("Zeng^Guofan=曾^国藩", "Wang^Wu=王^五")):
            keep_patient(
                session,
                issuer="T01",
                patient_id=str(number),
                name=name,
                sex="M",
                birth_date=None,
                now=utc_now(),
            )

    with database.reading() as session:
        found = session.scalars(select(Patient.patient_id).where(name_matches(query))).all()

    assert found == ["0"]


def test_what_is_known_of_a_patient_is_completed_and_never_changed(database):
    with database.transaction() as session:
        words = {"issuer": "T01", "patient_id": "1", "now": utc_now()}
        keep_patient(session, name="张三", sex="M", birth_date=None, **words)
        patient = keep_patient(session, name="李四", sex="F", birth_date=date(1960, 1, 1), **words)

        assert (patient.name, patient.sex, patient.birth_date) == ("张三", "M", date(1960, 1, 1))
