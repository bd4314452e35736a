"""The servers of a test run: started when first asked for, stopped at the end, whatever happened."""

import shutil
import tempfile
from functools import cached_property
from pathlib import Path

from tests.servers.object_store import SeaweedServer
from tests.servers.postgresql import PostgresServer


class LazyServers:
    def __init__(self) -> None:
        # Not below pytest's folder: that one only its owner may enter, and PostgreSQL runs as somebody else.
        self._folder = Path(tempfile.mkdtemp(prefix="centre-tests-"))
        self._folder.chmod(0o755)

    @cached_property
    def postgres(self) -> PostgresServer:
        server = PostgresServer(self._folder / "postgresql")
        server.start()
        return server

    @cached_property
    def s3(self) -> SeaweedServer:
        server = SeaweedServer(self._folder / "s3")
        server.start()
        return server

    def stop(self) -> None:
        for name in ("postgres", "s3"):
            if (server := self.__dict__.get(name)) is not None:
                server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
