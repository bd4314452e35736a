"""Our errors said in HTTP: one dictionary, `application/problem+json` (RFC 9457) for programs.

A problem's `type` is stable; its `detail` is the sentence of whoever raised it. Nothing of the request is
echoed: a mistyped resident ID belongs into no log and no error page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.orm.exc import StaleDataError
from starlette.exceptions import HTTPException

from reading_portal.documents import UnprintableReport
from storage.objects import ObjectMissing, StoreAway
from storage.sound import ObjectDamaged
from worklist import problems as mind

_log = structlog.get_logger("reading_portal")
MEDIA_TYPE = "application/problem+json"


class NotSignedIn(Exception):
    """The request carries no token, or one that is not valid any more."""


class NotAdmitted(NotSignedIn):
    """A sign-in with a wrong name, password or one-time code."""


class ForeignRequest(Exception):
    """A request that a browser sent with the user's cookie, but not from our own page."""


@dataclass(frozen=True)
class Problem:
    """What went wrong, as RFC 9457 says it; `title_zh` is the same sentence for a Chinese page."""

    status: int
    kind: str
    title: str
    title_zh: str
    detail: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def type(self) -> str:
        return f"urn:reading-center:problem:{self.kind}"

    def members(self) -> dict[str, Any]:
        said = {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail or self.title,
        }
        return said | dict(self.extra)


# The nearest class in the error's own line of ancestors decides.
PROBLEMS: dict[type[Exception], Problem] = {
    NotSignedIn: Problem(
        401,
        "not-signed-in",
        "Sign in first",
        "请先登录",
        headers={"WWW-Authenticate": 'Bearer realm="reading center"'},
    ),
    NotAdmitted: Problem(
        401, "wrong-credentials", "The name or password is wrong", "用户名、密码或验证码不正确"
    ),
    ForeignRequest: Problem(
        403, "foreign-request", "The request did not come from this site", "请求并非来自本站页面"
    ),
    mind.WrongCredentials: Problem(
        403, "wrong-credentials", "The password or code is wrong", "密码或验证码不正确"
    ),
    mind.Refused: Problem(403, "refused", "This may not be done by you", "您没有此操作的权限"),
    mind.Missing: Problem(404, "missing", "There is nothing here", "没有找到"),
    mind.StaleFence: Problem(
        409,
        "stale-fence",
        "Someone else holds this task now",
        "任务已不在您手中",
        extra={"remedy": "nothing typed was lost or written over: keep the text, claim again, then save"},
    ),
    mind.WrongState: Problem(409, "wrong-state", "It has moved on since", "状态已变化，无法执行此步"),
    mind.LostRace: Problem(409, "lost-race", "Someone else was first", "他人已先行操作"),
    mind.Unacceptable: Problem(422, "unacceptable", "The request makes no sense", "内容不符合要求"),
    UnprintableReport: Problem(422, "unprintable", "A character cannot be printed", "报告中有无法打印的字符"),
    mind.TooManyAttempts: Problem(429, "too-many-attempts", "Too many attempts", "尝试次数过多，请稍后再试"),
    mind.Problem: Problem(422, "unacceptable", "The request makes no sense", "内容不符合要求"),
    # Two writers met. The transaction is gone whole; the same request sent again finds the other's rows.
    StaleDataError: Problem(409, "lost-race", "Someone else was first", "他人已先行操作"),
    IntegrityError: Problem(409, "lost-race", "Someone else was first", "他人已先行操作"),
    DataError: Problem(422, "unacceptable", "The request makes no sense", "内容不符合要求"),
    OperationalError: Problem(
        503, "database", "The database does not answer", "数据库暂时没有响应", headers={"Retry-After": "2"}
    ),
    # On its way from the machine that received it (INGEST=spool), or lost: `verify` tells which.
    ObjectMissing: Problem(
        503,
        "object-missing",
        "The object is kept but not within reach yet; ask again shortly",
        "影像已接收，但此处暂时无法读取，请稍后重试；若持续出现请联系管理员",
        headers={"Retry-After": "10"},
    ),
    # Not "ask again shortly": it stays so until its device sends it again or somebody restores it.
    ObjectDamaged: Problem(
        410,
        "object-damaged",
        "The stored object is damaged and is given to nobody; its device has to send it again",
        "影像在存储中已损坏，不予提供；请通知设备重新发送，或由管理员从备份恢复",
        headers={"Cache-Control": "no-store"},
    ),
    StoreAway: Problem(
        503,
        "object-store",
        "The object store does not answer",
        "影像存储暂时没有响应，请稍后重试",
        headers={"Retry-After": "5"},
    ),
}
VALIDATION = Problem(422, "invalid", "The request does not have the right shape", "请求格式不正确")
UNEXPECTED = Problem(500, "unexpected", "Something went wrong on our side", "系统内部错误")

# These say what the database holds; the caller is told the title only.
SILENT = (StaleDataError, IntegrityError, DataError, OperationalError, ObjectMissing, StoreAway)


def problem_of(error: Exception) -> Problem:
    """The problem that an error is; UNEXPECTED for one that nobody foresaw."""
    if isinstance(error, HTTPException):
        return _of_status(error)
    if isinstance(error, RequestValidationError):
        return replace(VALIDATION, extra={"errors": without_input(error)})
    known = next((PROBLEMS[kind] for kind in type(error).__mro__ if kind in PROBLEMS), None)
    if known is None:
        return UNEXPECTED
    detail = "" if isinstance(error, SILENT) else str(error)
    extra, headers = dict(known.extra), dict(known.headers)
    if isinstance(error, mind.LostRace):
        extra |= {"holder": error.holder, "since": _rfc3339(error.since)}
    if isinstance(error, mind.TooManyAttempts):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, UnprintableReport):
        extra["characters"] = error.characters
    return replace(known, detail=detail, extra=extra, headers=headers)


def respond(problem: Problem) -> JSONResponse:
    return JSONResponse(
        problem.members(), status_code=problem.status, headers=dict(problem.headers), media_type=MEDIA_TYPE
    )


def without_input(error: RequestValidationError) -> list[dict[str, Any]]:
    """Where and why a body was refused, without what stood there."""
    return [
        {"where": ".".join(str(step) for step in one["loc"]), "why": one["msg"], "rule": one["type"]}
        for one in error.errors()
    ]


def install(app: FastAPI) -> None:
    """Let every error of this application be answered as a problem."""

    def answer(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        if problem.status >= 500:
            _log.error("request-failed", problem=problem.kind, exc_info=error)
        return answer_for(request, problem)

    for kind in (HTTPException, RequestValidationError, *PROBLEMS):
        app.add_exception_handler(kind, answer)


def answer_for(request: Request, problem: Problem) -> Response:
    """A page for a person, an OperationOutcome for FHIR, problem+json for every other program."""
    if request.url.path.startswith("/fhir"):
        return JSONResponse(
            operation_outcome(problem),
            status_code=problem.status,
            headers=dict(problem.headers),
            media_type="application/fhir+json",
        )
    page_of = getattr(request.app.state, "problem_page", None)
    if page_of is not None and is_for_a_person(request):
        page: Response = page_of(request, problem)
        return page
    return respond(problem)


# FHIR R4 issue-type, by our status; anything else was our own fault.
ISSUE_TYPES = {
    401: "login",
    403: "forbidden",
    404: "not-found",
    405: "not-supported",
    409: "conflict",
    413: "too-long",
    422: "invalid",
    429: "throttled",
    503: "transient",
}


def operation_outcome(problem: Problem) -> dict[str, Any]:
    """The problem as FHIR says it."""
    issue = {
        "severity": "error",
        "code": ISSUE_TYPES.get(problem.status, "exception"),
        "details": {"coding": [{"system": "urn:reading-center:problem", "code": problem.kind}]},
        "diagnostics": problem.detail or problem.title,
    }
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def is_for_a_person(request: Request) -> bool:
    """Whether a browser wants to show the answer: a page, not a call of its scripts or of a program."""
    if request.url.path.startswith(("/api/", "/dicom-web/", "/fhir", "/static/")):
        return False
    return "text/html" in request.headers.get("accept", "") or "hx-request" in request.headers


def _of_status(error: HTTPException) -> Problem:
    phrase = HTTPStatus(error.status_code).phrase
    kind = {404: "missing", 405: "method", 413: "too-large", 415: "media-type"}.get(
        error.status_code, phrase.lower().replace(" ", "-")
    )
    detail = error.detail if isinstance(error.detail, str) else ""
    title_zh = {404: "没有找到", 405: "不支持此操作", 413: "内容过大"}.get(error.status_code, phrase)
    return Problem(
        error.status_code, kind, phrase, title_zh, detail=detail, headers=dict(error.headers or {})
    )


def _rfc3339(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None
