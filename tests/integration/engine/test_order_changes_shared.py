"""An order that is changed through one process frees what waits at another."""

import json
from typing import Any

import pytest

from tests.support.database import Records
from tests.support.engine import Post
from tests.support.nodes import Node, nodes
from tests.support.waiting import until
from waypost.model.event import Attributes
from waypost.model.shards import SHARDS
from waypost.model.subscription import OnOrderFailure, Ordering, Subscription
from waypost.policy.settings import DefaultSettings, Settings

BLOCK, CONTINUE = OnOrderFailure.BLOCK, OnOrderFailure.CONTINUE
COUNT = 60


async def change(node: Node, one: Subscription, by_default: bool, **settings: Any) -> None:
    if by_default:
        wanted = DefaultSettings(**settings)
        await node.projects.update(one.project_id, name=None, strict_types=None, defaults=wanted)
    else:
        await node.subscriptions.update(node.principal, one.id, Settings(**settings))


async def of_second(running: list[Node], **settings: Any) -> Subscription:
    """Make a subscription that the second process sends to."""
    first, second = running
    await until(lambda: first.owned == second.owned == SHARDS // 2)
    while True:
        one = await first.subscribe(retry_schedule=(), **settings)
        if second.sharing.shards.owns(one.id):
            return one
        await first.subscriptions.delete(first.principal, one.id)


@pytest.mark.parametrize("by_default", [False, True])
@pytest.mark.parametrize(
    "after", [{}, {"ordering": Ordering.NONE}], ids=["to continue", "to no order"]
)
@pytest.mark.parametrize("mode", [Ordering.KEY, Ordering.STRICT])
async def test_a_blocked_key_is_free_in_every_process(
    records: Records,
    url: str,
    by_default: bool,
    after: dict[str, Any],
    mode: Ordering,
) -> None:
    taken: list[int] = []
    is_down = True

    def receive(post: Post) -> None:
        number = json.loads(post.body)["n"]
        if is_down:
            post.answer(500)
        else:
            taken.append(number)
            post.answer()

    after = {"on_order_failure": CONTINUE, **after}
    asked: dict[str, Any] = {"ordering": mode, "on_order_failure": BLOCK}
    async with nodes(records, url, window=10) as running:
        first, second = running
        for node in running:
            node.receivers.script = receive
        one = await of_second(running, **({} if by_default else asked))
        if by_default:
            await change(first, one, by_default, **asked)
        for n in range(COUNT):
            payload = json.dumps({"n": n}).encode()
            await first.accept(payload=payload, attributes=Attributes(ordering_key="a"))
        blocked = await until_blocked(second)
        is_down = False
        await change(first, one, by_default, **{**asked, **after})
        await until(lambda: len(taken) == COUNT - blocked)
    assert sorted(taken) == list(range(blocked, COUNT))
    if "ordering" not in after:
        assert taken == sorted(taken)


async def until_blocked(node: Node) -> int:
    """Wait until a key is blocked; return how many deliveries were tried."""
    found: list[Any] = []

    async def look() -> None:
        found[:] = await node.store.read(
            lambda c: c.exec_driver_sql("SELECT ordering_key FROM blocked_keys").all()
        )

    await until(lambda: node.receivers.posts and not node.receivers.open)
    while not found:
        await look()
    return len(node.receivers.posts)
