"""Failure handling where two processes share a database: suspensions, alerts and defaults."""

from typing import Any

import msgspec

from tests.support.database import Records
from tests.support.nodes import Node, nodes
from tests.support.waiting import until
from waypost.model import ids
from waypost.model.subscription import Inheritable, Subscription
from waypost.policy.failure_settings import FailureHandlingIn
from waypost.policy.settings import DefaultSettings

SECRET = "whsec_" + "A" * 40


def handling(**fields: Any) -> FailureHandlingIn:
    retry = {"strategy": "schedule", "schedule_s": []}
    return msgspec.json.decode(
        msgspec.json.encode({"retry": retry, **fields}), type=FailureHandlingIn
    )


def posts(*running: Node) -> list[Any]:
    return [post for one in running for post in one.receivers.posts]


async def test_each_process_suspends_alerts_and_goes_on_as_the_other_has_it(
    records: Records, url: str
) -> None:
    async with nodes(records, url) as (first, second):
        await until(lambda: first.owned == second.owned == 128)

        def answer(post: Any) -> None:
            post.answer(204 if post.host == "alerts.example" or healed else 500)

        healed = False
        first.receivers.script = second.receivers.script = answer
        wanted = handling(
            on_giving_up=["divert", "suspend", "alert"],
            alert_endpoints=[{"url": "https://alerts.example/", "secret": SECRET}],
        )
        made: list[Subscription] = []
        while len({first.sharing.shards.owns(one.id) for one in made}) < 2:
            made.append(await first.subscribe(f"h{len(made)}", failure_handling=wanted))
        count = len(made)
        await second.accept()

        def all_suspended(node: Node) -> bool:
            found = (node.router.find(one.project_id, one.id) for one in made)
            return all(one is not None and one.suspension is not None for one in found)

        await until(lambda: all_suspended(first) and all_suspended(second))
        await until(lambda: len(posts(first, second)) == 2 * count)
        alerts = [post for post in posts(first, second) if post.host == "alerts.example"]
        notices = [msgspec.json.decode(post.body)["subscription"] for post in alerts]
        assert sorted(notices) == [ids.spell(ids.SUBSCRIPTION, one.id) for one in made]
        for _ in range(3):
            await first.accept()
        assert len(posts(first, second)) == 2 * count
        healed = True
        for one in made:
            await second.subscriptions.unsuspend(second.principal, one.id)
        await until(lambda: len(posts(first, second)) == 5 * count)


async def test_defaults_hold_in_every_process(records: Records, url: str) -> None:
    async with nodes(records, url) as (first, second):
        await until(lambda: first.owned == second.owned == 128)
        made = [await first.subscribe(f"h{number}") for number in range(8)]
        await second.projects.update(
            records.project,
            name=None,
            strict_types=None,
            defaults=DefaultSettings(timeout_s=3.0),
        )
        await until(lambda: first.router.defaults(records.project) == Inheritable(timeout_s=3.0))
        await first.accept()
        await until(lambda: len(posts(first, second)) == len(made))
        assert {post.timeout_s for post in posts(first, second)} == {3.0}
