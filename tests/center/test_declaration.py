"""Applying the declaration: idempotent, checked, and never a reason to lose what is there."""

import sqlite3
from contextlib import closing
from importlib.resources import files

import pytest
from sqlalchemy import select

from center import migrate
from center.complaints import Complaint
from center.declaration import BadDeclaration, apply, check
from storage.audit import AuditEvent
from storage.institutions import ApplicationEntity, Institution
from tests.cast import COUNTY
from worklist.people import Practitioner

PERSON = """
[[people]]
username = "chen"
name = "陈雨"
institution = "C01"
roles = ["reader"]
password = "first-password"
"""


def test_applying_twice_changes_nothing(pair):
    text = files("center").joinpath("demo/center.toml").read_text(encoding="utf-8")

    first, second = apply(pair.database, text), apply(pair.database, text)

    assert len(first) > 50
    assert second == []


def test_checking_prints_the_difference_and_changes_nothing(pair):
    lines = check(pair.database_url, COUNTY)

    assert "+ institution T01" in lines
    with pair.database.reading() as session:
        assert session.scalars(select(Institution)).all() == []
        assert session.scalars(select(AuditEvent)).all() == []


def test_checking_where_there_is_no_database_makes_none(tmp_path):
    lines = check(f"sqlite:///{tmp_path}/data/center.sqlite", COUNTY)

    assert "+ institution T01" in lines
    assert list(tmp_path.iterdir()) == []


def test_checking_leaves_a_schema_of_another_version_as_it_is(tmp_path):
    url = f"sqlite:///{tmp_path}/center.sqlite"
    migrate.migrate(url)
    with closing(sqlite3.connect(tmp_path / "center.sqlite")) as older, older:
        older.execute("UPDATE alembic_version SET version_num = '0000'")

    with pytest.raises(Complaint, match="run `reading-center migrate` first"):
        check(url, COUNTY)

    with closing(sqlite3.connect(tmp_path / "center.sqlite")) as untouched:
        assert untouched.execute("SELECT version_num FROM alembic_version").fetchall() == [("0000",)]


def test_what_is_absent_stays_and_inactive_ends_it(pair):
    apply(pair.database, COUNTY)

    lines = apply(
        pair.database,
        '[[devices]]\nae_title = "T01_CT"\ninstitution = "T01"\nmodality = "CT"\nhost = "127.0.0.1"\n'
        "active = false\n",
    )

    assert lines == ["~ device T01_CT: is_active"]
    with pair.database.reading() as session:
        assert session.get(ApplicationEntity, "T02_CT").is_active
        assert not session.get(ApplicationEntity, "T01_CT").is_active


def test_a_password_is_set_only_when_the_person_is_new_and_never_kept_in_clear(pair):
    apply(pair.database, COUNTY + PERSON)
    with pair.database.reading() as session:
        first = session.get(Practitioner, "chen").password_hash

    apply(pair.database, PERSON.replace("first-password", "second-password").replace("陈雨", "陈雨晴"))

    with pair.database.reading() as session:
        chen = session.get(Practitioner, "chen")
        assert (chen.password_hash, chen.name) == (first, "陈雨晴")
        assert "first-password" not in first


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[institutions]]\ncode = 'no'", "code"),
        ("[[institutions]]\ncode = 'A'\nname = 'x'\nkind = 'castle'", "kind is one of"),
        ("[[devices]]\nae_title = 'X'\ninstitution = 'NONE'\nhost = '*'", "no institution"),
        ("[[devices]]\nae_title = 'X'\ninstitution = 'T01'\nhost = '*'\nmay = ['fly']", "may is one of"),
        ("[[people]]\nusername = 'x'\nname = 'X'\ninstitution = 'T01'\nroles = ['king']", "roles is one of"),
        ("[[people]]\nusername = 'x'\nname = 'X'\ninstitution = 'T01'\nroles = []", "needs a password"),
        (
            "[[agreements]]\nasks = 'T01'\nreads = 'C01'\nmodalities = []\nuntil = '2028-01-01'",
            "a day is written",
        ),
        ("[[castles]]\nname = 'x'", "unknown table"),
        (
            "[[institutions]]\ncode = 'A'\nname = 'x'\nkind = 'village'\nroof = 'red'",
            "unknown word: roof",
        ),
        ("[center]\ntimezone = 'Mars/Olympus'", "no such zone"),
        ("not toml at all", "not TOML"),
    ],
)
def test_a_mistake_is_said_in_a_sentence_and_nothing_is_changed(pair, text, said):
    apply(pair.database, COUNTY)

    with pytest.raises(BadDeclaration, match=said):
        apply(pair.database, "[center]\nname = 'other'\n" * ("[center]" not in text) + text)

    assert apply(pair.database, COUNTY) == []
