"""A lull begins when a live delivery has been settled; whoever waits for it waits no longer."""

import asyncio

from tests.support.waiting import PATIENCE_S, until
from waypost.engine.lull import Lull


async def test_all_that_wait_go_on_when_it_begins() -> None:
    lull = Lull()
    waiting = [asyncio.create_task(lull.wait(10 * PATIENCE_S)) for _ in range(2)]
    await until(lambda: lull.came)
    assert not any(one.done() for one in waiting)
    lull.begin()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*waiting)
    assert lull.came is None


async def test_what_began_before_is_no_lull() -> None:
    lull = Lull()
    lull.begin()
    waiting = asyncio.create_task(lull.wait(10 * PATIENCE_S))
    await until(lambda: lull.came)
    assert not waiting.done()
    waiting.cancel()


async def test_nobody_waits_for_ever_and_some_not_at_all() -> None:
    lull = Lull()
    async with asyncio.timeout(PATIENCE_S):
        await lull.wait(0.001)
    await lull.wait(0.0)
