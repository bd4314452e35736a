"""The conformance statement is what the wire does."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import dicom_node
from dicom_node.conformance import statement
from dicom_node.contexts import SERVICES, STORAGE_SOP_CLASSES, STORAGE_TRANSFER_SYNTAXES
from dicom_node.limits import NAMED_SO, OURS_ALONE, every_limit
from tests.dicom_node.conftest import settings_for
from tests.dicom_node.devices import associated

STATEMENT = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"


def test_the_written_statement_is_the_one_of_the_tables():
    # To write it anew: script/conformance.
    assert STATEMENT.read_text(encoding="utf-8") == statement()


def test_every_sop_class_of_the_statement_is_negotiated(node):
    every = [*SERVICES, *STORAGE_SOP_CLASSES]
    accepted = set()

    for start in range(0, len(every), 120):
        proposals = [
            (uid, ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]) for uid in every[start : start + 120]
        ]
        with associated(node, *proposals) as association:
            accepted |= {str(context.abstract_syntax) for context in association.accepted_contexts}

    assert accepted == set(every)


def test_every_transfer_syntax_of_the_statement_is_negotiated_and_no_other(node):
    ct = "1.2.840.10008.5.1.4.1.1.2"
    jpip = "1.2.840.10008.1.2.4.94"

    proposals = [(ct, [syntax]) for syntax in (*STORAGE_TRANSFER_SYNTAXES, jpip)]
    with associated(node, *proposals) as association:
        accepted = [str(context.transfer_syntax[0]) for context in association.accepted_contexts]

    assert accepted == list(STORAGE_TRANSFER_SYNTAXES)


def test_no_limit_of_the_node_is_left_out_of_the_table():
    entered = {limit.where for limit in every_limit()} | OURS_ALONE
    found = set()
    for module in pkgutil.iter_modules(dicom_node.__path__):
        source = importlib.import_module(f"dicom_node.{module.name}")
        for name, value in vars(source).items():
            is_own = re.search(rf"^{name} = ", inspect.getsource(source), re.MULTILINE) is not None
            if name.isupper() and NAMED_SO.search(name) and isinstance(value, int | float) and is_own:
                found.add(f"dicom_node.{module.name}.{name}")

    assert found - entered == set()
    assert {where for where in OURS_ALONE if where not in found} == set()


def test_limits_that_are_written_twice_are_the_same():
    # Two upper layers, one promise.
    said = {limit.where: limit.value for limit in every_limit()}

    for one, other in (
        ("messages.MAXIMUM_OBJECT", "incoming.MAXIMUM_OBJECT"),
        ("messages.MAXIMUM_COMMAND", "command_set.LONGEST_COMMAND"),
        ("association.IDLE_SECONDS", "storage_association.IDLE_SECONDS"),
        ("association.ANSWER_SECONDS", "storage_user.ANSWER_SECONDS"),
    ):
        assert said[f"dicom_node.{one}"] == said[f"dicom_node.{other}"]


def test_the_statement_of_a_running_node_says_how_it_is_configured(node, sqlite_pair, tmp_path):
    private = {
        "storage_sop_classes": "1.2.840.113619.4.26,*",
        "storage_transfer_syntaxes": "1.2.840.113619.5.2",
    }
    settings = settings_for(sqlite_pair, tmp_path, ae_title="YUNLING", **private)

    said = statement(settings)

    assert "| AE title | `YUNLING` |" in said
    assert f"| Port for plain DICOM | {settings.dicom_port} |" in said
    assert said.count("`1.2.840.113619.4.26`") == said.count("`1.2.840.113619.5.2`") == 2
    assert "any SOP class that no dictionary has" in said
    assert "any SOP class that no dictionary has" not in statement(node.settings)
    assert str(tmp_path) not in said
