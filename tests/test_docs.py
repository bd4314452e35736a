"""What the documents promise is there: settings, commands, scripts, links."""

import os
import re
from pathlib import Path

import pytest

from center.cli import parser

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def settings_in_code() -> set[str]:
    source = (ROOT / "storage" / "settings.py").read_text(encoding="utf-8")
    return set(re.findall(r"read\(\"([A-Z_0-9]+)\"", source))


def commands() -> set[str]:
    (subparsers,) = [
        action for action in parser()._actions if action.dest == "==SUPPRESS==" or action.choices
    ]
    assert subparsers.choices
    return set(subparsers.choices)


def test_every_setting_is_documented_and_every_documented_setting_exists() -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")

    documented = set(re.findall(r"^\| `([A-Z_0-9]+)` \|", text, re.MULTILINE))

    assert documented == settings_in_code()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_a_document_names_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")

    named = set(re.findall(r"reading-center ([a-z][a-z-]+)", text))
    later = set(re.findall(r"`reading-center ([a-z-]+)[^`]*`[^|\n]*\(\*later\*\)", text))
    scripts = set(re.findall(r"\b(script/[a-z]+|deploy/[a-z-]+)\b", text))

    assert named - later - commands() == set()
    assert [
        name for name in scripts if not (ROOT / name).exists() and not (ROOT / f"{name}.cfg").exists()
    ] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_within_the_project_leads_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")

    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text)

    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_every_command_has_help() -> None:
    for command in commands():
        with pytest.raises(SystemExit) as ended:
            parser().parse_args([command, "--help"])
        assert ended.value.code == 0


def test_scripts_can_be_run() -> None:
    scripts = [*(ROOT / "script").iterdir(), ROOT / ".ci" / "run", *(ROOT / "deploy").glob("make-*")]

    assert [path.name for path in scripts if not os.access(path, os.X_OK)] == []


def test_lock_files_name_no_place() -> None:
    for lock in (ROOT / "requirements").glob("*.lock"):
        assert "://" not in lock.read_text(encoding="utf-8"), lock.name
