"""C-FIND at study level in a county with 100,000 studies, on SQLite and on PostgreSQL, over the wire.

    script/bench query [--databases sqlite,postgresql] [--studies 100000] [--rival 1000] [--connections 1,4]
                       [--repeats 3] [--out FILE]

The county is written into the tables (benchmarks/filled.py); the asker (prebuilt_asker.py) costs next to
nothing. Each kind of question asks for what a viewer shows of a study, counts and modalities included, and is
about another patient every time. A time is from the request to the last answer. Orthanc (Debian's,
TCP_NODELAY=1) is asked the same in the same run, at `--rival` studies that it received by C-STORE, and so are
we at that number.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from benchmarks.filled import COUNTY_PACS, TOWNSHIP_PACS, Exam, exams, fill, settle
from benchmarks.ingest import Server, cpu_seconds, orthanc
from benchmarks.scoreboard import Scoreboard, median, ratio, version_of
from center import migrate
from storage.database import Database
from storage.uids import derived_uid
from tests.servers.centre import CentreProcess, is_listening
from tests.servers.postgresql import PostgresServer
from tests.servers.process import free_port

P95_MS = 20.0

# What a viewer's list of studies asks to be told.
SHOWN = {
    "00080020": "DA",  # Study Date
    "00080030": "TM",  # Study Time
    "00080050": "SH",  # Accession Number
    "00080061": "CS",  # Modalities in Study
    "00080090": "PN",  # Referring Physician's Name
    "00081030": "LO",  # Study Description
    "00100010": "PN",  # Patient's Name
    "00100020": "LO",  # Patient ID
    "00100030": "DA",  # Patient's Birth Date
    "00100040": "CS",  # Patient's Sex
    "0020000D": "UI",  # Study Instance UID
    "00200010": "SH",  # Study ID
    "00201206": "IS",  # Number of Study Related Series
    "00201208": "IS",  # Number of Study Related Instances
}
Identifier = dict[str, Any]


def asked(**keys: str) -> Identifier:
    """An identifier at study level, with these keys by tag."""
    told: Identifier = {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        "00080052": {"vr": "CS", "Value": ["STUDY"]},
        **{tag: {"vr": vr} for tag, vr in SHOWN.items()},
    }
    for word, value in keys.items():
        tag = word.removeprefix("t")
        values: list[Any] = value.split("\\")
        if SHOWN[tag] == "PN":
            groups = zip(("Alphabetic", "Ideographic"), value.split("="), strict=False)
            values = [{group: text for group, text in groups if text}]
        told[tag] = {"vr": SHOWN[tag], "Value": values}
    return told


def _week(one: Exam) -> str:
    return f"{one.day - timedelta(6):%Y%m%d}-{one.day:%Y%m%d}"


# Kind → the asking device, whether names are matched fuzzily, and the question about one exam.
QUESTIONS: dict[str, tuple[str, bool, Callable[[Exam], Identifier]]] = {
    "patient ID": (COUNTY_PACS, False, lambda one: asked(t00100020=one.patient_id)),
    "accession number": (COUNTY_PACS, False, lambda one: asked(t00080050=one.accession_number)),
    "study UID": (COUNTY_PACS, False, lambda one: asked(t0020000D=one.uid)),
    "name, latin prefix": (
        COUNTY_PACS,
        False,
        lambda one: asked(t00100010=one.name.partition("=")[0] + "*"),
    ),
    "name, characters": (
        COUNTY_PACS,
        False,
        lambda one: asked(t00100010=f"*={one.name.partition('=')[2]}*"),
    ),
    "name, pinyin": (
        COUNTY_PACS,
        True,
        lambda one: asked(t00100010=one.name.partition("=")[0].replace("^", "").lower()),
    ),
    "today's CT": (
        COUNTY_PACS,
        False,
        lambda one: asked(t00080020=f"{one.day:%Y%m%d}", t00080061="CT"),
    ),
    "today's list": (COUNTY_PACS, False, lambda one: asked(t00080020=f"{one.day:%Y%m%d}")),
    "a township's week": (TOWNSHIP_PACS, False, lambda one: asked(t00080020=_week(one))),
}
# Not typical, and bounded all the same.
MONSTERS: dict[str, tuple[str, bool, Identifier]] = {
    "wild card inside": (COUNTY_PACS, False, asked(t00100010="*XIAO*HUA*")),
    "wild cards everywhere": (COUNTY_PACS, False, asked(t00100010="*?A*?N*?G*?I*?" + "*?X" * 30)),
    "a surname": (COUNTY_PACS, False, asked(t00100010="WANG*")),
    "everything": (COUNTY_PACS, False, asked()),
}


def ask(
    server: Server,
    device: str,
    fuzzy: bool,
    shares: Sequence[Sequence[Identifier | None]],
    *,
    each: bool = False,
) -> list[dict[str, Any]]:
    """Every share on an association of its own, all at once."""
    command = [sys.executable, "-m", "benchmarks.prebuilt_asker", str(server.port), server.ae_title, device]
    command += ["--fuzzy"] * fuzzy + ["--each"] * each
    askers = []
    for share in shares:
        asker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert asker.stdin is not None
        asker.stdin.write(json.dumps(share) + "\n")
        asker.stdin.flush()
        askers.append(asker)
    for asker in askers:
        assert asker.stdout is not None
        asker.stdout.readline()
    for asker in askers:
        assert asker.stdin is not None
        asker.stdin.write("go\n")
        asker.stdin.flush()
    return [one for asker in askers for one in json.loads(asker.communicate(timeout=600)[0])]


def filled(url: str, studies: int, *, instances: int = 0) -> None:
    """Migrate this empty database, settle the county, and write its rows."""
    migrate.migrate(url)
    database = Database(url)
    settle(database)
    fill(database, studies, instances=instances)
    database.dispose()


@contextmanager
def postgresql(folder: Path) -> Iterator[PostgresServer]:
    """A server of our own that flushes what it commits."""
    server = PostgresServer(folder / "postgresql", is_durable=True)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def our_node(url: str, folder: Path) -> Iterator[Server]:
    """A node on this database."""
    port = free_port()
    words = ("node", "--dicom-port", str(port), "--dicom-tls-port", "0")
    environment = {"READING_CENTER_DATABASE_URL": url, "READING_CENTER_LOG_LEVEL": "INFO"}
    with CentreProcess(*words, data=folder / "node", environment=environment) as node:
        node.wait_until("listening", lambda: is_listening(port))
        yield Server("ours", "READINGCENTER", port, node.pid)


def over_the_wire(
    server: Server, county: Sequence[Exam], connections: int, asked_each: int
) -> list[dict[str, Any]]:
    """Every kind of question, so many times over so many connections at once; a row of figures for each."""
    rows = []
    for kind, (device, fuzzy, make) in QUESTIONS.items():
        chance = random.Random(kind)
        device = device if server.name == "ours" else COUNTY_PACS
        questions = [make(chance.choice(county)) for _ in range(asked_each)]
        ask(server, device, fuzzy, [questions[:2]])
        before = cpu_seconds(server.pid)
        told = ask(server, device, fuzzy, [questions[at::connections] for at in range(connections)])
        spent = (cpu_seconds(server.pid) - before) / asked_each * 1000
        times = [one["last"] for one in told]
        rows.append(
            {
                "kind": kind,
                "p50": statistics.median(times),
                "p95": statistics.quantiles(times, n=20)[18],
                "answers": statistics.mean(one["n"] for one in told),
                "cpu": spent,
                "times": times,
            }
        )
    return rows


def of_the_county(
    name: str, url: str, arguments: argparse.Namespace, board: Scoreboard, folder: Path
) -> None:
    county = list(exams(arguments.studies))
    county = county[len(county) // 2 :]  # what is asked about is not the oldest
    with our_node(url, folder) as server:
        for connections in map(int, arguments.connections.split(",")):
            runs = [
                over_the_wire(server, county, connections, arguments.questions)
                for _ in range(arguments.repeats)
            ]
            for at, kind in enumerate(QUESTIONS):
                board.add(
                    database=name,
                    studies=arguments.studies,
                    connections=connections,
                    question=kind,
                    p50_ms=median([run[at]["p50"] for run in runs]),
                    p95_ms=median([run[at]["p95"] for run in runs]),
                    cpu_ms=median([run[at]["cpu"] for run in runs]),
                    answers=runs[0][at]["answers"],
                )
            mixed = [[time for row in run for time in row["times"]] for run in runs]
            p95 = median([statistics.quantiles(times, n=20)[18] for times in mixed])
            board.goal(f"{name}, {connections} at once, all kinds mixed: p95 in ms", p95, P95_MS)
        for kind, (device, fuzzy, identifier) in MONSTERS.items():
            (told,) = ask(server, device, fuzzy, [[identifier]])
            board.add(
                database=name,
                studies=arguments.studies,
                connections=1,
                question=kind,
                first_ms=told["first"],
                last_ms=told["last"],
                answers=told["n"],
                status=f"{told['status']:04X}",
            )


def beside_the_rival(arguments: argparse.Namespace, board: Scoreboard) -> None:
    """The same questions to Orthanc and to us, at a number of studies that Orthanc can be given in time."""
    county = list(exams(arguments.rival))
    figures: dict[str, list[list[dict[str, Any]]]] = {"ours": [], "Orthanc": []}
    with tempfile.TemporaryDirectory(prefix="query-") as name, orthanc(Path(name)) as server:
        _send(server, county, Path(name))
        for _ in range(arguments.repeats):
            figures["Orthanc"].append(over_the_wire(server, county, 1, arguments.questions))
    with tempfile.TemporaryDirectory(prefix="query-") as name:
        url = f"sqlite:///{name}/center.sqlite"
        filled(url, arguments.rival)
        with our_node(url, Path(name)) as server:
            for _ in range(arguments.repeats):
                figures["ours"].append(over_the_wire(server, county, 1, arguments.questions))
    for at, kind in enumerate(QUESTIONS):
        ours, theirs = (median([run[at]["p95"] for run in figures[name]]) for name in ("ours", "Orthanc"))
        board.add(
            database="sqlite",
            studies=arguments.rival,
            connections=1,
            question=kind,
            p95_ms=ours,
            orthanc_p95_ms=theirs,
            times_orthanc=ratio(theirs, ours),
            answers=figures["ours"][0][at]["answers"],
            orthanc_answers=figures["Orthanc"][0][at]["answers"],
        )


def _send(server: Server, county: Sequence[Exam], folder: Path) -> None:
    """One small image of each series, by C-STORE."""
    files = []
    for exam in county:
        for number in range(exam.series):
            path = folder / f"{exam.number}-{number}.dcm"
            drawn(exam, number).save_as(path, enforce_file_format=True)
            files.append(path)
    for start in range(0, len(files), 500):
        command = [
            sys.executable,
            "-m",
            "benchmarks.prebuilt_sender",
            str(server.port),
            server.ae_title,
            "SENDER",
        ]
        sender = subprocess.run(
            [*command, *map(str, files[start : start + 500])],
            input="go\n",
            capture_output=True,
            text=True,
            check=True,
        )
        if json.loads(sender.stdout.splitlines()[-1])["refused"]:
            raise RuntimeError(f"{server.name} refused an image")


def drawn(exam: Exam, number: int) -> Dataset:
    """A small image of this series."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = exam.sop_class_uid
    dataset.SOPInstanceUID = derived_uid("rival", str(exam.number), str(number))
    dataset.StudyInstanceUID = exam.uid
    dataset.SeriesInstanceUID = derived_uid("rival series", str(exam.number), str(number))
    dataset.PatientID, dataset.PatientName = exam.patient_id, exam.name
    dataset.PatientBirthDate, dataset.PatientSex = f"{exam.birth_date:%Y%m%d}", exam.sex
    dataset.StudyDate, dataset.StudyTime = f"{exam.day:%Y%m%d}", exam.time
    dataset.AccessionNumber, dataset.StudyID = exam.accession_number, str(exam.number)
    dataset.StudyDescription, dataset.Modality = exam.description, exam.modality
    dataset.SeriesNumber, dataset.InstanceNumber = number + 1, 1
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def main() -> None:
    parser = argparse.ArgumentParser(description="C-FIND in a county with many studies.")
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--studies", type=int, default=100_000)
    parser.add_argument("--rival", type=int, default=1000, help="studies beside Orthanc; 0 leaves it out")
    parser.add_argument("--connections", default="1,4")
    parser.add_argument("--questions", type=int, default=60, help="of each kind")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the figures as JSON here")
    arguments = parser.parse_args()
    board = Scoreboard("query")
    for name in arguments.databases.split(","):
        with tempfile.TemporaryDirectory(prefix="query-") as place, ExitStack() as stack:
            folder = Path(place)
            folder.chmod(0o755)  # PostgreSQL runs as somebody else where we are root
            url = f"sqlite:///{folder}/center.sqlite"
            if name == "postgresql":
                server = stack.enter_context(postgresql(folder))
                url = server.url(server.create_database())
            filled(url, arguments.studies)
            of_the_county(name, url, arguments, board, folder)
    if arguments.rival and shutil.which("Orthanc"):
        board.about["rival"] = f"{version_of('Orthanc')}, TCP_NODELAY=1"
        beside_the_rival(arguments, board)
    board.show(arguments.out)


if __name__ == "__main__":
    main()
