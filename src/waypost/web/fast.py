"""Fast routes: requests that are answered inside the protocol, without ASGI, tasks or futures.

A handler is a plain function on the event loop. It answers at once, or keeps the request and
answers later. The same handler is also served the ordinary way (`waypost.web.asgi`) for requests
that the fast way does not take: chunked bodies, ``Expect``, a query, an encoded path.

Pipelined fast requests are handed over in their order, each before the answer to the one ahead of
it is known, and are answered in order. RFC 9112 §9.3.2 lets only safe methods run in parallel, so
a handler must give effect to its requests in the order of its calls, or its route be `alone`.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import structlog

Refuse = Callable[[int, str], bytes]
"""Renders a refusal, from status and sentence, as the body that the surface's clients expect."""

Header = tuple[bytes, bytes]

Refusal = tuple[bytes, Sequence[Header]]
"""Body and headers of what the protocol refuses where no fast route is."""

Answer = tuple[int, bytes, Sequence[Header], bytes]
"""Status, body, headers, content type."""

INTERNAL_ERROR: Final = "Internal server error"
_BAD_NAME: Final = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
_BAD_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

_log = structlog.get_logger(__name__)


class SharedHead:
    """What all the requests share whose head, the request line and headers, is the same bytes.

    In `context` a handler may keep what it made of the headers, and of nothing else.
    """

    __slots__ = ("context",)

    def __init__(self) -> None:
        """Start with nothing kept."""
        self.context: object | None = None


class FastRequest(ABC):
    """A complete request, to be answered exactly once.

    `headers` are in the order in which they came, names in lower case, values without the
    whitespace around them; `body` is the whole body; `query` is the undecoded query; `head` is
    there if the same head came before.
    """

    __slots__ = ("answered", "body", "head", "headers")

    query: bytes = b""

    def __init__(self, headers: Sequence[Header], body: bytes) -> None:
        """Keep the headers and the body."""
        self.headers = headers
        self.body = body
        self.head: SharedHead | None = None
        self.answered = False

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of the header `name` (lower case), or None."""
        for field_name, value in self.headers:
            if field_name == name:
                return value
        return None

    def respond(
        self,
        status: int,
        body: bytes,
        headers: Sequence[Header] = (),
        content_type: bytes = b"application/json",
    ) -> None:
        """Answer, on the event loop; nothing happens if the client has gone.

        Args:
            status: an HTTP status that has a body (not 1xx, 204, 304).
            body: the whole body.
            headers: beside content-type, content-length, date, connection and the security
                headers, which are added.
            content_type: what the body is.

        Raises:
            RuntimeError: the request was answered before.
            ValueError: a header would break the response apart.
        """
        if self.answered:
            message = "a request is answered once"
            raise RuntimeError(message)
        for name, value in headers:
            if not _is_name(name) or (not value.isalnum() and _BAD_VALUE.search(value)):
                message = f"not a header: {name!r}"
                raise ValueError(message)
        self.answered = True
        self._send(status, body, headers, content_type)

    @abstractmethod
    def _send(
        self, status: int, body: bytes, headers: Sequence[Header], content_type: bytes
    ) -> None:
        """Bring a sound answer on its way."""


FastHandler = Callable[[FastRequest], None]


@dataclass(frozen=True, slots=True)
class FastRoute:
    """One method on one exact, undecoded path.

    Attributes:
        max_body_bytes: bounds the body.
        refuse: renders what the protocol itself has to refuse.
        alone: its handler takes effect after its call, so nothing else of the same connection is
            under way meanwhile: pipelined requests keep their order.
    """

    method: bytes
    path: bytes
    handler: FastHandler
    max_body_bytes: int
    refuse: Refuse
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Family:
    """One method on all paths that have one segment, a name, between two parts.

    Attributes:
        before: what comes before the name, a slash at its end.
        after: what comes behind it, a slash at its start.
        make: makes the route of a path, from the path and the name in it.
    """

    method: bytes
    before: bytes
    after: bytes
    make: Callable[[bytes, bytes], FastRoute]


FAMILIES_MAX: Final = 10_000
"""So many routes of families are remembered; then all are forgotten."""


@dataclass(slots=True)
class FastRoutes:
    """The table of fast routes, by path and method; filled before the server starts."""

    by_path: dict[bytes, dict[bytes, FastRoute]] = field(default_factory=dict)
    families: list[Family] = field(default_factory=list)
    _of_families: dict[bytes, dict[bytes, FastRoute]] = field(default_factory=dict)

    def add(self, route: FastRoute) -> None:
        """Enter `route`.

        Raises:
            ValueError: the method and path are taken, or the path holds a query.
        """
        methods = self.by_path.setdefault(route.path, {})
        if route.method in methods or b"?" in route.path or not route.path.startswith(b"/"):
            message = f"cannot add the fast route {route.method!r} {route.path!r}"
            raise ValueError(message)
        methods[route.method] = route

    def methods_at(self, path: bytes) -> dict[bytes, FastRoute] | None:
        """Return the routes of exactly this path, by method; None where it has none."""
        found = self.by_path.get(path)
        return self.of_family(path) if found is None and self.families else found

    def of_family(self, path: bytes) -> dict[bytes, FastRoute] | None:
        """Return the routes of a path, by method, where it is of a family; None where it is not.

        What else there is to serve on such a path is served the ordinary way.
        """
        known = self._of_families.get(path)
        if known is not None:
            return known
        found = {}
        for one in self.families:
            name = path[len(one.before) : len(path) - len(one.after)]
            if (
                path == one.before + name + one.after
                and name
                and b"/" not in name
                and b"?" not in name
                and b"%" not in name
            ):
                found[one.method] = one.make(path, name)
        if not found:
            return None
        if len(self._of_families) >= FAMILIES_MAX:
            self._of_families.clear()
        self._of_families[path] = found
        return found

    def lookup(self, method: bytes, path: bytes) -> FastRoute | None:
        """Return the route of `method` and exactly `path`, or None."""
        methods = self.by_path.get(path)
        return methods.get(method) if methods else None

    def refusal_for(self, target: bytes) -> Refuse | None:
        """Return how refusals look on the path of `target`, if a fast route has that path."""
        methods = self.by_path.get(target.partition(b"?")[0])
        return next(iter(methods.values())).refuse if methods else None


@lru_cache(maxsize=256)
def _is_name(name: bytes) -> bool:
    """Return whether a header may be called `name`; the names are few, and come from handlers."""
    return bool(name) and not _BAD_NAME.search(name)


def handle(route: FastRoute, request: FastRequest) -> None:
    """Call the route's handler.

    Failure policy: a handler that raises is a defect of ours. It is logged with its cause, and the
    client is told 500 unless it already has an answer.
    """
    try:
        route.handler(request)
    except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer
        _log.exception(
            "request.failed",
            method=route.method.decode("latin-1"),
            path=route.path.decode("latin-1"),
        )
        if not request.answered:
            request.respond(500, route.refuse(500, INTERNAL_ERROR))
