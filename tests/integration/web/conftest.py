"""A real server in this process, on the loop that it runs on in production."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop

from tests.integration.web.server import Server
from waypost.web.limits import HttpLimits

Start = Callable[..., Any]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start servers that end with the test."""
    servers: list[Server] = []

    async def start_one(way: str = "fast", **limits: Any) -> Server:
        server = Server(way, HttpLimits(**limits))
        servers.append(server)
        await server.start()
        return server

    yield start_one
    for server in servers:
        await server.stop()


@pytest.fixture(params=["fast", "known", "asgi"])
def way(request: pytest.FixtureRequest) -> str:
    """Return by which way the routes of the server are served."""
    return str(request.param)
