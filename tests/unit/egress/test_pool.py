"""A pool on wires without sockets; dialling, deadlines and closing are the transport's."""

import pytest

from tests.support.egress import ManualClock
from tests.unit.egress.test_connection import Wire
from waypost.egress.connection import Call, Connection, KnownAnswers
from waypost.egress.pool import AGE_S, IDLE_S, Idle, Pool
from waypost.model.delivery import Timings
from waypost.model.exchange import Exchange, Reply
from waypost.policy.urls import parse

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Bench:
    """Pools that share their idle connections, and what they did."""

    def __init__(self, limit: int = 9) -> None:
        self.clock = ManualClock()
        self.known = KnownAnswers()
        self.idle = Idle(limit)
        self.dialled: list[Call] = []
        self.ends: list[Exchange] = []

    def pool(self) -> Pool:
        return Pool(
            parse("https://a.example.com/"),
            now=self.clock.monotonic,
            all_idle=self.idle,
            dial=lambda _pool, call: self.dialled.append(call),
            abort=lambda _call: None,
        )

    def post(self, pool: Pool) -> Call:
        return pool.post(b"head", b"body", 5.0, self.ends.append)

    def connect(self, pool: Pool, call: Call) -> Connection:
        """Carry a call over a new connection, as the transport does when it has dialled."""
        connection = Connection(
            now=self.clock.monotonic,
            known=self.known,
            body_max=64,
            on_answer=pool.answered,
            on_broken=lambda *_: None,
            on_lost=lambda *_: None,
        )
        connection.connection_made(Wire())
        call.connection = connection
        connection.call = call
        connection.send(call.head + call.body)
        return connection

    def warm(self, pool: Pool) -> Connection:
        """Make an idle connection."""
        connection = self.connect(pool, self.post(pool))
        connection.data_received(OK)
        return connection


def wire(connection: Connection) -> Wire:
    assert isinstance(connection.transport, Wire)
    return connection.transport


def test_an_idle_connection_is_used_before_another_is_made() -> None:
    bench = Bench()
    pool = bench.pool()
    connection = bench.warm(pool)
    assert (len(bench.dialled), len(bench.idle)) == (1, 1)
    call = bench.post(pool)
    assert call.connection is connection
    assert (call.is_open, len(bench.dialled), len(bench.idle)) == (True, 1, 0)
    assert wire(connection).written == [b"headbody"] * 2
    connection.data_received(OK)
    assert not call.is_open
    assert pool.idle == [connection]


@pytest.mark.parametrize("known", [False, True])
def test_the_reply_tells_what_came_and_how_long_it_took(known: bool) -> None:
    bench = Bench()
    pool = bench.pool()
    raw = (
        b"HTTP/1.1 503 No\r\nretry-after: 7\r\nkeep-alive: timeout=2\r\ncontent-length: 2\r\n\r\nno"
    )
    connection = bench.warm(pool)
    if known:
        bench.post(pool)
        connection.data_received(raw)
    bench.post(pool)
    bench.clock.at_s += 0.25
    connection.data_received(raw)
    assert bench.ends[-1] == Reply(503, b"no", Timings(0, 0, 0, 250_000, 250_000), "7")
    assert connection.expires_at == bench.clock.at_s + 1.5


@pytest.mark.parametrize("after_s, used", [(IDLE_S - 0.01, True), (IDLE_S, False)])
def test_an_expired_connection_is_not_used(after_s: float, used: bool) -> None:
    bench = Bench()
    pool = bench.pool()
    connection = bench.warm(pool)
    bench.clock.at_s += after_s
    assert (bench.post(pool).connection is connection) == used
    assert wire(connection).aborted == (not used)
    assert len(bench.idle) == 0


def test_a_connection_is_kept_to_its_age_at_most() -> None:
    bench = Bench()
    pool = bench.pool()
    connection = bench.warm(pool)
    born_at = bench.clock.at_s
    connection.expires_at = born_at + AGE_S
    bench.clock.at_s += AGE_S - 1.0
    bench.post(pool)
    connection.data_received(OK)
    assert connection.expires_at == born_at + AGE_S


def test_a_connection_that_still_writes_is_not_kept() -> None:
    bench = Bench()
    pool = bench.pool()
    connection = bench.warm(pool)
    bench.post(pool)
    wire(connection).unsent = 1
    connection.data_received(OK)
    assert wire(connection).aborted
    assert pool.idle == []
    assert len(bench.ends) == 2


def test_an_answer_to_a_call_that_was_broken_off_is_nobodys() -> None:
    bench = Bench()
    pool = bench.pool()
    connection = bench.warm(pool)
    bench.post(pool)
    connection.call = None
    connection.data_received(OK)
    assert len(bench.ends) == 1
    assert pool.idle == []


def test_the_longest_idle_of_all_pools_makes_room() -> None:
    bench = Bench(limit=2)
    pools = [bench.pool() for _ in range(3)]
    calls = [bench.connect(pool, bench.post(pool)) for pool in pools]
    for connection in (calls[1], calls[0], calls[2]):
        connection.data_received(OK)
    assert list(bench.idle) == [calls[0], calls[2]]
    assert wire(calls[1]).closed
    assert pools[1].idle == []
