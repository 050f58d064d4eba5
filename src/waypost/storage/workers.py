"""The workers that live, and who owns which shard.

A worker lives by its row: it holds it until `lease_until_us`, by the database's clock, and renews
it in time. Whoever meets a row whose lease has ended deletes it, and frees its shards in the same
transaction; so a shard that has an owner has one that lives. Renewing and deleting lock the row, so
one of them comes first and the other one sees what it did.

A claim locks the worker's own row as well: nobody claims for a worker that is being deleted.
"""

from collections.abc import Collection
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, text, update

from waypost.model.ids import Id
from waypost.model.shards import Shard
from waypost.storage.cluster import shards, workers
from waypost.storage.moment import now_us

IDLE_ROLES: Final = frozenset({"api", "stopping"})
"""Workers in these roles own no shards, or are about to own none."""

_CLAIM: Final = text(
    # Materialized: as a sub-select with a LIMIT, the planner may run it several times, and claim
    # more. Whoever is asked to wait for a row passes it by: somebody else is claiming it.
    "WITH me AS MATERIALIZED (SELECT id FROM workers WHERE id = :me FOR KEY SHARE), "
    "free AS MATERIALIZED (SELECT shard FROM shards WHERE owner IS NULL AND EXISTS (SELECT FROM me)"
    " ORDER BY shard LIMIT :most FOR UPDATE SKIP LOCKED) "
    "UPDATE shards SET owner = :me, epoch = epoch + 1 FROM free WHERE shards.shard = free.shard "
    "RETURNING shards.shard, shards.epoch"
)


class Card(msgspec.Struct, frozen=True):
    """What a worker says of itself when it comes."""

    id: Id
    name: str
    role: str
    listen: str
    version: str


class Load(msgspec.Struct, frozen=True):
    """How a worker fares, as of its last heartbeat.

    Attributes:
        delivered: how many deliveries it has delivered since it started.
        rate: deliveries a second since the heartbeat before.
        lag_ms: for how long the oldest delivery that is due has waited for its start.
        in_flight: tries in flight or being settled.
    """

    delivered: int = 0
    rate: float = 0.0
    lag_ms: int = 0
    in_flight: int = 0


class Peer(msgspec.Struct, frozen=True):
    """A worker that lives, as another one sees it; `left_us`: its lease ends after so long."""

    id: Id
    role: str
    left_us: int


class Worker(msgspec.Struct, frozen=True):
    """A worker, as people see it.

    Attributes:
        age_us: how long ago it came.
        left_us: after so long its lease ends; negative: it is dead.
        shards: those that it owns.
    """

    card: Card
    load: Load
    age_us: int
    left_us: int
    shards: tuple[Shard, ...]


def join(connection: Connection, card: Card, lease_us: int) -> int:
    """Take a worker in; return the database's clock, UTC microseconds."""
    return int(
        connection.execute(
            insert(workers)
            .values(
                id=card.id,
                name=card.name,
                role=card.role,
                listen=card.listen,
                version=card.version,
                started_us=now_us(),
                lease_until_us=now_us() + lease_us,
            )
            .returning(workers.c.lease_until_us - lease_us)
        ).scalar_one()
    )


def renew(connection: Connection, me: Id, role: str, load: Load, lease_us: int) -> int | None:
    """Renew a worker's lease from now on; return the database's clock, UTC microseconds.

    Returns:
        None where its lease had ended and somebody has deleted it: it owns nothing any more.
    """
    return connection.execute(
        update(workers)
        .where(workers.c.id == me)
        .values(lease_until_us=now_us() + lease_us, role=role, **msgspec.structs.asdict(load))
        .returning(workers.c.lease_until_us - lease_us)
    ).scalar_one_or_none()


def expire(connection: Connection) -> int:
    """Delete the workers whose lease has ended and free their shards; return how many there were.

    Call it in a transaction: the second statement must see what was claimed until the first.
    """
    dead = connection.execute(
        delete(workers).where(workers.c.lease_until_us < now_us()).returning(workers.c.id)
    ).scalars()
    return _free(connection, list(dead))


def leave(connection: Connection, me: Id) -> None:
    """Take a worker out and free its shards. Call it in a transaction, as `expire`."""
    connection.execute(delete(workers).where(workers.c.id == me))
    _free(connection, [me])


def _free(connection: Connection, owners: Collection[Id]) -> int:
    if owners:
        connection.execute(update(shards).where(shards.c.owner.in_(owners)).values(owner=None))
    return len(owners)


def peers(connection: Connection) -> list[Peer]:
    """Return the workers that live."""
    left_us = workers.c.lease_until_us - now_us()
    rows = connection.execute(select(workers.c.id, workers.c.role, left_us.label("left_us")))
    return [Peer(row.id, row.role, row.left_us) for row in rows]


def owned(connection: Connection, me: Id) -> dict[Shard, int]:
    """Return the shards that a worker owns, with their epochs."""
    rows = connection.execute(select(shards.c.shard, shards.c.epoch).where(shards.c.owner == me))
    return {row.shard: row.epoch for row in rows}


def count_free(connection: Connection) -> int:
    """Return how many shards have no owner."""
    free = select(func.count()).select_from(shards).where(shards.c.owner.is_(None))
    return int(connection.execute(free).scalar_one())


def claim(connection: Connection, me: Id, most: int) -> dict[Shard, int]:
    """Take at most so many free shards; return those that were taken, with their epochs.

    On PostgreSQL alone: where one process has the database, nobody claims anything.
    """
    rows = connection.execute(_CLAIM, {"me": me, "most": most})
    return {row.shard: row.epoch for row in rows}


def release(connection: Connection, me: Id, given_up: Collection[Shard]) -> None:
    """Free shards that a worker owns and sends nothing of any more."""
    connection.execute(
        update(shards).where(shards.c.owner == me, shards.c.shard.in_(given_up)).values(owner=None)
    )


def list_all(connection: Connection) -> list[Worker]:
    """Return all workers by the time when they came, with what they own."""
    mine: dict[Id, list[Shard]] = {}
    for row in connection.execute(select(shards).order_by(shards.c.shard)):
        mine.setdefault(row.owner, []).append(row.shard)
    found = connection.execute(
        select(workers, now_us().label("now_us")).order_by(workers.c.started_us, workers.c.id)
    )
    return [
        Worker(
            Card(row.id, row.name, row.role, row.listen, row.version),
            Load(row.delivered, row.rate, row.lag_ms, row.in_flight),
            age_us=row.now_us - row.started_us,
            left_us=row.lease_until_us - row.now_us,
            shards=tuple(mine.get(row.id, ())),
        )
        for row in found
    ]
