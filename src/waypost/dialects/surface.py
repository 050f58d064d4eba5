"""What every dialect is made of: a table of operations, and how a request is let in."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from waypost.model.errors import WaypostError
from waypost.model.project import Principal, Scope
from waypost.operations.access import Access
from waypost.web.errors import Render, Surfaces
from waypost.web.requests import read_json

MAX_BODY_BYTES: Final = 1024 * 1024

_encode: Final = msgspec.json.Encoder().encode

Handler = Callable[[Principal, Any], Awaitable[msgspec.Struct]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a dialect that takes JSON and answers with JSON.

    Attributes:
        scope: what the key must be allowed to do.
        body: the struct of the JSON body.
        handler: does it for a caller whom the scope was granted.
        reads: it spends from the key's allowance of reads.
    """

    path: str
    scope: Scope
    body: type[msgspec.Struct]
    handler: Handler
    method: str = "POST"
    reads: bool = False


@dataclass(frozen=True, slots=True)
class Dialect:
    """One API on the wire.

    Attributes:
        render: its envelope of errors.
        prefixes: the paths that are its own, each with all below it.
        recognise: tells who calls, by the headers of a request.
        operations: what it serves; what it serves fast is registered apart.
    """

    render: Render
    prefixes: Sequence[str]
    recognise: Callable[[Request], Principal]
    operations: Sequence[Operation]

    def routes(self, access: Access, surfaces: Surfaces) -> list[Route]:
        """Return what it serves; from now on errors on its paths are in its envelope."""
        for prefix in self.prefixes:
            surfaces.add(prefix, self.render)
        return [
            Route(one.path, _endpoint(self, one, access, surfaces), methods=[one.method])
            for one in self.operations
        ]


def _endpoint(
    dialect: Dialect, operation: Operation, access: Access, surfaces: Surfaces
) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        try:
            caller = dialect.recognise(request)
            access.spend(caller, reads=operation.reads)
            principal = access.authorize(caller, operation.scope, None)
            body = await read_json(request, operation.body, MAX_BODY_BYTES)
            result = await operation.handler(principal, body)
        except WaypostError as error:
            return surfaces.response(request.url.path, surfaces.problem(error))
        return Response(_encode(result), media_type="application/json")

    return serve
