"""Which test proves which operation: marks on tests, and what the marked tests really ask for.

A test says what it proves: `@pytest.mark.proves("stedi", "GET /events", "GET /events/{eventId}")`.
It fails unless each of these was answered with a success while it ran; `refuses` is the same for an
operation that is there to be refused. The routes are the server's own, so that none is forgotten.
"""

import ast
import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import pytest
from starlette.routing import Match, Route

from tests.support import contract

TESTS: Final = Path(__file__).parents[1]
DOCUMENT: Final = TESTS.parent / "docs" / "reference" / "proofs.md"
PROVES: Final = "proves"
REFUSES: Final = "refuses"

LITHIC, NATIVE = "lithic", "native"
APIS: Final = (LITHIC, "socotra", "buildable", "convoy", "stedi", NATIVE)

BASES: Final = {
    "socotra": "/event/{tenantLocator}",
    "convoy": "/api/v1/projects/{project_id}",
    "stedi": "/2026-02-01",
}
"""What the paths of an API are below; a path that is not is spelled whole."""

_BELONGING: Final = (
    ("/v1/projects/{project_id}/events/{event_id}/replay", "convoy"),
    ("/api/v1/", "convoy"),
    ("/ingest/", "convoy"),
    ("/event/", "socotra"),
    ("/auth/", "socotra"),
    ("/2026-02-01/", "stedi"),
    ("/events", "stedi"),
    ("/destinations", "stedi"),
    *((path, "buildable") for path in ("/emit", "/query", "/init", "/transact", "/update")),
    ("/get-full-event-name", "buildable"),
)
"""Whose a path is that begins so; of what is left the fifteen are Lithic's, the rest native."""


class Operation(NamedTuple):
    """One operation: of which API, and its method and path as the table has them."""

    api: str
    name: str


class Claim(NamedTuple):
    """What a test says that it proves."""

    operation: Operation
    refused: bool


class Answered(NamedTuple):
    """A request that a server has answered."""

    method: str
    path: str
    status: int


class Proof(NamedTuple):
    """A test that proves an operation."""

    claim: Claim
    file: Path
    test: str


# --- what there is --------------------------------------------------------------------------------


@cache
def routes() -> list[Route]:
    """Return the routes of the server, in the order in which it tries them."""
    return asyncio.run(_routes())


async def _routes() -> list[Route]:
    # Here, since every run of pytest loads this module, and few want the whole server.
    from waypost import config
    from waypost.clock import SystemClock
    from waypost.server.tools import Tools
    from waypost.server.wiring import Engine, Surface
    from waypost.storage.sqlite.store import SqliteStore

    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/w.db"
        settings = config.load({"database_url": url}, environment={}).config
        store = SqliteStore(Path(folder, "w.db"), on_fatal=print)
        tools = Tools(SystemClock(), bytes(range(32)))
        surface = Surface(settings, store, Engine(settings, store, tools), tools)
        application: Any = surface.application(_Health())  # type: ignore[arg-type] # never asked
        found: list[Route] = application.routes
        return found


class _Health:
    healthz = readyz = metrics = None


def operations() -> list[Operation]:
    """Return every operation that the server has, each once, in the order of its routes."""
    return list(
        dict.fromkeys(
            operation_of(method, route.path) for route in routes() for method in _methods(route)
        )
    )


def _methods(route: Route) -> list[str]:
    order = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return [method for method in order if method in (route.methods or ())]


def operation_of(method: str, path: str) -> Operation:
    """Return what a method of a route is."""
    default = LITHIC if contract.operation(method, path) else NATIVE
    api = next((api for begin, api in _BELONGING if path.startswith(begin)), default)
    base = BASES.get(api, "")
    short = path.removeprefix(base)
    return Operation(api, f"{method} {short if short.startswith('/') else path}")


# --- what tests say -------------------------------------------------------------------------------


def claims_of(item: pytest.Item) -> list[Claim]:
    """Return what a test says that it proves."""
    return [
        Claim(Operation(mark.args[0], name), mark.name == REFUSES)
        for mark in item.iter_markers()
        if mark.name in {PROVES, REFUSES}
        for name in mark.args[1:]
    ]


def proofs() -> Iterator[Proof]:
    """Yield every claim of every test, by reading their sources."""
    for file in sorted(TESTS.rglob("test_*.py")):
        text = file.read_text("utf-8")
        if f"mark.{PROVES}" not in text and f"mark.{REFUSES}" not in text:
            continue
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for claim in _written(node):
                    yield Proof(claim, file, node.name)


def _written(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Claim]:
    for mark in node.decorator_list:
        match mark:
            case ast.Call(func=ast.Attribute(attr=str(kind)), args=[api, *names]) if kind in {
                PROVES,
                REFUSES,
            }:
                for name in names:
                    operation = Operation(ast.literal_eval(api), ast.literal_eval(name))
                    yield Claim(operation, kind == REFUSES)


# --- what tests do --------------------------------------------------------------------------------

_noted: list[Answered] | None = None


def note(method: str, path: str, status: int) -> None:
    """Note an answer, if the test that runs says that it proves something."""
    if _noted is not None:
        _noted.append(Answered(method, path, status))


@contextmanager
def noting() -> Iterator[list[Answered]]:
    """Note what is answered: to every client of httpx in this process, and by `relay`."""
    global _noted  # noqa: PLW0603 - one test runs at a time
    send = httpx.HTTPTransport.handle_request
    send_async = httpx.AsyncHTTPTransport.handle_async_request

    def noted(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        response = send(self, request)
        note(request.method, request.url.path, response.status_code)
        return response

    async def noted_async(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        response = await send_async(self, request)
        note(request.method, request.url.path, response.status_code)
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.HTTPTransport, "handle_request", noted)
        patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", noted_async)
        _noted = []
        try:
            yield _noted
        finally:
            _noted = None


def unproved(claims: list[Claim], answered: list[Answered]) -> list[Claim]:
    """Return the claims that no answer bears out."""
    had = {
        Claim(operation, refused=one.status >= 400)
        for one in answered
        if one.status < 500 and (operation := _asked(one)) is not None
    }
    return [claim for claim in claims if claim not in had]


def _asked(one: Answered) -> Operation | None:
    scope = {"type": "http", "method": one.method, "path": one.path}
    for route in routes():
        if route.matches(scope)[0] is Match.FULL:
            return operation_of(one.method, route.path)
    return None


# --- the table ------------------------------------------------------------------------------------

_HEAD: Final = """\
# Which test proves which operation

Written by `make proofs`, from the marks on the tests: do not edit it. Every operation that the
server has stands here. Each test beside it asks a running server for it, mostly by a client such as
the vendor's own, and sees it do what it is for. A test fails that has not had the answer it was
marked for, and so do the checks when an operation has no test, or when this page is not what the
tests say.
"""

_TITLES: Final = {
    LITHIC: "Lithic's API",
    "socotra": "Socotra's API",
    "buildable": "Buildable's API",
    "convoy": "Convoy's API",
    "stedi": "Stedi's API",
    NATIVE: "Everything else: the native API",
}


def document() -> str:
    """Return the table, as Markdown."""
    known: dict[Operation, list[Proof]] = {operation: [] for operation in operations()}
    for proof in proofs():
        known[proof.claim.operation].append(proof)
    parts = [_HEAD]
    for api in APIS:
        below = f"\nPaths are below `{BASES[api]}`, or whole.\n" if api in BASES else ""
        rows = [
            f"| `{operation.name}` | {', '.join(map(_link, found))} |"
            for operation, found in known.items()
            if operation.api == api
        ]
        head = ["| operation | tests |", "| --- | --- |"]
        parts.append(f"## {_TITLES[api]}\n{below}\n" + "\n".join([*head, *rows]) + "\n")
    return "\n".join(parts)


def _link(proof: Proof) -> str:
    name = proof.test.removeprefix("test_")
    refused = "refused: " if proof.claim.refused else ""
    return f"{refused}[{name}](../../{proof.file.relative_to(TESTS.parent).as_posix()})"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), "utf-8")
