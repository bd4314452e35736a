"""C-MOVE and C-GET of a study of 200 CT from the node, against Orthanc, on one machine.

    script/bench retrieval [--kinds move,get] [--objects 200] [--repeats 3] [--rounds 3] [--out FILE]

Orthanc is Debian's package in its best configuration (benchmarks/ingest.py). Each repeat has fresh servers
on empty folders, filled with the same study; the contenders alternate; requester and receiver
(prebuilt_receiver.py) are the same for both and cost next to nothing. The first retrieval of a server is not
counted: both have what they keep in memory then. Admission, audit and limits are on, as always. A retrieval
lasts from its association's opening to the last answer. CPU is the server's own time for one object.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.ingest import LOADS, Server, cpu_seconds, exam_files, memory, orthanc, our_node, stored
from benchmarks.scoreboard import Scoreboard, median, ratio, version_of
from storage.uids import derived_uid
from tests.servers.process import free_port

STUDY = derived_uid("benchmark", "CT")
DESTINATION = "T01_PACS"


@dataclass(frozen=True)
class Retrieved:
    """Objects per second, the server's CPU milliseconds for one, answers on the way, its peak memory."""

    rate: float
    cpu_ms: float
    pending: int
    memory_mb: float


@contextmanager
def requester(kind: str, server: Server, destination_port: int) -> Iterator[subprocess.Popen[str]]:
    words = [kind, str(server.port), server.ae_title, LOADS["CT"], STUDY]
    words += [DESTINATION, str(destination_port)] if kind == "move" else []
    command = [sys.executable, "-m", "benchmarks.prebuilt_receiver", *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.communicate(timeout=30)


def retrieved(process: subprocess.Popen[str], server: Server, expected: int) -> Retrieved:
    assert process.stdin is not None
    assert process.stdout is not None
    before = cpu_seconds(server.pid)
    process.stdin.write("go\n")
    process.stdin.flush()
    told: dict[str, Any] = json.loads(process.stdout.readline())
    spent = cpu_seconds(server.pid) - before
    if told["status"] or told["objects"] != expected:
        raise RuntimeError(f"{server.name} gave {told['objects']} of {expected}: {told['status']:04X}")
    seconds = told["ended"] - told["began"]
    return Retrieved(expected / seconds, spent / expected * 1000, told["pending"], memory(server.pid))


CONTENDERS: dict[str, Callable[..., Any]] = {"ours": our_node, "Orthanc": orthanc}


def main() -> None:
    parser = argparse.ArgumentParser(description="C-MOVE and C-GET of a CT study, against Orthanc.")
    parser.add_argument("--kinds", default="move,get")
    parser.add_argument("--objects", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3, help="fresh servers")
    parser.add_argument("--rounds", type=int, default=3, help="retrievals from each of them, alternating")
    parser.add_argument("--out", type=Path, help="write the figures as JSON here")
    arguments = parser.parse_args()
    if shutil.which("Orthanc") is None:
        raise SystemExit("Orthanc is not installed: apt-get install orthanc, and disable its service")
    board = Scoreboard("retrieval")
    board.about = {
        "rival": f"{version_of('Orthanc')}, TCP_NODELAY=1",
        "memory": "SQLite and a folder; the node alone",
    }
    files = exam_files("CT", arguments.objects)
    kinds = arguments.kinds.split(",")
    figures: dict[tuple[str, str], list[Retrieved]] = {
        (kind, name): [] for kind in kinds for name in CONTENDERS
    }
    for _ in range(arguments.repeats):
        with ExitStack() as stack:
            port = free_port()
            servers = {
                name: stack.enter_context(
                    contender(
                        Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="retrieval-"))),
                        destination=(DESTINATION, port),
                    )
                )
                for name, contender in CONTENDERS.items()
            }
            for server in servers.values():
                stored(server, "CT", files, "1")
            for kind in kinds:
                for at in range(arguments.rounds + 1):
                    for name, server in servers.items():
                        with requester(kind, server, port) as process:
                            one = retrieved(process, server, len(files))
                        if at:
                            figures[kind, name].append(one)
    for kind in kinds:
        _report(board, kind, figures)
    board.show(arguments.out)


def _report(board: Scoreboard, kind: str, figures: dict[tuple[str, str], list[Retrieved]]) -> None:
    def middle(name: str, of: Callable[[Retrieved], float]) -> float | None:
        return median([of(run) for run in figures[kind, name]])

    rate = {name: middle(name, lambda run: run.rate) for name in CONTENDERS}
    cost = {name: middle(name, lambda run: run.cpu_ms) for name in CONTENDERS}
    board.add(
        work=f"C-{kind.upper()}",
        ours_per_s=rate["ours"],
        orthanc_per_s=rate["Orthanc"],
        times_orthanc=ratio(rate["ours"], rate["Orthanc"]),
        cpu_ms=cost["ours"],
        cpu_share=ratio(cost["ours"], cost["Orthanc"]),
        pending=middle("ours", lambda run: run.pending),
        orthanc_pending=middle("Orthanc", lambda run: run.pending),
        memory_mb=middle("ours", lambda run: run.memory_mb),
    )


if __name__ == "__main__":
    main()
