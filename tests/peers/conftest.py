"""One node for each module of real peers, with both ports open, and what its devices need."""

from collections.abc import Iterator

import pytest

from dicom_node.node import Node, build_node
from tests.certificates import Authority
from tests.dicom_node.conftest import declare, settings_for
from tests.pairs import SQLITE_AND_FOLDER, Pair, Pairs
from tests.servers.process import free_port


@pytest.fixture(scope="module")
def memory(
    request: pytest.FixtureRequest, pairs: Pairs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """The quick pair, where a module does not name others."""
    name = getattr(request, "param", SQLITE_AND_FOLDER)
    with pairs.open(name, tmp_path_factory.mktemp("memory")) as pair:
        yield pair


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The county's own."""
    return Authority(tmp_path_factory.mktemp("county"), "county")


@pytest.fixture(scope="module")
def receiver_port() -> int:
    """Where Qingshi's archive listens, when a test starts it."""
    return free_port()


@pytest.fixture(scope="module")
def node(
    memory: Pair, authority: Authority, receiver_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    declare(memory.database, receiver_port=receiver_port)
    own = authority.issue("centre", at="127.0.0.1")
    settings = settings_for(
        memory,
        tmp_path_factory.mktemp("node"),
        dicom_tls_cert=own.certificate,
        dicom_tls_key=own.key,
        dicom_tls_ca=authority.path,
    )
    object.__setattr__(settings, "dicom_tls_port", free_port())
    running = build_node(settings, memory.database, memory.objects)
    running.start()
    yield running
    running.stop()
