"""Waiting for something that no event tells of."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

PATIENCE_S = 30.0


async def until(true: Callable[[], object]) -> None:
    """Look again and again until something is so, and leave the machine to the others between."""
    turn = asyncio.Event()
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            with suppress(TimeoutError):
                await asyncio.wait_for(turn.wait(), 0.001)


async def turned() -> None:
    """Return when the loop has called all that was to be called soon."""
    loop = asyncio.get_running_loop()
    last = loop.create_future()
    loop.call_soon(last.set_result, None)
    await last


async def polled() -> None:
    """Return when the loop has looked at its sockets: what was sent before is read, or can't be."""
    await asyncio.to_thread(int)
