"""What every DICOMweb route is given, and how its answers are shaped."""

import hashlib
import zlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Header, HTTPException, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import Session

from reading_portal.dependencies import CurrentPractitioner, database_of, now_of, objects_of
from reading_portal.frames import FrameTable, NoSuchFrame, StoredPixels
from reading_portal.multipart import MultipartWriter
from reading_portal.retrieval import StoredInstance, pixels_of
from reading_portal.viewing import note_view
from storage.audit import Act
from storage.database import Database
from storage.places import Unreadable
from storage.sound import SoundObjects
from worklist.people import Who

Uid = Annotated[str, Path(pattern=r"^[0-9.]{1,64}$")]
# What was stored never changes: a browser that has it need not ask again; nobody between may keep it.
FOR_EVER = "private, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asked:
    """One request for stored things: who asks, what they accept, and where to look."""

    request: Request
    database: Database
    objects: SoundObjects
    who: Who
    now: datetime
    accept: str | None

    def reading(self) -> AbstractContextManager[Session]:
        """A look into the database. Let go of it before drawing and sending: connections are few."""
        return self.database.reading()

    def pixels_of(self, session: Session, one: StoredInstance) -> tuple[StoredPixels, FrameTable]:
        try:
            return pixels_of(session, self.objects, one)
        except NoSuchFrame as error:
            raise HTTPException(404, str(error)) from error
        except Unreadable as error:
            raise HTTPException(422, str(error)) from error

    def note(self, study: str, act: Act = Act.VIEW, verb: str = "view") -> None:
        note_view(self.database, self.who, study, now=self.now, act=act, verb=verb)

    def has(self, etag: str) -> bool:
        return etag in self.request.headers.get("if-none-match", "")

    @property
    def base(self) -> str:
        """The address of this service, as the client called it."""
        return base_of(self.request)


def asked(
    request: Request,
    who: CurrentPractitioner,
    accept: Annotated[str | None, Header()] = None,
    accept_query: Annotated[str | None, Query(alias="accept", max_length=1000)] = None,
) -> Asked:
    # Called, not depended upon: each dependency costs a change of threads, and viewers ask for many frames.
    database, objects, now = database_of(request), objects_of(request), now_of(request)
    # PS3.18 8.3.3.1: the query parameter goes before the header.
    return Asked(request, database, objects, who, now, accept_query or accept)


def base_of(request: Request) -> str:
    """The address of this service, as the client called it."""
    url = request.url
    server = request.scope.get("server")
    # dicomweb-client sends a Host without the port that it called.
    if server and url.port is None and url.hostname == server[0] and server[1] not in (None, 80, 443):
        url = url.replace(port=server[1])
    return f"{url.scheme}://{url.netloc}{request.scope.get('root_path', '')}/dicom-web"


Ask = Annotated[Asked, Depends(asked, scope="function")]


def address(base: str, one: StoredInstance) -> str:
    return (
        f"{base}/studies/{one.study_instance_uid}/series/{one.series_instance_uid}"
        f"/instances/{one.sop_instance_uid}"
    )


def multipart(
    writer: MultipartWriter, part_type: str, headers: dict[str, str] | None = None, syntax: str | None = None
) -> Response:
    """A streamed multipart answer, with its length where that is known."""
    sent = dict(headers or {})
    if writer.length is not None:
        sent["Content-Length"] = str(writer.length)
    content_type = writer.content_type(part_type)
    if syntax is not None:
        content_type += f"; transfer-syntax={syntax}"
    return StreamingResponse(iter(writer), media_type=content_type, headers=sent)


def json_answer(
    request: Request, body: bytes, media_type: str, headers: dict[str, str] | None = None
) -> Response:
    """JSON with an ETag, gzip where the client takes it: the headers of a series shrink thirty-fold."""
    sent = {
        "ETag": f'W/"{hashlib.sha256(body).hexdigest()[:24]}"',
        "Cache-Control": "private, no-cache",
        "Vary": "Accept, Accept-Encoding",
    } | (headers or {})
    if sent["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=sent)
    if len(body) > 1000 and "gzip" in request.headers.get("accept-encoding", ""):
        squeezer = zlib.compressobj(4, wbits=31)
        body = squeezer.compress(body) + squeezer.flush()
        sent["Content-Encoding"] = "gzip"
    return Response(body, media_type=media_type, headers=sent)
