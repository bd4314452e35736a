"""The conformance statement is what the wire does."""

from pathlib import Path

from dicom_node.conformance import statement
from dicom_node.contexts import SERVICES, STORAGE_SOP_CLASSES, STORAGE_TRANSFER_SYNTAXES
from tests.dicom_node.devices import associated

STATEMENT = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"


def test_the_written_statement_is_the_one_of_the_tables():
    # To write it anew: print(statement(), end="") into docs/conformance.md.
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
