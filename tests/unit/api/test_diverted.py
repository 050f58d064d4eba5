"""How diverted events stand on the wire."""

import msgspec
import pytest

from waypost.api.diverted import DivertedQuery, DivertedRoutes
from waypost.api.operation import Call
from waypost.model import ids
from waypost.model.delivery import DivertedEvent, Reason
from waypost.model.errors import NotFound
from waypost.model.page import Page, PageRequest
from waypost.model.project import Principal
from waypost.operations.diverted import Diverted, DivertedFilter
from waypost.operations.replays import Replays
from waypost.storage.diverted import EVERY

PROJECT, EVENT, SUBSCRIPTION, DELIVERY, NEW = (ids.make(n, n) for n in range(1, 6))
CALLER = Principal(ids.FIRST, "app", PROJECT, frozenset())
DIVERTED = DivertedEvent(
    PROJECT, DELIVERY, EVENT, SUBSCRIPTION, "a.b", Reason.GONE, 1_000_000, 2, 410, b"gone\xff"
)
PATH = {"diverted_event_token": ids.spell(ids.DELIVERY, DELIVERY)}


class NoReplays(Replays):
    """No job can be asked for."""

    def __init__(self) -> None:
        pass


NO_REPLAYS = NoReplays()


class Fake(Diverted):
    """One diverted event, and what was asked for."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def list_page(
        self, principal: Principal, request: PageRequest, which: DivertedFilter = EVERY
    ) -> Page[DivertedEvent]:
        self.asked += [principal, request, which]
        return Page([DIVERTED], has_more=False)

    async def get(self, principal: Principal, diverted_id: ids.Id) -> DivertedEvent:
        self.asked += [principal, diverted_id]
        return DIVERTED

    async def resend(self, principal: Principal, diverted_id: ids.Id) -> ids.Id:
        self.asked += [principal, diverted_id]
        return NEW

    async def delete(self, principal: Principal, diverted_id: ids.Id) -> None:
        self.asked += [principal, diverted_id]


@pytest.fixture
def fake() -> Fake:
    return Fake()


async def test_one_tells_why_and_what_was_answered_last(fake: Fake) -> None:
    shown = await DivertedRoutes(fake, NO_REPLAYS).get(Call(CALLER, PATH, None, None))
    assert msgspec.json.decode(msgspec.json.encode(shown)) == {
        "token": ids.spell(ids.DELIVERY, DELIVERY),
        "event_token": ids.spell(ids.EVENT, EVENT),
        "event_type": "a.b",
        "event_subscription_token": ids.spell(ids.SUBSCRIPTION, SUBSCRIPTION),
        "reason": "receiver_gone",
        "created": "1970-01-01T00:00:01Z",
        "attempts": 2,
        "response": "gone\ufffd",
        "response_status_code": 410,
    }
    assert fake.asked == [CALLER, DELIVERY]


async def test_the_list_may_be_of_one_subscription(fake: Fake) -> None:
    token = ids.spell(ids.SUBSCRIPTION, SUBSCRIPTION)
    query = DivertedQuery(event_subscription_token=token, page_size=2)
    page = await DivertedRoutes(fake, NO_REPLAYS).list_page(Call(CALLER, {}, query, None))
    assert fake.asked == [CALLER, PageRequest(2), DivertedFilter(SUBSCRIPTION)]
    assert [one.attempts for one in page.data] == [2]


async def test_sending_it_again_tells_the_new_delivery(fake: Fake) -> None:
    resent = await DivertedRoutes(fake, NO_REPLAYS).resend(Call(CALLER, PATH, None, None))
    assert resent.delivery_token == ids.spell(ids.DELIVERY, NEW)
    assert fake.asked == [CALLER, DELIVERY]


async def test_deleting_it_answers_with_nothing(fake: Fake) -> None:
    await DivertedRoutes(fake, NO_REPLAYS).delete(Call(CALLER, PATH, None, None))
    assert fake.asked == [CALLER, DELIVERY]


async def test_what_is_no_token_is_not_found(fake: Fake) -> None:
    routes = DivertedRoutes(fake, NO_REPLAYS)
    call: Call[None, None] = Call(CALLER, {"diverted_event_token": "x"}, None, None)
    for handler in (routes.get, routes.resend, routes.delete):
        with pytest.raises(NotFound, match="diverted event not found"):
            await handler(call)
    assert fake.asked == []
