"""A node on a free port, and the devices of Qingshi (T01), Baishui (T02) and the county hospital (C01)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.node import Node, build_node
from storage.database import Database
from storage.institutions import ApplicationEntity, Institution
from storage.settings import Settings, from_environment
from tests.pairs import Pair
from tests.servers.process import free_port

EVERYTHING = ["store", "find", "move", "get", "worklist", "mpps", "commit"]


def declare(database: Database, *, receiver_port: int | None = None) -> None:
    with database.transaction() as session:
        for code, kind in (("C01", "county_hospital"), ("T01", "township"), ("T02", "township")):
            session.add(Institution(code=code, name=f"机构{code}", kind=kind))
        session.flush()
        for title, institution, host, port, may in (
            ("T01_CT", "T01", "127.0.0.1", None, EVERYTHING),
            ("T01_PACS", "T01", "127.0.0.1", receiver_port, EVERYTHING),
            ("T01_SENDER", "T01", "*", None, ["store"]),
            ("T02_CT", "T02", "127.0.0.1", None, EVERYTHING),
            ("C01_PACS", "C01", "127.0.0.1", None, EVERYTHING),
            ("ELSEWHERE", "T01", "192.0.2.7", None, EVERYTHING),
        ):
            session.add(
                ApplicationEntity(
                    ae_title=title,
                    institution_code=institution,
                    modality="CT",
                    host=host,
                    port=port,
                    may=may,
                )
            )


def settings_for(pair: Pair, folder: Path, **words: str) -> Settings:
    return from_environment(
        pair.environment, data=str(folder / "data"), dicom_port=str(free_port()), dicom_tls_port="0", **words
    )


def _running(pair: Pair, folder: Path, receiver_port: int) -> Iterator[Node]:
    declare(pair.database, receiver_port=receiver_port)
    node = build_node(settings_for(pair, folder), pair.database, pair.objects)
    node.start()
    try:
        yield node
    finally:
        node.stop()


@pytest.fixture
def receiver_port() -> int:
    """Where Qingshi's archive listens, when a test starts it."""
    return free_port()


@pytest.fixture
def node(sqlite_pair: Pair, tmp_path: Path, receiver_port: int) -> Iterator[Node]:
    yield from _running(sqlite_pair, tmp_path, receiver_port)


@pytest.fixture
def node_on_each(pair: Pair, tmp_path: Path, receiver_port: int) -> Iterator[Node]:
    """The same node on either pair of database and object store."""
    yield from _running(pair, tmp_path, receiver_port)
