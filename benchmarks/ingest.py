"""Objects per second by C-STORE into the node, against Orthanc and against the floor, on one machine.

    script/bench ingest [--loads CT,ECG,DX] [--ways 8,1,each] [--objects 200] [--repeats 3] [--out FILE]

Orthanc is Debian's package in its best configuration: TCP_NODELAY=1, without which every object waits 44 ms.
The floor receives the same bytes, writes and flushes them, and speaks no protocol (bare_receiver.py). Every
run has a fresh server on an empty folder; the contenders alternate; the sender (prebuilt_sender.py) costs
next to nothing; one object is sent beforehand and not counted. `each` is one association per object, as old
modalities do. Admission, audit, duplicate detection and limits are on, as always. CPU is the server's own
time for one object, children included: the figure that a busy machine distorts least.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.county import KEPT, QUIET, eventually, exam_of, thorax_of
from benchmarks.scoreboard import Scoreboard, median, ratio, version_of
from center import migrate
from center.declaration import apply
from center.demo.phantoms.chest_radiograph import chest_radiograph
from center.demo.phantoms.electrocardiogram import electrocardiogram
from storage.database import Database
from storage.uids import derived_uid
from tests.cast import settle_the_county
from tests.servers.centre import CentreProcess, children_of, is_listening
from tests.servers.process import free_port, start, stop

TICKS = os.sysconf("SC_CLK_TCK")
# Both ends without Nagle's algorithm: DCMTK reads this from its environment.
AT_ITS_BEST = {**os.environ, "TCP_NODELAY": "1"}
LOADS = {"CT": "T01_CT", "ECG": "T01_ECG", "DX": "T01_CT"}  # and the device that sends it
MOST = {"DX": 24}  # 20 MB each
ARCHIVE = """
[[devices]]
ae_title = "{ae_title}"
institution = "T01"
modality = ""
host = "127.0.0.1"
port = {port}
"""


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
    if load == "DX":
        drawn = chest_radiograph(replace(exam, station_ae="T01_DR"), KEPT / "phantoms")
        for at in range(number):
            drawn.SOPInstanceUID = drawn.file_meta.MediaStorageSOPInstanceUID = derived_uid(load, str(at))
            yield drawn
        return
    for at in range(number):
        own = replace(exam, study_instance_uid=derived_uid("benchmark", load, str(at)), seed=at)
        yield electrocardiogram(replace(own, station_ae="T01_ECG"))


@contextmanager
def our_node(folder: Path, *, destination: tuple[str, int] | None = None) -> Iterator[Server]:
    """The node alone; `destination` is an archive's AE title and port, for what is moved to it."""
    data = folder / "data"
    data.mkdir()
    url = f"sqlite:///{data / 'center.sqlite'}"
    migrate.migrate(url)
    database = Database(url)
    settle_the_county(database)
    apply(database, QUIET.format(seconds=20))
    if destination is not None:
        apply(database, ARCHIVE.format(ae_title=destination[0], port=destination[1]))
    database.dispose()
    port = free_port()
    words = ("node", "--dicom-port", str(port), "--dicom-tls-port", "0")
    with CentreProcess(*words, data=data, environment={"READING_CENTER_LOG_LEVEL": "INFO"}) as node:
        node.wait_until("listening", lambda: is_listening(port))
        yield Server("ours", "READINGCENTER", port, node.pid)


@contextmanager
def orthanc(folder: Path, *, destination: tuple[str, int] | None = None) -> Iterator[Server]:
    port = free_port()
    configuration = {
        "Name": "benchmark",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "DicomPort": port,
        "HttpServerEnabled": False,
        "DicomAet": "ORTHANC",
        "DicomAlwaysAllowFind": True,
        "Plugins": [],
    }
    if destination is not None:
        title, its_port = destination
        configuration["DicomModalities"] = {title: [title, "127.0.0.1", its_port]}
        configuration["DicomAlwaysAllowGet"] = configuration["DicomAlwaysAllowMove"] = True
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


@contextmanager
def floor(folder: Path) -> Iterator[Server]:
    port, files = free_port(), folder / "files"
    files.mkdir()
    command = [sys.executable, "-m", "benchmarks.bare_receiver", str(port), str(files)]
    process = start(command, log=folder / "floor.log", env=AT_ITS_BEST, cwd=Path.cwd())
    try:
        eventually(lambda: is_listening(port), "the floor listens")
        yield Server("floor", "", port, process.pid)
    finally:
        stop(process)


@dataclass(frozen=True)
class Measured:
    """Objects per second, the server's CPU milliseconds for one, and the time of each answer."""

    rate: float
    cpu_ms: float
    latencies: list[float]
    memory_mb: float


def stored(server: Server, load: str, files: list[Path], way: str) -> Measured:
    associations = 1 if way == "each" else int(way)
    shares = [files[number::associations] for number in range(associations)]
    senders = [_sender(server, load, share, way) for share in shares if share]
    for sender in senders:
        assert sender.stdout is not None
        sender.stdout.readline()
    before, idle = cpu_seconds(server.pid), memory(server.pid)
    for sender in senders:
        assert sender.stdin is not None
        sender.stdin.write("go\n")
        sender.stdin.flush()
    told = [json.loads(sender.communicate(timeout=600)[0]) for sender in senders]
    seconds = max(one["ended"] for one in told) - min(one["began"] for one in told)
    refused = [status for one in told for status in one["refused"]]
    if refused:
        raise RuntimeError(f"{server.name} answered {refused[0]:04X} {len(refused)} times")
    spent = cpu_seconds(server.pid) - before
    latencies = [value for one in told for value in one["ms"]]
    used = max(0.0, memory(server.pid) - idle)
    return Measured(len(files) / seconds, spent / len(files) * 1000, latencies, used)


def _sender(server: Server, load: str, share: list[Path], way: str) -> subprocess.Popen[str]:
    if server.name == "floor":
        words = ["benchmarks.bare_receiver", str(server.port), "-"]
    else:
        words = ["benchmarks.prebuilt_sender", str(server.port), server.ae_title, LOADS[load]]
        words += ["--one-each"] if way == "each" else []
    command = [sys.executable, "-m", *words, *map(str, share)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def memory(pid: int) -> float:
    """Proportional resident megabytes of a process and its children, at their highest."""
    try:
        words = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    peak = next((line for line in words.splitlines() if line.startswith("VmHWM")), "VmHWM: 0 kB")
    return int(peak.split()[1]) / 1024 + sum(map(memory, children_of(pid)))


CONTENDERS = {"ours": our_node, "Orthanc": orthanc, "floor": floor}


def main() -> None:
    parser = argparse.ArgumentParser(description="C-STORE into the node, against Orthanc and the floor.")
    parser.add_argument("--loads", default="CT,ECG,DX")
    parser.add_argument("--ways", default="8,1,each")
    parser.add_argument("--objects", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the figures as JSON here")
    arguments = parser.parse_args()
    if shutil.which("Orthanc") is None:
        raise SystemExit("Orthanc is not installed: apt-get install orthanc, and disable its service")
    board = Scoreboard("ingest")
    board.about = {
        "rival": f"{version_of('Orthanc')}, TCP_NODELAY=1",
        "memory": "SQLite and a folder; the node alone",
    }
    for load in arguments.loads.split(","):
        files = exam_files(load, min(arguments.objects, MOST.get(load, arguments.objects)))
        for way in arguments.ways.split(","):
            figures: dict[str, list[Measured]] = {name: [] for name in CONTENDERS}
            for _ in range(arguments.repeats):
                for name, contender in CONTENDERS.items():
                    if (name, way) == ("floor", "each"):
                        continue
                    with tempfile.TemporaryDirectory(prefix="ingest-") as folder:
                        with contender(Path(folder)) as server:
                            # A node that has been running for a while, not its first image ever.
                            stored(server, load, files[:1], "1")
                            time.sleep(1)
                            figures[name].append(stored(server, load, files[1:], way))
            _report(board, load, way, figures)
            print(board.rows[-1], flush=True)
    board.show(arguments.out)


def _report(board: Scoreboard, load: str, way: str, figures: dict[str, list[Measured]]) -> None:
    def middle(name: str, of: Callable[[Measured], float]) -> float | None:
        return median([of(run) for run in figures[name]])

    rate = {name: middle(name, lambda run: run.rate) for name in figures}
    cost = {name: middle(name, lambda run: run.cpu_ms) for name in figures}
    p50 = {name: middle(name, lambda run: statistics.median(run.latencies)) for name in figures}
    p99 = middle("ours", lambda run: statistics.quantiles(run.latencies, n=100)[98])
    board.add(
        load=load,
        way=way,
        ours_per_s=rate["ours"],
        orthanc_per_s=rate["Orthanc"],
        times_orthanc=ratio(rate["ours"], rate["Orthanc"]),
        share_of_floor=ratio(rate["ours"], rate["floor"]),
        cpu_ms=cost["ours"],
        cpu_share=ratio(cost["ours"], cost["Orthanc"]),
        p50_ms=p50["ours"],
        p50_share=ratio(p50["ours"], p50["Orthanc"]),
        p99_ms=p99,
        more_memory_mb=middle("ours", lambda run: run.memory_mb),
    )


if __name__ == "__main__":
    main()
