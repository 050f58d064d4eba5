"""The planted bugs of a cluster, and the point at which a worker can be made to stall.

None of them shows while no worker is frozen for longer than its lease, or none commits late.
"""

import math
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import text

from tests.torture.crash_points import patch
from waypost.engine.ownership import Ownership
from waypost.engine.refiller import Refiller
from waypost.engine.shards import Shards
from waypost.storage import chains
from waypost.storage.postgres import hot
from waypost.storage.postgres.session import Session, Statement
from waypost.storage.postgres.settling import Settler

_LOST_S = 0.5


def go_on_without_a_lease() -> None:
    """Never stop sending: neither by one's own clock, nor when the database says so."""

    def for_ever(self: Shards, _: float) -> None:
        self._lease = self._confirmed = self.until = math.inf

    def shrug(self: Ownership) -> None:
        self._next_s = _LOST_S

    patch(Shards, "lease", for_ever)
    patch(Shards, "confirm", for_ever)
    patch(Ownership, "_lose", shrug)


def settle_whoever_owns_it() -> None:
    """Write what became of a try without a look at whose it is by now."""
    compared = b" AND s.epoch = g.epoch"
    assert compared in hot.OTHERS.sql
    unfenced = Statement("others", "", hot.OTHERS.types)
    unfenced.sql = hot.OTHERS.sql.replace(compared, b"")
    patch(hot, "OTHERS", unfenced)


def read_on_from_the_last() -> None:
    """Refill a lane from behind the newest delivery that was read, as if commits came in order."""
    read = Refiller._read
    newest: dict[bytes, bytes] = {}

    async def patched(self: Refiller, receivers: Any, limits: Any) -> Any:
        heads, now_us = await read(self, receivers, limits)
        for receiver, head in zip(receivers, heads, strict=True):
            last = newest.get(receiver.subscription.id, b"")
            rows = [row for row in head.rows if row.owed.attempts or row.owed.id > last]
            newest[receiver.subscription.id] = max([last, *(row.owed.id for row in rows)])
            head.rows[:] = rows
        return heads, now_us

    patch(Refiller, "_read", patched)


def order_by_what_was_made_first() -> None:
    """Read chains by the ids of their deliveries, as if those were made as they are committed."""
    by_number = "ORDER BY queue.sequence, queue.id"
    text_of = str(chains._CHAINS["postgresql"])
    assert by_number in text_of
    found = {**chains._CHAINS, "postgresql": text(text_of.replace(by_number, "ORDER BY queue.id"))}
    patch(chains, "_CHAINS", found)
    patch(chains, "_place", lambda row: row.id)


BUGS: Mapping[str, Callable[[], None]] = {
    "no-fencing": go_on_without_a_lease,
    "owner-unchecked": settle_whoever_owns_it,
    "cursor-over-late-commits": read_on_from_the_last,
    "order-by-id": order_by_what_was_made_first,
}


def stall_at_a_failure(folder: Path) -> None:
    """Freeze this process when it is about to write that a try has failed for good.

    Of the processes that are given one folder only the first that comes to it.
    """
    write = Settler._settle
    mark = folder / "stalled"

    def patched(self: Settler, session: Session, some: list[Any], *rest: Any) -> None:
        if any(one.diverted is not None for one in some):
            try:
                mark.touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGSTOP)
        write(self, session, some, *rest)

    patch(Settler, "_settle", patched)
