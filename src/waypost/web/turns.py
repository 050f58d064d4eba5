"""The turns of a connection: one unanswered request each, served the fast way or by ASGI."""

from collections.abc import Sequence
from typing import Any, Final, Protocol, final

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from waypost.web.fast import Answer, FastRequest, FastRoute, Header
from waypost.web.limits import ByteBudget


class TurnKeeper(Protocol):
    """What a turn knows of its connection."""

    def advance(self) -> None:
        """Write the answers whose turn it is."""
        ...

    def part(self) -> None:
        """Close once everything written has gone out."""
        ...


@final
class FastTurn(FastRequest):
    """A fast request: what uvicorn's request-response cycle is to ASGI.

    Attributes:
        route: whose handler it goes to; None for what the protocol answers itself.
        keep_alive: whether the connection outlives the answer.
        may_start: whether it goes to its handler as soon as it is complete.
        is_complete: whether all of its body is there.
        handed_over: whether the handler has been called.
        answer: what the handler answered, until it is written.
    """

    __slots__ = (
        "_budget",
        "_buffer",
        "_cost",
        "_keeper",
        "answer",
        "handed_over",
        "is_complete",
        "keep_alive",
        "may_start",
        "route",
    )

    def __init__(
        self,
        keeper: TurnKeeper,
        route: FastRoute | None,
        headers: Sequence[Header],
        budget: ByteBudget,
        cost: int,
    ) -> None:
        """Begin with the headers; `cost` bytes of `budget` are taken, and given back."""
        # As FastRequest does, without the call.
        self.headers = headers
        self.body = b""
        self.head = None
        self.answered = False
        self.answer: Answer | None = None
        self.handed_over = False
        self.is_complete = False
        self.keep_alive = True
        self.may_start = True
        self.route = route
        self._budget = budget
        self._buffer: bytearray | None = None
        self._cost = cost
        self._keeper: TurnKeeper | None = keeper

    def receive(self, part: bytes) -> None:
        """Keep a part of the body."""
        if self._buffer is not None:
            self._buffer += part
        elif self.body:
            self._buffer = bytearray(self.body)
            self._buffer += part
        else:
            self.body = part

    def complete(self) -> None:
        """The body is complete."""
        self.is_complete = True
        if self._buffer is not None:
            self.body = bytes(self._buffer)
            self._buffer = None

    def abandon(self) -> None:
        """Nobody waits for the answer any more.

        What is with the handler stays in memory, and in the budget, until the handler answers.
        """
        self._keeper = None
        if not self.handed_over:
            self._budget.give(self._cost)

    def _send(
        self, status: int, body: bytes, headers: Sequence[Header], content_type: bytes
    ) -> None:
        """Leave the answer to the connection."""
        self._budget.give(self._cost)
        keeper = self._keeper
        if keeper is not None:
            self.answer = (status, body, headers, content_type)
            keeper.advance()


@final
class AsgiTurn:
    """A request that goes the ordinary way: uvicorn's cycle, and the application to start.

    Its bytes count as long as the application runs, also when the client has gone.

    Attributes:
        app: the application.
        cycle: uvicorn's.
        handed_over: whether the application has been started.
        answer: None, as the application writes its answer by itself.
    """

    __slots__ = ("_budget", "_cost", "app", "cycle", "handed_over")

    answer: Final = None

    def __init__(
        self, cycle: RequestResponseCycle, app: ASGI3Application, budget: ByteBudget, cost: int
    ) -> None:
        """Keep what is needed to start; `cost` bytes of `budget` are taken, and given back."""
        self.app = app
        self.cycle = cycle
        self.handed_over = False
        self._budget = budget
        self._cost = cost

    @property
    def keep_alive(self) -> bool:
        """Whether the connection outlives the answer."""
        return self.cycle.keep_alive

    @keep_alive.setter
    def keep_alive(self, value: bool) -> None:
        self.cycle.keep_alive = value

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the application, and give back what the request took of the budget."""
        try:
            await self.app(scope, receive, send)
        finally:
            self._release()

    def reserve(self, received: int) -> bool:
        """Take what `received` bytes cost beyond what is taken; return whether there was room."""
        missing = received - self._cost
        if missing > 0:
            if not self._budget.take(missing):
                return False
            self._cost = received
        return True

    def abandon(self) -> None:
        """Tell the application that the client has gone."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        if not self.handed_over:
            self._release()

    def _release(self) -> None:
        """Give back what the request took of the budget."""
        self._budget.give(self._cost)
        self._cost = 0


class PartingTransport:
    """The transport of an ASGI cycle, which closes by way of the connection.

    A plain close while a body is still coming in makes the kernel reset the connection, and the
    client may lose the response that told it why.
    """

    __slots__ = ("_keeper", "_transport")

    def __init__(self, keeper: TurnKeeper, transport: Any) -> None:
        """Stand before `transport`."""
        self._keeper = keeper
        self._transport = transport

    def write(self, data: bytes) -> None:
        """Write through."""
        self._transport.write(data)

    def is_closing(self) -> bool:
        """Whether the transport is closing."""
        closing: bool = self._transport.is_closing()
        return closing

    def close(self) -> None:
        """Close the connection's way."""
        self._keeper.part()
