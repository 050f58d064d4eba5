"""Connections are accepted by one process and served by others, evenly."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest

from tests.support.waiting import turned, until
from waypost.config import Config
from waypost.server import handover
from waypost.server.handover import Door, Line, Member, Orders
from waypost.web.listener import bind

ORDERS = Orders(Config(), 2, 3, 8080, 7)


class Adopter:
    """Stands for a listener: keeps what it is given."""

    def __init__(self) -> None:
        self.adopted: list[socket.socket] = []
        self.gone = 0

    @property
    def open_connections(self) -> int:
        return len(self.adopted) - self.gone

    async def adopt(self, connection: socket.socket) -> None:
        self.adopted.append(connection)


class Pair:
    """A process as its supervisor sees it, and as it is."""

    def __init__(self, door: Door) -> None:
        ours, theirs = socket.socketpair()
        self.member = Member(ours, door.open)
        self.member.order(ORDERS)
        self.line = Line(theirs.detach())
        self.adopter = Adopter()
        self.lost = asyncio.Event()
        self.line.lost = self.lost.set
        door.add(self.member)

    def serve(self) -> None:
        listener: Any = self.adopter
        assert self.line.orders() == ORDERS
        self.line.serve(listener)

    def close(self) -> None:
        if self.member._line.fileno() >= 0:
            self.member.close()
        for connection in self.adopter.adopted:
            connection.close()
        self.close_line()

    def close_line(self) -> None:
        if self.line._line.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self.line._line)
            self.line._line.close()


@asynccontextmanager
async def group(size: int) -> AsyncIterator[tuple[list[Pair], int]]:
    listening = bind("127.0.0.1", 0)
    door = Door(listening)
    pairs = [Pair(door) for _ in range(size)]
    try:
        yield pairs, listening.getsockname()[1]
    finally:
        door.close()
        for pair in pairs:
            pair.close()


async def held(pairs: list[Pair], count: int) -> None:
    """Wait until the processes together have so many connections, by their own count too."""
    await until(lambda: sum(len(pair.adopter.adopted) for pair in pairs) == count)
    await until(lambda: sum(pair.member.load for pair in pairs) == count)


async def connect(port: int, count: int) -> list[socket.socket]:
    made = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    await turned()
    return made


def close(connections: list[socket.socket]) -> None:
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("count", [1, 2, 4, 32])
async def test_connections_are_spread_evenly(count: int) -> None:
    async with group(2) as (pairs, port):
        for pair in pairs:
            pair.serve()
        clients: list[socket.socket] = []
        await until(lambda: all(pair.member.is_ready for pair in pairs))
        for number in range(count):
            clients += await connect(port, 1)
            await held(pairs, number + 1)
            await until(lambda: all(not p.member._unanswered for p in pairs))
        counts = sorted(len(pair.adopter.adopted) for pair in pairs)
        assert counts == [count // 2, (count + 1) // 2]
        close(clients)


async def test_who_has_fewer_left_gets_the_next() -> None:
    async with group(2) as (pairs, port):
        first, second = pairs
        for pair in pairs:
            pair.serve()
        await until(lambda: all(pair.member.is_ready for pair in pairs))
        clients = await connect(port, 6)
        await until(lambda: sum(len(p.adopter.adopted) for p in pairs) == 6)
        first.adopter.gone = 2
        first.line.report_soon()
        before = len(second.adopter.adopted)
        await until(lambda: first.member.load == first.adopter.open_connections)
        clients += await connect(port, 1)
        await until(lambda: sum(len(p.adopter.adopted) for p in pairs) == 7)
        assert len(second.adopter.adopted) == before
        close(clients)


async def test_before_one_is_ready_whoever_connects_is_refused() -> None:
    async with group(2) as (pairs, port):
        with pytest.raises(ConnectionRefusedError):
            await connect(port, 1)
        pairs[1].serve()
        await until(lambda: pairs[1].member.is_ready)
        clients = await connect(port, 3)
        await until(lambda: len(pairs[1].adopter.adopted) == 3)
        close(clients)


async def test_while_none_is_ready_any_more_whoever_connects_waits() -> None:
    async with group(2) as (pairs, port):
        first, second = pairs
        first.serve()
        await until(lambda: first.member.is_ready)
        first.close_line()
        await until(lambda: not first.member.is_ready)
        clients = await connect(port, 3)
        second.serve()
        await until(lambda: len(second.adopter.adopted) == 3)
        close(clients)


async def test_a_process_that_does_not_answer_gets_no_more_than_it_must() -> None:
    async with group(2) as (pairs, port):
        hanging, good = pairs
        for pair in pairs:
            pair.serve()
        await until(lambda: all(pair.member.is_ready for pair in pairs))
        asyncio.get_running_loop().remove_reader(hanging.line._line)
        hanging.member._unanswered = 1
        hanging.member._heard -= 1
        clients = await connect(port, 40)
        await until(lambda: len(good.adopter.adopted) == 40)
        close(clients)


async def test_without_anybody_free_the_rest_waits_in_the_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handover, "_MOST_UNANSWERED", 2)
    async with group(1) as (pairs, port):
        (only,) = pairs
        only.serve()
        await until(lambda: only.member.is_ready)
        clients = await connect(port, 20)
        await until(lambda: len(only.adopter.adopted) == 20)
        close(clients)


async def test_what_is_handed_over_can_be_talked_by() -> None:
    async with group(1) as (pairs, port):
        pairs[0].serve()
        await until(lambda: pairs[0].member.is_ready)
        (client,) = await connect(port, 1)
        await until(lambda: pairs[0].adopter.adopted)
        pairs[0].adopter.adopted[0].sendall(b"hello")
        assert client.recv(5) == b"hello"
        client.close()


async def test_each_end_learns_that_the_other_one_is_gone() -> None:
    async with group(1) as (pairs, _):
        (only,) = pairs
        only.serve()
        await until(lambda: only.member.is_ready)
        only.member.close()
        await asyncio.wait_for(only.lost.wait(), 30)
        await only.line.stop()
    async with group(1) as (pairs, _):
        (only,) = pairs
        only.serve()
        await until(lambda: only.member.is_ready)
        only.close_line()
        await until(lambda: not only.member.is_ready)
        with closing(socket.socket()) as unconnected:
            assert not only.member.hand(unconnected)


async def test_at_a_stop_what_is_on_its_way_is_taken() -> None:
    async with group(1) as (pairs, port):
        (only,) = pairs
        only.serve()
        await until(lambda: only.member.is_ready)
        asyncio.get_running_loop().remove_reader(only.line._line)
        clients = await connect(port, 3)
        await until(lambda: only.member.load == 3)
        await only.line.stop()
        assert len(only.adopter.adopted) == 3
        close(clients)


def test_without_a_supervisor_there_are_no_orders() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    line = Line(theirs.detach())
    with pytest.raises(EOFError):
        line.orders()
    line._line.close()
