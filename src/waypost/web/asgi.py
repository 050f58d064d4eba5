"""The ordinary way: fast routes as Starlette endpoints, and what every response carries."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waypost.model.errors import PayloadTooLarge
from waypost.web.fast import Answer, FastRequest, FastRoute, Header, handle
from waypost.web.requests import is_encoded, read_body
from waypost.web.responses import SECURITY_HEADERS

Endpoint = Callable[[Request], Awaitable[Response]]


class BufferedRequest(FastRequest):
    """A fast request that came by ASGI."""

    __slots__ = ("_answer", "query")

    def __init__(self, headers: list[Header], body: bytes, query: bytes) -> None:
        """Keep the whole request."""
        super().__init__(headers, body)
        self.query = query
        self._answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    async def response(self) -> Response:
        """Wait for the answer, and return it."""
        status, body, headers, content_type = await self._answer
        response = Response(body, status, media_type=None)
        # Not through a mapping: a header may come twice.
        response.raw_headers += [(b"content-type", content_type), *headers]
        return response

    def _send(
        self, status: int, body: bytes, headers: Sequence[Header], content_type: bytes
    ) -> None:
        """Wake the endpoint, unless it was cancelled."""
        if not self._answer.done():
            self._answer.set_result((status, body, headers, content_type))


def asgi_endpoint(route: FastRoute) -> Endpoint:
    """Return a Starlette endpoint that serves what the fast way leaves: see `waypost.web.fast`."""

    def refuse(status: int, message: str) -> Response:
        # The rest of the body is not worth its way.
        return Response(
            route.refuse(status, message), status, {"connection": "close"}, "application/json"
        )

    async def endpoint(request: Request) -> Response:
        if is_encoded(request):
            return refuse(415, "Content-Encoding is not supported")
        try:
            body = await read_body(request, route.max_body_bytes)
        except PayloadTooLarge as error:
            return refuse(413, error.message)
        headers = [(name, value.strip()) for name, value in request.scope["headers"]]
        buffered = BufferedRequest(headers, body, request.scope["query_string"])
        handle(route, buffered)
        return await buffered.response()

    return endpoint


class SecurityHeaders:
    """Adds the security headers to every response that does not set them itself."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand around `app`."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS:
                    headers.setdefault(name.decode("ascii"), value.decode("ascii"))
            await send(message)

        await self.app(scope, receive, add)
