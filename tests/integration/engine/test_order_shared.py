"""Order where several processes accept the events of a key, and the one that sends them dies."""

import asyncio
import json
import random
from collections import defaultdict
from itertools import pairwise

import pytest

from tests.support.database import Records
from tests.support.engine import Post
from tests.support.nodes import Node, nodes
from tests.support.waiting import until
from waypost.model.event import Attributes
from waypost.model.shards import SHARDS
from waypost.model.subscription import Ordering

KEYS = ("a", "b", "c", "d")
COUNT = 40


@pytest.mark.parametrize("ordering", [Ordering.KEY, Ordering.STRICT])
async def test_no_inversion_over_two_acceptors_failures_and_a_kill(
    records: Records, url: str, ordering: Ordering
) -> None:
    chance = random.Random(5)
    seen: dict[str, list[int]] = defaultdict(list)
    taken: set[tuple[str, int]] = set()
    overtaken: list[tuple[str, int]] = []

    def receive(post: Post) -> None:
        got = json.loads(post.body)
        key, number = got["key"], got["n"]
        line = seen[key]
        if number not in line:
            if line and (key, line[-1]) not in taken:
                overtaken.append((key, number))
            line.append(number)
        if chance.random() < 0.2:
            post.answer(500)
        else:
            taken.add((key, number))
            post.answer()

    async def produce(key: str, through: list[Node]) -> None:
        for number in range(COUNT):
            alive = [one for one in through if not one.dispatcher.stopping]
            payload = json.dumps({"key": key, "n": number}).encode()
            accepting = chance.choice(alive)
            await accepting.accept(payload=payload, attributes=Attributes(ordering_key=key))

    async with nodes(records, url, lease_s=2.0) as running:
        first, second = running
        await until(lambda: first.owned == second.owned == SHARDS // 2)
        first.receivers.script = second.receivers.script = receive
        made = [
            await first.subscribe(f"h{n}", ordering=ordering, retry_schedule=(0.01,) * 30)
            for n in range(12)
        ]
        owns = second.sharing.shards.owns
        # On a machine that is busy a lease may have passed meanwhile; it is taken again.
        await until(lambda: any(owns(each.id) for each in made))
        one = next(each for each in made if owns(each.id))
        for other in made:
            if other is not one:
                await first.subscriptions.delete(first.principal, other.id)
        producing = [asyncio.create_task(produce(key, [first])) for key in KEYS[:2]]
        producing += [asyncio.create_task(produce(key, running)) for key in KEYS[2:]]
        await until(lambda: sum(map(len, seen.values())) > COUNT)
        await second.die()
        await asyncio.gather(*producing)
        await until(lambda: len(taken) == len(KEYS) * COUNT)
    assert overtaken == []
    assert all(one < other for line in seen.values() for one, other in pairwise(line))
    assert {key: len(line) for key, line in seen.items()} == dict.fromkeys(KEYS, COUNT)
