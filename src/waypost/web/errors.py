"""Errors on the wire: exception to problem, problem to the envelope of the surface it happened on.

Every API has its own envelope, and some have their own statuses. A surface says how it renders a
`Problem`; `Surfaces` knows which paths are whose.
"""

import math
import uuid
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waypost.clock import Entropy
from waypost.model import errors
from waypost.web.fast import INTERNAL_ERROR, Refusal, Refuse

_log = structlog.get_logger(__name__)


class UnsupportedMediaType(errors.InvalidInput):
    """The body is not of a type that this route takes."""

    code = "unsupported_media_type"


STATUS: Final[Mapping[type[errors.WaypostError], int]] = {
    errors.InvalidInput: 400,
    errors.LimitReached: 400,
    errors.NotAuthenticated: 401,
    errors.NotPermitted: 403,
    errors.NotFound: 404,
    errors.PayloadTooLarge: 413,
    UnsupportedMediaType: 415,
    errors.AlreadyClaimed: 409,
    errors.NotHeld: 409,
    errors.Conflict: 422,
    errors.InvalidSetting: 422,
    errors.TooManyRequests: 429,
    errors.WaypostError: 500,
    errors.Unavailable: 503,
    errors.StorageFull: 507,
}
"""The status of each error; one that is not listed has that of its nearest ancestor."""


class Problem(msgspec.Struct, frozen=True):
    """An error as a caller is told of it.

    `code` names the kind for programs; `details` are pairs of (path of the field, what is wrong
    with it); `retry_after_s` is in seconds; `headers` go along; `request_id` is a UUID, in the log
    too where the error is ours.
    """

    status: int
    code: str
    message: str
    request_id: str
    details: tuple[tuple[str, str], ...] = ()
    retry_after_s: float | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Rendered(NamedTuple):
    """A problem in the envelope of a surface; `headers` go along."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


Render = Callable[[Problem], Rendered]


class ErrorCounts:
    """How many requests were answered with an error, by status."""

    __slots__ = ("by_status",)

    def __init__(self) -> None:
        """Start at none."""
        self.by_status: dict[int, int] = {}

    def add(self, status: int) -> None:
        """Count one."""
        self.by_status[status] = self.by_status.get(status, 0) + 1


def status_of(error: type[errors.WaypostError]) -> int:
    """Return the status of an error class: its own in `STATUS`, or its nearest ancestor's."""
    return next(STATUS[ancestor] for ancestor in error.__mro__ if ancestor in STATUS)


def render_native(problem: Problem) -> Rendered:
    """Render ``{"message", "debugging_request_id"}``, with ``"errors"`` where fields are wrong."""
    envelope: dict[str, Any] = {
        "message": problem.message,
        "debugging_request_id": problem.request_id,
    }
    if problem.details:
        envelope["errors"] = [{"path": path, "message": why} for path, why in problem.details]
    return Rendered(problem.status, msgspec.json.encode(envelope))


_CODES: Final = {413: errors.PayloadTooLarge.code, 414: "uri_too_long"}
"""Of statuses that Python 3.13 names otherwise than Python 3.12 does."""


class Surfaces:
    """Which surface has a path, and with it the envelope of its errors."""

    def __init__(self, entropy: Entropy, render: Render = render_native) -> None:
        """Begin with `render` for every path; request ids come from `entropy`."""
        self._entropy = entropy
        self._native = render
        self._by_prefix: dict[str, Render] = {}

    def add(self, prefix: str, render: Render) -> None:
        """Let `render` have the errors of `prefix`, such as "/api/v1", and of all below it."""
        self._by_prefix[prefix.rstrip("/")] = render

    def render_for(self, path: str) -> Render:
        """Return how errors look on `path`: by the longest prefix of whole segments."""
        prefix = path
        while prefix:
            if prefix in self._by_prefix:
                return self._by_prefix[prefix]
            prefix = prefix.rpartition("/")[0]
        return self._native

    def problem(self, error: BaseException) -> Problem:
        """Return what a caller is told of `error`; of one that is ours, only that there was one."""
        request_id = str(uuid.UUID(int=self._entropy.bits(128), version=4))
        if isinstance(error, errors.WaypostError):
            return Problem(
                status=status_of(type(error)),
                code=error.code,
                message=error.message,
                request_id=request_id,
                details=getattr(error, "details", ()),
                retry_after_s=getattr(error, "retry_after_s", None),
            )
        if isinstance(error, HTTPException):
            headers = tuple((error.headers or {}).items())
            return self.plain(error.status_code, error.detail, headers)
        return Problem(500, "internal_error", INTERNAL_ERROR, request_id)

    def plain(
        self, status: int, message: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> Problem:
        """Return a problem that is told by its status."""
        request_id = str(uuid.UUID(int=self._entropy.bits(128), version=4))
        code = _CODES.get(status) or HTTPStatus(status).name.lower()
        return Problem(status, code, message, request_id, headers=headers)

    def refuse(self, target: bytes, status: int, message: str) -> Refusal:
        """Render what the protocol refuses; `target` is undecoded, and empty if never known."""
        path = target.partition(b"?")[0].decode("latin-1")
        rendered = self.render_for(path)(self.plain(status, message))
        headers = [(name.encode(), value.encode("latin-1")) for name, value in rendered.headers]
        return rendered.body, headers

    def refusals(self, path: str) -> Refuse:
        """Return how a fast route on `path` renders what the protocol refuses."""
        return lambda status, message: self.refuse(path.encode("latin-1"), status, message)[0]

    def response(self, path: str, problem: Problem) -> Response:
        """Return the response to a problem on `path`."""
        rendered = self.render_for(path)(problem)
        headers = {**dict(problem.headers), **dict(rendered.headers)}
        if problem.retry_after_s is not None:
            headers["retry-after"] = str(max(1, math.ceil(problem.retry_after_s)))
        if rendered.status == 413:
            # The rest of the body is not worth its way.
            headers["connection"] = "close"
        return Response(rendered.body, rendered.status, headers, rendered.content_type)


def exception_handlers(surfaces: Surfaces) -> dict[Any, Any]:
    """Return Starlette's `exception_handlers`: of our errors, and of the router's 404 and 405."""

    async def handle(request: Request, error: Exception) -> Response:
        return surfaces.response(request.url.path, surfaces.problem(error))

    return {errors.WaypostError: handle, HTTPException: handle}


class ErrorMiddleware:
    """Answers what nothing else has caught, logs it with its cause, and counts every error."""

    def __init__(self, app: ASGIApp, surfaces: Surfaces, counts: ErrorCounts) -> None:
        """Stand around `app`."""
        self.app = app
        self.surfaces = surfaces
        self.counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request.

        Failure policy: an unexpected error is a defect of ours. It is logged under the request id
        that the caller is told; where the response had begun, the server breaks it off.
        """
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if message["status"] >= 400:
                    self.counts.add(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except ClientDisconnect:
            return
        except Exception as error:
            problem = self.surfaces.problem(error)
            _log.exception(
                "request.failed",
                method=scope["method"],
                path=scope["path"],
                debugging_request_id=problem.request_id,
            )
            if started:
                raise
            await self.surfaces.response(scope["path"], problem)(scope, receive, watch)
