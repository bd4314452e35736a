"""The general upper layer, where peers break the rules while we are answering them."""

import logging
import socket
import struct
import threading
from contextlib import suppress

from dicom_node.node import Node
from tests.dicom_node.devices import dcmtk
from tests.fuzzing import conversations

UNKNOWN = struct.pack(">BxL", 55, 4) + bytes(4)  # a PDU that nobody has defined


def test_an_answer_that_comes_too_late_is_no_fault_of_ours(node: Node, caplog) -> None:
    caplog.set_level(logging.INFO, "reading_center.dicom")
    request = conversations.request(conversations.CONTEXTS)

    # The association is broken off before it was accepted, and while a query is being answered.
    for said in (request + UNKNOWN, *(request + one[:-10] + UNKNOWN for one in conversations.asking())) * 5:
        with socket.create_connection(("127.0.0.1", node.port), timeout=20) as caller:
            caller.sendall(said)
            with suppress(OSError):  # the node may have closed already
                caller.shutdown(socket.SHUT_WR)
                while caller.recv(4096):
                    pass

    assert dcmtk("echoscu", node=node)[0] == 0
    assert [words for words in caplog.messages if "aborted" in words] == []


def test_a_command_with_a_number_of_three_bytes_ends_its_association_and_no_other(node: Node, caplog) -> None:
    caplog.set_level(logging.INFO, "reading_center.dicom")
    whole = conversations.command(conversations.VERIFICATION, 0x0030)
    odd = whole.replace(struct.pack("<HHLH", 0, 0x0110, 2, 7), struct.pack("<HHLHB", 0, 0x0110, 3, 7, 0))
    value = struct.pack(">LBB", len(odd) + 2, 3, 3) + odd

    with socket.create_connection(("127.0.0.1", node.port), timeout=20) as caller:
        caller.sendall(conversations.request(conversations.CONTEXTS))
        caller.recv(8192)
        caller.sendall(struct.pack(">BxL", 4, len(value)) + value)
        heard = caller.recv(8192)

    assert heard[:1] == b"\x07"
    assert dcmtk("echoscu", node=node)[0] == 0
    assert [words for words in caplog.messages if "aborted" in words] == []


def test_a_query_that_names_a_class_in_no_letters_is_answered_by_the_one_that_was_agreed(
    node: Node, caplog
) -> None:
    caplog.set_level(logging.INFO, "reading_center.dicom")
    said = next(one for one in conversations.asking() if conversations.STUDY_FIND.encode() in one)
    harmed = said.replace(conversations.STUDY_FIND.encode(), b"\xfc" + conversations.STUDY_FIND[1:].encode())

    with socket.create_connection(("127.0.0.1", node.port), timeout=20) as caller:
        caller.sendall(conversations.request(conversations.CONTEXTS))
        caller.recv(8192)
        caller.sendall(harmed)
        heard = b"".join(iter(lambda: caller.recv(8192), b""))

    assert heard[:1] == b"\x04"
    assert [words for words in caplog.messages if "failed" in words] == []


def test_a_proposal_without_an_abstract_syntax_is_aborted_and_holds_no_place(
    node: Node, caplog, monkeypatch
) -> None:
    died = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    whole = conversations.request(conversations.CONTEXTS)
    said = b"\x30\0" + struct.pack(">H", len(conversations.CT)) + conversations.CT.encode()
    at = whole.index(said)
    context, length = whole[at - 8 : at], len(whole) - 6 - len(said)
    shorter = context[:2] + struct.pack(">H", int.from_bytes(context[2:4], "big") - len(said)) + context[4:]
    harmed = whole[:2] + struct.pack(">L", length) + whole[6 : at - 8] + shorter + whole[at + len(said) :]

    with socket.create_connection(("127.0.0.1", node.port), timeout=20) as caller:
        caller.sendall(harmed)
        heard = b"".join(iter(lambda: caller.recv(8192), b""))

    assert heard[:1] == b"\x07"
    assert dcmtk("echoscu", node=node)[0] == 0
    assert died == []
