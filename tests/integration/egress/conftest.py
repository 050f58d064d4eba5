"""Transports and receivers that are gone when the test is; each test on both event loops."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop

from tests.support.egress import LOOPBACK, Make, Open, Receiver
from waypost.egress.transport import Transport


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def make_transport() -> AsyncIterator[Make]:
    """Make transports that may reach loopback; whatever they leave behind is a failure."""
    made: list[Transport] = []
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))

    def make(**settings: Any) -> Transport:
        made.append(Transport(loop, **{"rules": LOOPBACK, **settings}))
        return made[-1]

    yield make
    for transport in made:
        async with asyncio.timeout(5):
            await transport.close()
        assert transport.connections_open == transport.connections_idle == 0
        assert transport.calls_open == 0
    assert complaints == []


@pytest.fixture
def transport(make_transport: Make) -> Transport:
    return make_transport()


@pytest.fixture
async def open_receiver() -> AsyncIterator[Open]:
    opened: list[Receiver] = []

    async def open_(
        *args: Any,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        **settings: Any,
    ) -> Receiver:
        receiver = await Receiver(*args, **settings).start(host, port, tls)
        opened.append(receiver)
        return receiver

    yield open_
    for receiver in opened:
        await receiver.stop()
