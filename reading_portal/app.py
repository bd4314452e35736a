"""build_app(): the web door put together. Routers by an explicit list, problems, headers, static files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from reading_portal import problems
from reading_portal.broadcast import Broadcast
from reading_portal.dependencies import CsrfProtected
from reading_portal.headers import Porter
from reading_portal.static_files import PortalFiles
from storage.database import Database, utc_now
from storage.objects import ObjectStore
from storage.settings import Settings
from storage.sound import SoundObjects
from worklist.authority import CentreAuthority
from worklist.holdings import HOLDINGS

# Each of these exposes `router`. Pages come last: their addresses are the shortest.
ROUTERS = (
    "reading_portal.routes.sessions",
    "reading_portal.routes.orders",
    "reading_portal.routes.studies",
    "reading_portal.routes.reading_tasks",
    "reading_portal.routes.reports",
    "reading_portal.routes.critical_results",
    "reading_portal.routes.measurements",
    "reading_portal.routes.corrections",
    "reading_portal.routes.quarantine",
    "reading_portal.routes.persons",
    "reading_portal.routes.verify",
    "reading_portal.routes.events",
    "reading_portal.routes.fhir",
    "reading_portal.routes.health",
    "reading_portal.routes.dicomweb",
    "reading_portal.routes.viewer",
    "reading_portal.routes.shortcuts",
    "reading_portal.routes.hanging_protocols",
    "reading_portal.pages",
)


def build_app(
    settings: Settings, database: Database, objects: ObjectStore, authority: CentreAuthority | None = None
) -> FastAPI:
    """The portal over these parts. Serve it with the access log off: its own log line has no query strings.

    `authority` seals reports; without one, nothing can be signed here.
    """
    broadcast = Broadcast(database)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        broadcast.start()
        try:
            yield
        finally:
            broadcast.stop()

    app = FastAPI(
        title="Reading Center",
        version="0.1.0",
        docs_url=None,  # the ready-made pages fetch scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        dependencies=[CsrfProtected],
        generate_unique_id_function=_operation_id,
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.database = database
    app.state.objects = SoundObjects(database, objects, HOLDINGS)
    app.state.authority = authority
    app.state.clock = utc_now
    app.state.broadcast = broadcast
    app.add_middleware(Porter)
    problems.install(app)
    for name in ROUTERS:
        module: Any = import_module(name)
        app.include_router(module.router)
        # The pages know how a problem looks to a person.
        app.state.problem_page = getattr(module, "problem_page", None)
    app.mount("/static", PortalFiles(), name="static")
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
