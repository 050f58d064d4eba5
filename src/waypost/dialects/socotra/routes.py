"""Socotra's operations: what comes is read, asked of ours, and answered in its shapes."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from waypost.dialects.socotra import permissions as may
from waypost.dialects.socotra import wire
from waypost.model.errors import NotFound, NotPermitted, WaypostError
from waypost.model.ids import Id
from waypost.model.project import Principal, Scope
from waypost.operations.access import Access
from waypost.web import queries
from waypost.web.errors import Surfaces
from waypost.web.queries import Queries
from waypost.web.requests import read_json

PREFIX: Final = "/event"
TENANT: Final = f"{PREFIX}/{{tenantLocator}}"
MAX_BODY_BYTES: Final = 1024 * 1024

_encode: Final = msgspec.json.Encoder().encode
_LOCATORS: Final[tuple[str, ...]] = ("webhookLocator", "eventLocator", "locator")


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No body, or an empty one."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a caller who may ask for this.

    Attributes:
        principal: who asks, in the tenant that the path names.
        locators: the ids in the path, by name.
        query: an instance of the operation's `query`; of no use where it has none.
        body: as the operation has it.
    """

    principal: Principal
    locators: Mapping[str, Id]
    query: Any
    body: Any


Handler = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Attributes:
        name: what the vendor's document calls it.
        needs: the permissions.
        body: the struct of the JSON body.
        query: the struct of the parameters behind the question mark.
        status: 204 has no answer but itself.
        errors: the statuses of its refusals, beside those that all have.
    """

    name: str
    method: str
    path: str
    needs: tuple[str, ...]
    handler: Handler
    body: type[msgspec.Struct] = Nothing
    status: int = 200
    query: type[msgspec.Struct] = queries.Nothing
    errors: tuple[int, ...] = (404,)


class SocotraRoutes:
    """Serves a table of operations."""

    def __init__(self, access: Access, surfaces: Surfaces) -> None:
        """Take what says who may, and what renders errors; from now on those here are its own."""
        self._access = access
        self._surfaces = surfaces
        self._queries: dict[type[msgspec.Struct], Queries[msgspec.Struct]] = {}
        surfaces.add(PREFIX, wire.render)

    def routes(self, operations: Sequence[Operation]) -> list[Route]:
        """Return a route for each path, so that a 405 tells all its methods."""
        by_path: dict[str, dict[str, Operation]] = {}
        for one in operations:
            by_path.setdefault(one.path, {})[one.method] = one
            self._queries[one.query] = Queries(one.query)
        # Else a name of one path is taken for a locator of another.
        paths = sorted(by_path, key=lambda path: path.count("{"))
        return [self._route(path, by_path[path]) for path in paths]

    def _route(self, path: str, methods: Mapping[str, Operation]) -> Route:
        async def serve(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            try:
                return await self._serve(methods[method], request)
            except WaypostError as error:
                return self._surfaces.response(request.url.path, self._surfaces.problem(error))

        return Route(path, serve, methods=list(methods))

    async def _serve(self, operation: Operation, request: Request) -> Response:
        authorization = request.headers.get("authorization")
        caller = self._access.authenticate(
            None if authorization is None else authorization.encode("latin-1")
        )
        is_read = operation.method == "GET"
        self._access.spend(caller, reads=is_read)
        path = request.path_params
        principal = self._enter(caller, wire.read_tenant(path["tenantLocator"]))
        may.require(principal, operation.needs)
        locators = {name: wire.read_locator(name, path[name]) for name in _LOCATORS if name in path}
        query = self._queries[operation.query].read(request)
        body = None
        if not is_read:
            empty = Nothing() if operation.body is Nothing else None
            body = await read_json(request, operation.body, MAX_BODY_BYTES, when_empty=empty)
        result = await operation.handler(Call(principal, locators, query, body))
        if operation.status == 204:
            return Response(status_code=204)
        return Response(_encode(result), media_type="application/json")

    def _enter(self, caller: Principal, tenant_id: Id) -> Principal:
        try:
            return self._access.enter(caller, tenant_id)
        except NotFound as error:
            if Scope.ADMIN in caller.scopes:
                raise NotFound("tenant") from error
            raise NotPermitted("The token does not hold this tenant.") from error
