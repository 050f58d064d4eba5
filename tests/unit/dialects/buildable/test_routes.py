"""Buildable's operations: what is asked of ours, and `/emit` on the fast way."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.manual import ManualClock, SeededEntropy
from tests.support.waiting import until
from waypost.dialects.buildable import wire
from waypost.dialects.buildable.routes import EMIT_PATH, BuildableRoutes, Emit
from waypost.dialects.buildable.wire import InitIn, NameIn, QueryIn, TransactIn, UpdateIn
from waypost.model import ids
from waypost.model.errors import NotFound, TooManyRequests, Unavailable, WaypostError
from waypost.model.event import Event
from waypost.model.project import ApiKey, Environment, Principal, Project, Scope
from waypost.model.transaction import Standing, Transaction, TransactionState
from waypost.operations.access import Access, AccessConfig
from waypost.operations.events import Accepted
from waypost.operations.transactions import Found, Held, Slice, Wanted, Which
from waypost.policy.credentials import digest
from waypost.policy.events import EventLimits
from waypost.web.aside import Aside
from waypost.web.errors import Surfaces
from waypost.web.fast import FastRequest, FastRoutes, Header

PROJECT, EVENT_ID, KEY = ids.make(1, 1), ids.make(2, 2), ids.make(3, 3)
HEX = EVENT_ID.hex()
CALLER = Principal(KEY, "k", PROJECT, frozenset({Scope.EVENTS_WRITE}))
EVENT = Event(PROJECT, EVENT_ID, "a", b"{}")
MADE = Transaction(PROJECT, EVENT_ID, "t", ids.make(4, 4), TransactionState.PROCESSING)


class FakeTransactions:
    """One transaction, and what was asked for."""

    retention_us = None

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    async def claim(self, _caller: Principal, which: Which) -> Held:
        self.asked.append(("claim", which))
        return Held(EVENT, MADE)

    async def end(self, _caller: Principal, *asked: Any) -> Held:
        self.asked.append(("end", *asked))
        return Held(EVENT, MADE)

    async def settle(self, _caller: Principal, *asked: Any) -> Held:
        self.asked.append(("settle", *asked))
        return Held(EVENT, MADE)

    async def event(self, _caller: Principal, event_id: ids.Id) -> Found:
        self.asked.append(("event", event_id))
        return Found(EVENT, [MADE], expects_more=True)

    async def query(self, _caller: Principal, wanted: Wanted, skip: int, size: int) -> Slice:
        self.asked.append(("query", wanted, skip, size))
        return Slice([Found(EVENT, [], expects_more=False)], 21)


class FakeProjects:
    """One project, which is read but once."""

    def __init__(self) -> None:
        self.reads = 0

    async def get(self, project_id: ids.Id) -> Project:
        self.reads += 1
        return Project(project_id, PROJECT, "p", Environment.TEST)


class World:
    """The five operations over fakes."""

    def __init__(self) -> None:
        self.transactions, self.projects = FakeTransactions(), FakeProjects()
        ours: Any = (None, self.projects, self.transactions)
        self.routes = BuildableRoutes(*ours)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_query_is_for_a_page_of_what_stands_so(world: World) -> None:
    body = QueryIn("a", "t", since=5, tx_state="failed", page=3, page_size=10)
    page = await world.routes.query(CALLER, body)
    assert (page.total, page.page, page.page_size, page.total_pages) == (21, 3, 10, 3)
    wanted = Wanted("t", frozenset({Standing.FAILED}), ("a",), begin_us=5_000)
    assert world.transactions.asked == [("query", wanted, 20, 10)]
    await world.routes.query(CALLER, QueryIn("a", "t", platform="stripe"))
    assert world.transactions.asked[1][1].admits is not None
    assert world.projects.reads == 1


async def test_each_operation_asks_for_its_own(world: World) -> None:
    which, routes = Which(EVENT_ID, tx_key="t"), world.routes
    await routes.init(CALLER, InitIn(HEX, "t"))
    await routes.transact(CALLER, TransactIn(HEX, "t", "failed", "o", "a"))
    await routes.update(CALLER, UpdateIn(HEX, "a", "t", "processing"))
    await routes.update(CALLER, UpdateIn(HEX, "a", "t", "finished"))
    named = Which(EVENT_ID, tx_key="t", type="a")
    assert world.transactions.asked == [
        ("claim", which),
        ("end", named, TransactionState.FAILED, "o"),
        ("claim", named),
        ("event", EVENT_ID),
        ("settle", named, TransactionState.FINISHED),
        ("event", EVENT_ID),
    ]


async def test_names_of_another_place_name_nothing_here(world: World) -> None:
    full = (await world.routes.full_name(CALLER, NameIn("a"))).full_name
    there = full.replace(".test.", ".live.")
    assert (await world.routes.query(CALLER, QueryIn(there, "t"))).rows == []
    for asked in (
        world.routes.init(CALLER, InitIn(HEX, "t", there)),
        world.routes.full_name(CALLER, NameIn(there)),
    ):
        with pytest.raises(NotFound):
            await asked
    assert world.transactions.asked == []


class Request(FastRequest):
    """A request whose answer the test reads."""

    __slots__ = ("answer",)

    def __init__(self, body: bytes, secret: bytes = b"s") -> None:
        super().__init__([(b"x-buildable-secret", secret)], body)
        self.answer: tuple[int, Any, Sequence[Header]] | None = None

    def _send(
        self, status: int, body: bytes, headers: Sequence[Header], content_type: bytes
    ) -> None:
        self.answer = (status, json.loads(body), headers)


class FakeEvents:
    """Takes everything in, or refuses it."""

    limits = EventLimits()

    def __init__(self) -> None:
        self.types: list[str] = []
        self.raises: WaypostError | None = None
        self.fails: WaypostError | None = None

    def accept(self, _who: Any, drafts: Any, _places: Any, done: Any, _origin: Any) -> None:
        if self.raises is not None:
            raise self.raises
        self.types += [draft.type for draft in drafts]
        done(self.fails or [Accepted(EVENT_ID, "a", b"{}", duplicate=False)])


class Intake:
    """`/emit` over a fake."""

    def __init__(self) -> None:
        self.access = Access(ManualClock(), AccessConfig())
        key = ApiKey(KEY, PROJECT, "k", frozenset({Scope.EVENTS_WRITE}))
        self.access.add(digest(b"s"), key)
        self.fake = FakeEvents()
        events: Any = self.fake
        self.aside = Aside()
        surfaces = Surfaces(SeededEntropy())
        surfaces.add(EMIT_PATH, wire.render)
        routes = FastRoutes()
        Emit(self.access, events, surfaces, self.aside).register(routes)
        found = routes.lookup(b"POST", EMIT_PATH.encode())
        assert found is not None
        self.route = found

    def post(self, body: bytes, **more: bytes) -> Request:
        request = Request(body, **more)
        self.route.handler(request)
        return request


async def answered(request: Request) -> int:
    await until(lambda: request.answer)
    assert request.answer is not None
    return request.answer[0]


GOOD = b'{"event": "a", "payload": {"n": 1}}'


async def test_an_event_is_answered_with_its_key() -> None:
    assert Intake().post(GOOD).answer == (200, {"status": "success", "key": HEX}, ())


async def test_a_large_one_is_read_aside() -> None:
    intake = Intake()
    rows = ", ".join(["[]"] * 20_000)
    for body, status in (
        (f'{{"event": "b", "payload": {{"a": [{rows}]}}}}', 200),
        (f'{{"event": "b c", "payload": {{"a": [{rows}]}}}}', 400),
    ):
        request = intake.post(body.encode())
        assert not request.answered
        assert await answered(request) == status
    assert intake.fake.types == ["b"]
    intake.fake.raises = Unavailable()
    request = intake.post(f'{{"event": "b", "payload": {{"a": [{rows}]}}}}'.encode())
    assert await answered(request) == 503
    intake.aside.close()


async def test_what_is_refused_has_the_envelope() -> None:
    intake = Intake()
    for request, status, name in (
        (intake.post(b"{"), 400, "invalid-request"),
        (intake.post(GOOD, secret=b""), 401, "invalid-secret"),
        (intake.post(GOOD, secret=b"x"), 401, "invalid-secret"),
    ):
        assert request.answer is not None
        assert (request.answer[0], request.answer[1]["name"]) == (status, name)
    intake.fake.fails = TooManyRequests(retry_after_s=7)
    answer = intake.post(GOOD).answer
    assert answer is not None
    assert (answer[0], answer[2]) == (429, [(b"retry-after", b"7")])
    assert json.loads(intake.route.refuse(413, "too large"))["name"] == "payload-too-large"
