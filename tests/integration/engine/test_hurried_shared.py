"""An example goes before what is owed also where another process sends to its subscription."""

from typing import Any

import pytest

from tests.support.database import Records
from tests.support.nodes import Node, nodes
from tests.support.waiting import until
from waypost.model.event import Attributes
from waypost.model.ids import Id
from waypost.model.shards import SHARDS
from waypost.model.subscription import Ordering, Subscription

BACKLOG = 60


async def of_second(running: list[Node], **settings: Any) -> Subscription:
    """Make a subscription that the second process sends to, of which it can hold a part."""
    first, second = running
    await until(lambda: first.owned == second.owned == SHARDS // 2)
    while True:
        one = await first.subscribe(concurrency=1, **settings)
        if second.sharing.shards.owns(one.id):
            return one
        await first.subscriptions.delete(first.principal, one.id)


def is_next(node: Node, one: Subscription, event_id: Id) -> bool:
    """Tell whether an event is the next one of a process's lane."""
    receiver = node.dispatcher._receivers.get(one.id)
    waiting = [] if receiver is None else receiver.lane._ready[0]
    return bool(waiting) and waiting[0].event_id == event_id


@pytest.mark.parametrize(
    "ordering, window", [(Ordering.NONE, 10), (Ordering.KEY, 10), (Ordering.NONE, 1_000)]
)
async def test_it_is_the_next_that_is_sent(
    records: Records, url: str, ordering: Ordering, window: int
) -> None:
    async with nodes(records, url, window=window) as running:
        first, second = running
        one = await of_second(running, ordering=ordering)
        for _ in range(BACKLOG):
            await first.accept(payload=b'"owed"')
        await until(lambda: second.receivers.open)
        asked = Attributes(targets=(one.id,), example=True)
        example = await first.accept(payload=b'"example"', attributes=asked)
        await until(lambda: is_next(second, one, example.id))
        assert len(second.receivers.posts) == 1
        second.receivers.script = lambda post: post.answer()
        second.receivers.open[0].answer()
        await until(lambda: len(second.receivers.posts) == BACKLOG + 1)
        assert first.receivers.posts == []
    bodies = [post.body for post in second.receivers.posts]
    assert bodies == [b'"owed"', b'"example"', *[b'"owed"'] * (BACKLOG - 1)]
