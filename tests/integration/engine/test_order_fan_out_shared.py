"""Great fan-outs to ordered subscriptions, accepted and expanded by several processes at a time."""

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
from waypost.engine import ingest
from waypost.model.event import Attributes
from waypost.model.shards import SHARDS
from waypost.model.subscription import Ordering

KEYS = ("a", "b")
COUNT = 40
TAKERS = 4


@pytest.mark.parametrize("ordering", [Ordering.KEY, Ordering.STRICT])
async def test_what_is_for_all_and_what_is_for_one_keep_one_order(
    records: Records, url: str, ordering: Ordering, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other event is for one subscription alone: its delivery is made with it."""
    monkeypatch.setattr(ingest, "GREAT_FAN_OUT", 2)
    chance = random.Random(3)
    seen: dict[tuple[str, str], list[int]] = defaultdict(list)
    taken: set[tuple[str, str, int]] = set()
    overtaken: list[tuple[str, str, int]] = []

    def receive(post: Post) -> None:
        got = json.loads(post.body)
        key, number = got["key"], got["n"]
        line = seen[post.host, key]
        if number not in line:
            if line and (post.host, key, line[-1]) not in taken:
                overtaken.append((post.host, key, number))
            line.append(number)
        if chance.random() < 0.2:
            post.answer(500)
        else:
            taken.add((post.host, key, number))
            post.answer()

    async with nodes(records, url) as running:
        await until(lambda: all(one.owned == SHARDS // 2 for one in running))
        for one in running:
            one.receivers.script = receive
        takers = [
            await running[0].subscribe(f"h{n}", ordering=ordering, retry_schedule=(0.01,) * 30)
            for n in range(TAKERS)
        ]
        first = (takers[0].id,)

        async def produce(key: str) -> None:
            for number in range(COUNT):
                at: Node = chance.choice(running)
                payload = json.dumps({"key": key, "n": number}).encode()
                targets = first if number % 2 else ()
                attributes = Attributes(ordering_key=key, targets=targets)
                await at.accept(payload=payload, attributes=attributes)

        await asyncio.gather(*(produce(key) for key in KEYS))
        owed = len(KEYS) * (COUNT + (TAKERS - 1) * COUNT // 2)
        await until(lambda: len(taken) == owed)
    assert overtaken == []
    assert all(one < other for line in seen.values() for one, other in pairwise(line))
