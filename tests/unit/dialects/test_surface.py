"""A dialect's operations: let in, checked, answered, and refused in its own envelope."""

from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from tests.support.manual import ManualClock, SeededEntropy
from waypost.dialects.surface import MAX_BODY_BYTES, Dialect, Operation
from waypost.model import ids
from waypost.model.errors import AlreadyClaimed
from waypost.model.project import ApiKey, Principal, Scope
from waypost.operations.access import Access, AccessConfig
from waypost.policy.credentials import digest
from waypost.policy.rate import Allowance
from waypost.web.asgi import asgi_endpoint
from waypost.web.errors import Problem, Rendered, Surfaces, exception_handlers
from waypost.web.fast import FastRequest, FastRoutes

PROJECT = ids.make(1, 1)


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """What is asked."""

    n: int


def rendered(problem: Problem) -> Rendered:
    return Rendered(problem.status, msgspec.json.encode({"no": problem.code}))


class World:
    """One operation behind a client."""

    def __init__(self) -> None:
        self.asked: list[tuple[Principal, Body]] = []
        self.error: Exception | None = None
        one = Allowance(per_s=1, burst=2)
        self.access = Access(ManualClock(), AccessConfig(reads=one, writes=one))
        for name, scopes in (("may", {Scope.EVENTS_READ}), ("not", {Scope.EVENTS_WRITE})):
            key = ApiKey(ids.make(2, len(name)), PROJECT, name, frozenset(scopes))
            self.access.add(digest(name.encode()), key)
        surfaces = Surfaces(SeededEntropy())
        dialect = Dialect(
            rendered,
            ["/ask"],
            self.recognise,
            [Operation("/ask", Scope.EVENTS_READ, Body, self.ask)],
        )
        routes = FastRoutes()
        dialect.register(routes, self.access, surfaces)
        app = Starlette(
            routes=[
                Route(path.decode(), asgi_endpoint(route), methods=[method.decode()])
                for path, methods in routes.by_path.items()
                for method, route in methods.items()
            ],
            exception_handlers=exception_handlers(surfaces),
        )
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://x", headers={"secret": "may"}
        )

    def recognise(self, request: FastRequest) -> Principal:
        return self.access.recognise(digest(request.header(b"secret") or b""))

    async def ask(self, principal: Principal, body: Body) -> Body:
        self.asked.append((principal, body))
        if self.error is not None:
            raise self.error
        return body


@pytest.fixture
def world() -> World:
    return World()


async def test_a_good_request_is_answered(world: World) -> None:
    answer = await world.http.post("/ask", json={"n": 1})
    assert (answer.status_code, answer.json()) == (200, {"n": 1})
    assert world.asked[0][0].project_id == PROJECT


@pytest.mark.parametrize(
    "options, status, code",
    [
        ({"json": {"n": "1"}}, 400, "invalid_input"),
        ({"json": {"n": 1, "m": 1}}, 400, "invalid_input"),
        ({"content": b"{"}, 400, "invalid_input"),
        ({"content": b""}, 400, "invalid_input"),
        ({"content": b"x", "headers": {"content-type": "a/b"}}, 415, "unsupported_media_type"),
        ({"content": b" " * (MAX_BODY_BYTES + 1)}, 413, "payload_too_large"),
        ({"json": {"n": 1}, "headers": {"secret": "no"}}, 401, "not_authenticated"),
        ({"json": {"n": 1}, "headers": {"secret": "not"}}, 403, "not_permitted"),
    ],
)
async def test_a_bad_one_is_refused_in_the_dialects_envelope(
    world: World, options: dict[str, Any], status: int, code: str
) -> None:
    answer = await world.http.post("/ask", **options)
    assert (answer.status_code, answer.json()) == (status, {"no": code})
    assert world.asked == []


async def test_what_an_operation_refuses_is_rendered_too(world: World) -> None:
    world.error = AlreadyClaimed()
    answer = await world.http.post("/ask", json={"n": 1})
    assert (answer.status_code, answer.json()) == (409, {"no": "transaction_exists"})


async def test_another_method_is_refused_in_its_envelope(world: World) -> None:
    answer = await world.http.get("/ask")
    assert (answer.status_code, answer.json()) == (405, {"no": "method_not_allowed"})


async def test_a_key_may_ask_so_often(world: World) -> None:
    found = [(await world.http.post("/ask", json={"n": 1})).status_code for _ in range(3)]
    assert found == [200, 200, 429]
    assert (await world.http.post("/ask", json={"n": 1})).headers["retry-after"]
