"""C-STORE of small objects into an index of a million instances, against one of a thousand.

    script/bench growth [--databases postgresql,sqlite] [--instances 1000000] [--objects 400] [--repeats 6]
                        [--out FILE]

The index rows are written beforehand (benchmarks/filled.py), with random UIDs as devices have them. Two nodes
run on the same database server and take turns with the same new objects: ten images in each of three series
of each study, over four associations. PostgreSQL flushes every commit. Slower is meant of the median rates.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.filled import exams
from benchmarks.ingest import Measured, Server, stored
from benchmarks.query import drawn, filled, our_node, postgresql
from benchmarks.scoreboard import Scoreboard
from storage.uids import derived_uid

SLOW_DOWN = 0.10
PER_SERIES, SERIES = 10, 3


def new_objects(folder: Path, number: int, turn: int) -> list[Path]:
    """Small images that nobody has yet, as files."""
    exam, files = next(exams(1)), []
    for at in range(number):
        study, series = at // (PER_SERIES * SERIES), at // PER_SERIES % SERIES
        own = replace(
            exam,
            number=study,
            uid=derived_uid("growth", str(turn), str(study)),
            patient_id=f"G{turn:03}{study:04}",
            modality="CT",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        )
        dataset = drawn(own, series)
        dataset.SOPInstanceUID = derived_uid("growth", str(turn), "image", str(at))
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.InstanceNumber = at % PER_SERIES + 1
        path = folder / f"{turn:03}-{at:04}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        files.append(path)
    return files


@contextmanager
def nodes(name: str, folder: Path, sizes: list[int]) -> Iterator[list[Server]]:
    """A node for each size of the index, on one kind of database."""
    with ExitStack() as stack:
        if name == "postgresql":
            server = stack.enter_context(postgresql(folder))
            urls = [server.url(server.create_database()) for _ in sizes]
        else:
            urls = [f"sqlite:///{folder / f'{size}.sqlite'}" for size in sizes]
        running = []
        for url, size in zip(urls, sizes, strict=True):
            filled(url, max(10, size // 10), instances=size)
            (folder / f"node-{size}").mkdir()
            running.append(stack.enter_context(our_node(url, folder / f"node-{size}")))
        yield running


def main() -> None:
    parser = argparse.ArgumentParser(description="C-STORE into a large index, against a small one.")
    parser.add_argument("--databases", default="postgresql,sqlite")
    parser.add_argument("--instances", type=int, default=1_000_000)
    parser.add_argument("--objects", type=int, default=400, help="in each run")
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--out", type=Path, help="write the figures as JSON here")
    arguments = parser.parse_args()
    board = Scoreboard("growth")
    for name in arguments.databases.split(","):
        sizes = [1000, arguments.instances]
        figures: dict[int, list[Measured]] = {size: [] for size in sizes}
        with tempfile.TemporaryDirectory(prefix="growth-") as place:
            folder = Path(place)
            folder.chmod(0o755)  # PostgreSQL runs as somebody else where we are root
            with nodes(name, folder, sizes) as running:
                for turn in range(arguments.repeats + 1):
                    files = new_objects(folder, arguments.objects, turn)
                    order = list(zip(sizes, running, strict=True))
                    for size, server in order if turn % 2 else reversed(order):
                        measured = stored(server, "CT", files, "4")
                        if turn:  # the first is for warming up
                            figures[size].append(measured)
                        time.sleep(1)
        rates, costs = {}, {}
        for size, runs in figures.items():
            rates[size] = statistics.median(run.rate for run in runs)
            costs[size] = statistics.median(run.cpu_ms for run in runs)
            latencies = [value for run in runs for value in run.latencies]
            board.add(
                database=name,
                instances=size,
                per_s=rates[size],
                slowest_per_s=min(run.rate for run in runs),
                cpu_ms=costs[size],
                p50_ms=statistics.median(latencies),
                p99_ms=statistics.quantiles(latencies, n=100)[98],
            )
        slow_down = 1 - rates[arguments.instances] / rates[1000]
        more = costs[arguments.instances] / costs[1000] - 1
        board.goal(f"{name}: slow-down to {arguments.instances:,} instances", slow_down, SLOW_DOWN)
        board.goal(f"{name}: more CPU of the node for an object", more, SLOW_DOWN)
    board.show(arguments.out)


if __name__ == "__main__":
    main()
