"""Who is one person follows from the decisions that stand, and from nothing else."""

from __future__ import annotations

import os
import random
from datetime import date
from threading import Barrier, Thread

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from storage.audit import Actor, AuditEvent
from storage.changes import Change
from storage.database import Database, utc_now
from storage.identity import keep_patient
from storage.imaging import Patient, Study
from storage.linking import CannotLink, Decision, decide, find_pair
from storage.persons import PersonDecision, hold_persons, ids_of_person, set_apart
from storage.uids import new_uid

HISTORIES = int(os.environ.get("PERSON_HISTORIES", "100"))
ZHOU = Actor("zhou", "C01", "127.0.0.1")
RESIDENT_ID = "110105195803140038"


def patients(session: Session, number: int, *, national_id: str | None = None) -> list[int]:
    """The same patient ID at several hospitals: as many patients; nothing else is known of them."""
    return [
        keep_patient(
            session,
            issuer=f"T{place:02d}",
            patient_id="P001",
            name="",
            sex="",
            birth_date=None,
            now=utc_now(),
            national_id=national_id,
        ).id
        for place in range(1, number + 1)
    ]


def act(session: Session, one: int, other: int, decision: Decision) -> PersonDecision:
    """What an operator does who has just looked."""
    pair = find_pair(session, one, other)
    assert pair is not None
    return decide(
        session, pair, decision, reason="核对过身份证", version=pair.version, by=ZHOU, now=utc_now()
    )


def grouping(session: Session) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for pk, person_id in session.execute(select(Patient.id, Patient.person_id).order_by(Patient.id)):
        groups.setdefault(person_id or pk, []).append(pk)
    return list(groups.values())


class Model:
    """What the grouping should be, told by other means: from each patient along the links that stand."""

    def __init__(self, keys: list[int]) -> None:
        self.keys = keys
        self.standing: dict[tuple[int, int], Decision] = {}

    def group(self, key: int) -> set[int]:
        found, ahead = {key}, [key]
        while ahead:
            here = ahead.pop()
            for pair, decision in self.standing.items():
                if decision is Decision.LINK and here in pair:
                    ahead += [one for one in pair if one not in found]
                    found |= set(pair)
        return found

    def grouping(self) -> list[list[int]]:
        return [sorted(self.group(key)) for key in self.keys if key == min(self.group(key))]

    def apart(self, key: int) -> set[int]:
        """Everyone of a group one of whom was told apart from one of this group."""
        ours = self.group(key)
        pairs = [pair for pair, decision in self.standing.items() if decision is Decision.DISTINCT]
        named = {pk for pair in pairs if ours & set(pair) for pk in pair} - ours
        return {one for pk in named for one in self.group(pk)}

    def possible(self, one: int, other: int) -> tuple[Decision, ...]:
        if (one, other) in self.standing:
            return (Decision.UNDO,)
        is_settled = other in self.group(one) | self.apart(one)
        return () if is_settled else (Decision.LINK, Decision.DISTINCT)

    def inverse(self, one: int, other: int, decision: Decision) -> Decision:
        return self.standing[one, other] if decision is Decision.UNDO else Decision.UNDO

    def act(self, one: int, other: int, decision: Decision) -> None:
        if decision is Decision.UNDO:
            del self.standing[one, other]
        else:
            self.standing[one, other] = decision


def test_after_undoing_any_history_the_grouping_is_exactly_the_earlier_one(database: Database) -> None:
    """Random histories of linking, telling apart and taking back, each then undone act by act.

    PERSON_HISTORIES=1000 tells as many as the full run does.
    """
    with database.transaction() as session:
        keys = patients(session, 6)
        session.execute(insert(Study), [a_study(key) for key in keys])
        everything = whose(session)
    dice = random.Random(20251127)

    with database.transaction() as session:
        for _ in range(HISTORIES):
            model, done = Model(keys), []
            for _ in range(dice.randint(1, 4)):
                one, other, wish = next_act(dice, model)
                done.append((one, other, model.inverse(one, other, wish), model.grouping()))
                act(session, one, other, wish)
                model.act(one, other, wish)
                assert grouping(session) == model.grouping()
            for one, other, inverse, before in reversed(done):
                act(session, one, other, inverse)
                assert grouping(session) == before
        assert whose(session) == everything


def next_act(dice: random.Random, model: Model) -> tuple[int, int, Decision]:
    """Something that may be done now; taking back what stands comes up as often as something new."""
    while True:
        if model.standing and dice.random() < 0.4:
            one, other = dice.choice(list(model.standing))
        else:
            one, other = sorted(dice.sample(model.keys, 2))
        if possible := model.possible(one, other):
            return one, other, dice.choice((possible[0], *possible))


def whose(session: Session) -> list[tuple[object, ...]]:
    """Every study under its patient, every patient under its issuer."""
    query = select(Study.study_instance_uid, Patient.id, Patient.issuer, Patient.patient_id)
    return [tuple(row) for row in session.execute(query.join(Patient).order_by(Study.id))]


def a_study(patient_pk: int) -> dict[str, object]:
    now = utc_now()
    return {
        "study_instance_uid": new_uid(),
        "patient_pk": patient_pk,
        "institution_code": "T01",
        "first_instance_at": now,
        "last_instance_at": now,
    }


def test_what_may_be_done_is_what_the_model_allows(database: Database) -> None:
    dice = random.Random(7)
    with database.transaction() as session:
        model = Model(patients(session, 5))
        for _ in range(60):
            act(session, *(chosen := next_act(dice, model)))
            model.act(*chosen)
            one, other = sorted(dice.sample(model.keys, 2))
            assert set_apart(session, model.group(one)) == model.apart(one)
            pair = find_pair(session, one, other)
            assert pair is not None and pair.possible == model.possible(one, other)


def test_linking_sets_that_are_linked_already_merges_the_sets(database: Database) -> None:
    with database.transaction() as session:
        a, b, c, d, alone = patients(session, 5)
        act(session, a, b, Decision.LINK)
        act(session, c, d, Decision.LINK)

        act(session, b, c, Decision.LINK)
        assert grouping(session) == [[a, b, c, d], [alone]]

        act(session, b, c, Decision.UNDO)
        assert grouping(session) == [[a, b], [c, d], [alone]]


def test_who_was_told_apart_from_one_is_told_apart_from_all_who_are_linked(database: Database) -> None:
    with database.transaction() as session:
        a, linked, b = patients(session, 3, national_id=RESIDENT_ID)
        assert ids_of_person(session, a) == {a, linked, b}  # a checked resident ID is enough to show

        act(session, a, linked, Decision.LINK)
        told = act(session, a, b, Decision.DISTINCT)
        assert ids_of_person(session, linked) == ids_of_person(session, a) == {a, linked}
        assert ids_of_person(session, b) == {b}

        act(session, told.first_pk, told.second_pk, Decision.UNDO)
        assert ids_of_person(session, b) == {a, linked, b}


def test_a_resident_id_of_one_finds_those_who_are_linked_to_its_other_holders(database: Database) -> None:
    with database.transaction() as session:
        nameless, elsewhere = patients(session, 2)
        (holder,) = (keep(session, "T03", "7"),)
        other = keep(session, "T04", "8")
        act(session, nameless, holder, Decision.LINK)
        act(session, elsewhere, other, Decision.LINK)

        everyone = {nameless, elsewhere, holder, other}
        assert [ids_of_person(session, one) for one in sorted(everyone)] == [everyone] * 4


def keep(session: Session, issuer: str, patient_id: str) -> int:
    words = {"issuer": issuer, "patient_id": patient_id, "name": "", "sex": "", "now": utc_now()}
    return keep_patient(session, birth_date=None, national_id=RESIDENT_ID, **words).id  # type: ignore[arg-type]


def test_of_two_operators_at_one_moment_one_hears_who_was_first(database: Database) -> None:
    """Both have looked at the same; one links, the other says that they are two persons."""
    with database.transaction() as session:
        one, other = patients(session, 2)
        pair = find_pair(session, one, other)
        assert pair is not None
        version = pair.version
    start, heard = Barrier(2), []

    def decided(name: str, decision: Decision) -> None:
        start.wait()
        try:
            with database.transaction() as session:
                hold_persons(session)
                found = find_pair(session, one, other)
                assert found is not None
                words = {"reason": "核对过", "version": version, "now": utc_now()}
                decide(session, found, decision, by=Actor(name), **words)  # type: ignore[arg-type]
            heard.append(name)
        except CannotLink as error:
            heard.append(f"{name} after {error.holder}")

    for round_ in range(5):
        start.reset()
        threads = [
            Thread(target=decided, args=("ma", Decision.LINK)),
            Thread(target=decided, args=("zhou", Decision.DISTINCT)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        first = next(name for name in heard if "after" not in name)
        second = {"ma": "zhou", "zhou": "ma"}[first]
        assert sorted(heard) == sorted([first, f"{second} after {first}"]), round_
        with database.transaction() as session:
            rows = session.scalars(select(PersonDecision).where(PersonDecision.withdrawn_at.is_(None))).all()
            assert [row.decided_by for row in rows] == [first]
            act(session, one, other, Decision.UNDO)
            again = find_pair(session, one, other)
            assert again is not None and again.version == version  # all is as it was
        heard.clear()


def test_links_of_many_operators_at_once_leave_one_true_grouping(database: Database) -> None:
    """Everyone links his own pair of a ring at the same moment: the last finds that they are one already."""
    with database.transaction() as session:
        keys = patients(session, 6)
    ring = [(keys[at], keys[(at + 1) % 6]) for at in range(6)]
    start, lost = Barrier(6), []

    def link(one: int, other: int) -> None:
        start.wait()
        with database.transaction() as session:
            hold_persons(session)
            pair = find_pair(session, one, other)
            assert pair is not None
            if Decision.LINK not in pair.possible:
                lost.append((one, other))
                return
            act(session, one, other, Decision.LINK)

    threads = [Thread(target=link, args=pair) for pair in ring]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    with database.reading() as session:
        assert grouping(session) == [sorted(keys)]
        standing = session.scalar(select(func.count()).select_from(PersonDecision))
    assert (standing, len(lost)) == (5, 1)


def test_what_was_looked_at_must_still_stand(database: Database) -> None:
    with database.transaction() as session:
        one, other, third = patients(session, 3)
    with database.reading() as session:
        seen = find_pair(session, one, other)
        assert seen is not None
    with database.transaction() as session:
        act(session, other, third, Decision.LINK)  # a third patient comes in by way of the second

    words = {"reason": "核对过", "version": seen.version, "by": ZHOU, "now": utc_now()}
    with pytest.raises(CannotLink) as heard, database.transaction() as session:
        found = find_pair(session, one, other)
        assert found is not None
        decide(session, found, Decision.LINK, **words)  # type: ignore[arg-type]
    assert heard.value.holder == "zhou"

    with database.transaction() as session:
        act(session, other, third, Decision.UNDO)
        session.get_one(Patient, other).birth_date = date(1958, 3, 14)  # now more is known of him
    with pytest.raises(CannotLink), database.transaction() as session:
        found = find_pair(session, one, other)
        assert found is not None
        decide(session, found, Decision.LINK, **words)  # type: ignore[arg-type]


def test_each_act_leaves_a_trace_an_event_and_its_history(database: Database) -> None:
    with database.transaction() as session:
        one, other = patients(session, 2)
        row = act(session, one, other, Decision.LINK)
        act(session, one, other, Decision.UNDO)
        act(session, one, other, Decision.DISTINCT)
        act(session, one, other, Decision.UNDO)

    with database.reading() as session:
        told = session.scalars(select(AuditEvent).order_by(AuditEvent.seq)).all()
        changes = session.execute(select(Change.verb, Change.institution_code).order_by(Change.id)).all()
        history = session.scalars(select(PersonDecision).order_by(PersonDecision.id)).all()
    told = [event for event in told if event.act == "patient-record"]
    assert [event.verb for event in told] == ["link", "unlink", "tell-apart", "take-back"]
    assert told[0].subject == row.subject
    assert told[0].detail == {"patients": [one, other], "reason": "核对过身份证"}
    assert [tuple(change) for change in changes][:2] == [("link", "T01"), ("link", "T02")]
    assert [(one.verdict, one.decided_by, one.withdrawn_by) for one in history] == [
        ("same", "zhou", "zhou"),
        ("distinct", "zhou", "zhou"),
    ]
