"""The house stands as it was drawn: imports go down only, and each thing has its room."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from center import migrate

ROOT = Path(__file__).resolve().parent.parent

# Each room, and the rooms whose shoulders it may stand on.
MAY_IMPORT = {
    "storage": set(),
    "worklist": {"storage"},
    "dicom_node": {"storage", "worklist"},
    "reading_portal": {"storage", "worklist"},
    "center": {"storage", "worklist", "dicom_node", "reading_portal"},
}
LONGEST_FILE = 450  # beyond that it is two nouns
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def sources(room: str) -> list[Path]:
    return [p for p in sorted((ROOT / room).rglob("*.py")) if "node_modules" not in p.parts]


ALL_SOURCES = [path for room in MAY_IMPORT for path in sources(room)]


def imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    """Every module that the file names in an import, at any depth: an import inside a function counts too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parent.parts
            base = package[: len(package) - node.level + 1] if node.level else ()
            yield node.lineno, ".".join([*base, *([node.module] if node.module else [])])


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_go_down_only(room: str) -> None:
    allowed = MAY_IMPORT[room] | {room}

    upward = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in sources(room)
        for line, module in imported_modules(path)
        if (top := module.split(".")[0]) in MAY_IMPORT and top not in allowed
    ]

    assert sources(room), f"the room {room} is empty"
    assert upward == []


def test_numbers_of_dimse_statuses_stand_in_one_file() -> None:
    """PS3.7 Annex C: 0x0000 to 0xFF01. Tags have eight digits, so four hexadecimal digits are a status."""
    said_elsewhere = []
    for path in sources("dicom_node"):
        # command_set.py writes the numbers of command elements and command fields (PS3.7 E), of no status.
        if path.name in ("statuses.py", "command_set.py"):
            continue
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and type(node.value) is int and 0x0100 <= node.value <= 0xFFFF:
                written = ast.get_source_segment(text, node) or ""
                if written.lower().startswith("0x"):
                    said_elsewhere.append(f"{path.relative_to(ROOT)}:{node.lineno} {written}")

    assert said_elsewhere == []


def test_no_file_is_named_after_nothing() -> None:
    nameless = [str(path.relative_to(ROOT)) for path in ALL_SOURCES if path.stem in FORBIDDEN_NAMES]

    assert nameless == []


def test_every_file_fits_in_the_head() -> None:
    # A migration is a record of its day, not a thought to follow.
    living = [path for path in ALL_SOURCES if "versions" not in path.parts]
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in living}

    assert {str(path): lines for path, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_migrations_stand_in_one_line() -> None:
    """0001, 0002, 0003 …: each number once, none left out, each after the one before it, and one end."""
    script = ScriptDirectory.from_config(migrate.configuration())
    files = sorted((ROOT / "center/migrations/versions").glob("*.py"))
    line = [f"{number:04d}" for number in range(1, len(files) + 1)]

    assert [path.name[:5] for path in files] == [f"{number}_" for number in line]
    assert script.get_heads() == line[-1:]
    assert {one.revision: one.down_revision for one in script.walk_revisions()} == dict(
        zip(line, [None, *line], strict=False)
    )


def test_importing_starts_nothing() -> None:
    """No engine, socket, thread or process is born at import: the top of a module only binds names."""
    births = {"create_engine", "Database", "open_store", "Thread", "Popen", "Process", "socket"}

    born = [
        f"{path.relative_to(ROOT)}:{call.lineno} {called}"
        for path in ALL_SOURCES
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr) and node.value is not None
        for call in ast.walk(node.value)
        if isinstance(call, ast.Call) and (called := ast.unparse(call.func).split(".")[-1]) in births
    ]

    assert born == []
