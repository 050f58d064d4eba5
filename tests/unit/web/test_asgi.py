import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from waypost.web.asgi import SecurityHeaders, asgi_endpoint
from waypost.web.fast import FastRequest, FastRoute


def echo(request: FastRequest) -> None:
    body = b"|".join([request.body, request.query, request.header(b"x-a") or b""])
    request.respond(202, body, ((b"x-b", b"1"), (b"x-b", b"2")), b"text/x-echo")


async def own(_request: Request) -> Response:
    return Response(headers={"cache-control": "max-age=1"})


def client() -> httpx.AsyncClient:
    route = FastRoute(b"POST", b"/echo", echo, 10, lambda status, _message: b"no %d" % status)
    app = Starlette(
        routes=[Route("/echo", asgi_endpoint(route), methods=["POST"]), Route("/own", own)],
        middleware=[Middleware(SecurityHeaders)],
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_a_handler_is_served_by_asgi() -> None:
    reply = await client().post("/echo?q=%20", content=b"body", headers={"X-A": " a "})
    assert (reply.status_code, reply.content) == (202, b"body|q=%20|a")
    assert reply.headers["content-type"] == "text/x-echo"
    assert reply.headers.get_list("x-b") == ["1", "2"]
    assert reply.headers["content-length"] == "12"


async def test_refusals_are_the_routes_own() -> None:
    reply = await client().post("/echo", content=b"x" * 11)
    assert (reply.status_code, reply.content) == (413, b"no 413")
    reply = await client().post("/echo", content=b"x", headers={"content-encoding": "gzip"})
    assert (reply.status_code, reply.content) == (415, b"no 415")
    assert reply.headers["connection"] == "close"


async def test_security_headers_are_added_where_they_are_missing() -> None:
    reply = await client().post("/echo")
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["x-content-type-options"] == "nosniff"
    reply = await client().get("/own")
    assert reply.headers["cache-control"] == "max-age=1"
    assert reply.headers["x-content-type-options"] == "nosniff"
