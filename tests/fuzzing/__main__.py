"""Fuzzing by seed: harmed input for everything that reads what strangers send.

A finding names target and seed; `script/fuzz TARGET --first SEED --seeds 1` does it again.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

from storage.charsets import pinyin_tokens
from tests.fuzzing.callers import live_node
from tests.fuzzing.readers import READERS

CALLERS = ("storing", "asking")
CALL_SECONDS, READ_SECONDS = 60.0, 2.0  # by the wall; of the processor, for what only reads
MOST_GROWTH = 64 << 20
WARM = 0.05  # of the seeds: caches fill, pages are touched
MOST_FINDINGS = 20


class Hang(Exception):
    """A seed took longer than its deadline."""


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join((*READERS, *CALLERS)))
    parser.add_argument("--seeds", type=int, default=100_000, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    said = parser.parse_args(words)
    unknown = set(said.targets) - {*READERS, *CALLERS}
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    targets = said.targets or [*READERS, *CALLERS]
    return sum(not fuzz(name, range(said.first, said.first + said.seeds)) for name in targets) and 1


def fuzz(name: str, seeds: range) -> bool:
    """One target with these seeds; whether nothing crashed, hung or grew."""
    with ExitStack() as opened:
        target = _target(name, opened)
        clock, bell, deadline = (
            (signal.ITIMER_REAL, signal.SIGALRM, CALL_SECONDS)
            if name in CALLERS
            else (signal.ITIMER_PROF, signal.SIGPROF, READ_SECONDS)
        )
        signal.signal(bell, _ring)
        findings: dict[str, int] = {}
        begun, slowest, warm = time.monotonic(), 0.0, _resident()
        for number, seed in enumerate(seeds):
            if number == int(len(seeds) * WARM):
                warm = _resident()
            started = time.monotonic()
            signal.setitimer(clock, deadline)
            try:
                target(Random(f"{name}:{seed}"))
            except Exception as error:
                _report(findings, name, seed, error)
            finally:
                signal.setitimer(clock, 0)
            slowest = max(slowest, time.monotonic() - started)
            if len(findings) >= MOST_FINDINGS:
                break
        grown = _resident() - warm
    is_well = not findings and grown < MOST_GROWTH
    print(
        f"{name}: {number + 1:,} seeds from {seeds.start} in {time.monotonic() - begun:.0f} s, "
        f"slowest {slowest * 1000:.0f} ms, grew by {grown / (1 << 20):.1f} MB, {len(findings)} findings"
        + ("" if is_well else "  FAILED"),
        flush=True,
    )
    return is_well


def _target(name: str, opened: ExitStack) -> Callable[[Random], None]:
    warnings.filterwarnings("ignore", module="pydicom")
    pinyin_tokens("张")  # its dictionaries are 50 MB
    if name in READERS:
        return READERS[name]
    callers = opened.enter_context(live_node())
    return {"storing": callers.storing, "asking": callers.asking}[name]


def _report(findings: dict[str, int], name: str, seed: int, error: Exception) -> None:
    """Each kind of finding once, by where it came from."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    kind = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno} {str(error)[:60]}"
    if kind not in findings:
        findings[kind] = seed
        print(f"{name} seed {seed}: {kind}", flush=True)
        traceback.print_exception(error, limit=-6)


def _ring(*_: Any) -> None:
    raise Hang


def _resident() -> int:
    """The most that this process has ever held, in bytes: a peak that was given back counts too."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
