"""A live node and a caller that says harmed things to it: by our own upper layer, and by the general one."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import struct
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from dicom_node.node import Node, build_node
from tests.dicom_node.conftest import declare, settings_for
from tests.fuzzing import conversations
from tests.fuzzing.mutation import cut, mutated
from tests.pairs import SQLITE_AND_FOLDER, Pairs

SILENCE = 20.0  # seconds in which the node must end an association whose caller has said its last word
HEARD_WITHIN = 0.05  # what is no whole A-ASSOCIATE-RQ is not answered


class Noticed(logging.Handler):
    """What the node could not explain: its own words for it, and threads that died."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        words = record.getMessage()
        # A library that breaks on what a peer sent ends that peer's association: that is foreseen. Our own
        # code breaking there is not.
        is_ours = words.startswith("association aborted: ") and "site-packages" not in words.split("File")[-1]
        if record.levelno >= logging.ERROR or is_ours:
            self.said.append(words)

    def died(self, thread: threading.ExceptHookArgs) -> None:
        frames = "".join(traceback.format_tb(thread.exc_traceback)[-3:])
        self.said.append(f"a thread died of {thread.exc_type.__name__}: {thread.exc_value}\n{frames}")


class Callers:
    """`storing` and `asking` are targets: one seed is one association."""

    def __init__(self, node: Node, noticed: Noticed) -> None:
        self._node = node
        self._noticed = noticed

    def storing(self, random: Random) -> None:
        """Association and images by our own upper layer; one time in six the proposal is harmed as well."""
        self._call(random, conversations.request(conversations.STORING), conversations.storing())

    def asking(self, random: Random) -> None:
        """Every other service, by the general upper layer."""
        self._call(random, conversations.request(conversations.CONTEXTS), conversations.asking())

    def _call(self, random: Random, request: bytes, spoken: list[bytes]) -> None:
        if random.random() < 0.16:
            request = mutated(random, [request, *conversations.requests()])
        said = mutated(random, spoken)
        with socket.create_connection(("127.0.0.1", self._node.port or 0), timeout=SILENCE) as caller:
            # Closed by a reset: a hundred thousand callers must not use up the ports.
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(OSError):
                for piece in cut(random, request):
                    caller.sendall(piece)
                if random.random() < 0.9 and select.select([caller], [], [], HEARD_WITHIN)[0]:
                    caller.recv(4096)
                for piece in cut(random, said):
                    caller.sendall(piece)
                caller.shutdown(socket.SHUT_WR)
            self._hear_out(caller)
        if self._noticed.said:
            said_of_it, self._noticed.said = self._noticed.said, []
            raise AssertionError("; ".join(said_of_it))

    def _hear_out(self, caller: socket.socket) -> None:
        """Until the node closes. Raises TimeoutError where it hangs."""
        with contextlib.suppress(ConnectionError):
            while caller.recv(65536):
                pass


@contextmanager
def live_node() -> Iterator[Callers]:
    """A node of its own on SQLite and a folder, which is gone afterwards."""
    noticed = Noticed()
    log = logging.getLogger("reading_center.dicom")
    before, threading.excepthook = threading.excepthook, noticed.died
    log.addHandler(noticed)
    log.setLevel(logging.INFO)
    try:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
            folder = Path(name)
            with Pairs(folder, servers=None).open(SQLITE_AND_FOLDER, folder) as pair:  # type: ignore[arg-type]
                declare(pair.database)
                node = build_node(settings_for(pair, folder), pair.database, pair.objects)
                node.start()
                try:
                    yield Callers(node, noticed)
                finally:
                    node.stop()
    finally:
        log.removeHandler(noticed)
        threading.excepthook = before
