"""System events where two processes share a database: each thing is told once, whoever sends."""

from typing import Any

import msgspec

from tests.support.database import Records
from tests.support.nodes import Node, nodes
from tests.support.waiting import until
from waypost.model import ids
from waypost.model.subscription import Subscription
from waypost.policy.failure_settings import FailureHandlingIn

NO_RETRIES = {"strategy": "schedule", "schedule_s": []}
SUSPENDS = msgspec.convert(
    {"retry": NO_RETRIES, "on_giving_up": ["divert", "suspend"]}, FailureHandlingIn, strict=False
)


def told(*running: Node) -> list[tuple[str, str]]:
    """Return what takers were told, and of which subscription."""
    posts = [post for one in running for post in one.receivers.posts]
    news: list[Any] = [
        msgspec.json.decode(one.body) for one in posts if one.host == "taker.example"
    ]
    return sorted((one["type"].removeprefix("waypost."), one["subscription"]) for one in news)


async def test_each_thing_is_told_once(records: Records, url: str) -> None:
    async with nodes(records, url) as (first, second):
        await until(lambda: first.owned == second.owned == 128)

        def answer(post: Any) -> None:
            post.answer(204 if post.host == "taker.example" else 500)

        first.receivers.script = second.receivers.script = answer
        await second.subscribe("taker", event_types=("waypost.*",))
        made: list[Subscription] = []
        while len({first.sharing.shards.owns(one.id) for one in made}) < 2:
            made.append(await first.subscribe(f"h{len(made)}", failure_handling=SUSPENDS))
        await second.accept()
        tokens = [ids.spell(ids.SUBSCRIPTION, one.id) for one in made]
        kinds = ("delivery.diverted", "subscription.suspended")
        expected = sorted((kind, token) for kind in kinds for token in tokens)
        await until(lambda: len(told(first, second)) >= len(expected))
        assert told(first, second) == expected
        for one in made:
            await second.subscriptions.unsuspend(second.principal, one.id)
        expected = sorted([*expected, *(("subscription.recovered", token) for token in tokens)])
        await until(lambda: len(told(first, second)) >= len(expected))
        assert told(first, second) == expected
