"""Who may be the same person: what speaks for it and against it, and that decisions and proposals agree."""

from __future__ import annotations

import random
import re
from datetime import date

import pytest
from sqlalchemy import event, insert, select
from sqlalchemy.orm import Session

from storage.audit import Actor
from storage.database import Database, utc_now
from storage.identity import keep_patient
from storage.imaging import Patient, Study
from storage.linking import Decision, decide, find_pair
from storage.persons import group_of, same_person, set_apart
from storage.proposals import PersonProposal, compare_patients, likely_same
from storage.resemblance import Rank, resemblance

BORN = date(1958, 3, 14)
HIS_ID = "110105195803140038"
ANOTHERS_ID = "110105195803140054"


def a_patient(**changes: object) -> Patient:
    """Zhang San as one hospital knows him."""
    known = {"name": "Zhang^San=张^三", "sex": "M", "birth_date": BORN, "national_id": None, "phone": None}
    return Patient(**{**known, **changes})


@pytest.mark.parametrize(
    ("other", "rank", "evidence"),
    [
        ({}, Rank.LIKELY, "same-name same-birth-date same-sex"),
        ({"name": "张三"}, Rank.LIKELY, "same-name same-birth-date same-sex"),
        ({"phone": "13800000000"}, Rank.LIKELY, "same-name same-birth-date same-sex same-phone"),
        ({"name": "章三"}, Rank.POSSIBLE, "same-sound same-birth-date same-sex"),
        ({"birth_date": None}, Rank.POSSIBLE, "same-name same-sex"),
        ({"birth_date": date(1958, 3, 15)}, Rank.POSSIBLE, "same-name near-birth-date same-sex"),
        ({"birth_date": date(1958, 4, 22)}, Rank.POSSIBLE, "same-name near-birth-date same-sex"),  # lunar
        ({"birth_date": date(1985, 3, 14)}, Rank.POSSIBLE, "same-name near-birth-date same-sex"),  # 58, 85
        ({"birth_date": date(1973, 9, 1)}, Rank.WEAK, "same-name same-sex other-birth-date"),
        ({"sex": "F"}, Rank.WEAK, "same-name same-birth-date other-sex"),
        ({"name": "李四"}, Rank.WEAK, "same-birth-date same-sex other-name"),
        ({"sex": "O"}, Rank.LIKELY, "same-name same-birth-date"),
    ],
)
def test_two_patients_without_a_resident_id(other: dict[str, object], rank: Rank, evidence: str) -> None:
    one, two = a_patient(phone="13800000000"), a_patient(**other)

    found = resemblance(one, two)

    assert (found.rank, " ".join(found.evidence)) == (rank, evidence)
    assert resemblance(two, one) == found


def test_pinyin_alone_is_the_name_of_whoever_is_written_in_characters() -> None:
    spelled = resemblance(a_patient(name="Zhang^San"), a_patient(name="张三"))
    both_spelled = resemblance(a_patient(name="Zhang^San"), a_patient(name="ZHANG SAN"))

    assert "same-spelling" in spelled.evidence and spelled.rank is Rank.LIKELY
    assert "same-name" in both_spelled.evidence


def test_the_same_resident_id_is_shown_whatever_stands_against_it() -> None:
    child = {"name": "张小宝", "sex": "F", "birth_date": date(2019, 6, 1)}  # registered under his ID

    found = resemblance(a_patient(national_id=HIS_ID), a_patient(national_id=HIS_ID, **child))
    alike = resemblance(a_patient(national_id=HIS_ID), a_patient(national_id=HIS_ID))

    assert list(found.evidence) == ["same-resident-id", "other-name", "other-birth-date", "other-sex"]
    assert found.rank is not Rank.WEAK
    assert alike.score > found.score and alike.rank is Rank.STRONG


def test_another_resident_id_lowers_what_name_and_birth_date_say() -> None:
    found = resemblance(a_patient(national_id=HIS_ID), a_patient(national_id=ANOTHERS_ID))

    assert "other-resident-id" in found.evidence
    assert found.rank is Rank.POSSIBLE


def test_a_resident_id_says_the_birth_date_and_sex_that_nobody_typed() -> None:
    found = resemblance(a_patient(national_id=HIS_ID, birth_date=None, sex=""), a_patient())

    assert {"same-birth-date", "same-sex"} <= set(found.evidence)


@pytest.mark.parametrize("birth_date", [date.min, date(1, 1, 1), date.max, date(2000, 2, 29)])
def test_no_birth_date_is_too_strange_to_compare(birth_date: date) -> None:
    assert resemblance(a_patient(birth_date=birth_date), a_patient()).evidence


# --- what is found among many ------------------------------------------------------------------------------


def keep(session: Session, issuer: str, patient_id: str, **changes: object) -> int:
    said = {"name": "Zhang^San=张^三", "sex": "M", "birth_date": BORN} | changes
    return keep_patient(session, issuer=issuer, patient_id=patient_id, now=utc_now(), **said).id  # type: ignore[arg-type]


def compared(database: Database) -> set[tuple[int, int]]:
    while compare_patients(database, now=utc_now()):
        pass
    with database.reading() as session:
        return {(row.first_pk, row.second_pk) for row in session.scalars(select(PersonProposal))}


def act(session: Session, one: int, other: int, decision: Decision) -> None:
    pair = find_pair(session, one, other)
    assert pair is not None
    words = {"reason": "核对过身份证", "version": pair.version, "by": Actor("zhou"), "now": utc_now()}
    decide(session, pair, decision, **words)  # type: ignore[arg-type]


def test_the_likely_ones_are_found_and_ranked_and_the_same_id_elsewhere_is_no_evidence(
    database: Database,
) -> None:
    with database.transaction() as session:
        mine = keep(session, "T01", "P001", national_id=HIS_ID)
        pinyin = keep(session, "T02", "77", name="Zhang^San")
        by_id = keep(session, "T02", "78", name="", sex="", birth_date=None, national_id=HIS_ID)
        twice = keep(session, "T01", "P999", birth_date=None)
        stranger = keep(session, "T02", "P001", name="李四", sex="F", birth_date=date(1990, 1, 1))

    proposed = compared(database)

    with database.reading() as session:
        found = [one.id for one, _ in likely_same(session, session.get_one(Patient, mine))]
    assert found == [by_id, pinyin, twice]
    assert not any(stranger in pair for pair in proposed)
    assert proposed == {(mine, pinyin), (mine, by_id), (mine, twice)}


def test_who_is_known_better_is_compared_again(database: Database) -> None:
    with database.transaction() as session:
        one = keep(session, "T01", "1")
        other = keep(session, "T02", "2", name="", sex="", birth_date=None)
    assert compared(database) == set()

    with database.transaction() as session:
        keep(session, "T02", "2")  # its first images say who it is

    assert compared(database) == {(one, other)}


def test_a_decision_takes_the_proposal_away_and_taking_it_back_brings_it_again(database: Database) -> None:
    with database.transaction() as session:
        a, b, c = keep(session, "T01", "1"), keep(session, "T02", "2"), keep(session, "T03", "3")
    everything = compared(database)
    assert everything == {(a, b), (a, c), (b, c)}

    for decision, left in ((Decision.LINK, {(a, c), (b, c)}), (Decision.DISTINCT, {(a, c), (b, c)})):
        with database.transaction() as session:
            act(session, a, b, decision)
        assert compared(database) == left
        with database.transaction() as session:
            act(session, a, b, Decision.UNDO)
        assert compared(database) == everything

    with database.transaction() as session:
        act(session, a, b, Decision.LINK)
        act(session, b, c, Decision.DISTINCT)
        keep(session, "T03", "3", phone="13800000000")  # the worker compares the third again
    assert compared(database) == set()


def test_whatever_is_decided_no_proposal_contradicts_it(database: Database) -> None:
    dice = random.Random(4)
    with database.transaction() as session:
        keys = [keep(session, f"T{place}", str(number)) for place in (1, 2) for number in (1, 2, 3)]
    compared(database)

    for _ in range(40):
        with database.transaction() as session:
            one, other = sorted(dice.sample(keys, 2))
            pair = find_pair(session, one, other)
            assert pair is not None
            if pair.possible:
                act(session, one, other, dice.choice(pair.possible))
            settled = {key: group_of(session, key) for key in keys}
            settled = {key: group | set_apart(session, group) for key, group in settled.items()}
            proposed = session.execute(select(PersonProposal.first_pk, PersonProposal.second_pk)).all()
        expected = {(x, y) for x in keys for y in keys if x < y and y not in settled[x]}
        assert {tuple(row) for row in proposed} == expected


def test_nothing_is_read_from_end_to_end(database: Database) -> None:
    """Among a hundred thousand patients every question goes by an index, on both databases."""
    with database.transaction() as session:
        one, other = keep(session, "T01", "1", national_id=HIS_ID), keep(session, "T02", "2")
        third = keep(session, "T03", "3", national_id=HIS_ID)
    asked: list[tuple[str, object]] = []
    note = asked.append

    def overhear(_connection: object, _cursor: object, said: str, words: object, *_: object) -> None:
        if said.startswith("SELECT") and "pg_advisory" not in said:
            note((said, words))

    event.listen(database.engine, "before_cursor_execute", overhear)
    compare_patients(database, now=utc_now())
    with database.transaction() as session:
        act(session, one, other, Decision.LINK)
        act(session, other, third, Decision.DISTINCT)
        him = same_person(session, session.get_one(Patient, one))
        list(session.scalars(select(Study).join(Patient).where(him)))
    event.remove(database.engine, "before_cursor_execute", overhear)

    assert len(asked) > 20
    with database.transaction() as session:
        session.execute(insert(Patient), [a_row(number) for number in range(500)])
    with database.transaction() as session:
        is_sqlite = session.get_bind().dialect.name == "sqlite"
        cursor = session.connection().connection.cursor()
        if not is_sqlite:
            cursor.execute("SET LOCAL enable_seqscan = off")  # what it must, it reads all the same
        for said, words in asked:
            cursor.execute(f"EXPLAIN {'QUERY PLAN' if is_sqlite else ''} {said}", words)
            plan = "\n".join(str(row) for row in cursor.fetchall())
            assert "Seq Scan on p" not in plan and not re.search(r"SCAN (patient|person)\w*'", plan), plan


def a_row(number: int) -> dict[str, object]:
    return {"issuer": "T09", "patient_id": str(number), "name": "", "sex": "", "created_at": utc_now()}
