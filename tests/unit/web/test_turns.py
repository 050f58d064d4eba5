import asyncio
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from waypost.web.limits import ByteBudget
from waypost.web.turns import AsgiTurn, FastTurn, PartingTransport


class Keeper:
    """A connection that counts what it is asked for."""

    def __init__(self) -> None:
        self.advanced = 0
        self.parted = 0

    def advance(self) -> None:
        self.advanced += 1

    def part(self) -> None:
        self.parted += 1


def fast_turn(keeper: Keeper, budget: ByteBudget, cost: int) -> FastTurn:
    budget.take(cost)
    return FastTurn(keeper, None, [], budget, cost)


def cycle() -> RequestResponseCycle:
    nothing: Any = None
    return RequestResponseCycle(
        scope=nothing,
        transport=nothing,
        flow=nothing,
        logger=nothing,
        access_logger=nothing,
        access_log=False,
        default_headers=[],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=True,
        on_response=lambda: None,
    )


def test_a_body_comes_in_parts() -> None:
    for parts in ([], [b"a"], [b"a", b"b"], [b"a", b"b", b"c"]):
        turn = fast_turn(Keeper(), ByteBudget(0), 0)
        for part in parts:
            turn.receive(part)
        turn.complete()
        assert turn.body == b"".join(parts)
        assert type(turn.body) is bytes
        assert turn.is_complete


def test_an_answer_gives_the_bytes_back_and_moves_the_connection() -> None:
    keeper, budget = Keeper(), ByteBudget(10)
    turn = fast_turn(keeper, budget, 10)
    turn.respond(200, b"{}")
    assert turn.answer == (200, b"{}", (), b"application/json")
    assert keeper.advanced == 1
    assert budget.free == 10


def test_what_is_with_the_handler_counts_until_it_answers() -> None:
    keeper, budget = Keeper(), ByteBudget(10)
    turn = fast_turn(keeper, budget, 10)
    turn.handed_over = True
    turn.abandon()
    assert budget.free == 0
    turn.respond(200, b"{}")
    assert budget.free == 10
    assert keeper.advanced == 0


def test_what_is_not_yet_with_the_handler_is_forgotten() -> None:
    budget = ByteBudget(10)
    fast_turn(Keeper(), budget, 10).abandon()
    assert budget.free == 10


async def test_an_application_counts_as_long_as_it_runs() -> None:
    budget = ByteBudget(10)
    seen: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(budget.free)
        raise LookupError

    budget.take(4)
    turn = AsgiTurn(cycle(), app, budget, 4)
    assert turn.reserve(4)
    assert turn.reserve(7)
    assert not turn.reserve(11)
    assert budget.free == 3
    turn.handed_over = True
    turn.abandon()
    assert turn.cycle.disconnected
    assert turn.cycle.message_event.is_set()
    assert budget.free == 3
    with pytest.raises(LookupError):
        await turn({}, None, None)
    assert seen == [3]
    assert budget.free == 10


async def test_an_application_that_never_ran_is_forgotten() -> None:
    budget = ByteBudget(10)
    budget.take(4)
    AsgiTurn(cycle(), cycle, budget, 4).abandon()  # type: ignore[arg-type] # a stand-in
    assert budget.free == 10


async def test_the_cycle_says_whether_the_connection_stays() -> None:
    turn = AsgiTurn(cycle(), cycle, ByteBudget(0), 0)  # type: ignore[arg-type] # a stand-in
    assert turn.keep_alive
    turn.keep_alive = False
    assert not turn.cycle.keep_alive


def test_an_application_closes_by_way_of_the_connection() -> None:
    class Transport:
        written = b""

        def write(self, data: bytes) -> None:
            self.written += data

        def is_closing(self) -> bool:
            return True

    keeper, transport = Keeper(), Transport()
    parting = PartingTransport(keeper, transport)
    parting.write(b"a")
    parting.close()
    assert transport.written == b"a"
    assert parting.is_closing()
    assert keeper.parted == 1
