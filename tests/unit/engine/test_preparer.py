"""The preparer: the event where it is missing, and what the program makes of it."""

import asyncio

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from tests.support.sandbox import Run, Runs
from tests.support.waiting import until
from waypost.engine import preparer
from waypost.engine.preparer import INTERNAL, Prepared, Preparer, Ready, request_of
from waypost.model import ids
from waypost.model.errors import Unavailable
from waypost.model.event import Attributes, Event
from waypost.model.ids import Id
from waypost.model.subscription import Subscription
from waypost.model.transform import (
    Deferred,
    Fault,
    FaultKind,
    Language,
    Made,
    Result,
    Skipped,
    Transform,
)
from waypost.policy import settle, transforms
from waypost.policy.outcome import Outcome
from waypost.policy.work import Work
from waypost.sandbox import frames

PROGRAM = Transform(Language.JAVASCRIPT, "é")
PLAIN = Subscription(b"p" * 16, b"s" * 16, "https://receiver.example/")
ONE = replace(PLAIN, transform=PROGRAM)
EVENT = Event(PLAIN.project_id, ids.make(1, 1), "card.created", b'{"a": 1.10}')


class To:
    """A receiver whose settings may change."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription


class Desk:
    """A preparer, what it loads from, and the programs."""

    def __init__(self, stored: Event | Exception | None = EVENT) -> None:
        self.stored = stored
        self.loaded: list[tuple[Id, Id]] = []
        self.runs = Runs()
        self.preparer = Preparer(self, self.runs)

    async def load(self, project_id: Id, event_id: Id) -> Event | None:
        self.loaded.append((project_id, event_id))
        if isinstance(self.stored, Exception):
            raise self.stored
        return self.stored

    def work(self, event: Event | None = EVENT) -> Work:
        return Work(ids.make(2, 2), EVENT.id, 0, 5, 0, event)


async def run_of(desk: Desk) -> Run:
    """Return the program that runs now."""
    await until(lambda: desk.runs.all)
    return desk.runs.all[-1]


async def prepared(result: Result, subscription: Subscription = ONE) -> Prepared:
    """Return what comes of a program that comes to this."""
    desk = Desk()
    task = asyncio.create_task(desk.preparer.prepare(To(subscription), desk.work()))
    (await run_of(desk)).end(result)
    return await task


async def test_an_event_in_memory_is_not_loaded() -> None:
    desk = Desk()
    assert await desk.preparer.prepare(To(PLAIN), desk.work()) == Ready(EVENT)
    assert desk.loaded == []


async def test_an_event_that_is_not_is_loaded() -> None:
    desk = Desk()
    assert await desk.preparer.prepare(To(PLAIN), desk.work(None)) == Ready(EVENT)
    assert desk.loaded == [(PLAIN.project_id, EVENT.id)]
    assert desk.runs.all == []


@pytest.mark.parametrize("stored", [None, ZeroDivisionError()])
async def test_one_that_can_not_be_had_is_our_own_failure(stored: Exception | None) -> None:
    desk = Desk(stored)
    with capture_logs() as logged:
        assert await desk.preparer.prepare(To(ONE), desk.work(None)) == INTERNAL
    assert [entry["event"] for entry in logged] == ["prepare_failed"] * bool(stored)


async def test_while_the_store_is_away_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparer, "_AGAIN_S", 0)
    desk = Desk(Unavailable())
    assert await desk.preparer.prepare(To(ONE), desk.work(None)) is None


async def test_a_program_is_given_its_event() -> None:
    desk = Desk()
    work = desk.work(None)
    task = asyncio.create_task(desk.preparer.prepare(To(ONE), work))
    run = await run_of(desk)
    assert (run.project_id, run.line) == (ONE.project_id, ONE.id)
    assert run.request() == frames.Request(
        frames.JAVASCRIPT, 0, "é".encode(), EVENT.payload, transforms.about(EVENT)
    )
    run.end(Made())
    assert await task == Ready(EVENT)
    assert work.call is None


@pytest.mark.parametrize(
    "language, content_type, flags, expected",
    [
        (Language.TEMPLATE, None, 0, 0),
        (Language.JAVASCRIPT, "text/xml", 0, frames.TEXT),
        (Language.JAVASCRIPT, "application/x+json", frames.LOG, frames.LOG),
        (Language.TEMPLATE, "text/xml", frames.CHECK, frames.TEXT | frames.CHECK),
    ],
)
def test_a_request_says_what_the_payload_is(
    language: Language, content_type: str | None, flags: int, expected: int
) -> None:
    event = replace(EVENT, attributes=Attributes(content_type=content_type))
    request = request_of(Transform(language, ""), event, flags)
    letter = frames.JAVASCRIPT if language is Language.JAVASCRIPT else frames.TEMPLATE
    assert (request.language, request.flags) == (letter, expected)


async def test_what_a_program_makes_is_ready() -> None:
    headers = {"x-a": "b"}
    made = await prepared(Made(b"[]", headers=headers))
    assert made == Ready(replace(EVENT, payload=b"[]"), headers)
    same = await prepared(Made())
    assert isinstance(same, Ready)
    assert same.event is EVENT


async def test_what_a_program_skips_is_skipped() -> None:
    assert await prepared(Skipped()) == settle.Skipped()


@pytest.mark.parametrize(
    "result, text, timeout",
    [
        (Fault(FaultKind.EXCEPTION, "bad", line=2), b"the transform failed: line 2: bad", False),
        (Fault(FaultKind.TIMEOUT, "long"), b"the transform failed: long", True),
        (
            Made(headers={"host": "x"}),
            b"the transform failed: headers.host: is a reserved header",
            False,
        ),
    ],
)
async def test_a_fault_is_an_outcome(result: Result, text: bytes, timeout: bool) -> None:
    outcome = await prepared(result)
    assert isinstance(outcome, Outcome)
    assert (outcome.response, outcome.timeout) == (text, timeout)


async def test_what_can_not_be_run_now_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparer, "_AGAIN_S", 0)
    assert await prepared(Deferred("too many")) is None


async def test_a_program_can_be_broken_off() -> None:
    desk = Desk()
    work = desk.work()
    task = asyncio.create_task(desk.preparer.prepare(To(ONE), work))
    run = await run_of(desk)
    work.call.abort()
    work.call.abort()
    assert await task is None
    assert not run.open


async def test_a_try_that_is_cancelled_drops_its_program() -> None:
    desk = Desk()
    task = asyncio.create_task(desk.preparer.prepare(To(ONE), desk.work()))
    run = await run_of(desk)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not run.open


@pytest.mark.parametrize("result", [Made(b"[]"), Skipped(), Fault(FaultKind.EXCEPTION, "bad")])
async def test_a_program_that_was_changed_meanwhile_has_no_say(result: Result) -> None:
    desk, to = Desk(), To(ONE)
    task = asyncio.create_task(desk.preparer.prepare(to, desk.work()))
    run = await run_of(desk)
    to.subscription = replace(ONE, transform=Transform(Language.JAVASCRIPT, "other"))
    run.end(result)
    assert await task is None


async def test_settings_that_are_read_anew_leave_a_program_as_it_is() -> None:
    desk, to = Desk(), To(ONE)
    task = asyncio.create_task(desk.preparer.prepare(to, desk.work()))
    run = await run_of(desk)
    to.subscription = replace(ONE, transform=Transform(Language.JAVASCRIPT, "é"), concurrency=2)
    run.end(Skipped())
    assert await task == settle.Skipped()
