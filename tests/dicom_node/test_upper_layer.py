"""The general upper layer, where peers break the rules while we are answering them."""

import logging
import socket
import struct

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
            caller.shutdown(socket.SHUT_WR)
            while caller.recv(4096):
                pass

    assert dcmtk("echoscu", node=node)[0] == 0
    assert [words for words in caplog.messages if "aborted" in words] == []
