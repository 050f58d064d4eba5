"""How blocked keys stand on the wire."""

import msgspec
import pytest

from waypost.api.blocked_keys import BlockedKeyRoutes, ReleaseIn
from waypost.api.operation import Call
from waypost.api.shapes import Listing
from waypost.model import ids
from waypost.model.delivery import BlockedKey
from waypost.model.errors import NotFound
from waypost.model.page import Page, PageRequest
from waypost.model.project import Principal
from waypost.operations.blocked_keys import BlockedKeys

PROJECT, EVENT, SUBSCRIPTION, DELIVERY = (ids.make(n, n) for n in range(1, 5))
CALLER = Principal(ids.FIRST, "app", PROJECT, frozenset())
PATH = {"event_subscription_token": ids.spell(ids.SUBSCRIPTION, SUBSCRIPTION)}


class Fake(BlockedKeys):
    """Two blocked keys, and what was asked for."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def list_page(
        self, principal: Principal, subscription_id: ids.Id, request: PageRequest
    ) -> Page[BlockedKey]:
        self.asked += [principal, subscription_id, request]
        place = (PROJECT, SUBSCRIPTION)
        keys = [BlockedKey(*place, key, 7, DELIVERY, EVENT, 1_000_000) for key in ("a", "")]
        return Page(keys, has_more=False)

    async def release(
        self, principal: Principal, subscription_id: ids.Id, ordering_key: str
    ) -> None:
        self.asked += [principal, subscription_id, ordering_key]


@pytest.fixture
def fake() -> Fake:
    return Fake()


async def test_the_list_tells_the_key_and_what_blocks_it(fake: Fake) -> None:
    page = await BlockedKeyRoutes(fake).list_page(Call(CALLER, PATH, Listing(page_size=2), None))
    first, second = msgspec.json.decode(msgspec.json.encode(page.data))
    assert first == {
        "token": ids.spell(ids.DELIVERY, DELIVERY),
        "ordering_key": "a",
        "event_token": ids.spell(ids.EVENT, EVENT),
        "created": "1970-01-01T00:00:01Z",
    }
    assert second["ordering_key"] is None
    assert fake.asked == [CALLER, SUBSCRIPTION, PageRequest(2)]


@pytest.mark.parametrize("key", ["a", None])
async def test_a_release_names_the_key(fake: Fake, key: str | None) -> None:
    await BlockedKeyRoutes(fake).release(Call(CALLER, PATH, None, ReleaseIn(key)))
    assert fake.asked == [CALLER, SUBSCRIPTION, key or ""]


async def test_what_is_no_token_is_not_found(fake: Fake) -> None:
    path = {"event_subscription_token": "x"}
    with pytest.raises(NotFound, match="event subscription not found"):
        await BlockedKeyRoutes(fake).release(Call(CALLER, path, None, ReleaseIn("a")))
    assert fake.asked == []
