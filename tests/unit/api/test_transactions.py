"""How transactions stand on the wire."""

from typing import Any

import msgspec
import pytest

from waypost.api.operation import Call
from waypost.api.shapes import Listing
from waypost.api.transactions import (
    EndIn,
    HeartbeatIn,
    TransactionIn,
    TransactionRoutes,
    UnclaimedQuery,
)
from waypost.model import ids
from waypost.model.errors import InvalidInput, NotFound
from waypost.model.event import Event
from waypost.model.page import Page, PageRequest
from waypost.model.project import Principal
from waypost.model.transaction import CLAIMABLE, Change, Transaction, TransactionState
from waypost.operations.transactions import Held, Transactions, Wanted, Which

PROJECT, EVENT, MADE = ids.make(1, 1), ids.make(2, 2), ids.make(3, 3)
CALLER = Principal(ids.FIRST, "k", PROJECT, frozenset())
PATH = {"event_token": ids.spell(ids.EVENT, EVENT)}
ONE = PATH | {"transaction_token": ids.spell(ids.TRANSACTION, MADE)}
HELD = Transaction(
    PROJECT,
    EVENT,
    "worker",
    MADE,
    TransactionState.FINISHED,
    2,
    4_000_000,
    5_000_000,
    6_000_000,
    "done",
    (Change(TransactionState.PROCESSING, None, 4_000_000, ids.FIRST),),
)
SHOWN = {
    "token": ids.spell(ids.TRANSACTION, MADE),
    "event_token": PATH["event_token"],
    "tx_key": "worker",
    "state": "finished",
    "claim": 2,
    "created": "1970-01-01T00:00:00.000003Z",
    "started_at": "1970-01-01T00:00:04Z",
    "ended_at": "1970-01-01T00:00:05Z",
    "lease_until": "1970-01-01T00:00:06Z",
    "output": "done",
    "history": [
        {
            "state": "processing",
            "former": None,
            "at": "1970-01-01T00:00:04Z",
            "api_key": ids.spell(ids.KEY, ids.FIRST),
        }
    ],
}


class Fake(Transactions):
    """One transaction, and what was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def _held(self, *asked: Any) -> Held:
        self.asked.append(asked)
        return Held(Event(PROJECT, EVENT, "a", b"{}"), HELD)

    async def register(self, principal: Principal, which: Which) -> Held:
        return self._held("register", which)

    async def claim(self, principal: Principal, which: Which, lease_us: int | None = None) -> Held:
        return self._held("claim", which, lease_us)

    async def end(self, principal: Principal, *asked: Any) -> Held:
        return self._held("end", *asked)

    async def heartbeat(self, principal: Principal, *asked: Any) -> Held:
        return self._held("heartbeat", *asked)

    async def get(self, principal: Principal, which: Which) -> Held:
        return self._held("get", which)

    async def list_page(
        self, principal: Principal, event_id: ids.Id, request: PageRequest
    ) -> Page[Transaction]:
        self.asked.append(("list", event_id, request))
        return Page([HELD], has_more=False)

    async def wait(
        self, principal: Principal, wanted: Wanted, size: int, wait_s: float
    ) -> tuple[list[Event], bool]:
        self.asked.append(("wait", wanted, size, wait_s))
        return [Event(PROJECT, EVENT, "a", b'{"n":1}')], True


@pytest.fixture
def fake() -> Fake:
    return Fake()


def wire(answer: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(answer))


async def test_a_claim_is_asked_for_and_shown(fake: Fake) -> None:
    routes = TransactionRoutes(fake)
    body = TransactionIn("worker", lease_s=30)
    assert wire(await routes.create(Call(CALLER, PATH, None, body))) == SHOWN
    await routes.create(Call(CALLER, PATH, None, TransactionIn("worker")))
    await routes.create(Call(CALLER, PATH, None, TransactionIn("worker", state="pending")))
    which = Which(EVENT, tx_key="worker")
    assert fake.asked == [
        ("claim", which, 30_000_000),
        ("claim", which, None),
        ("register", which),
    ]


async def test_what_nobody_claims_has_no_lease(fake: Fake) -> None:
    body = TransactionIn("worker", lease_s=30, state="pending")
    with pytest.raises(InvalidInput, match="lease_s"):
        await TransactionRoutes(fake).create(Call(CALLER, PATH, None, body))


async def test_the_holder_is_handed_on(fake: Fake) -> None:
    routes, which = TransactionRoutes(fake), Which(EVENT, id=MADE)
    await routes.heartbeat(Call(CALLER, ONE, None, HeartbeatIn(2, 7)))
    await routes.finish(Call(CALLER, ONE, None, EndIn(2, "done")))
    await routes.fail(Call(CALLER, ONE, None, EndIn(3)))
    await routes.get(Call(CALLER, ONE, None, None))
    assert fake.asked == [
        ("heartbeat", which, 2, 7_000_000),
        ("end", which, TransactionState.FINISHED, "done", 2),
        ("end", which, TransactionState.FAILED, None, 3),
        ("get", which),
    ]


async def test_a_list_is_a_page(fake: Fake) -> None:
    page = await TransactionRoutes(fake).list_page(Call(CALLER, PATH, Listing(page_size=3), None))
    assert wire(page) == {"data": [SHOWN], "has_more": False}
    assert fake.asked == [("list", EVENT, PageRequest(3))]


async def test_a_wait_is_for_what_may_be_claimed(fake: Fake) -> None:
    query = UnclaimedQuery(
        tx_key="worker",
        event_types=("a", "b"),
        begin=7,
        starting_after=PATH["event_token"],
        page_size=3,
        wait_s=9,
    )
    page = wire(await TransactionRoutes(fake).unclaimed(Call(CALLER, {}, query, None)))
    assert (page["data"][0]["payload"], page["has_more"]) == ({"n": 1}, True)
    assert fake.asked == [("wait", Wanted("worker", CLAIMABLE, ("a", "b"), 7, EVENT), 3, 9)]


@pytest.mark.parametrize(
    "query, path",
    [
        (UnclaimedQuery(), "tx_key"),
        (UnclaimedQuery(tx_key="a\n"), "tx_key"),
        (UnclaimedQuery(tx_key="a" * 257), "tx_key"),
        (UnclaimedQuery(tx_key="a", event_types=("a..b",)), "event_types"),
        (UnclaimedQuery(tx_key="a", starting_after="evt_x"), "starting_after"),
    ],
)
async def test_what_makes_no_sense_is_refused(fake: Fake, query: UnclaimedQuery, path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await TransactionRoutes(fake).unclaimed(Call(CALLER, {}, query, None))
    assert [at for at, _ in refused.value.details] == [path]


async def test_tokens_of_nothing_are_not_found(fake: Fake) -> None:
    routes = TransactionRoutes(fake)
    with pytest.raises(NotFound, match="event"):
        await routes.create(Call(CALLER, {"event_token": "x"}, None, TransactionIn("a")))
    with pytest.raises(NotFound, match="transaction"):
        await routes.get(Call(CALLER, PATH | {"transaction_token": "x"}, None, None))


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"tx_key": ""}',
        b'{"tx_key": "a\\u0000"}',
        b'{"tx_key": "a", "lease_s": 0}',
        b'{"tx_key": "a", "lease_s": 604801}',
        b'{"tx_key": "a", "state": "finished"}',
        b'{"tx_key": "a", "wait_s": 1}',
    ],
)
def test_a_claim_that_can_not_be_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=TransactionIn)
