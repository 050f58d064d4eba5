"""The application: the table of operations made into routes."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from waypost.api.docs import Documentation
from waypost.api.openapi import lithic_document
from waypost.api.operation import Call, Operation
from waypost.model import ids
from waypost.model.errors import TooManyRequests, WaypostError
from waypost.model.project import Principal
from waypost.operations.access import Access
from waypost.web import openapi
from waypost.web.asgi import SecurityHeaders, asgi_endpoint
from waypost.web.errors import ErrorCounts, ErrorMiddleware, Surfaces, exception_handlers
from waypost.web.fast import FastRoutes
from waypost.web.queries import Queries
from waypost.web.requests import read_json

MAX_BODY_BYTES: Final = 1024 * 1024
"""Of every request but the fast ones, which have limits of their own."""
REMAINING: Final = "x-requests-remaining"
NOBODY: Final = Principal(ids.FIRST, "", ids.FIRST, frozenset())
"""Who calls an operation that is open to everyone."""

Endpoint = Callable[[Request], Awaitable[Response]]

_encode = msgspec.json.Encoder().encode


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be sent where nothing is taken: no parameter, no field."""


def build(
    table: Sequence[Operation],
    fast: FastRoutes,
    pages: Mapping[str, Endpoint],
    access: Access,
    surfaces: Surfaces,
    counts: ErrorCounts,
    others: Sequence[Route] = (),
) -> Starlette:
    """Make the application.

    Args:
        table: the operations.
        fast: the fast routes, served here as well for what the fast way leaves.
        pages: what is no operation and needs no key, by path; the documentation is added.
        access: says who may.
        surfaces: renders errors.
        counts: where errors are counted.
        others: the routes of other surfaces.
    """
    documentation = Documentation(table)
    by_path: dict[str, dict[str, Endpoint]] = {path: {"GET": page} for path, page in pages.items()}
    by_path["/openapi.json"] = {"GET": documentation.openapi}
    by_path["/docs"] = {"GET": documentation.page}
    for path, methods in fast.by_path.items():
        for method, route in methods.items():
            by_path.setdefault(path.decode(), {})[method.decode()] = asgi_endpoint(route)
    for operation in table:
        if operation.handler is not None:
            methods_of = by_path.setdefault(operation.path, {})
            methods_of[operation.method] = _endpoint(operation, access, surfaces)
    app = Starlette(
        routes=[
            *(_route(path, by_path[path]) for path in by_path),
            openapi.route("lithic", partial(lithic_document, table)),
            *others,
        ],
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(ErrorMiddleware, surfaces=surfaces, counts=counts),
        ],
        exception_handlers=exception_handlers(surfaces),
    )
    app.router.redirect_slashes = False
    return app


def _route(path: str, methods: Mapping[str, Endpoint]) -> Route:
    """Make one route of all methods of a path, so that a 405 tells them all."""

    async def serve(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await methods[method](request)

    return Route(path, serve, methods=list(methods))


def _endpoint(operation: Operation, access: Access, surfaces: Surfaces) -> Endpoint:
    """Make what serves an operation: check, call, answer."""
    queries = Queries(operation.query or Nothing)
    read_body = _body_reader(operation)
    handler = operation.handler
    assert handler is not None  # noqa: S101 - fast ones are served otherwise

    async def serve(request: Request) -> Response:
        remaining = None
        try:
            principal = NOBODY
            if operation.scope is not None:
                caller = access.authenticate(_header(request, "authorization"))
                remaining = access.spend(caller, reads=operation.reads)
                named = _header(request, "waypost-project")
                principal = access.authorize(caller, operation.scope, named)
            call = Call(
                principal, request.path_params, queries.read(request), await read_body(request)
            )
            result = await handler(call)
            if result is None:
                response = Response(status_code=operation.status)
            else:
                response = Response(
                    _encode(result), operation.status, media_type="application/json"
                )
        except WaypostError as error:
            if isinstance(error, TooManyRequests):
                remaining = 0
            response = surfaces.response(request.url.path, surfaces.problem(error))
        if remaining is not None:
            response.headers[REMAINING] = str(remaining)
        return response

    return serve


def _header(request: Request, name: str) -> bytes | None:
    value = request.headers.get(name)
    return None if value is None else value.encode("latin-1")


def _body_reader(operation: Operation) -> Callable[[Request], Awaitable[Any]]:
    form = operation.body or Nothing
    empty = form() if operation.body is None or operation.body_optional else None

    async def read(request: Request) -> Any:
        if operation.reads:
            return None
        return await read_json(request, form, MAX_BODY_BYTES, when_empty=empty)

    return read
