"""What proves a study complete: counted steps, a gateway's manifest, commitments; else only silence."""

import itertools
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from storage.database import utc_now
from storage.healing import index_found, read_found
from storage.imaging import ArrivalState, Instance, Origin, Study
from storage.instance_lists import InstanceList
from storage.institutions import find_application_entity
from storage.uids import new_uid
from tests.builders import a_dataset, a_manifest, an_order, keep
from tests.cast import settle_the_county
from worklist.arrivals import settle_studies, weigh_lists
from worklist.commitment_lists import note_commitment
from worklist.completeness import PROVEN, RULES, Facts, Proof, judge, recount
from worklist.performed_steps import create_step, set_step
from worklist.reading_tasks import task_of
from worklist.shortfalls import shortfalls

QUIET = timedelta(seconds=20)
AGES = QUIET * 16


@dataclass
class Devices:
    """A study and everybody who says something about it."""

    database: object
    objects: object
    study: str = field(default_factory=new_uid)
    accession_number: str = ""
    names: list[str] = field(default_factory=list)

    def images(self, number: int) -> list[str]:
        """The names of images that are made now and may be sent later."""
        made = [new_uid() for _ in range(number)]
        self.names += made
        return made

    def send(self, *uids: str, ae_title: str = "T01_CT") -> None:
        for uid in uids:
            dataset = a_dataset(study_instance_uid=self.study, accession_number=self.accession_number)
            dataset.SOPInstanceUID = uid
            keep(self.database, self.objects, dataset, ae_title=ae_title)

    def send_manifest(self, uids, **words) -> str:
        document = a_manifest(self.study, uids, **words)
        keep(self.database, self.objects, document)
        return str(document.SOPInstanceUID)

    def begin_step(self) -> str:
        uid = new_uid()
        with self.as_device() as (session, entity):
            create_step(session, uid, _step(self.study, "IN PROGRESS"), entity=entity, now=utc_now())
        return uid

    def end_step(self, uid: str, uids) -> None:
        with self.as_device() as (session, entity):
            step = set_step(session, uid, _step(self.study, "COMPLETED", uids), entity=entity, now=utc_now())
            session.flush()
            recount(session, step.study_instance_uid, now=utc_now())

    def commit(self, *uids: str, key: str = "") -> None:
        with self.as_device() as (session, entity):
            note_commitment(session, key or new_uid(), uids, entity=entity, now=utc_now())
        self.weigh()

    def weigh(self) -> None:
        with self.database.transaction() as session:
            weigh_lists(session, now=utc_now())

    def settle(self, *, later: timedelta = timedelta(0)) -> str | None:
        """The worker's turn; how the study has settled, None while it has not."""
        self.weigh()
        with self.database.transaction() as session:
            settle_studies(session, now=utc_now() + later, quiet=QUIET)
        return self.settled_by()

    def settled_by(self) -> str | None:
        with self.database.reading() as session:
            study = session.scalar(select(Study).where(Study.study_instance_uid == self.study))
            return study.settled_by if study and study.arrival_state == ArrivalState.SETTLED else None

    def counts(self) -> tuple[int | None, int, int]:
        """Expected, missing, here."""
        with self.database.reading() as session:
            study = session.scalar(select(Study).where(Study.study_instance_uid == self.study))
            return study.expected_instances, study.missing_instances, study.number_of_instances

    def shortfalls(self) -> list[tuple[str, int, int]]:
        with self.database.reading() as session:
            found = shortfalls(session, now=utc_now() + timedelta(hours=1))
            return [(one.source, one.counted, one.kept) for one in found]

    @contextmanager
    def as_device(self, ae_title: str = "T01_CT"):
        with self.database.transaction() as session:
            yield session, find_application_entity(session, ae_title)


def _step(study_instance_uid, state, instance_uids=()):
    items = [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in instance_uids]
    return {
        "00400252": {"vr": "CS", "Value": [state]},
        "00400270": {"vr": "SQ", "Value": [{"0020000D": {"vr": "UI", "Value": [study_instance_uid]}}]},
        "00400340": {"vr": "SQ", "Value": [{"00081140": {"vr": "SQ", "Value": items}}]},
    }


@pytest.fixture
def devices(database, objects) -> Devices:
    return Devices(database, objects)


@pytest.fixture
def quick(sqlite_pair) -> Devices:
    settle_the_county(sqlite_pair.database)
    return Devices(sqlite_pair.database, sqlite_pair.objects)


# --- the manifest ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["manifest first", "between", "manifest last"])
def test_a_study_with_all_that_its_manifest_lists_settles_at_once(devices, order):
    one, two = devices.images(2)
    deeds = {
        "manifest first": [lambda: devices.send_manifest([one, two]), lambda: devices.send(one, two)],
        "between": [
            lambda: devices.send(one),
            lambda: devices.send_manifest([one, two]),
            lambda: devices.send(two),
        ],
        "manifest last": [lambda: devices.send(one, two), lambda: devices.send_manifest([one, two])],
    }

    settled = [(deed(), devices.settle())[1] for deed in deeds[order]]

    assert settled[-1] == Proof.MANIFEST
    assert set(settled[:-1]) <= {None}
    assert devices.counts() == (2, 0, 2)


def test_a_manifest_is_no_image_of_its_study(devices):
    (one,) = devices.images(1)

    uid = devices.send_manifest([one])
    before = devices.settle(later=AGES)
    devices.send(one)

    with devices.database.reading() as session:
        study = session.scalar(select(Study).where(Study.study_instance_uid == devices.study))
        document = session.scalar(select(Instance).where(Instance.sop_instance_uid == uid))
        assert (study.modality, study.number_of_series, study.number_of_instances) == ("CT", 1, 1)
        assert (document.origin, document.series.origin) == (Origin.LISTING, Origin.LISTING)
    # A manifest alone is no study that could be read.
    assert before is None
    assert devices.settle() == Proof.MANIFEST


def test_a_study_that_began_with_its_manifest_finds_its_order_by_its_first_image(quick):
    order = an_order(quick.database)
    quick.study, quick.accession_number = order.study_instance_uid, order.accession_number
    (one,) = quick.images(1)

    quick.send_manifest([one])
    quick.send(one)
    quick.settle()

    with quick.database.reading() as session:
        study = session.scalar(select(Study).where(Study.study_instance_uid == quick.study))
        assert (study.accession_number, study.study_date is not None) == (order.accession_number, True)
        assert task_of(session, study) is not None


def test_what_a_manifest_lists_and_nobody_sent_is_waited_for_and_then_said(devices):
    one, two = devices.images(2)
    devices.send(one)
    devices.send_manifest([one, two])

    early, late = devices.settle(later=QUIET * 2), devices.settle(later=AGES)

    assert (early, late) == (None, Proof.INCOMPLETE)
    assert devices.counts() == (2, 1, 1)
    assert devices.shortfalls() == [("manifest", 2, 1)]


def test_a_manifest_that_comes_after_silence_makes_the_presumption_a_proof_or_a_shortfall(devices):
    one, two = devices.images(2)
    devices.send(one)
    presumed = devices.settle(later=QUIET)

    devices.send_manifest([one])
    proven = devices.settle()
    devices.send_manifest([one, two])
    short = devices.settle()

    assert (presumed, proven, short) == (Proof.QUIET, Proof.MANIFEST, Proof.INCOMPLETE)


def test_a_manifest_that_comes_late_does_not_reopen_the_study(devices):
    (one,) = devices.images(1)
    devices.send(one)
    devices.settle(later=QUIET)

    devices.send_manifest([one])

    assert devices.settled_by() == Proof.QUIET  # settled still; the worker weighs the list next
    with devices.database.reading() as session:
        assert session.scalar(select(Study.version).where(Study.study_instance_uid == devices.study)) == 1


def test_a_newer_manifest_takes_the_place_of_an_older_one(devices):
    one, rejected = devices.images(2)
    devices.send(one)
    devices.send_manifest([one, rejected])

    devices.send_manifest([one])

    assert devices.settle() == Proof.MANIFEST


def test_an_image_beyond_the_manifest_is_only_presumed_to_be_the_last(devices):
    one, beyond = devices.images(2)
    devices.send_manifest([one])
    devices.send(one, beyond)

    early, late = devices.settle(), devices.settle(later=QUIET)

    assert (early, late) == (None, Proof.QUIET)
    assert devices.counts() == (1, 0, 2)


def test_a_manifest_whose_rows_were_lost_lists_again_when_its_object_is_found(quick):
    one, two = quick.images(2)
    quick.send(one)
    uid = quick.send_manifest([one, two])
    with quick.database.transaction() as session:
        document = session.scalar(select(Instance).where(Instance.sop_instance_uid == uid))
        key = document.object_key
        session.execute(delete(InstanceList))
        session.delete(document)

    found = read_found(quick.objects, key)
    assert index_found(quick.database, found)

    assert quick.settle(later=AGES) == Proof.INCOMPLETE
    assert quick.counts() == (2, 1, 1)


def test_another_key_object_document_is_a_document_like_others(devices):
    (one,) = devices.images(1)
    devices.send(one)

    devices.send_manifest([one, new_uid()], title=("113000", "DCM"))  # Of Interest

    assert devices.counts()[2] == 2
    assert devices.settle(later=QUIET) == Proof.QUIET
    assert devices.shortfalls() == []


def test_a_neighbour_s_manifest_says_nothing_about_our_study(quick):
    one, two = quick.images(2)
    quick.send(one)
    document = a_manifest(quick.study, [one, two])
    document.StudyInstanceUID = new_uid()

    keep(quick.database, quick.objects, document, ae_title="T02_CT", institution="T02")

    assert quick.settle(later=QUIET) == Proof.QUIET


def test_a_long_manifest_is_read_to_its_end(quick):
    (one,) = quick.images(1)
    others = [new_uid() for _ in range(12_000)]
    quick.send(one)

    quick.send_manifest([*others, one])

    assert quick.settle(later=QUIET * 2) is None
    assert quick.settle(later=AGES) == Proof.INCOMPLETE
    assert quick.counts() == (12_001, 12_000, 1)


# --- commitments -----------------------------------------------------------------------------------------


def with_habit(devices: Devices, *, parts: bool, studies: int = 3) -> None:
    """What this device did before: it asked for whole studies, or part by part."""
    for _ in range(studies):
        earlier = Devices(devices.database, devices.objects)
        uids = earlier.images(2)
        earlier.send(*uids)
        for some in [[uid] for uid in uids] if parts else [uids]:
            earlier.commit(*some)
        earlier.settle(later=AGES)


# What the device did in its earlier studies, what it asks for now, after how much silence → how it settled.
HISTORIES = [
    ("whole", [[0, 1, 2]], 0.0, None),
    ("whole", [[0, 1, 2]], 0.3, Proof.COMMITMENT),
    ("whole", [[0, 1]], 0.3, None),  # an image that it has not asked for
    ("whole", [[0, 1]], 1.0, Proof.QUIET),
    ("whole", [[0, 1], [2]], 0.3, None),  # this time in parts
    ("whole", [[0, 1], [2]], 1.0, Proof.QUIET),
    ("whole", [[0, 1, 2, 3]], 1.0, None),  # one that is not here
    ("whole", [[0, 1, 2, 3]], 16, Proof.INCOMPLETE),
    ("parts", [[0, 1, 2]], 0.3, None),
    ("parts", [[0, 1, 2]], 1.0, Proof.QUIET),
    ("parts", [[0], [1], [2]], 1.0, Proof.QUIET),
    ("parts", [[0], [1], [2, 3]], 16, Proof.INCOMPLETE),
    # Of a request of which nothing is here nobody knows whose it is: a shortfall without a study.
    ("parts", [[0], [1], [2], [3]], 16, Proof.QUIET),
    ("stranger", [[0, 1, 2]], 0.3, None),
    ("stranger", [[0, 1, 2]], 1.0, Proof.QUIET),
]


@pytest.mark.parametrize(("habit", "lists", "silence", "proof"), HISTORIES)
def test_a_commitment_proves_what_its_device_s_history_lets_it_prove(quick, habit, lists, silence, proof):
    if habit != "stranger":
        with_habit(quick, parts=habit == "parts")
    images = quick.images(4)
    quick.send(*images[:3])

    for numbers in lists:
        quick.commit(*(images[number] for number in numbers))

    assert quick.settle(later=QUIET * silence + timedelta(seconds=1) * (silence > 0)) == proof


def test_a_commitment_before_its_images_is_remembered(devices):
    with_habit(devices, parts=False)
    one, two, three = devices.images(3)

    devices.commit(one, two, three)
    devices.send(one, two)

    assert devices.settle(later=QUIET * 2) is None
    assert devices.settle(later=AGES) == Proof.INCOMPLETE
    assert devices.counts() == (3, 1, 2)
    assert devices.shortfalls() == [("commitment", 3, 2)]


def test_a_commitment_that_comes_after_the_study_has_settled_tells_what_is_missing(devices):
    one, two, lost = devices.images(3)
    devices.send(one, two)
    devices.settle(later=QUIET)

    devices.commit(one, two, lost)

    assert devices.settled_by() == Proof.INCOMPLETE
    assert devices.shortfalls() == [("commitment", 3, 2)]


def test_a_commitment_of_images_that_never_came_is_a_shortfall(devices):
    devices.commit(new_uid(), new_uid())

    assert devices.shortfalls() == [("commitment", 2, 0)]


def test_one_commitment_may_speak_of_two_studies(devices):
    other = Devices(devices.database, devices.objects)
    (one,), (two,) = devices.images(1), other.images(1)
    devices.send(one)
    other.send(two)

    devices.commit(one, two)

    assert devices.settle(later=QUIET) == other.settle(later=QUIET) == Proof.QUIET
    assert (devices.counts(), other.counts()) == ((1, 0, 1), (1, 0, 1))
    assert devices.shortfalls() == []


def test_the_same_request_twice_is_one_list(devices):
    one, two = devices.images(2)
    devices.send(one, two)

    devices.commit(one, two, key="T01_CT:1.2.3:abc")
    devices.commit(one, two, key="T01_CT:1.2.3:abc")

    with devices.database.reading() as session:
        assert len(session.scalars(select(InstanceList)).all()) == 1


# --- steps beside lists ----------------------------------------------------------------------------------


def test_images_beyond_a_step_s_count_wait_for_silence(devices):
    one, beyond = devices.images(2)
    devices.send(one)
    devices.end_step(devices.begin_step(), [one])
    first = devices.settle()

    devices.send(beyond)

    assert (first, devices.settle(), devices.settle(later=QUIET)) == (Proof.STEPS, None, Proof.QUIET)


def test_a_manifest_ends_the_wait_for_a_step_that_is_never_ended(devices):
    (one,) = devices.images(1)
    devices.begin_step()
    devices.send(one)
    devices.send_manifest([one])

    assert devices.settle() is None
    assert devices.settle(later=QUIET) == Proof.MANIFEST


def test_where_step_and_manifest_disagree_nothing_is_proven(devices):
    one, two = devices.images(2)
    devices.send(one)
    devices.end_step(devices.begin_step(), [one])
    devices.send_manifest([one, two])

    assert devices.settle(later=QUIET * 2) is None
    assert devices.settle(later=AGES) == Proof.INCOMPLETE


# --- the rules themselves --------------------------------------------------------------------------------

FACTS = st.builds(
    Facts,
    has_open_step=st.booleans(),
    whole=st.frozensets(st.sampled_from(PROVEN)),
    expected=st.integers(1, 9),
    missing=st.integers(0, 2),
    listed_at=st.none() | st.just(utc_now() + timedelta(seconds=3)),
)


@given(facts=FACTS, silence=st.floats(0, 400))
def test_nothing_is_proven_while_something_is_missing(facts, silence):
    began = utc_now()

    proof = judge(facts, last_instance_at=began, now=began + timedelta(seconds=silence), quiet=QUIET)

    assert proof not in PROVEN or not facts.missing
    assert proof is not Proof.INCOMPLETE or facts.missing


@given(facts=FACTS)
def test_every_study_settles_in_the_end(facts):
    began = utc_now()

    assert judge(facts, last_instance_at=began, now=began + QUIET * 15, quiet=QUIET) is not None


@given(facts=FACTS, silence=st.floats(0, 400), more=st.floats(0, 400))
def test_more_silence_never_unsettles(facts, silence, more):
    began = utc_now()
    moment = began + timedelta(seconds=silence)

    before = judge(facts, last_instance_at=began, now=moment, quiet=QUIET)
    after = judge(facts, last_instance_at=began, now=moment + timedelta(seconds=more), quiet=QUIET)

    assert before is None or after is not None


def test_a_rule_stands_for_every_case():
    for lacks, is_open, whole in itertools.product((0, 1), (False, True), (None, *PROVEN)):
        facts = Facts(is_open, frozenset({whole} if whole else ()), 2, lacks)
        assert any(rule.speaks_of(facts) for rule in RULES)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 3)),
        st.tuples(st.just("manifest"), st.sets(st.integers(0, 3), min_size=1)),
        st.tuples(st.just("commit"), st.sets(st.integers(0, 3), min_size=1)),
        st.tuples(st.just("begin"), st.just(0)),
        st.tuples(st.just("end"), st.sets(st.integers(0, 3))),
        st.tuples(st.just("settle"), st.sampled_from([0, 1, 16])),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    min_size=1,
    max_size=12,
)


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(events=EVENTS)
def test_in_whatever_order_it_is_told_a_study_never_settles_as_proven_without_what_was_named(quick, events):
    one = Devices(quick.database, quick.objects)
    images = one.images(4)
    here, counted, manifest, lists, steps = set(), set(), set(), [], []

    for kind, what in events:
        before = one.settled_by()
        if kind == "send":
            is_new = images[what] not in here
            one.send(images[what]) if is_new else None
            here.add(images[what])
        elif kind == "manifest":
            manifest = {images[number] for number in what}
            one.send_manifest(sorted(manifest))
        elif kind == "commit":
            lists.append({images[number] for number in what})
            one.commit(*(images[number] for number in what))
        elif kind == "begin":
            steps.append(one.begin_step())
        elif kind == "end" and steps:
            counted |= {images[number] for number in what}
            one.end_step(steps.pop(), sorted(images[number] for number in what))
        elif kind == "settle":
            one.settle(later=QUIET * what)
        elif kind == "restart":
            one.database.engine.dispose()
        one.weigh()
        after = one.settled_by()
        # A commitment names no study: of one of which nothing is here nobody knows whose it is.
        committed = set().union(*(some for some in lists if some & here))
        # Only an image reopens.
        assert after is not None or before is None or kind == "send"
        if after in PROVEN:
            assert counted | manifest | committed <= here
        if after is not None and not (counted | manifest | committed) <= here:
            assert after == Proof.INCOMPLETE

    if here:
        assert one.settle(later=AGES) is not None
    else:
        assert one.settle(later=AGES) is None
