"""Objects per second by C-STORE into the node, against Orthanc on the same machine, with DCMTK's sender.

    script/bench ingest [--objects 100] [--associations 1,4] [--repeats 3] [--out FILE]

Orthanc is Debian's package in its best configuration: TCP_NODELAY=1, without which DCMTK stalls 44 ms per
object. Both keep a file durably before they answer Success. Every run has a fresh server on an empty folder;
the contenders alternate. The senders share the machine, so seconds tell of both; `CPU ms` is the server's
own time for one object and the figure that a busy machine distorts least.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.county import KEPT, QUIET, eventually, exam_of, thorax_of
from benchmarks.scoreboard import Scoreboard, median, ratio, version_of
from center import migrate
from center.declaration import apply
from center.demo.phantoms.electrocardiogram import electrocardiogram
from storage.database import Database
from storage.uids import derived_uid
from tests.cast import settle_the_county
from tests.servers.centre import CentreProcess, children_of, is_listening
from tests.servers.process import free_port, start, stop

TICKS = os.sysconf("SC_CLK_TCK")
# Both ends without Nagle's algorithm: DCMTK reads this from its environment.
AT_ITS_BEST = {**os.environ, "TCP_NODELAY": "1"}
LOADS = {"CT": "T01_CT", "ECG": "T01_ECG"}  # and the device that sends it


@dataclass(frozen=True)
class Server:
    """A storage SCP that was just started."""

    name: str
    ae_title: str
    port: int
    pid: int


def exam_files(load: str, number: int) -> list[Path]:
    """`number` objects of this kind as files, drawn the first time."""
    folder = KEPT / "files" / f"{load}-{number}"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for at, dataset in enumerate(_drawn(load, number)):
            dataset.save_as(folder / f"{at:04}.dcm", enforce_file_format=True)
        (folder / "complete").touch()
    return sorted(folder.glob("*.dcm"))


def _drawn(load: str, number: int) -> Iterator[Any]:
    order = {"study_instance_uid": derived_uid("benchmark", load), "accession_number": ""}
    exam = exam_of(order, 1)
    if load == "CT":
        for _, dataset in zip(range(number), thorax_of(exam), strict=False):
            yield dataset
        return
    for at in range(number):
        own = replace(exam, study_instance_uid=derived_uid("benchmark", load, str(at)), seed=at)
        yield electrocardiogram(replace(own, station_ae="T01_ECG"))


@contextmanager
def our_node(folder: Path) -> Iterator[Server]:
    data = folder / "data"
    data.mkdir()
    url = f"sqlite:///{data / 'center.sqlite'}"
    migrate.migrate(url)
    database = Database(url)
    settle_the_county(database)
    apply(database, QUIET.format(seconds=20))
    database.dispose()
    port = free_port()
    words = ("node", "--dicom-port", str(port), "--dicom-tls-port", "0")
    with CentreProcess(*words, data=data, environment={"READING_CENTER_LOG_LEVEL": "INFO"}) as node:
        node.wait_until("listening", lambda: is_listening(port))
        yield Server("ours", "READINGCENTER", port, node.pid)


@contextmanager
def orthanc(folder: Path) -> Iterator[Server]:
    port = free_port()
    configuration = {
        "Name": "benchmark",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "DicomPort": port,
        "HttpServerEnabled": False,
        "DicomAet": "ORTHANC",
        "Plugins": [],
    }
    file = folder / "orthanc.json"
    file.write_text(json.dumps(configuration))
    process = start(["Orthanc", file], log=folder / "orthanc.log", env=AT_ITS_BEST, cwd=folder)
    try:
        eventually(lambda: is_listening(port), "Orthanc listens")
        yield Server("Orthanc", "ORTHANC", port, process.pid)
    finally:
        stop(process)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, its children, and the dead ones among them."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(map(int, words[11:15])) / TICKS + sum(map(cpu_seconds, children_of(pid)))
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def stored(server: Server, load: str, shares: list[Path], number: int) -> tuple[float, float]:
    """Objects per second, and the server's CPU milliseconds for one, with an association for each share."""
    command = ["storescu", "-R", "+sd", "-aet", LOADS[load], "-aec", server.ae_title, "127.0.0.1"]
    before, began = cpu_seconds(server.pid), time.monotonic()
    senders = [
        subprocess.Popen([*command, str(server.port), str(share)], env=AT_ITS_BEST, stderr=subprocess.PIPE)
        for share in shares
    ]
    for sender in senders:
        _, said = sender.communicate(timeout=300)
        if sender.returncode:
            raise RuntimeError(f"{server.name}: {said.decode(errors='replace')[-500:]}")
    seconds = time.monotonic() - began
    return number / seconds, (cpu_seconds(server.pid) - before) / number * 1000


def shared_out(files: list[Path], associations: int, folder: Path) -> list[Path]:
    """The files as links in as many folders as there are associations."""
    shares = [folder / f"share-{number}" for number in range(associations)]
    for number, share in enumerate(shares):
        share.mkdir()
        for file in files[number::associations]:
            (share / file.name).symlink_to(file)
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description="C-STORE into the node, against Orthanc.")
    parser.add_argument("--objects", type=int, default=100)
    parser.add_argument("--associations", default="1,4")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the figures as JSON here")
    arguments = parser.parse_args()
    if shutil.which("Orthanc") is None:
        raise SystemExit("Orthanc is not installed: apt-get install orthanc, and disable its service")
    board = Scoreboard("ingest")
    board.about = {
        "rival": f"{version_of('Orthanc')}, TCP_NODELAY=1",
        "sender": f"{version_of('storescu')}, TCP_NODELAY=1",
        "memory": "SQLite and a folder; the node alone",
    }
    for load in LOADS:
        files = exam_files(load, arguments.objects)
        for associations in map(int, arguments.associations.split(",")):
            figures: dict[str, list[tuple[float, float]]] = {"ours": [], "Orthanc": []}
            for _ in range(arguments.repeats):
                for contender in (our_node, orthanc):
                    with tempfile.TemporaryDirectory(prefix="ingest-") as name:
                        folder = Path(name)
                        shares = shared_out(files, associations, folder)
                        with contender(folder) as server:
                            measured = stored(server, load, shares, len(files))
                            figures[server.name].append(measured)
            _report(board, load, associations, figures)
    board.show(arguments.out)


def _report(
    board: Scoreboard, load: str, associations: int, figures: dict[str, list[tuple[float, float]]]
) -> None:
    rates = {name: median([rate for rate, _ in runs]) for name, runs in figures.items()}
    costs = {name: median([cost for _, cost in runs]) for name, runs in figures.items()}
    board.add(
        load=load,
        associations=associations,
        ours_per_s=rates["ours"],
        orthanc_per_s=rates["Orthanc"],
        rate_ratio=ratio(rates["ours"], rates["Orthanc"]),
        ours_cpu_ms=costs["ours"],
        orthanc_cpu_ms=costs["Orthanc"],
        cpu_ratio=ratio(costs["ours"], costs["Orthanc"]),
    )


if __name__ == "__main__":
    main()
