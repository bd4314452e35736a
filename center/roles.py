"""One role in one process: node, portal or worker, until it is asked to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

import structlog

from center import data_folder, listening, logs
from center.complaints import Complaint
from storage.settings import Settings

if TYPE_CHECKING:
    from storage.database import Database
    from storage.objects import ObjectStore

logger = structlog.get_logger("center")

# Between asking the portal to stop and closing the connections that stay open, such as event streams.
PORTAL_PATIENCE = 3

Serve = Callable[[Settings, "Database", "ObjectStore", threading.Event], None]


def run(name: str, settings: Settings) -> int:
    """Run the role `node`, `portal` or `worker` alone, with what a supervisor would have seen to before."""
    logs.configure(name, level=settings.log_level)
    # Kept until the process ends: single roles share a data folder, an all-in-one has it alone.
    data_folder.hold(settings.data, shared=True)
    _look_around(name, settings)
    return serve(name, settings)


def serve(name: str, settings: Settings) -> int:
    """Do the role's work until SIGTERM or SIGINT; returns the exit status."""
    from center import compose

    logs.configure(name, level=settings.log_level)
    stop = threading.Event()
    if name != "portal":
        # The portal's server minds its signals itself.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    with compose.answering(settings), compose.open_database(settings) as database:
        objects = compose.open_objects(settings, receives=name == "node")
        ROLES[name](settings, database, objects, stop)
    return 0


def _look_around(name: str, settings: Settings) -> None:
    """What would make the role fail later, said now in one sentence."""
    from center import compose, migrate

    wanted = {"node": listening.dicom_listeners, "portal": listening.portal_listeners}.get(name)
    if wanted is not None:
        ports = wanted(settings)
        if not ports:
            raise Complaint(f"every port of the {name} is turned off; there is nothing to do")
        listening.require_free(ports)
    with compose.answering(settings):
        if not migrate.is_current(settings.database_url):
            raise Complaint("the database schema is not of this version; run `reading-center migrate` first")


def _node(settings: Settings, database: Database, objects: ObjectStore, stop: threading.Event) -> None:
    from center import compose
    from dicom_node.node import build_node

    node = build_node(settings, database, objects)
    node.start()
    logger.info("listening", port=node.port, tls_port=node.tls_port)
    with compose.spooling(settings, database, objects):
        stop.wait()
        node.stop()


def load_portal() -> None:
    """Import what the portal is made of, which takes longer than anything else at a start."""
    from reading_portal import app

    import_module("uvicorn")
    for name in app.ROUTERS:
        import_module(name)


def _portal(settings: Settings, database: Database, objects: ObjectStore, _stop: threading.Event) -> None:
    import uvicorn

    from center import compose
    from reading_portal.app import build_app

    app = build_app(settings, database, objects, compose.open_authority(settings, database))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.http_host,
            port=settings.http_port,
            log_config=None,
            access_log=False,  # the portal writes its own line, without query strings
            server_header=False,
            timeout_graceful_shutdown=PORTAL_PATIENCE,
            timeout_keep_alive=30,
        )
    )
    logger.info("listening", port=settings.http_port)
    server.run()


def _worker(settings: Settings, database: Database, objects: ObjectStore, stop: threading.Event) -> None:
    from dicom_node.deliveries import handlers
    from storage.retention import Sweep
    from storage.scrub import Scrub
    from worklist import conflicts, worker
    from worklist.holdings import HOLDINGS

    logger.info("working")
    jobs = handlers(database, objects, settings) | conflicts.handlers(database, objects)
    # Last, because nobody waits for them.
    upkeep: list[worker.Duty] = [
        Scrub(database, objects, HOLDINGS, rate=settings.scrub_rate * 1e6),
        Sweep(database, objects, HOLDINGS),
    ]
    worker.run([*worker.duties(database, objects, jobs), *upkeep], stop)


ROLES: dict[str, Serve] = {"node": _node, "portal": _portal, "worker": _worker}
