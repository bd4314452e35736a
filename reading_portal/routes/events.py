"""Server-sent events: what changed on the caller's lists. They say where to look, never what is there."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.concurrency import run_in_threadpool
from sse_starlette import EventSourceResponse, ServerSentEvent

from reading_portal.broadcast import Broadcast, Listener, Told
from reading_portal.dependencies import CurrentSession, SignedInRequest, database_of, now_of
from worklist import sessions

router = APIRouter(prefix="/api/events", tags=["events"])

HEARTBEAT_SECONDS = 15
# A stream of somebody who signed out or was locked out ends within this time.
RECHECK_SECONDS = 10.0
RECONNECT_MILLISECONDS = 1000


@router.get("", response_class=EventSourceResponse)
async def events(
    request: Request,
    current: CurrentSession,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d{0,10}$")] = None,
) -> EventSourceResponse:
    """`event` is task, order, study, report, critical or device; `data` is `{subject, verb, institution,
    modality}`. After `reload`, look at everything again. `Last-Event-ID` catches up on what was missed."""
    broadcast: Broadcast = request.app.state.broadcast
    return EventSourceResponse(
        _stream(request, broadcast, current, int(last_event_id or 0)),
        ping=HEARTBEAT_SECONDS,
        headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"},
    )


async def _stream(
    request: Request, broadcast: Broadcast, current: SignedInRequest, last_id: int
) -> AsyncIterator[ServerSentEvent]:
    listener = Listener(current.who, asyncio.get_running_loop())
    broadcast.join(listener)
    try:
        # Said at once, so that a page knows that it hears from now on.
        yield ServerSentEvent(comment="listening", retry=RECONNECT_MILLISECONDS)
        if last_id:
            for told in await run_in_threadpool(broadcast.missed, current.who, last_id):
                yield _said(told)
        while not broadcast.is_stopping:
            try:
                yield _said(await asyncio.wait_for(listener.queue.get(), RECHECK_SECONDS))
            except TimeoutError:
                if not await run_in_threadpool(_is_still_signed_in, request, current, now_of(request)):
                    return
    finally:
        broadcast.leave(listener)


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
