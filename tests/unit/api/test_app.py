"""The table made into routes: keys, scopes, allowances, checks, answers."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from tests.support.manual import ManualClock, SeededEntropy
from waypost.api import app as api
from waypost.api.operation import Call, Handler, Operation
from waypost.model import ids
from waypost.model.errors import Conflict, NotFound
from waypost.model.project import ApiKey, Principal, Scope
from waypost.operations.access import Access, AccessConfig
from waypost.policy.credentials import digest
from waypost.policy.rate import Allowance
from waypost.web.errors import ErrorCounts, Surfaces
from waypost.web.fast import FastRequest, FastRoute, FastRoutes

PROJECT, OTHER = ids.make(1, 1), ids.make(1, 2)
READER, ADMIN = "reader-key", "admin-key-0123456789"


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A query."""

    n: int | None = None


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A body."""

    text: str


class Optional(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A body that may be absent."""

    text: str = "absent"


class Seen(msgspec.Struct, frozen=True):
    """What a handler was called with."""

    project: str
    path: dict[str, str]
    n: int | None = None
    text: str | None = None


class World:
    """An application over handlers that answer with what they see."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        config = AccessConfig(reads=Allowance(1, 5), writes=Allowance(1, 7))
        self.access = Access(self.clock, config)
        key = ApiKey(ids.make(2, 1), PROJECT, "reader", frozenset({Scope.EVENTS_READ}))
        self.access.load([PROJECT, OTHER], [(digest(READER.encode()), key)])
        self.access.bootstrap(ADMIN, PROJECT)
        self.counts = ErrorCounts()
        self.callers: list[Principal] = []
        fast = FastRoutes()
        fast.add(FastRoute(b"POST", b"/things", self.fast, 64, lambda _s, _m: b"{}"))
        self.app = api.build(
            self.table(),
            fast,
            {},
            self.access,
            Surfaces(SeededEntropy()),
            self.counts,
        )

    def table(self) -> list[Operation]:
        def row(method: str, path: str, handler: Handler | None, **more: Any) -> Operation:
            return Operation(
                **{
                    "method": method,
                    "path": path,
                    "name": f"{method}{path}",
                    "summary": "It",
                    "tag": "Things",
                    "scope": Scope.EVENTS_READ,
                    "handler": handler,
                }
                | more
            )

        one = "/things/{thing}"
        return [
            row("GET", "/things", self.see, query=Query, result=Seen),
            row("POST", "/things", None, scope=Scope.EVENTS_WRITE, result=Seen),
            row("GET", one, self.see, result=Seen),
            row("PATCH", one, self.see_body, body=Body, result=Seen, status=201),
            row("PUT", one, self.see_body, body=Optional, body_optional=True, result=Seen),
            row("DELETE", one, self.nothing, scope=Scope.ADMIN, status=204),
            row("GET", "/open", self.see, scope=None, result=Seen),
            row("GET", "/broken", self.broken),
            row("GET", "/missing", self.missing),
            row("POST", "/conflict", self.conflict),
        ]

    def fast(self, request: FastRequest) -> None:
        request.respond(202, request.body)

    async def see(self, call: Call[Any, Any]) -> Seen:
        self.callers.append(call.principal)
        n = call.query.n if isinstance(call.query, Query) else None
        return Seen(ids.spell(ids.PROJECT, call.principal.project_id), call.path, n)

    async def see_body(self, call: Call[Any, Any]) -> Seen:
        return Seen("", call.path, text=call.body.text)

    async def nothing(self, call: Call[Any, Any]) -> None:
        return None

    async def broken(self, call: Call[Any, Any]) -> None:
        raise RuntimeError("a defect")

    async def missing(self, call: Call[Any, Any]) -> None:
        raise NotFound("thing")

    async def conflict(self, call: Call[Any, Any]) -> None:
        raise Conflict("No.")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(world.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://waypost") as made:
        made.headers["authorization"] = READER
        yield made


def message(response: httpx.Response) -> str:
    """Return what a refusal says, once its envelope is found to be whole."""
    body = response.json()
    assert len(body["debugging_request_id"]) == 36
    assert set(body) <= {"message", "debugging_request_id", "errors"}
    text: str = body["message"]
    return text


async def test_an_answer_is_what_the_handler_returns(client: httpx.AsyncClient) -> None:
    response = await client.get("/things?n=3")
    assert response.status_code == 200
    assert response.json()["n"] == 3
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-requests-remaining"] == "4"


async def test_parameters_of_the_path_are_handed_on(client: httpx.AsyncClient) -> None:
    assert (await client.get("/things/a%20b")).json()["path"] == {"thing": "a b"}


async def test_a_body_is_checked(client: httpx.AsyncClient, world: World) -> None:
    good = await client.patch("/things/1", json={"text": "x"})
    assert (good.status_code, good.json()["text"]) == (201, "x")
    for body in (b"", b"{}", b"[]", b"{", b'{"text": 1}', b'{"text": "x", "more": 1}'):
        headers = {"content-type": "application/json"}
        bad = await client.request("PATCH", "/things/1", content=body, headers=headers)
        assert bad.status_code == 400
        assert message(bad)
        world.clock.forward(1)


@pytest.mark.parametrize(
    "content, text", [(b"", "absent"), (b"{}", "absent"), (b'{"text":"x"}', "x")]
)
async def test_a_body_may_be_optional(client: httpx.AsyncClient, content: bytes, text: str) -> None:
    response = await client.put("/things/1", content=content)
    assert response.json()["text"] == text


async def test_what_is_taken_nowhere_is_refused(client: httpx.AsyncClient) -> None:
    assert message(await client.get("/things/1?x=1")) == "x: Unknown parameter"
    client.headers["authorization"] = ADMIN
    assert (await client.request("DELETE", "/things/1", content=b"{}")).status_code == 204
    refused = await client.request("DELETE", "/things/1", content=b'{"x": 1}')
    assert refused.status_code == 400


async def test_an_empty_answer_has_no_body(client: httpx.AsyncClient) -> None:
    client.headers["authorization"] = ADMIN
    response = await client.delete("/things/1")
    assert (response.status_code, response.content) == (204, b"")
    assert "content-type" not in response.headers


async def test_without_a_good_key_nothing_is_done(client: httpx.AsyncClient, world: World) -> None:
    for key, text in (("", "Please provide"), ("unknown", "Could not find API key")):
        response = await client.get("/things", headers={"authorization": key})
        assert response.status_code == 401
        assert text in message(response)
    assert world.callers == []


async def test_without_the_scope_nothing_is_done_but_counting(client: httpx.AsyncClient) -> None:
    response = await client.delete("/things/1")
    assert (response.status_code, response.headers["x-requests-remaining"]) == (403, "6")
    assert "admin" in message(response)


async def test_an_admin_may_name_the_project(client: httpx.AsyncClient) -> None:
    token = ids.spell(ids.PROJECT, OTHER)
    headers = {"authorization": ADMIN, "waypost-project": token}
    assert (await client.get("/things", headers=headers)).json()["project"] == token
    refused = await client.get("/things", headers={"waypost-project": token})
    assert (refused.status_code, message(refused)) == (404, "project not found")


async def test_who_asks_too_often_is_told_when_to_come_again(
    client: httpx.AsyncClient, world: World
) -> None:
    for left in range(4, -1, -1):
        assert (await client.get("/things")).headers["x-requests-remaining"] == str(left)
    refused = await client.get("/things")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert refused.headers["x-requests-remaining"] == "0"
    assert message(refused) == "Rate limited, too many requests per second"
    assert (await client.put("/things/1")).status_code == 200
    world.clock.forward(1)
    assert (await client.get("/things")).status_code == 200


async def test_what_is_open_needs_no_key_and_costs_nothing(
    client: httpx.AsyncClient, world: World
) -> None:
    response = await client.get("/open", headers={"authorization": ""})
    assert response.status_code == 200
    assert "x-requests-remaining" not in response.headers
    assert world.callers[0].scopes == frozenset()


@pytest.mark.parametrize(
    "method, path, status, text",
    [
        ("GET", "/missing", 404, "thing not found"),
        ("POST", "/conflict", 422, "No."),
        ("GET", "/broken", 500, "Internal server error"),
        ("GET", "/nowhere", 404, "Not Found"),
        ("GET", "/things/", 404, "Not Found"),
        ("POST", "/things/1", 405, "Method Not Allowed"),
    ],
)
async def test_every_refusal_is_in_the_one_envelope(
    client: httpx.AsyncClient, world: World, method: str, path: str, status: int, text: str
) -> None:
    response = await client.request(method, path)
    assert (response.status_code, message(response)) == (status, text)
    assert world.counts.by_status == {status: 1}


async def test_a_405_names_every_method_of_the_path(client: httpx.AsyncClient) -> None:
    allowed = (await client.post("/things/1")).headers["allow"]
    assert set(allowed.split(", ")) == {"GET", "HEAD", "PATCH", "PUT", "DELETE"}
    allowed = (await client.put("/things")).headers["allow"]
    assert set(allowed.split(", ")) == {"GET", "HEAD", "POST"}


async def test_fast_routes_are_served_here_as_well(client: httpx.AsyncClient) -> None:
    response = await client.post("/things", content=b"as it came")
    assert (response.status_code, response.content) == (202, b"as it came")
    assert (await client.post("/things", content=b"x" * 65)).status_code == 413


async def test_head_is_get_without_the_body(client: httpx.AsyncClient, world: World) -> None:
    assert (await client.head("/things")).status_code == 200
    assert len(world.callers) == 1


async def test_the_documentation_is_part_of_it(client: httpx.AsyncClient) -> None:
    described = (await client.get("/openapi.json")).json()
    assert set(described["paths"]["/things"]) == {"get", "post"}
    assert (await client.get("/docs")).headers["content-type"].startswith("text/html")
