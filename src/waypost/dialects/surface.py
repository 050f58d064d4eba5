"""What a dialect of operations at fixed paths is made of: a table, and how a request is let in.

They are fast routes: what reads and writes goes on in a task, but none of Starlette's routing and
middleware is in the way.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import structlog

from waypost.model.errors import InvalidInput, WaypostError
from waypost.model.project import Principal, Scope
from waypost.operations.access import Access
from waypost.web.errors import Render, Surfaces
from waypost.web.fast import FastRequest, FastRoute, FastRoutes, Header
from waypost.web.requests import demand_json, parse_json

MAX_BODY_BYTES: Final = 1024 * 1024

_encode: Final = msgspec.json.Encoder().encode
_log = structlog.get_logger(__name__)

Handler = Callable[[Principal, Any], Awaitable[msgspec.Struct]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a dialect that takes JSON and answers with JSON.

    Attributes:
        scope: what the key must be allowed to do.
        body: the struct of the JSON body.
        handler: does it for a caller whom the scope was granted.
        reads: it spends from the key's allowance of reads.
        errors: the statuses of its refusals, beside those that all have.
    """

    path: str
    scope: Scope
    body: type[msgspec.Struct]
    handler: Handler
    method: str = "POST"
    reads: bool = False
    errors: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Dialect:
    """One API on the wire.

    Attributes:
        render: its envelope of errors.
        prefixes: the paths that are its own, each with all below it.
        recognise: tells who calls.
        operations: what it serves.
    """

    render: Render
    prefixes: Sequence[str]
    recognise: Callable[[FastRequest], Principal]
    operations: Sequence[Operation]

    def register(self, routes: FastRoutes, access: Access, surfaces: Surfaces) -> None:
        """Enter what it serves; from now on errors on its paths are in its envelope."""
        for prefix in self.prefixes:
            surfaces.add(prefix, self.render)
        for one in self.operations:
            routes.add(
                FastRoute(
                    one.method.encode(),
                    one.path.encode(),
                    _Serving(self, one, access, surfaces).begin,
                    MAX_BODY_BYTES,
                    surfaces.refusals(one.path),
                    alone=True,
                )
            )


class _Serving:
    """Serves one operation, each request in a task of its own."""

    def __init__(
        self, dialect: Dialect, operation: Operation, access: Access, surfaces: Surfaces
    ) -> None:
        self._dialect = dialect
        self._operation = operation
        self._access = access
        self._surfaces = surfaces
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, request: FastRequest) -> None:
        """Let a request in, and go on with it in a task."""
        operation = self._operation
        try:
            caller = self._dialect.recognise(request)
            self._access.spend(caller, reads=operation.reads)
            principal = self._access.authorize(caller, operation.scope, None)
            if not request.body:
                raise InvalidInput("The body is empty; it must be JSON")
            content_type = request.header(b"content-type")
            demand_json(None if content_type is None else content_type.decode("latin-1"))
            body = parse_json(request.body, operation.body)
        except WaypostError as error:
            refuse(request, self._dialect.render, self._surfaces, error)
            return
        task = asyncio.get_running_loop().create_task(self._serve(request, principal, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, request: FastRequest, principal: Principal, body: Any) -> None:
        try:
            answer = _encode(await self._operation.handler(principal, body))
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits is answered
            refuse(request, self._dialect.render, self._surfaces, error)
        else:
            request.respond(200, answer)


def refuse(request: FastRequest, render: Render, surfaces: Surfaces, error: Exception) -> None:
    """Answer a request with what went wrong, in an API's envelope; a defect of ours is logged."""
    problem = surfaces.problem(error)
    if not isinstance(error, WaypostError):
        _log.error("request.failed", exc_info=error, debugging_request_id=problem.request_id)
    rendered = render(problem)
    headers: list[Header] = []
    if problem.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(problem.retry_after_s))))
    request.respond(rendered.status, rendered.body, headers, rendered.content_type.encode())
