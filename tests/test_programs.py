"""A missing program is a skipped test on a desk, and a failed one where `.ci/run` decides."""

from pathlib import Path

import pytest

from tests.programs import needs, plugin, program

TESTS = Path(__file__).parent
# They look for something that no Debian package of script/test gives, or for the first of two names.
MAY_LOOK = {"programs.py", "browser.py", "faults/test_disk.py", "servers/object_store.py", "test_programs.py"}


def test_a_missing_program_fails_in_ci_and_is_skipped_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "1")
    for absent in (lambda: program("no-such", of="none"), lambda: plugin(Path("/no/such"), of="none")):
        with pytest.raises(pytest.fail.Exception, match="which is not installed"):
            absent()
    assert needs("no-such", of="none").args == (False,)

    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception):
        program("no-such", of="none")
    assert needs("no-such", of="none").args == (True,)


def test_programs_are_looked_for_in_one_place() -> None:
    looking = {
        str(path.relative_to(TESTS)) for path in TESTS.rglob("*.py") if "shutil.which(" in path.read_text()
    }

    assert looking <= MAY_LOOK


def test_ci_says_that_it_is_ci() -> None:
    assert "export CI=1" in (TESTS.parent / ".ci" / "run").read_text()
