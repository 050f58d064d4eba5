"""How a request is let in, read, answered and refused."""

from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from tests.support.manual import ManualClock, SeededEntropy
from waypost.dialects.convoy.envelope import Answer
from waypost.dialects.convoy.table import BASE, PROJECT_PATH, Call, Mount, Operation
from waypost.model import ids
from waypost.model.errors import Conflict, NotFound
from waypost.model.project import ApiKey, Scope
from waypost.operations.access import Access, AccessConfig
from waypost.policy.credentials import digest
from waypost.web.errors import Surfaces, exception_handlers

PROJECT, OTHER = ids.make(1, 1), ids.make(2, 2)


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """What is asked."""

    n: int


class World:
    """Some operations behind a client."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.error: Exception | None = None
        access = Access(ManualClock(), AccessConfig())
        access.load([PROJECT, OTHER], [])
        for name, scope in (("may", Scope.EVENTS_READ), ("admin", Scope.ADMIN)):
            key = ApiKey(ids.make(3, len(name)), PROJECT, name, frozenset({scope}))
            access.add(digest(name.encode()), key)
        surfaces = Surfaces(SeededEntropy())
        path, scope = f"{PROJECT_PATH}/x", Scope.EVENTS_READ
        routes = Mount(access, surfaces).routes(
            [
                Operation("GET", path, scope, self.serve),
                Operation("POST", path, scope, self.serve, Body),
                Operation("PUT", path, scope, self.serve, also=("/v1/also",)),
                Operation("POST", f"{path}/exact", scope, self.serve, exact=True, max_bytes=9),
                Operation("DELETE", path, Scope.EVENTS_WRITE, self.serve),
            ]
        )
        app = Starlette(routes=routes, exception_handlers=exception_handlers(surfaces))
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://x",
            headers={"authorization": "Bearer may"},
        )

    async def serve(self, call: Call) -> Answer[Any]:
        self.calls.append(call)
        if self.error is not None:
            raise self.error
        return Answer("done", 7, 201)

    async def ask(self, method: str, path: str = "/x", **options: Any) -> httpx.Response:
        where = path if path.startswith("/v1") else f"{BASE}/projects/p{path}"
        return await self.http.request(method, where, **options)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_good_request_is_answered(world: World) -> None:
    answer = await world.ask("POST", json={"n": 1})
    assert answer.status_code == 201
    assert answer.json() == {"status": True, "message": "done", "data": 7}
    assert (world.calls[0].body.n, world.calls[0].principal.project_id) == (1, PROJECT)
    bodies: list[dict[str, Any]] = [{}, {"json": {}}, {"json": {"any": 1}}]
    for options in bodies:
        assert (await world.ask("PUT", **options)).status_code == 201
    assert (await world.ask("PUT", "/v1/also")).status_code == 201


@pytest.mark.parametrize("key", ["may", "Bearer may", "bearer  may"])
async def test_a_key_may_stand_alone(world: World, key: str) -> None:
    assert (await world.ask("GET", headers={"authorization": key})).status_code == 201


async def test_only_an_administrator_may_name_the_project(world: World) -> None:
    path = f"{BASE}/projects/{ids.spell_ulid(OTHER)}/x"
    await world.http.get(path)
    await world.http.get(path, headers={"authorization": "admin"})
    assert [call.principal.project_id for call in world.calls] == [PROJECT, OTHER]
    answer = await world.ask("GET", headers={"authorization": "admin"})
    assert answer.status_code == 404


@pytest.mark.parametrize(
    "method, options, status, message",
    [
        ("GET", {"headers": {"authorization": ""}}, 401, "Authentication required"),
        ("GET", {"headers": {"authorization": "Bearer x"}}, 401, "authorization failed"),
        ("GET", {"headers": {"authorization": "a b c"}}, 401, "authorization failed"),
        ("DELETE", {}, 403, "The API key lacks the scope events.write."),
        ("PATCH", {}, 405, "Method Not Allowed"),
        ("POST", {}, 400, "The body is empty; it must be JSON"),
        ("POST", {"json": {"n": "x"}}, 400, "n: Expected `int`, got `str`"),
        ("POST", {"json": {"n": 1, "m": 2}}, 400, "m: Unknown field"),
        (
            "POST",
            {"content": b"{", "headers": {"authorization": "may"}},
            400,
            "The body is not JSON",
        ),
        ("PUT", {"json": []}, 400, "Expected `object`, got `array`"),
        (
            "POST",
            {"content": b"n=1", "headers": {"content-type": "text/plain", "authorization": "may"}},
            415,
            "Content-Type must be application/json in UTF-8",
        ),
    ],
)
async def test_each_mistake_has_its_answer(
    world: World, method: str, options: dict[str, Any], status: int, message: str
) -> None:
    answer = await world.ask(method, **options)
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert told["status"] is False
    assert told["message"].startswith(message)
    assert world.calls == []


async def test_what_a_handler_refuses_is_in_the_envelope(world: World) -> None:
    for error, status in ((Conflict("no"), 400), (NotFound("event"), 404)):
        world.error = error
        for path in ("/x", "/v1/also"):
            answer = await world.ask("PUT", path)
            assert (answer.status_code, answer.json()["status"]) == (status, False)


async def test_bodies_may_be_wanted_as_they_are(world: World) -> None:
    await world.ask("POST", "/x/exact", content=b'{"a": 1}')
    assert world.calls[0].body == b'{"a": 1}'
    assert (await world.ask("POST", "/x/exact", content=b"1234567890")).status_code == 413


async def test_queries_are_held_to_what_is_known(world: World) -> None:
    await world.ask("GET", params={"a": ["1", "2"], "b": "", "c": "x"})
    (call,) = world.calls
    assert (call.many("a"), call.one("b"), call.one("c"), call.one("d")) == (
        ["1", "2"],
        None,
        "x",
        None,
    )
    call.allow("a", "b", "c")
    for refused in (lambda: call.allow("a", "b"), lambda: call.one("a"), lambda: call.many("a", 1)):
        with pytest.raises(Exception, match=r"^[ac]: "):
            refused()
