from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

from waypost.clock import SystemEntropy
from waypost.model import errors
from waypost.web.errors import (
    STATUS,
    ErrorCounts,
    ErrorMiddleware,
    Problem,
    Rendered,
    Surfaces,
    UnsupportedMediaType,
    exception_handlers,
    render_native,
    status_of,
)

CASES: list[tuple[errors.WaypostError, int]] = [
    (errors.InvalidInput("wrong"), 400),
    (errors.InvalidSetting("wrong"), 422),
    (errors.Unverified(), 400),
    (UnsupportedMediaType(), 415),
    (errors.NotAuthenticated(), 401),
    (errors.NotPermitted(), 403),
    (errors.NotFound("event"), 404),
    (errors.Conflict(), 422),
    (errors.IdempotencyMismatch(), 422),
    (errors.LimitReached(), 400),
    (errors.AlreadyClaimed(), 409),
    (errors.NotHeld(), 409),
    (errors.PayloadTooLarge(), 413),
    (errors.TooManyRequests(), 429),
    (errors.Unavailable(), 503),
    (errors.StorageFull(), 507),
    (errors.ConfigInvalid(), 500),
]


@pytest.mark.parametrize("error,status", CASES)
def test_each_error_has_its_status(error: errors.WaypostError, status: int) -> None:
    assert status_of(type(error)) == status


def test_every_error_is_in_the_cases() -> None:
    def below(kind: type[errors.WaypostError]) -> set[type[errors.WaypostError]]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    tested = {type(error) for error, _status in CASES} | {errors.WaypostError}
    ours = {kind for kind in below(errors.WaypostError) if kind.__module__.startswith("waypost.")}
    assert {kind for kind in ours if kind in STATUS or kind.__module__ == errors.__name__} <= tested


def test_the_native_envelope() -> None:
    problem = Problem(400, "invalid_input", "a: wrong", "an-id", (("a", "wrong"),))
    rendered = render_native(problem)
    assert rendered.status == 400
    assert msgspec.json.decode(rendered.body) == {
        "message": "a: wrong",
        "debugging_request_id": "an-id",
        "errors": [{"path": "a", "message": "wrong"}],
    }
    assert b"errors" not in render_native(Problem(404, "not_found", "no", "an-id")).body


def render_other(problem: Problem) -> Rendered:
    return Rendered(problem.status + 1, problem.message.encode(), "text/other")


def surfaces() -> Surfaces:
    found = Surfaces(SystemEntropy())
    found.add("/other", render_other)
    return found


@pytest.mark.parametrize(
    "path,other",
    [
        ("/other", True),
        ("/other/", True),
        ("/other/deep/er", True),
        ("/others", False),
        ("/", False),
        ("", False),
        ("/v1/other", False),
    ],
)
def test_a_path_belongs_to_the_surface_of_its_prefix(path: str, other: bool) -> None:
    assert surfaces().render_for(path) is (render_other if other else render_native)


def test_the_longest_prefix_wins() -> None:
    found = surfaces()
    found.add("/other/deep/", render_native)
    assert found.render_for("/other/deep/er") is render_native


def test_refusals_of_the_protocol_are_rendered() -> None:
    assert surfaces().refuse(b"/other?x", 413, "too much")[0] == b"too much"
    assert surfaces().refusals("/other/a")(413, "too much") == b"too much"
    body, headers = surfaces().refuse(b"", 400, "bad")
    native = msgspec.json.decode(body)
    assert headers == []
    assert native["message"] == "bad"
    assert native["debugging_request_id"][14] == "4"


def test_the_headers_of_an_envelope_go_along_with_what_the_protocol_refuses() -> None:
    found = surfaces()
    found.add("/named", lambda problem: Rendered(problem.status, b"{}", headers=(("x-name", "n"),)))
    assert found.refuse(b"/named/a", 414, "long") == (b"{}", [(b"x-name", b"n")])


def test_a_problem_keeps_what_the_caller_needs() -> None:
    problem = surfaces().problem(errors.TooManyRequests(retry_after_s=1.2))
    assert (problem.code, problem.retry_after_s) == ("too_many_requests", 1.2)
    response = surfaces().response("/", problem)
    assert response.headers["retry-after"] == "2"
    problem = surfaces().problem(errors.InvalidInput(details=[("a", "wrong")]))
    assert (problem.details, problem.message) == ((("a", "wrong"),), "a: wrong")


def raiser(error: Exception) -> httpx.AsyncClient:
    """Return a client of an application whose only route raises."""

    async def fail(_request: Request) -> Response:
        raise error

    found = surfaces()
    app = Starlette(
        routes=[Route("/fail", fail), Route("/other", fail)],
        exception_handlers=exception_handlers(found),
        middleware=[Middleware(ErrorMiddleware, surfaces=found, counts=COUNTS)],
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


COUNTS = ErrorCounts()


@pytest.mark.parametrize("error,status", CASES)
async def test_errors_reach_the_caller_in_the_envelope_of_the_surface(
    error: errors.WaypostError, status: int
) -> None:
    client = raiser(error)
    with capture_logs() as log:
        reply = await client.get("/fail")
        assert reply.status_code == status
        assert reply.json()["message"] == error.message
        other = await client.get("/other")
    assert other.status_code == status + 1
    assert other.text == error.message
    assert other.headers["content-type"].startswith("text/other")
    assert not log


async def test_too_large_a_body_ends_the_connection() -> None:
    reply = await raiser(errors.PayloadTooLarge()).get("/fail")
    assert reply.headers["connection"] == "close"


async def test_errors_of_the_router_have_the_envelope() -> None:
    client = raiser(HTTPException(418, "tea", {"x-tea": "green"}))
    reply = await client.get("/fail")
    assert (reply.status_code, reply.json()["message"]) == (418, "tea")
    assert reply.headers["x-tea"] == "green"
    assert (await client.get("/nowhere")).json()["message"] == "Not Found"
    assert "GET" in (await client.post("/fail")).headers["allow"]


async def test_what_is_unexpected_is_logged_with_its_cause_and_counted() -> None:
    COUNTS.by_status.clear()
    client = raiser(LookupError("a secret"))
    with capture_logs() as log:
        reply = await client.get("/fail")
    assert reply.status_code == 500
    assert reply.json()["message"] == "Internal server error"
    (entry,) = log
    assert entry["debugging_request_id"] == reply.json()["debugging_request_id"]
    assert entry["exc_info"] is True
    assert COUNTS.by_status == {500: 1}


async def test_a_client_that_left_is_no_error() -> None:
    with capture_logs() as log, pytest.raises(AssertionError):
        # The client of the tests insists on a response.
        await raiser(ClientDisconnect()).get("/fail")
    assert not log


async def test_a_response_that_has_begun_is_broken_off() -> None:
    sent: list[Any] = []

    async def begin(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise LookupError

    async def receive() -> Any:
        raise AssertionError

    async def keep(message: Any) -> None:
        sent.append(message["type"])

    scope = {"type": "http", "method": "GET", "path": "/"}
    with capture_logs(), pytest.raises(LookupError):
        await ErrorMiddleware(begin, surfaces(), ErrorCounts())(scope, receive, keep)
    assert sent == ["http.response.start"]
