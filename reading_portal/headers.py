"""What every answer carries and what every request leaves in the log; and how long a body may be.

Plain ASGI, so that streams and server-sent events pass through unbuffered.
"""

from __future__ import annotations

import time
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reading_portal import measures
from reading_portal.problems import answer_for, problem_of

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; style-src 'self'; font-src 'self'; base-uri 'none'; frame-ancestors 'self'; "
    "form-action 'self'"
)
SECURITY = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(self), geolocation=()",
}
LONGEST_BODY = 4 << 20
# Images come in by STOW-RS, which streams and counts for itself.
UNLIMITED = ("/dicom-web/",)

_log = structlog.get_logger("reading_portal")


class TooLong(HTTPException):
    """A body is, or grew while it was read, beyond what it may be."""

    def __init__(self) -> None:
        super().__init__(413, f"a request has at most {LONGEST_BODY} bytes")


class Porter:
    """Stands before the application: measures, protects, and keeps exceptions with their values inside."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _protect(MutableHeaders(scope=message))
            await send(message)

        try:
            if _announced_length(scope) > _longest(scope):
                raise TooLong
            await self.app(scope, _bounded(receive, _longest(scope)), answer)
        except Exception as error:
            # Not raised further: the server would print the message, and messages carry values.
            if not isinstance(error, HTTPException):
                _log.error("request-failed", method=scope["method"], route=route_of(scope), exc_info=error)
            if status:
                raise ConnectionAbortedError("the answer broke off") from None
            await answer_for(Request(scope), problem_of(error))(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - began
            route = route_of(scope)
            measures.observe(scope["method"], route, status, seconds)
            _log.info(
                "request",
                method=scope["method"],
                route=route,
                status=status,
                milliseconds=round(seconds * 1000, 1),
            )


def route_of(scope: Scope) -> str:
    """The template of the route, e.g. `/api/orders/{order_id}`: never the path, which carries identifiers."""
    route: Any = scope.get("route")
    template = getattr(route, "path_format", None) or getattr(route, "path", None)
    if template:
        return str(template)
    return "/static" if scope["path"].startswith("/static/") else "-"


def _protect(headers: MutableHeaders) -> None:
    for name, value in SECURITY.items():
        headers.setdefault(name, value)
    headers.setdefault("cache-control", "no-store")


def _longest(scope: Scope) -> float:
    return float("inf") if scope["path"].startswith(UNLIMITED) else LONGEST_BODY


def _announced_length(scope: Scope) -> int:
    said = Headers(scope=scope).get("content-length", "0")
    return int(said) if said.isascii() and said.isdigit() else 0


def _bounded(receive: Receive, longest: float) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > longest:
                raise TooLong
        return message

    return counted
