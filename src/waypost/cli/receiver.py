"""A sample receiver: what a customer's program would be, in the smallest form.

It verifies each signature before it believes a word, and answers at once.
"""

from collections.abc import Callable
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from waypost.clock import Clock
from waypost.model.errors import InvalidInput
from waypost.policy import signing
from waypost.policy.signing import SignatureInvalid
from waypost.web.listener import Listener, bind

HOST = "127.0.0.1"


class Received(NamedTuple):
    """One request: the `webhook-id`, when it was here, and what is wrong with its signature."""

    webhook_id: str
    at_us: int
    body: bytes
    wrong: str | None


class SampleReceiver:
    """Listens on a free port of the loopback.

    Attributes:
        url: where it listens.
        secret: what signatures are verified by.
    """

    def __init__(self, clock: Clock, received: Callable[[Received], None]) -> None:
        """Take who is told of each request."""
        listening = bind(HOST, 0)
        app = Starlette(routes=[Route("/", self._receive, methods=["POST"])])
        self._clock = clock
        self._received = received
        self._listener = Listener(app, listening)
        self.url = f"http://{HOST}:{listening.getsockname()[1]}/"
        self.secret = ""

    async def start(self) -> None:
        """Take requests."""
        await self._listener.start()

    async def stop(self) -> None:
        """Take no more."""
        await self._listener.stop(1.0)

    async def _receive(self, request: Request) -> Response:
        at_us = self._clock.now_us()
        body = await request.body()
        webhook_id, timestamp, signatures = (
            request.headers.get(f"webhook-{name}", "").encode("latin-1")
            for name in ("id", "timestamp", "signature")
        )
        wrong = None
        try:
            signing.verify(
                [self.secret], webhook_id, timestamp, signatures, body, now_s=at_us / 1_000_000
            )
        except (SignatureInvalid, InvalidInput) as error:
            wrong = str(error)
        self._received(Received(webhook_id.decode("latin-1"), at_us, body, wrong))
        return Response(status_code=204 if wrong is None else 401)
