"""What a benchmark says at its end: a small table for people, JSON for machines, and which machine it was."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def median(values: Sequence[float | None]) -> float | None:
    """The middle of what was measured; None where nothing was."""
    measured = [value for value in values if value is not None]
    return statistics.median(measured) if measured else None


def ratio(ours: float | None, theirs: float | None) -> float | None:
    return ours / theirs if ours is not None and theirs else None


def machine() -> dict[str, Any]:
    """Processors, memory and software of this machine; its load when the benchmark began."""
    words = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = next((line.split(":", 1)[1].strip() for line in words.splitlines() if "model name" in line), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processors": os.cpu_count(),
        "model": model,
        "memory_gib": round(memory / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": [round(value, 1) for value in os.getloadavg()],
        "commit": _said("git", "rev-parse", "--short", "HEAD"),
    }


def version_of(program: str) -> str:
    """The first line of what a program says of itself."""
    return _said(program, "--version").partition("\n")[0]


def _said(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return told.stdout.strip()


@dataclass
class Scoreboard:
    """The figures of one benchmark; `rows` are shown in their order, all with the same columns."""

    name: str
    about: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    goals: list[dict[str, Any]] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=machine)

    def add(self, **row: Any) -> None:
        self.rows.append(row)

    def goal(self, what: str, figure: float | None, at_most: float) -> None:
        """A figure that shall not be larger than its goal."""
        is_met = figure is not None and figure <= at_most
        self.goals.append({"goal": what, "figure": figure, "at most": at_most, "met": is_met})

    def show(self, out: Path | None = None) -> None:
        """Print the tables; write everything as JSON to `out`, or print it where there is none."""
        self.machine["load_at_the_end"] = [round(value, 1) for value in os.getloadavg()]
        facts = self.machine
        print(f"\n# {self.name}, {facts['measured_at']}, commit {facts['commit']}")
        print(f"{facts['processors']} × {facts['model']}, {facts['memory_gib']} GiB, {facts['system']}")
        print(f"load {facts['load']} at the beginning, {facts['load_at_the_end']} at the end")
        for name, value in self.about.items():
            print(f"{name}: {value}")
        for rows in filter(None, (self.rows, self.goals)):
            print("\n" + "\n".join(table(rows)))
        told = json.dumps(vars(self), ensure_ascii=False, indent=1 if out else None)
        if out is None:
            print(f"\n{told}", flush=True)
        else:
            out.write_text(told + "\n", encoding="utf-8")


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows as a Markdown table, its columns aligned."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [columns, *([_spoken(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in cells
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def _spoken(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
