"""Workers: they live by their rows, and a shard that has an owner has one that lives."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, insert, select, update

from tests.support import database
from tests.support.database import Place, Records
from waypost.model.shards import SHARDS
from waypost.storage import workers
from waypost.storage.cluster import shards
from waypost.storage.cluster import workers as table
from waypost.storage.workers import Card, Load

LEASE_US = 60_000_000
LONG_AGO = 1_000


def card(number: int, role: str = "all") -> Card:
    return Card(bytes([number]) * 16, f"host:{number}", role, "127.0.0.1:8080", "1.0")


ONE, TWO = card(1), card(2)


@pytest.fixture
def connection(place: Place, records: Records) -> Iterator[Connection]:
    made = database.connect(place)
    if made.dialect.name == "sqlite":
        rows = [{"shard": shard, "epoch": 0} for shard in range(SHARDS)]
        made.execute(insert(shards), rows)
    yield made
    made.close()
    made.engine.dispose()


def die(connection: Connection, one: Card) -> None:
    connection.execute(update(table).where(table.c.id == one.id).values(lease_until_us=LONG_AGO))


def own(connection: Connection, one: Card, *owned: int) -> None:
    connection.execute(
        update(shards).where(shards.c.shard.in_(owned)).values(owner=one.id, epoch=1)
    )


def test_one_that_renews_in_time_lives(connection: Connection) -> None:
    joined_us = workers.join(connection, ONE, LEASE_US)
    load = Load(delivered=5, rate=2.5, lag_ms=7, in_flight=3)
    renewed_us = workers.renew(connection, ONE.id, "stopping", load, LEASE_US)
    assert renewed_us is not None
    assert renewed_us >= joined_us
    assert workers.expire(connection) == 0
    (peer,) = workers.peers(connection)
    assert (peer.id, peer.role) == (ONE.id, "stopping")
    assert 0 < peer.left_us <= LEASE_US
    (found,) = workers.list_all(connection)
    assert found.card == card(1, "stopping")
    assert found.load == load
    assert 0 <= found.age_us < LEASE_US
    assert found.shards == ()


def test_one_whose_lease_has_ended_is_buried_and_its_shards_are_free(
    connection: Connection,
) -> None:
    for one in (ONE, TWO):
        workers.join(connection, one, LEASE_US)
    own(connection, ONE, 3, 4)
    own(connection, TWO, 5)
    assert workers.count_free(connection) == SHARDS - 3
    die(connection, ONE)
    assert workers.expire(connection) == 1
    assert workers.owned(connection, ONE.id) == {}
    assert workers.owned(connection, TWO.id) == {5: 1}
    assert workers.count_free(connection) == SHARDS - 1
    assert workers.renew(connection, ONE.id, "all", Load(), LEASE_US) is None


def test_one_that_leaves_frees_what_it_has(connection: Connection) -> None:
    workers.join(connection, ONE, LEASE_US)
    own(connection, ONE, 3, 4)
    workers.leave(connection, ONE.id)
    assert workers.peers(connection) == []
    assert workers.count_free(connection) == SHARDS


def test_one_frees_only_what_is_its_own(connection: Connection) -> None:
    for one in (ONE, TWO):
        workers.join(connection, one, LEASE_US)
    own(connection, ONE, 3, 4)
    own(connection, TWO, 5)
    workers.release(connection, ONE.id, [3, 5])
    assert [found.shards for found in workers.list_all(connection)] == [(4,), (5,)]


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
def test_a_claim_takes_what_is_free_and_no_more_than_it_says(connection: Connection) -> None:
    for one in (ONE, TWO):
        workers.join(connection, one, LEASE_US)
    first = workers.claim(connection, ONE.id, 100)
    assert first == dict.fromkeys(range(100), 1)
    workers.release(connection, ONE.id, range(10))
    again = workers.claim(connection, TWO.id, 5)
    assert again == dict.fromkeys(range(5), 2)
    assert len(workers.claim(connection, TWO.id, 500)) == SHARDS - 95
    assert workers.claim(connection, ONE.id, 5) == {}
    assert workers.count_free(connection) == 0


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
def test_the_dead_claim_nothing(connection: Connection) -> None:
    assert workers.claim(connection, ONE.id, 5) == {}
    assert connection.execute(select(shards.c.epoch).distinct()).scalars().all() == [0]


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
def test_a_claim_waits_for_whoever_buries_its_worker_and_then_takes_nothing(
    place: str, connection: Connection
) -> None:
    workers.join(connection, ONE, LEASE_US)
    other = database.connect(place)
    other.exec_driver_sql("SET lock_timeout = '200ms'")
    connection.exec_driver_sql("BEGIN")
    die(connection, ONE)
    workers.expire(connection)
    with pytest.raises(Exception, match="lock timeout"):
        workers.claim(other, ONE.id, 5)
    connection.exec_driver_sql("COMMIT")
    assert workers.claim(other, ONE.id, 5) == {}
    other.close()
    other.engine.dispose()


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
def test_two_that_claim_at_once_take_different_shards(place: str, connection: Connection) -> None:
    for one in (ONE, TWO):
        workers.join(connection, one, LEASE_US)
    other = database.connect(place)
    connection.exec_driver_sql("BEGIN")
    first = workers.claim(connection, ONE.id, 128)
    # Does not wait for the other one: what that one takes is passed by.
    second = workers.claim(other, TWO.id, 128)
    connection.exec_driver_sql("COMMIT")
    assert set(first) | set(second) == set(range(SHARDS))
    assert len(first) == len(second) == SHARDS // 2
    other.close()
    other.engine.dispose()
