"""C-ECHO: how soon the node says that it is there, idle and with 200 associations open.

    script/bench echo [--open 200] [--echoes 300] [--repeats 3] [--out FILE]

`open` echoes on one association, `each` counts the association too, as echoscu does. Half of the open
associations are queriers', on pynetdicom's state machine, half are senders', on our own upper layer, from
devices at four addresses; they say nothing. What the node spends meanwhile is a share of one processor.
Orthanc (TCP_NODELAY=1) is asked in the same run, without others: it serves no more than four associations at
once.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.ingest import Server, cpu_seconds, orthanc
from benchmarks.prebuilt_asker import IMPLICIT, STUDY_ROOT_FIND, VERIFICATION
from benchmarks.prebuilt_sender import association_request
from benchmarks.query import ask, our_node
from benchmarks.scoreboard import Scoreboard, median, ratio, version_of
from center import migrate
from center.declaration import apply
from storage.database import Database
from tests.cast import settle_the_county

CT = "1.2.840.10008.5.1.4.1.1.2"
KINDS = (STUDY_ROOT_FIND, CT)
ADDRESSES = 4  # as many as it takes that no share of one address or device is used up
P50_MS, P99_MS, IDLE_SHARE = 5.0, 100.0, 0.05


def declared(folder: Path) -> str:
    """A county with a device at each address."""
    url = f"sqlite:///{folder / 'center.sqlite'}"
    migrate.migrate(url)
    database = Database(url)
    settle_the_county(database)
    towns = "".join(
        f"""
[[institutions]]
code = "E{number:02}"
name = "第{number}镇卫生院"
kind = "township"

[[devices]]
ae_title = "E{number:02}_PACS"
institution = "E{number:02}"
host = "127.0.0.{10 + number}"
"""
        for number in range(ADDRESSES)
    )
    apply(database, towns)
    database.dispose()
    return url


@contextmanager
def open_associations(server: Server, number: int) -> Iterator[None]:
    with ExitStack() as stack:
        for at in range(number):
            town = at % ADDRESSES
            kind = KINDS[at // ADDRESSES % len(KINDS)]
            asking = association_request(server.ae_title, f"E{town:02}_PACS", {(kind, IMPLICIT): 1})
            where = (f"127.0.0.{10 + town}", 0)
            connection = stack.enter_context(
                socket.create_connection(("127.0.0.1", server.port), source_address=where)
            )
            connection.sendall(asking)
            if connection.recv(4096)[:1] != b"\x02":
                raise RuntimeError(f"association {at + 1} was not accepted")
        yield


def echoes(server: Server, number: int, *, each: bool) -> list[float]:
    told = ask(server, "T01_CT", False, [[None] * number], each=each)
    if any(one["status"] for one in told):
        raise RuntimeError(f"{server.name} did not answer with success")
    return [one["last"] for one in told]


def main() -> None:
    parser = argparse.ArgumentParser(description="C-ECHO, idle and beside open associations.")
    parser.add_argument("--open", type=int, default=200)
    parser.add_argument("--echoes", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--idle-seconds", type=float, default=10)
    parser.add_argument("--out", type=Path, help="write the figures as JSON here")
    arguments = parser.parse_args()
    board = Scoreboard("echo", {"association": VERIFICATION})
    figures: dict[tuple[str, int, bool], list[list[float]]] = {}
    idle = 0.0
    with tempfile.TemporaryDirectory(prefix="echo-") as name, ExitStack() as stack:
        folder = Path(name)
        servers = [stack.enter_context(our_node(declared(folder), folder))]
        if shutil.which("Orthanc"):
            board.about["rival"] = f"{version_of('Orthanc')}, TCP_NODELAY=1"
            (folder / "orthanc").mkdir()
            servers.append(stack.enter_context(orthanc(folder / "orthanc")))
        time.sleep(2)
        for _ in range(arguments.repeats):
            for server in servers:
                for each in (False, True):
                    told = echoes(server, arguments.echoes, each=each)
                    figures.setdefault((server.name, 0, each), []).append(told)
        with open_associations(servers[0], arguments.open):
            time.sleep(1)
            before = cpu_seconds(servers[0].pid)
            time.sleep(arguments.idle_seconds)
            idle = (cpu_seconds(servers[0].pid) - before) / arguments.idle_seconds
            for _ in range(arguments.repeats):
                for each in (False, True):
                    told = echoes(servers[0], arguments.echoes, each=each)
                    figures.setdefault(("ours", arguments.open, each), []).append(told)
    p50 = {key: median([statistics.median(run) for run in runs]) for key, runs in figures.items()}
    p99 = {
        key: median([statistics.quantiles(run, n=100)[98] for run in runs]) for key, runs in figures.items()
    }
    for (name, number, each), value in p50.items():
        board.add(
            node=name,
            open=number,
            way="each" if each else "open",
            p50_ms=value,
            p99_ms=p99[name, number, each],
            share_of_orthanc=ratio(value, p50.get(("Orthanc", 0, each))) if name == "ours" else None,
        )
    board.goal("idle, on an open association: p50 in ms", p50["ours", 0, False], P50_MS)
    board.goal("idle, an association for each: p50 in ms", p50["ours", 0, True], P50_MS)
    for each, way in ((False, "on an open association"), (True, "an association for each")):
        board.goal(f"{arguments.open} open, {way}: p99 in ms", p99["ours", arguments.open, each], P99_MS)
    board.goal(f"processor share while {arguments.open} associations say nothing", idle, IDLE_SHARE)
    board.show(arguments.out)


if __name__ == "__main__":
    main()
