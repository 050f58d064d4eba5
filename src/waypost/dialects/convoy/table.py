"""The table that Convoy's API is made of: one row for each method and path.

A handler is given a checked `Call` and returns an `Answer`; refusals are `WaypostError`s that it
lets pass, rendered in Convoy's envelope.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from waypost.dialects.convoy import envelope
from waypost.dialects.convoy.envelope import Answer
from waypost.model import ids
from waypost.model.errors import InvalidInput, NotAuthenticated, NotFound, WaypostError
from waypost.model.ids import Id
from waypost.model.project import Principal, Scope
from waypost.operations.access import Access, digest_of
from waypost.web.errors import Surfaces, UnsupportedMediaType
from waypost.web.requests import demand_json, is_encoded, read_body, read_json

BASE: Final = "/api/v1"
PROJECT_PATH: Final = "/projects/{project_id}"
MAX_BODY_BYTES: Final = 1024 * 1024


class Nothing(msgspec.Struct, frozen=True):
    """The body of an operation that takes none: `{}`, which clients send, is as good."""


class Call:
    """One request that was let in.

    Attributes:
        principal: who calls, and in which project; the operation's scope is already granted.
        path: the parameters of the path as they were spelled.
        query: the parameters behind the question mark.
        body: an instance of the operation's `body`.
        request: the request itself.
    """

    __slots__ = ("_known", "body", "path", "principal", "query", "request")

    def __init__(
        self,
        principal: Principal,
        path: Mapping[str, str],
        query: QueryParams,
        body: Any,
        request: Request,
    ) -> None:
        """Take what was checked."""
        self.principal = principal
        self.path = path
        self.query = query
        self.body = body
        self.request = request

    def id(self, name: str, kind: str) -> Id:
        """Return an id of the path.

        Raises:
            NotFound: it is none; `kind` says of what.
        """
        return envelope.read_id(kind, self.path[name])

    def allow(self, *known: str) -> None:
        """Refuse parameters of the query that the operation does not know.

        Raises:
            InvalidInput: there are such, or one is there more than once that may not be.
        """
        unknown = sorted(set(self.query) - set(known))
        if unknown:
            raise InvalidInput(details=[(name, "is not known") for name in unknown])

    def one(self, name: str) -> str | None:
        """Return a parameter of the query; None where it is absent or empty.

        Raises:
            InvalidInput: it is there more than once.
        """
        values = self.query.getlist(name)
        if len(values) > 1:
            raise InvalidInput(details=[(name, "must be given once")])
        return values[0] or None if values else None

    def many(self, name: str, most: int = 100) -> list[str]:
        """Return a parameter of the query that may be there again and again.

        Raises:
            InvalidInput: there are more than `most`.
        """
        values = [value for value in self.query.getlist(name) if value]
        if len(values) > most:
            raise InvalidInput(details=[(name, f"must be at most {most} values")])
        return values


Handler = Callable[[Call], Awaitable[Answer[Any]]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path.

    Attributes:
        path: below `BASE`, or whole in `also`; with parameters in braces.
        scope: what the key must be allowed to do.
        body: what msgspec makes of the JSON body: structs that forbid unknown fields.
        may_be_empty: no body at all stands for a `body` of defaults.
        max_bytes: of the body.
        reads: it spends from the key's allowance of reads.
        also: other paths that it is served under.
        status: of success.
        query: structs of the parameters behind the question mark.
        shape: of the body, where the handler is given its bytes.
        errors: the statuses of its refusals, beside those that all have.
        form: the body may be a form (multipart/form-data) as well.
        exact: the handler is given the bytes of the body, to keep parts of them as they are.
    """

    method: str
    path: str
    scope: Scope
    handler: Handler
    body: Any = Nothing
    may_be_empty: bool = False
    max_bytes: int = MAX_BODY_BYTES
    also: Sequence[str] = field(default=())
    exact: bool = False
    form: bool = False
    status: int = 200
    query: Sequence[type[msgspec.Struct]] = ()
    shape: Any = None
    errors: Sequence[int] = ()

    @property
    def reads(self) -> bool:
        """Whether it only reads."""
        return self.method == "GET"

    @property
    def is_bodiless(self) -> bool:
        """Whether no body is expected."""
        return self.body is Nothing


class Mount:
    """Serves the table."""

    def __init__(self, access: Access, surfaces: Surfaces) -> None:
        """Take what says who may, and what renders errors."""
        self._access = access
        self._surfaces = surfaces
        surfaces.add(BASE, envelope.render)

    def routes(self, operations: Sequence[Operation]) -> list[Route]:
        """Return what the server serves: one route of all methods of a path."""
        by_path: dict[str, dict[str, Operation]] = {}
        for operation in operations:
            for path in (f"{BASE}{operation.path}", *operation.also):
                by_path.setdefault(path, {})[operation.method] = operation
        return [self._route(path, methods) for path, methods in by_path.items()]

    def _route(self, path: str, methods: Mapping[str, Operation]) -> Route:
        async def serve(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            return await self._serve(methods[method], request)

        return Route(path, serve, methods=list(methods))

    async def _serve(self, operation: Operation, request: Request) -> Response:
        try:
            principal = self._let_in(operation, request)
            body = await _read(operation, request)
            call = Call(principal, request.path_params, request.query_params, body, request)
            answer = await operation.handler(call)
        except WaypostError as error:
            return self._refuse(error)
        return Response(answer.encoded(), answer.status, media_type="application/json")

    def _let_in(self, operation: Operation, request: Request) -> Principal:
        given = request.headers.get("authorization")
        key = None if given is None else given.encode("latin-1")
        named = request.path_params.get("project_id")
        return let_in(self._access, key, named, operation.scope, reads=operation.reads)

    def _refuse(self, error: WaypostError) -> Response:
        """Render an error; by Convoy's envelope whatever the path is."""
        return self._surfaces.response(BASE, self._surfaces.problem(error))


def let_in(
    access: Access, key: bytes | None, project: str | None, scope: Scope, *, reads: bool
) -> Principal:
    """Tell who calls, and in which project, if that is allowed.

    Args:
        access: says who may.
        key: the value of the header `Authorization`.
        project: what the path names, if it does; as in Convoy it is of no matter to a project's
            own key.
        scope: what the key must be allowed to do.
        reads: it spends from the key's allowance of reads.

    Raises:
        NotAuthenticated: no key, or not a good one; in Convoy's words.
        TooManyRequests: the key has asked too often.
        NotPermitted: the key lacks the scope.
        NotFound: an administrator names a project that is not there.
    """
    caller = recognise(access, key)
    access.spend(caller, reads=reads)
    principal = access.authorize(caller, scope, None)
    if project is None or Scope.ADMIN not in caller.scopes:
        return principal
    found = ids.find_ulid(project)
    if found is None:
        raise NotFound("project")
    return access.authorize(caller, scope, ids.spell(ids.PROJECT, found).encode())


def recognise(access: Access, key: bytes | None) -> Principal:
    """Tell who calls, by the value of the header `Authorization`.

    Raises:
        NotAuthenticated: no key, or not a good one; in Convoy's words.
    """
    if not key:
        raise NotAuthenticated(envelope.MISSING_KEY)
    try:
        return access.recognise(digest_of(key))
    except NotAuthenticated as error:
        raise NotAuthenticated(envelope.BAD_KEY) from error


async def _read(operation: Operation, request: Request) -> Any:
    if operation.reads:
        return None
    if operation.exact:
        if is_encoded(request):
            raise UnsupportedMediaType("Content-Encoding is not supported")
        content_type = request.headers.get("content-type")
        if not (operation.form and (content_type or "").lower().startswith("multipart/form-data")):
            demand_json(content_type)
        return await read_body(request, operation.max_bytes)
    empty = operation.body() if operation.may_be_empty or operation.is_bodiless else None
    return await read_json(request, operation.body, operation.max_bytes, when_empty=empty)
