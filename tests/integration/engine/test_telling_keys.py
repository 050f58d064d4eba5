"""Keys that are blocked and released are told of, rule by rule, under a clock that is moved."""

from pathlib import Path

import pytest

from tests.integration.engine.test_telling import Script, listed, taker
from tests.support.database import Records
from tests.support.engine import Works, works
from waypost.model import ids
from waypost.model.event import Attributes
from waypost.model.flow import Breaker
from waypost.model.subscription import OnOrderFailure, Ordering, Subscription
from waypost.storage import blocked_keys

BLOCK = OnOrderFailure.BLOCK


def blocking(records: Records, mode: Ordering = Ordering.KEY) -> Subscription:
    return records.subscription(
        ordering=mode,
        on_order_failure=BLOCK,
        event_types=("card.*",),
        retry_schedule_s=(),
        breaker=Breaker(enabled=False),
        description="Cards",
    )


async def give_up(engine: Works, *keys: str) -> None:
    for key in keys:
        await engine.accept(attributes=Attributes(ordering_key=key))
    await engine.quiet()


async def release(engine: Works, one: Subscription, key: str) -> None:
    assert await engine.store.write(lambda c: blocked_keys.release(c, one.project_id, one.id, key))


@pytest.mark.parametrize("mode", [Ordering.KEY, Ordering.STRICT])
async def test_a_blocked_key_is_told_and_so_is_its_release(
    records: Records, path: Path, mode: Ordering
) -> None:
    taker(records, "waypost.ordering_key.*")
    one = blocking(records, mode)
    key = "a" if mode is Ordering.KEY else None
    async with works(records, path) as engine:
        script = Script(engine)
        await give_up(engine, "a")
        [row] = await engine.rows("blocked_keys")
        await engine.tell()
        known = {"subscription": ids.spell(ids.SUBSCRIPTION, one.id), "description": "Cards"}
        [blocked] = script.news
        assert blocked == {
            "type": "waypost.ordering_key.blocked",
            "timestamp": blocked["timestamp"],
            **known,
            "blocked": 1,
            "ordering_key": key,
            "delivery": ids.spell(ids.DELIVERY, row.delivery_id),
            "event": ids.spell(ids.EVENT, row.event_id),
        }
        await release(engine, one, key or "")
        await engine.tell()
        [_, released] = script.news
        assert released == {
            "type": "waypost.ordering_key.released",
            "timestamp": released["timestamp"],
            **known,
            "released": 1,
            "ordering_key": key,
            "released_by": "person",
        }


async def test_however_many_keys_are_blocked_it_is_told_once_a_minute(
    records: Records, path: Path
) -> None:
    taker(records, "waypost.ordering_key.*")
    one = blocking(records)
    async with works(records, path) as engine:
        script = Script(engine)
        await give_up(engine, "a")
        await engine.tell()
        for n in range(20):
            await give_up(engine, f"k{n}")
            await release(engine, one, f"k{n}")
            await engine.tell()
        assert [(x.get("blocked"), x.get("released")) for x in script.news] == [
            (1, None),
            (None, 1),
        ]
        await engine.forward(60)
        await engine.tell()
        assert [(x.get("blocked"), x.get("released")) for x in script.news[2:]] == [
            (20, None),
            (None, 19),
        ]
        assert {x["ordering_key"] for x in script.news[2:]} == {"k19"}


async def test_a_system_event_that_blocks_makes_no_other(records: Records, path: Path) -> None:
    taker(records, ordering=Ordering.STRICT, on_order_failure=BLOCK, retry_schedule_s=())
    blocking(records)
    async with works(records, path) as engine:
        script = Script(engine)
        script.taker_status = 500
        await give_up(engine, "a")
        for _ in range(5):
            await engine.forward(61)
            await engine.tell()
        assert await engine.count("blocked_keys") == 2
        assert (await listed(engine)).count("ordering_key.blocked") == 1
        assert await engine.count("key_news") == 0
