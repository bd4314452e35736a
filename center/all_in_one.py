"""`reading-center serve`: node, portal and worker on one machine, under one supervisor."""

from __future__ import annotations

import gc
import os
import socket
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.resources import files

import structlog

from center import data_folder, listening, logs, roles
from center.supervisor import Role, Supervisor
from storage.settings import PREFIX, Settings

logger = structlog.get_logger("center")

NO_TLS = f"{PREFIX}DICOM_TLS_CERT, _KEY and _CA are not all set"


def serve(settings: Settings, *, demo: bool) -> int:
    """Start everything and stay until told to stop. Returns the exit status."""
    logs.configure("center", level=settings.log_level)
    # Every role inherits the descriptor: the folder is free again when the last of them has ended.
    data_folder.hold(settings.data)
    listening.require_free(listeners(settings))
    supervisor = Supervisor(
        _roles(settings, demo=demo),
        prepare=partial(_prepare, settings, demo=demo),
        is_ready=lambda: is_ready(settings),
        on_ready=lambda: _announce(settings, demo=demo),
    )
    return int(supervisor.run())


def listeners(settings: Settings) -> list[listening.Listener]:
    """Every port that this configuration opens."""
    return listening.portal_listeners(settings) + listening.dicom_listeners(settings)


def is_ready(settings: Settings) -> bool:
    """The portal says so on /readyz, and every DICOM listener takes a connection."""
    for listener in listeners(settings):
        host = reachable(listener.host)
        try:
            if listener.option == "--http-port":
                address = f"[{host}]" if ":" in host else host
                urllib.request.urlopen(f"http://{address}:{listener.port}/readyz", timeout=2).close()
            else:
                socket.create_connection((host, listener.port), timeout=2).close()
        except (OSError, urllib.error.URLError):
            return False
    return True


def reachable(host: str) -> str:
    """An address to call a listener on: the wildcard addresses are for listening only."""
    wildcards = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
    return wildcards.get(host, host)


def _roles(settings: Settings, *, demo: bool) -> list[Role]:
    """The portal takes the longest to load, so it begins at once."""

    def role(name: str, load: Callable[[], None] | None = None) -> Role:
        return Role(name, partial(roles.serve, name, settings), load)

    return [
        *([role("portal", roles.load_portal)] if settings.http_port else []),
        *([role("node")] if listening.dicom_listeners(settings) else []),
        role("worker"),
        *([Role("demo", partial(_demo, settings), is_essential=False)] if demo else []),
    ]


def _prepare(settings: Settings, *, demo: bool) -> None:
    """The schema, the bucket, the demo county; and what node and worker share, imported once."""
    from center import compose, migrate

    with compose.answering(settings):
        compose.prepare_objects(settings)
        migrate.migrate(settings.database_url)
        if demo:
            _declare_demo(settings)
    for name in ("worklist.worker", "dicom_node.association"):
        import_module(name)
    # The children share these pages as long as no garbage collection writes to them.
    gc.freeze()


def _demo(settings: Settings) -> int:
    """The devices are other peers, not roles: a program of its own, told where the centre is."""
    said = {
        "DATA": str(settings.data),
        "HTTP_PORT": str(settings.http_port),
        "DICOM_PORT": str(settings.dicom_port),
        "DICOM_TLS_PORT": str(settings.dicom_tls_port),
    }
    outdone = {f"{PREFIX}{name}_FILE" for name in said}
    environment = {name: value for name, value in os.environ.items() if name not in outdone}
    environment |= {f"{PREFIX}{name}": value for name, value in said.items()}
    os.execve(sys.executable, [sys.executable, "-m", "center.demo"], environment)


def _declare_demo(settings: Settings) -> None:
    from center import compose, declaration

    with compose.open_database(settings) as database:
        changes = declaration.apply(database, _demo_text())
    logger.info("demo-declared", changes=len(changes))


def _demo_text() -> str:
    return files("center.demo").joinpath("center.toml").read_text(encoding="utf-8")


def _announce(settings: Settings, *, demo: bool) -> None:
    logger.info("ready")
    lines = [""]
    if settings.http_port:
        lines.append(f"  Portal   {settings.public_url}")
    if settings.dicom_port:
        lines.append(f"  DICOM    {settings.ae_title} at {settings.dicom_host}, port {settings.dicom_port}")
    if settings.dicom_tls_port:
        tls = f"at port {settings.dicom_tls_port}" if listening.has_tls(settings) else f"is closed: {NO_TLS}"
        lines.append(f"  DICOM    over TLS {tls}")
    if demo:
        lines += ["", "  Demo accounts (user / password)", *_demo_accounts()]
    print("\n".join([*lines, "", "  Ctrl-C stops everything.", ""]), flush=True)


def _demo_accounts() -> list[str]:
    declared = tomllib.loads(_demo_text())
    institutions = {entry["code"]: entry["name"] for entry in declared["institutions"]}
    return [
        f"    {who['username']:<8} {who['password']:<16} {who['name']}, {institutions[who['institution']]}: "
        + ", ".join(who["roles"])
        for who in declared["people"]
        if "password" in who
    ]
