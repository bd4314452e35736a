"""The command line says what is wrong in one sentence, ends with a status, and never shows a traceback."""

import re
from pathlib import Path

import pytest

from tests.servers.centre import CentreProcess
from tests.servers.lazy import LazyServers
from tests.servers.process import free_port


def said(*words: str, data: Path, **settings: str) -> tuple[int, list[str]]:
    environment = {f"READING_CENTER_{name}": value for name, value in settings.items()}
    command = CentreProcess(*words, data=data, environment=environment)
    return command.wait(60), command.said.splitlines()


@pytest.mark.parametrize(
    ("words", "settings", "sentence"),
    [
        (["portal"], {"HTTP_PORT": "many"}, "READING_CENTER_HTTP_PORT makes no sense"),
        (["verify"], {"DATABASE_URL": "mysql://x"}, "READING_CENTER_DATABASE_URL makes no sense"),
        (["migrate"], {"SECRET_KEY_FILE": "/nowhere"}, "READING_CENTER_SECRET_KEY_FILE names a file"),
        (["apply", "/nowhere.toml"], {}, "No such file or directory: /nowhere.toml"),
        (["verify-report", "/nowhere.pdf"], {}, "this centre has no authority of its own"),
        (["portal"], {}, "run `reading-center migrate` first"),
        (["node"], {"DICOM_PORT": "0"}, "every port of the node is turned off"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    tmp_path: Path, words: list[str], settings: dict[str, str], sentence: str
) -> None:
    status, lines = said(*words, data=tmp_path, **{"HTTP_PORT": str(free_port()), **settings})

    assert status == 1
    assert len(lines) == 1
    assert lines[0].startswith("reading-center: ")
    assert sentence in lines[0]


def test_a_database_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    url = "postgresql+psycopg://centre:SECRET-WORD@127.0.0.1:9/centre"

    status, lines = said("migrate", data=tmp_path, DATABASE_URL=url)

    assert status == 1
    assert lines == [
        "reading-center: the database does not answer: postgresql+psycopg://centre:***@127.0.0.1:9/centre"
    ]


def test_an_object_store_that_refuses_us_is_named_without_its_key(
    tmp_path: Path, servers: LazyServers
) -> None:
    url = f"s3://centre:SECRET-WORD@127.0.0.1:{servers.s3.port}/images?secure=0"

    status, lines = said("migrate", data=tmp_path, OBJECT_STORE=url)

    assert status == 1
    assert re.fullmatch(r"reading-center: the object store at 127\.0\.0\.1:\d+ refused: \w+", lines[0])


def test_applying_the_demo_county_twice_changes_nothing(tmp_path: Path) -> None:
    county = str(Path(__file__).resolve().parents[2] / "center" / "demo" / "center.toml")
    data = tmp_path / "data"

    first = said("apply", "--check", county, data=data)
    made = [path.name for path in data.iterdir() if path.suffix != ".log"]
    second = said("apply", county, data=data)
    third = said("apply", county, data=data)

    assert made == []
    assert first[0] == second[0] == third[0] == 0
    assert first[1] == second[1][-len(first[1]) :]
    assert third[1][-1] == "nothing to change"


def test_a_declaration_that_is_not_toml_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "center.toml"
    file.write_text("[[people]\n")

    status, lines = said("apply", str(file), data=tmp_path / "data")

    assert status == 1
    assert lines[-1].startswith(f"reading-center: {file}: the file is not TOML")
