"""The store on PostgreSQL when others work beside it, and when the database fails."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from sqlalchemy import Connection, select, text, update

from tests.support import database, postgres
from tests.support.changes import Told, acceptance, count, settlement
from tests.support.database import Records
from waypost.model.errors import InvalidInput, StorageFull, Unavailable
from waypost.storage import facts, projects, schema
from waypost.storage.changes import Acceptance, Entry, Outcome
from waypost.storage.postgres.connection import PostgresOptions
from waypost.storage.postgres.store import MAX_WAITING_WRITES, PostgresStore

ANSWER_S = 5.0
"""Nobody who brings events waits longer: so long where the machine is busy, and still far less than
any statement of ours may take."""

BACK_S = 10.0
"""So long after the database is back, everything goes on."""

NOT_THERE = "postgresql://postgres@127.0.0.1:1/none"


@pytest.fixture
async def store(url: str, records: Records) -> AsyncIterator[PostgresStore]:
    async with database.opened(url) as store:
        yield store


@pytest.fixture
async def hurried(url: str, records: Records) -> AsyncIterator[PostgresStore]:
    """A store that answers as early as in use."""
    async with closing(PostgresStore(url)) as store:
        yield store


@asynccontextmanager
async def closing(store: PostgresStore) -> AsyncIterator[PostgresStore]:
    """Open a store, and close it whatever happens."""
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def stores(url: str, records: Records) -> AsyncIterator[list[PostgresStore]]:
    """Three processes' stores."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(database.opened(url)) for _ in range(3)]


async def accepted(store: PostgresStore, records: Records) -> Acceptance:
    """Hand over an event; return what became of it, which must not take long."""
    told = Told()
    began = time.monotonic()
    store.accept(acceptance(records, told))
    await told.reach(1)
    assert time.monotonic() - began < ANSWER_S
    change: Acceptance = told.all[0]
    return change


async def goes_on(store: PostgresStore, records: Records) -> None:
    """Wait until an event is accepted again."""
    async with asyncio.timeout(BACK_S):
        while (await accepted(store, records)).outcome is not Outcome.COMMITTED:
            await asyncio.wait({asyncio.create_task(asyncio.to_thread(time.monotonic))})


def keyed(records: Records, told: Told, *bodies: tuple[str, bytes]) -> Acceptance:
    """Return an acceptance of events with keys."""
    entries = []
    for key, body in bodies:
        event_id = records.ids.next()
        row = (records.project, event_id, "a", b"{}", None, 1)
        entries.append(Entry(event_id, row, [], key, body.ljust(16)))
    return Acceptance(records.project, bytes(16), 1, entries, 10, 99, told, keyed=True)


@pytest.mark.parametrize("several", [False, True])
async def test_one_key_in_many_processes_is_one_event(
    stores: list[PostgresStore], records: Records, several: bool
) -> None:
    told = Told()
    for number in range(200):
        bodies = [("k", b"same"), ("l", b"same")] if several else [("k", b"same")]
        stores[number % 3].accept(keyed(records, told, *bodies))
    await told.reach(200)
    assert {change.outcome for change in told.all} == {Outcome.COMMITTED}
    (winner,) = [c for c in told.all if c.entries[0].duplicate_of is None]
    first = winner.entries[0].event_id
    assert {c.entries[0].duplicate_of for c in told.all} == {None, first}
    assert await count(stores[0], "events") == 1 + several
    assert await count(stores[0], "receipts") == 199 * (1 + several)
    other = Told()
    stores[1].accept(keyed(records, other, ("k", b"other")))
    stores[2].accept(keyed(records, other, ("new", b"same"), ("k", b"other")))
    await other.reach(2)
    assert {c.outcome for c in other.all} == {Outcome.MISMATCH}
    assert sorted(c.at_index for c in other.all) == [0, 1]
    assert await count(stores[0], "events") == 1 + several
    assert await count(stores[0], "receipts") == 199 * (1 + several) + 2


async def test_read_and_then_written_is_as_if_alone(stores: list[PostgresStore]) -> None:
    def add(connection: Connection) -> None:
        facts.record(connection, "sum", str(int(facts.find(connection, "sum") or "0") + 1))

    await asyncio.gather(*(stores[n % 3].write(add) for n in range(45)))
    assert await stores[0].read(lambda c: facts.find(c, "sum")) == "45"


async def test_one_statement_accepts_and_one_settles(
    store: PostgresStore, records: Records
) -> None:
    one = records.subscription()
    event_id = records.event()
    delivery_id = records.pending(event_id, one)
    before = store.counters.statements
    await accepted(store, records)
    told = Told()
    store.settle(settlement(records, told, delivery_id, event_id))
    await told.reach(1)
    assert store.counters.statements - before == 2
    assert (store.counters.commits, store.counters.written) == (2, 1)


async def test_a_connection_that_was_closed_is_made_anew_unnoticed(
    store: PostgresStore, records: Records
) -> None:
    assert (await accepted(store, records)).outcome is Outcome.COMMITTED
    terminate(records.connection)
    assert (await accepted(store, records)).outcome is Outcome.COMMITTED
    terminate(records.connection)
    with pytest.raises(Unavailable):
        await store.read(lose)
    assert await store.write(lambda _: 1) == 1


def lose(connection: Connection) -> None:
    """Lose the connection within a transaction."""
    connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


def terminate(connection: Connection) -> None:
    """End every connection but this, and see them gone."""
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    connection.execute(text(f"SELECT pg_terminate_backend(pid) {others}"))
    while connection.execute(text(f"SELECT count(*) {others}")).scalar_one():
        pass


async def test_a_write_whose_connection_is_lost_is_not_said_to_hold(
    store: PostgresStore, records: Records
) -> None:
    def write(connection: Connection) -> None:
        facts.record(connection, "a", "b")
        lose(connection)

    with pytest.raises(Unavailable):
        await store.write(write)
    assert await store.read(lambda c: facts.find(c, "a")) is None


async def test_a_database_that_goes_away_and_comes_back() -> None:
    with postgres.running(durable=True) as server:
        database.fill(server.url())
        records = database.make(server.url())
        one = records.subscription()
        event_id = records.event()
        delivery_id = records.pending(event_id, one)
        async with closing(PostgresStore(server.url())) as store:
            await goes_on(store, records)
            server.stop(postgres.CRASH)
            for _ in range(3):
                refused = await accepted(store, records)
                assert refused.outcome is Outcome.FAILED
                assert isinstance(refused.error, Unavailable)
            settled = Told()
            store.settle(settlement(records, settled, delivery_id, event_id))
            for act in (store.read, store.write):
                with pytest.raises(Unavailable):
                    await act(lambda _: None)
            assert settled.all == []
            await asyncio.to_thread(server.start)
            await goes_on(store, records)
            async with asyncio.timeout(BACK_S):
                await settled.reach(1)
            assert not settled.all[0].late
            assert await count(store, "deliveries") == 1
            assert await store.write(lambda _: 1) == 1


async def test_a_commit_that_hangs_is_answered_as_unknown(
    hurried: PostgresStore, records: Records
) -> None:
    store = hurried
    run = records.connection.exec_driver_sql
    run("BEGIN")
    run("LOCK TABLE events")
    for _ in range(2):
        refused = await accepted(store, records)
        assert isinstance(refused.error, Unavailable)
    run("COMMIT")
    await goes_on(store, records)
    # The first was only said to be unknown, and it was written; the second was not begun.
    assert await count(store, "events") == 2


async def test_a_standby_takes_nothing_and_what_is_settled_waits(
    hurried: PostgresStore, records: Records, url: str
) -> None:
    store = hurried
    one = records.subscription()
    event_id = records.event()
    delivery_id = records.pending(event_id, one)
    name = url.rsplit("/", 1)[1]
    run = records.connection.exec_driver_sql
    run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    terminate(records.connection)
    assert isinstance((await accepted(store, records)).error, Unavailable)
    settled = Told()
    store.settle(settlement(records, settled, delivery_id, event_id))
    with pytest.raises(Unavailable):
        await store.write(lambda c: facts.record(c, "a", "b"))
    assert await store.read(lambda c: facts.find(c, "a")) is None
    run(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
    await goes_on(store, records)
    async with asyncio.timeout(BACK_S):
        await settled.reach(1)
    assert not settled.all[0].late


def full(records: Records, table: str) -> None:
    """Let the server say that its disk is full when a row of a table is written."""
    run = records.connection.exec_driver_sql
    run(
        "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$"
    )
    run(f"CREATE TRIGGER full_disk BEFORE INSERT ON {table} EXECUTE FUNCTION no_room()")


async def test_a_full_disk_is_said_to_be_that(store: PostgresStore, records: Records) -> None:
    full(records, "events")
    assert isinstance((await accepted(store, records)).error, StorageFull)
    records.connection.exec_driver_sql("DROP TRIGGER full_disk ON events")
    assert (await accepted(store, records)).outcome is Outcome.COMMITTED
    records.connection.exec_driver_sql(
        "CREATE TRIGGER full_disk BEFORE INSERT ON facts EXECUTE FUNCTION no_room()"
    )
    with pytest.raises(StorageFull):
        await store.write(lambda c: facts.record(c, "a", "b"))


async def test_what_is_settled_waits_for_room(store: PostgresStore, records: Records) -> None:
    one = records.subscription()
    event_id = records.event()
    delivery_id = records.pending(event_id, one)
    full(records, "deliveries")
    settled = Told()
    store.settle(settlement(records, settled, delivery_id, event_id))
    await goes_on(store, records)
    assert settled.all == []
    records.connection.exec_driver_sql("DROP TRIGGER full_disk ON deliveries")
    await settled.reach(1)
    assert await count(store, "queue") == 0


async def test_writes_that_wait_have_an_end(store: PostgresStore, records: Records) -> None:
    hold = threading.Event()
    waiting = [
        asyncio.create_task(store.write(lambda _: hold.wait(10))) for _ in range(MAX_WAITING_WRITES)
    ]
    await asyncio.wait(waiting, timeout=0)
    with pytest.raises(Unavailable):
        await store.write(lambda _: None)
    hold.set()
    await asyncio.gather(*waiting)
    await store.write(lambda _: None)


async def test_everything_works_without_prepared_statements(url: str, records: Records) -> None:
    async with closing(PostgresStore(url, PostgresOptions(prepare=False, answer_s=20.0))) as store:
        assert (await accepted(store, records)).outcome is Outcome.COMMITTED
        assert await store.write(lambda c: projects.bump_routing(c, records.project)) == 2
        assert (await accepted(store, records)).outcome is Outcome.STALE
        prepared = "SELECT count(*) FROM pg_prepared_statements"
        assert await store.read(lambda c: c.execute(text(prepared)).scalar_one()) == 0


async def test_a_change_of_the_tables_is_survived(store: PostgresStore, records: Records) -> None:
    assert (await accepted(store, records)).outcome is Outcome.COMMITTED
    records.connection.exec_driver_sql("ALTER TABLE projects ADD COLUMN more text")
    await goes_on(store, records)
    change = update(schema.projects).values(name="other")
    await store.write(lambda c: c.execute(change))
    assert await store.read(lambda c: c.execute(select(schema.projects.c.name)).scalars().all())


async def test_a_text_that_can_not_be_kept_is_the_caller_s_mistake(
    store: PostgresStore, records: Records
) -> None:
    for act in (store.read, store.write):
        with pytest.raises(InvalidInput, match=r"U\+0000"):
            await act(lambda c: facts.find(c, "a\0b"))


async def test_a_database_that_can_not_be_reached_is_said_so_at_the_start() -> None:
    store = PostgresStore(NOT_THERE)
    with pytest.raises(Unavailable, match="can't be reached"):
        await store.open()
    await store.close()
