"""A county after three years, as rows: forty townships, Chinese names, several series a study.

What took the county three years to send is written straight into the tables, in half a minute for a million
instances. There are no objects behind the rows: for benchmarks of what the index does, and of nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import groupby, pairwise
from typing import Any

from pypinyin import lazy_pinyin
from sqlalchemy import Table, text

from center.declaration import apply
from storage.charsets import pinyin_tokens
from storage.database import Database
from storage.imaging import Instance, Patient, PatientNameToken, Series, Study
from storage.uids import derived_uid
from tests.cast import settle_the_county

TOWNSHIPS = [f"T{number:02}" for number in range(1, 41)]
LAST_DAY = date(2026, 11, 22)
DAYS = 3 * 365
COUNTY_PACS, TOWNSHIP_PACS = "C01_PACS", "T05_PACS"

_SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕"
_GIVEN = "伟芳娜秀英敏静丽强磊军洋勇艳杰娟涛明超兰霞平刚桂华建国红梅玉春海燕林文志凤云晓小丹龙飞"
# Modality, share of the studies, series of one, what is written of it.
_KINDS = (
    ("DX", 40, 1, "胸部正位", "CHEST", "1.2.840.10008.5.1.4.1.1.1.1"),
    ("CT", 30, 4, "胸部CT平扫", "CHEST", "1.2.840.10008.5.1.4.1.1.2"),
    ("US", 15, 1, "腹部超声", "ABDOMEN", "1.2.840.10008.5.1.4.1.1.6.1"),
    ("ECG", 10, 1, "十二导联心电图", "HEART", "1.2.840.10008.5.1.4.1.1.9.1.1"),
    ("MR", 5, 6, "颅脑MR平扫", "HEAD", "1.2.840.10008.5.1.4.1.1.4"),
)


@dataclass(frozen=True)
class Exam:
    """One study of the county, with what is asked about it."""

    number: int
    institution: str
    patient: int
    patient_id: str
    name: str  # WANG^XIAOMING=王^小明
    sex: str
    birth_date: date
    uid: str
    accession_number: str
    day: date
    time: str
    modality: str
    series: int
    description: str
    body_part: str
    sop_class_uid: str


def exams(number: int) -> Iterator[Exam]:
    """The same county every time, in the order in which it was sent; the last day holds a day's work."""
    chance = random.Random(20261122)
    patients = max(1, number * 7 // 10)
    kinds = chance.choices(_KINDS, [kind[1] for kind in _KINDS], k=number)
    for at, (modality, _, series, description, body_part, sop_class_uid) in enumerate(kinds):
        patient = at if at < patients else chance.randrange(patients)
        person = random.Random(patient)
        institution = TOWNSHIPS[patient % len(TOWNSHIPS)]
        yield Exam(
            number=at,
            institution=institution,
            patient=patient,
            patient_id=f"{institution}{patient:06}",
            name=_name(person),
            sex=person.choice("MF"),
            birth_date=date(1930, 1, 1) + timedelta(person.randrange(90 * 365)),
            uid=derived_uid("county", str(at)),
            accession_number=f"{institution}{at:08}",
            day=LAST_DAY - timedelta((number - 1 - at) * DAYS // number),
            time=f"{chance.randrange(8, 18):02}{chance.randrange(60):02}{chance.randrange(60):02}",
            modality=modality,
            series=series,
            description=description,
            body_part=body_part,
            sop_class_uid=sop_class_uid,
        )


def _name(person: random.Random) -> str:
    surname = _SURNAMES[int(len(_SURNAMES) * person.random() ** 2)]
    given = "".join(person.choices(_GIVEN, k=person.choice((1, 2, 2))))
    return f"{_latin(surname)}^{''.join(map(_latin, given))}={surname}^{given}"


@cache
def _latin(character: str) -> str:
    return lazy_pinyin(character)[0].upper()


def settle(database: Database) -> None:
    """The cast of the tests, the other townships, and an archive that asks: the county's and Township 5's."""
    settle_the_county(database)
    more = [
        f"""
[[institutions]]
code = "{code}"
name = "第{code[1:]}镇卫生院"
kind = "township"

[[agreements]]
asks = "{code}"
reads = "C01"
modalities = ["CT", "DX", "MR", "US", "ECG"]
until = 2099-12-31
"""
        for code in TOWNSHIPS[2:]
    ]
    for title, institution in ((COUNTY_PACS, "C01"), (TOWNSHIP_PACS, "T05")):
        more.append(
            f'\n[[devices]]\nae_title = "{title}"\ninstitution = "{institution}"\nhost = "127.0.0.1"\n'
        )
    apply(database, "".join(more))


def fill(database: Database, studies: int, *, instances: int = 0) -> None:
    """Write this many studies, and `instances` spread evenly over their series, into empty tables."""
    county = list(exams(studies))
    series = [(exam, number) for exam in county for number in range(exam.series)]
    share = [len(part) for part in _shares(instances, len(series))]
    now = datetime(2026, 11, 22, tzinfo=UTC)
    firsts = {one.patient: one for one in reversed(county)}
    tokens = {one: sorted(pinyin_tokens(one)) for one in {exam.name for exam in county}}
    of_study = [
        sum(share[at] for at, _ in members)
        for _, members in groupby(enumerate(series), key=lambda one: one[1][0].number)
    ]
    _write(
        database,
        Patient.__table__,
        (
            {
                "id": pk + 1,
                "issuer": one.institution,
                "patient_id": one.patient_id,
                "name": one.name,
                "sex": one.sex,
                "birth_date": one.birth_date,
                "created_at": now,
            }
            for pk, one in sorted(firsts.items())
        ),
    )
    _write(
        database,
        PatientNameToken.__table__,
        (
            {"patient_id": pk + 1, "token": token}
            for pk, one in sorted(firsts.items())
            for token in tokens[one.name]
        ),
    )
    _write(database, Study.__table__, (_study(one, of_study[one.number], now) for one in county))
    _write(
        database,
        Series.__table__,
        (_series(at + 1, *one, share[at]) for at, one in enumerate(series)),
    )
    _write(
        database,
        Instance.__table__,
        (
            _instance(f"{at}.{number}", at + 1, number + 1, exam, now)
            for at, (exam, _) in enumerate(series)
            for number in range(share[at])
        ),
    )
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # What a database does by itself in a county's three years.
        connection.execute(text("PRAGMA optimize(0x10002)" if database.is_sqlite else "VACUUM ANALYZE"))


def _shares(number: int, places: int) -> list[range]:
    bounds = [number * at // places for at in range(places + 1)]
    return [range(start, end) for start, end in pairwise(bounds)]


def _study(one: Exam, instances: int, now: datetime) -> dict[str, Any]:
    return {
        "id": one.number + 1,
        "study_instance_uid": one.uid,
        "patient_pk": one.patient + 1,
        "institution_code": one.institution,
        "accession_number": one.accession_number,
        "study_id": str(one.number),
        "study_date": one.day,
        "study_time": one.time,
        "study_description": one.description,
        "referring_physician_name": "",
        "modality": one.modality,
        "body_part_examined": one.body_part,
        "arrival_state": "settled",
        "first_instance_at": now,
        "last_instance_at": now,
        "settled_at": now,
        "settled_by": "quiet",
        "number_of_series": one.series,
        "number_of_instances": instances,
        "version": 1,
    }


def _series(pk: int, exam: Exam, number: int, instances: int) -> dict[str, Any]:
    return {
        "id": pk,
        "study_pk": exam.number + 1,
        "series_instance_uid": derived_uid("series", str(pk)),
        "modality": exam.modality,
        "series_number": number + 1,
        "series_description": exam.description,
        "body_part_examined": exam.body_part,
        "laterality": "",
        "station_ae": f"{exam.institution}_{exam.modality}",
        "number_of_instances": instances,
        "origin": "received",
    }


def _instance(name: str, series: int, number: int, exam: Exam, now: datetime) -> dict[str, Any]:
    key = derived_uid("instance", name)
    return {
        "sop_instance_uid": key,
        "series_pk": series,
        "sop_class_uid": exam.sop_class_uid,
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "instance_number": number,
        "rows": 512,
        "columns": 512,
        "number_of_frames": 1,
        "object_key": f"instances/2026/11/22/{key[5:]}",
        "size": 525_000,
        "dataset_offset": 600,
        "digest": "0" * 64,
        "seal": "0" * 64,
        "header": {},
        "charset_evidence": "",
        "origin": "received",
        "calling_ae": f"{exam.institution}_{exam.modality}",
        "source": "10.0.0.1",
        "received_at": now,
    }


def _write(database: Database, table: Any, rows: Iterable[dict[str, Any]]) -> None:
    """Many rows at once; on PostgreSQL by COPY."""
    assert isinstance(table, Table)
    ours = iter(rows)
    first = next(ours, None)
    if first is None:
        return
    names = list(first)
    convert = [
        table.c[name].type.dialect_impl(database.engine.dialect).bind_processor(database.engine.dialect)
        for name in names
    ]
    processors = list(zip(names, convert, strict=True))

    def told(row: dict[str, Any]) -> Sequence[Any]:
        return [process(row[name]) if process else row[name] for name, process in processors]

    def all_of_them() -> Iterator[Sequence[Any]]:
        yield told(first)
        yield from map(told, ours)

    columns = ", ".join(f'"{name}"' for name in names)
    with database.engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        assert driver is not None
        cursor = driver.cursor()
        if database.is_sqlite:
            for pragma in ("synchronous=OFF", "cache_size=-400000"):
                cursor.execute(f"PRAGMA {pragma}")
            cursor.execute("BEGIN")
            marks = ", ".join("?" * len(names))
            cursor.executemany(f"INSERT INTO {table.name} ({columns}) VALUES ({marks})", all_of_them())
            cursor.execute("COMMIT")
            for pragma in ("synchronous=FULL", "cache_size=-2000"):
                cursor.execute(f"PRAGMA {pragma}")
        else:
            with cursor.copy(f"COPY {table.name} ({columns}) FROM STDIN") as copy:
                for row in all_of_them():
                    copy.write_row(row)
            if "id" in names:
                cursor.execute(
                    f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), max(id)) FROM {table.name}"
                )
            driver.commit()
        cursor.close()
