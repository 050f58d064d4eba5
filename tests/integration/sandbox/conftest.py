"""A pool of real workers, on the loop of production and on Python's own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import uvloop
from structlog.testing import capture_logs

from tests.support.sandbox import Programs
from waypost.sandbox.pool import Pool, PoolConfig


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture
async def programs(request: pytest.FixtureRequest) -> AsyncIterator[Programs]:
    """Have a pool; an indirect parameter says what is special about it."""
    config = PoolConfig(**getattr(request, "param", {}))
    pool = Pool(asyncio.get_running_loop(), config)
    yield Programs(pool)
    await pool.close()


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """Return what was logged, which is shown nowhere else."""
    with capture_logs() as entries:
        yield entries
