"""Server-sent events: what changed on the caller's lists. They say where to look, never what is there."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated

import anyio
from fastapi import APIRouter, Header, Request
from fastapi.concurrency import run_in_threadpool
from sse_starlette import EventSourceResponse, ServerSentEvent

from reading_portal.broadcast import CROWDED, FAREWELL, Broadcast, Listener, Told
from reading_portal.dependencies import CurrentSession, SignedInRequest, database_of, now_of
from worklist import sessions

router = APIRouter(prefix="/api/events", tags=["events"])

HEARTBEAT_SECONDS = 15
# A stream of somebody who signed out or was locked out ends within this time.
RECHECK_SECONDS = 10.0
RECONNECT_MILLISECONDS = 1000
# A tab that made room for a newer one comes back slowly, or the tabs would push each other out all day.
CROWDED_MILLISECONDS = 60_000


@router.get("", response_class=EventSourceResponse)
async def events(
    request: Request,
    current: CurrentSession,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d{0,10}$")] = None,
) -> EventSourceResponse:
    """`event` is task, order, study, report, critical or device; `data` is `{subject, verb, institution,
    modality}`. After `reload`, look at everything again. `Last-Event-ID` catches up on what was missed.
    A session has eight streams at most: a ninth ends the oldest, which `retry` asks to wait a minute."""
    broadcast: Broadcast = request.app.state.broadcast
    closing = anyio.Event()
    return EventSourceResponse(
        _stream(request, broadcast, current, int(last_event_id or 0), closing),
        ping=HEARTBEAT_SECONDS,
        shutdown_event=closing,
        shutdown_grace_period=1.0,
        headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"},
    )


async def _stream(
    request: Request, broadcast: Broadcast, current: SignedInRequest, last_id: int, closing: anyio.Event
) -> AsyncIterator[ServerSentEvent]:
    listener = Listener(current.who, asyncio.get_running_loop(), current.token)
    broadcast.join(listener)
    farewell = asyncio.create_task(_say_farewell(listener, closing))
    try:
        # Said at once, so that a page knows that it hears from now on.
        yield ServerSentEvent(comment="listening", retry=RECONNECT_MILLISECONDS)
        if last_id:
            for told in await run_in_threadpool(broadcast.missed, current.who, last_id):
                yield _said(told)
        while not broadcast.is_stopping:
            try:
                told = await asyncio.wait_for(listener.queue.get(), RECHECK_SECONDS)
                if told is FAREWELL:
                    return
                if told is CROWDED:
                    yield ServerSentEvent(comment="crowded", retry=CROWDED_MILLISECONDS)
                    return
                yield _said(told)
            except TimeoutError:
                if not await run_in_threadpool(_is_still_signed_in, request, current, now_of(request)):
                    return
    finally:
        farewell.cancel()
        broadcast.leave(listener)


async def _say_farewell(listener: Listener, closing: anyio.Event) -> None:
    """A server that stops ends its streams as answers end, instead of cutting them off."""
    await closing.wait()
    listener.end()


def _said(told: Told) -> ServerSentEvent:
    data = {
        "subject": told.subject,
        "verb": told.verb,
        "institution": told.institution,
        "modality": told.modality,
    }
    return ServerSentEvent(data=json.dumps(data), event=told.topic, id=str(told.id) if told.id else None)


def _is_still_signed_in(request: Request, current: SignedInRequest, now: datetime) -> bool:
    with database_of(request).reading() as session:
        return sessions.session_of(session, current.token, now=now) is not None
