"""What `waypost serve` does while PostgreSQL is away, or does not answer: it says so, and goes on.

Every test has a real server, and a producer and a receiver whose ledgers must agree at the end.
"""

import json
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from psycopg import sql

from tests.acceptance.test_postgres import migrate, serving, subscribe
from tests.support import postgres
from tests.support.postgres import CRASH, Server
from tests.support.producer import Producer, producer
from tests.support.program import Program, call
from tests.support.receiver import Receiver, receiver
from tests.support.site import eventually
from tests.support.wire import Wire, wire

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")

IN_FLIGHT = 32
"""So many events at most may come twice: those that were in flight as it happened."""

BACK_S = 10.0
"""After the database is back everything goes on by itself within this time."""

AWAY_S = 20.0
MIB = 1024 * 1024
LARGE = 100_000
GROWTH = 16 * MIB
"""It looks for its database from some threads more, and the collector comes by at times. What is
refused meanwhile is several times as much."""

OURS = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'waypost %'"


Found = Callable[[str, object], None]


class Rig(NamedTuple):
    """A server, its database, its receiver, and who posts to it."""

    database: Server
    program: Program
    url: str
    received: Receiver
    producer: Producer


@pytest.fixture(scope="module")
def database() -> Iterator[Server]:
    """A server that the tests of this file have one after the other."""
    with postgres.running(durable=True) as running:
        migrate(running.url())
        yield running


@contextmanager
def rig(folder: Path, database: Server, url: str, *arguments: str) -> Iterator[Rig]:
    """Have a light load on a server; what is right at the end of each test is checked here."""
    settings = {"WAYPOST_MAX_IN_FLIGHT": str(IN_FLIGHT)}
    with receiver() as received, serving(folder, url, *arguments, **settings) as (program, at):
        token = subscribe(at, received.url)
        with producer(at) as posting:
            made = Rig(database, program, at, received, posting)
            posting.accepts()
            yield made
            posting.accepts()
        posting.assert_kept(received, doubled=IN_FLIGHT)
        status, _ = call(at, f"/v1/event_subscriptions/{token}", method="DELETE")
        assert status in {200, 204}
        assert program.stop() == 0
        assert "Traceback" not in "\n".join(program.lines)


def goes_on(rig: Rig) -> float:
    """Wait until events are accepted and delivered again; return after how many seconds."""
    began = time.monotonic()
    rig.producer.accepts(1)
    rig.received.wait_for(len(rig.received.requests) + 1)
    took = time.monotonic() - began
    assert took < BACK_S
    return took


def warnings(program: Program) -> Counter[str]:
    """Count what was logged above the level of information, of a server that has ended."""
    entries = [json.loads(line) for line in program.lines if line.startswith("{")]
    return Counter(one["event"] for one in entries if one["level"] not in {"debug", "info"})


@pytest.mark.parametrize("how", [pytest.param(signal.SIGINT, marks=pytest.mark.long), CRASH])
def test_a_restart(
    tmp_path: Path, database: Server, how: signal.Signals, record_property: Found
) -> None:
    with rig(tmp_path, database, database.url()) as it:
        database.stop(how)
        it.producer.is_refused(20)
        database.start()
        record_property("goes on after a restart, s", f"{goes_on(it):.2f}")
    it.producer.assert_refused_well()
    told = warnings(it.program)
    assert told.pop("database_away") == told.pop("database_back") == 1
    assert told <= Counter(lease_lost=1, shards_lost=1)


def test_all_connections_are_ended_again_and_again(tmp_path: Path, database: Server) -> None:
    with rig(tmp_path, database, database.url()) as it:
        for _ in range(10):
            database.execute(f"SELECT pg_terminate_backend(pid) FROM ({OURS}) AS ours")
            it.producer.accepts(10)
            goes_on(it)
    assert set(warnings(it.program)) <= {"database_away", "database_back"}


# The connection breaks at the worst moment.


class Cut(NamedTuple):
    """A server whose connections go through a wire."""

    wire: Wire
    url: str
    program: Program


@pytest.fixture
def cut(tmp_path: Path, database: Server) -> Iterator[Cut]:
    between = wire(database.port)
    with between as made, serving(tmp_path, made.through(database.url())) as (program, at):
        yield Cut(made, at, program)
        assert program.stop() == 0
        assert "Traceback" not in "\n".join(program.lines)


def count(database: Server, table: str, condition: str = "true") -> int:
    query = sql.SQL(f"SELECT count(*) FROM {table} WHERE {condition}")
    with psycopg.connect(database.url()) as connection:
        (found,) = connection.execute(query).fetchone() or (0,)
    return int(found)


def test_a_commit_whose_answer_is_lost_is_one_event(cut: Cut, database: Server) -> None:
    event = {"event_type": "card.lost", "payload": {"n": 1}, "idempotency_key": "one"}
    cut.wire.cut_after(b"waypost accept", b"\0accept_keyed\0")
    began = time.monotonic()
    status, _ = call(cut.url, "/v1/events", event)
    assert (status, cut.wire.cuts) == (503, 1)
    assert time.monotonic() - began < 1.0
    status, found = call(cut.url, "/v1/events", event)
    assert (status, found["duplicate"]) == (202, True)
    assert count(database, "events", "type = 'card.lost'") == 1


def test_so_is_a_batch_of_them(cut: Cut, database: Server) -> None:
    kept = "card.lost.in.batch"
    events = [
        {"event_type": kept, "payload": {"n": n}, "idempotency_key": f"batch-{n}"} for n in range(3)
    ]
    cut.wire.cut_after(b"waypost accept", b"COMMIT")
    status, _ = call(cut.url, "/v1/events/batch", {"events": events})
    assert (status, cut.wire.cuts) == (503, 1)
    status, found = call(cut.url, "/v1/events/batch", {"events": events})
    assert status == 202
    assert [one["duplicate"] for one in found["data"]] == [True] * len(events)
    assert count(database, "events", f"type = '{kept}'") == len(events)


def test_a_settlement_whose_answer_is_lost_is_one_delivery(cut: Cut, database: Server) -> None:
    before = count(database, "deliveries")
    with receiver() as received:
        token = subscribe(cut.url, received.url)
        cut.wire.cut_after(b"waypost settle", b"\0delivered\0")
        status, event = call(cut.url, "/v1/events", {"event_type": "card.paid", "payload": {}})
        assert status == 202
        eventually(lambda: cut.wire.cuts)
        path = f"/v1/events/{event['token']}/deliveries"
        eventually(
            lambda: [one["state"] for one in call(cut.url, path)[1].get("data", ())],
            lambda states: states == ["delivered"],
        )
        assert len(received.requests) == 1
        assert count(database, "deliveries") == before + 1
        call(cut.url, f"/v1/event_subscriptions/{token}", method="DELETE")


# The database does not answer.


def test_a_black_hole(tmp_path: Path, database: Server, record_property: Found) -> None:
    with (
        wire(database.port) as between,
        rig(tmp_path, database, between.through(database.url())) as it,
    ):
        between.clog()
        it.producer.is_refused(20)
        between.flow()
        record_property("goes on after a black hole, s", f"{goes_on(it):.2f}")
    it.producer.assert_refused_well()


@pytest.mark.long
def test_memory_stays_as_it_is_while_the_database_is_away(
    tmp_path: Path, database: Server, record_property: Found
) -> None:
    with rig(tmp_path, database, database.url()) as it:
        with producer(it.url, size=LARGE) as second, producer(it.url, size=LARGE) as third:
            for one in (second, third):
                one.accepts()
            before = resident(it.program)
            database.stop(CRASH)
            began = time.monotonic()
            eventually(lambda: time.monotonic() - began > AWAY_S)
            after = resident(it.program)
            database.start()
            goes_on(it)
        for one in (second, third):
            one.assert_refused_well()
            one.assert_kept(it.received, doubled=IN_FLIGHT)
    record_property("MiB more after an outage", (after - before) // MIB)
    assert after - before < GROWTH


def resident(program: Program) -> int:
    pages = int(Path(f"/proc/{program.pid}/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize()


# What is never left open, and what ends by itself.


def test_no_transaction_waits_for_a_receiver(tmp_path: Path, database: Server) -> None:
    """As the server sees it, while receivers hang: none of ours is idle in a transaction."""
    open_for = (
        "SELECT count(*) FILTER (WHERE xact_start < clock_timestamp() - interval '500 ms'),"
        " count(*) FROM pg_stat_activity WHERE application_name LIKE 'waypost %'"
    )
    with rig(tmp_path, database, database.url()) as it:
        it.received.gate.clear()
        arrived = len(it.received.requests)
        with psycopg.connect(database.url(), autocommit=True) as watching:
            began = time.monotonic()
            while time.monotonic() - began < 3 or len(it.received.requests) < arrived + IN_FLIGHT:
                idle, ours = watching.execute(open_for).fetchone() or (1, 0)
                assert (idle, ours > 0) == (0, True)
        it.received.gate.set()


def test_every_connection_has_its_time_limits(tmp_path: Path, database: Server) -> None:
    with wire(database.port) as between, rig(tmp_path, database, between.through(database.url())):
        pass
    greetings = [greeting for greeting in between.greetings if b"application_name" in greeting]
    names = {greeting.partition(b"waypost ")[2].partition(b"\0")[0] for greeting in greetings}
    assert {b"accept", b"settle", b"write", b"owed", b"channel", b"lease", b"follower"} <= names
    for limit in (b"statement_timeout", b"idle_in_transaction_session_timeout", b"lock_timeout"):
        assert [one for one in greetings if b"-c %s=" % limit not in one] == []
