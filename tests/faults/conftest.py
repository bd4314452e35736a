"""Nodes whose memory can be taken away: a full disk, a database that hangs, a line that is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from center import compose
from dicom_node.node import Node, build_node
from storage.settings import from_environment
from tests.dicom_node.conftest import declare
from tests.servers.process import free_port

Start = Callable[..., Node]


@contextmanager
def a_node(
    environment: dict[str, str], data: Path, *, is_declared: bool = False, receiver_port: int | None = None
) -> Iterator[Node]:
    """The node of these settings, composed as the role composes it, in this process."""
    settings = from_environment(environment, data=str(data), dicom_port=str(free_port()), dicom_tls_port="0")
    with compose.open_database(settings) as database:
        if not is_declared:
            declare(database, receiver_port=receiver_port)
        objects = compose.open_objects(settings, receives=True)
        node = build_node(settings, database, objects)
        node.start()
        with compose.spooling(settings, database, objects):
            try:
                yield node
            finally:
                node.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(environment, data=…)` runs a node until the test ends."""
    with ExitStack() as stack:

        def begin(environment: dict[str, str], *, data: Path | None = None, **words: Any) -> Node:
            return stack.enter_context(a_node(environment, data or tmp_path / "data", **words))

        yield begin
