"""Balance: how the shards are shared out among the workers that are alive.

Each worker decides for itself, from what it sees: how many free shards it claims, and which of its
own it gives up. The shares of all workers add up to all shards, whoever is alive. So when all see
the same workers, those above their share give up exactly what those below it lack, and then nobody
moves anything until a worker comes or goes.
"""

from collections.abc import Collection, Sequence

import msgspec

from waypost.model.ids import Id
from waypost.model.shards import SHARDS, Shard


class Plan(msgspec.Struct, frozen=True):
    """What one worker does next.

    Attributes:
        claim: how many of the free shards it takes.
        release: which of its own it gives up, once nothing of them is in flight.
    """

    claim: int
    release: tuple[Shard, ...]


def share(workers: Sequence[Id], me: Id) -> int:
    """Return how many shards a worker is to own.

    Args:
        workers: those that are alive and send; their order is nothing.
        me: the worker; one that is not among them is to own none.
    """
    if me not in workers:
        return 0
    each, rest = divmod(SHARDS, len(workers))
    return each + (sorted(workers).index(me) < rest)


def plan(
    workers: Sequence[Id], me: Id, owned: Collection[Shard], leaving: Collection[Shard], free: int
) -> Plan:
    """Decide what a worker does next.

    Args:
        workers: those that are alive and send.
        me: the worker.
        owned: the shards that it owns, those that it gives up already included.
        leaving: those of them that it gives up already.
        free: how many have no owner.
    """
    staying = sorted(set(owned) - set(leaving))
    mine = share(workers, me)
    return Plan(
        claim=max(min(free, mine - len(staying)), 0),
        release=tuple(staying[mine:]),
    )
