"""The preparer: what a try needs before it can be sent.

That is its event, where it is not in memory; and where the subscription has a transform, what its
program makes of the event. A program runs elsewhere, in processes that may be lost, and here a try
waits for it. Every try runs it anew: a retry sends what the program makes of the event then, under
the same `webhook-id`.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import msgspec
import structlog

from waypost.model.errors import Unavailable
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.model.subscription import Subscription
from waypost.model.transform import Deferred, Fault, Language, Made, Result, Transform
from waypost.policy import transforms
from waypost.policy.media import is_json
from waypost.policy.outcome import Outcome, OutcomeKind
from waypost.policy.settle import Skipped
from waypost.policy.work import Work
from waypost.sandbox import frames
from waypost.sandbox.frames import Request

_log = structlog.get_logger(__name__)

INTERNAL: Final = Outcome(OutcomeKind.FAILED, 0, b"internal error; see the server's log")

_AGAIN_S: Final = 1.0
"""How long a try waits that can't be prepared now, through no fault of its own."""

_LANGUAGES: Final = {Language.JAVASCRIPT: frames.JAVASCRIPT, Language.TEMPLATE: frames.TEMPLATE}


class Ready(msgspec.Struct, frozen=True):
    """An event as it is to be sent, and the headers to send beside the subscription's own."""

    event: Event
    headers: dict[str, str] = {}


Prepared = Ready | Outcome | Skipped | None
"""An Outcome where it failed; None where it can't be had now."""


class Addressee(Protocol):
    """What the preparer needs to know of a receiver."""

    @property
    def subscription(self) -> Subscription:
        """The subscription as it is now."""
        ...


class Loader(Protocol):
    """What the preparer needs of the store."""

    async def load(self, project_id: Id, event_id: Id, /) -> Event | None:
        """Return an event, or None where there is none any more."""
        ...


class Running(Protocol):
    """A program that runs, or waits for its turn."""

    def abort(self) -> None:
        """Drop it; its `done` is not called any more."""
        ...


class Runner(Protocol):
    """What the preparer needs of the sandbox."""

    def submit(
        self,
        project_id: Id,
        line: bytes,
        request: Callable[[], Request],
        done: Callable[[Result], None],
    ) -> Running:
        """Run a program when it is its turn; `done` is called once, later."""
        ...


class Preparer:
    """Prepares tries."""

    def __init__(self, loader: Loader, runner: Runner) -> None:
        """Take what loads events, and what runs programs."""
        self._loader = loader
        self._runner = runner

    async def prepare(self, receiver: Addressee, work: Work) -> Prepared:
        """Have ready what a delivery needs; `work.call`, where it is set, breaks that off."""
        subscription = receiver.subscription
        event: Event | None = work.event
        try:
            if event is None:
                event = await self._loader.load(subscription.project_id, work.event_id)
            if event is None:
                return INTERNAL
            if subscription.transform is None:
                return Ready(event)
            made = await self._transformed(subscription.transform, subscription.id, work, event)
        except Unavailable:
            await asyncio.sleep(_AGAIN_S)
            return None
        except Exception:  # noqa: BLE001 - whatever it is, three times of it end in the box
            _log.exception("prepare_failed")
            return INTERNAL
        # A program that is not the subscription's any more has nothing to say.
        return made if receiver.subscription.transform == subscription.transform else None

    async def _transformed(
        self, transform: Transform, subscription_id: Id, work: Work, event: Event
    ) -> Prepared:
        call = work.call = Call(self._runner)
        request = partial(request_of, transform, event)
        result = await call.run(event.project_id, subscription_id, request)
        work.call = None
        if isinstance(result, Made):
            fault = transforms.check_headers(result)
            if fault is None:
                return Ready(transforms.applied(event, result), result.headers)
            result = fault
        if isinstance(result, Fault):
            return transforms.outcome_of(result)
        if isinstance(result, Deferred):
            raise Unavailable(result.reason)
        return None if result is None else Skipped()


class Call:
    """One run of a program, waited for."""

    __slots__ = ("_answer", "_runner", "_running")

    def __init__(self, runner: Runner) -> None:
        """Take what runs it."""
        self._runner = runner
        self._running: Running | None = None
        self._answer: asyncio.Future[Result | None] = asyncio.get_running_loop().create_future()

    async def run(
        self, project_id: Id, line: bytes, request: Callable[[], Request]
    ) -> Result | None:
        """Return what came of it; None where it was broken off."""
        self._running = self._runner.submit(project_id, line, request, self._end)
        try:
            return await self._answer
        finally:
            self._running.abort()

    def abort(self) -> None:
        """Break it off."""
        self._end(None)

    def _end(self, result: Result | None) -> None:
        if not self._answer.done():
            self._answer.set_result(result)


def request_of(transform: Transform, event: Event, flags: int = 0) -> Request:
    """Return what to ask of a worker.

    Args:
        transform: the program.
        event: what it is to be run on.
        flags: of `frames`, beside that which the payload calls for.
    """
    text = 0 if is_json(event.attributes.content_type) else frames.TEXT
    return Request(
        _LANGUAGES[transform.language],
        flags | text,
        transform.source.encode(),
        event.payload,
        transforms.about(event),
    )
