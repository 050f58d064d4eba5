"""The unparker: has what an order had put aside found again, when another one holds.

A change of a project's defaults may concern ten thousand subscriptions at once, of which few have
put anything aside; the change marks these. So it is read first which are marked, and they are
written a few at a time: nobody else waits behind a long transaction, or behind many.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

from msgspec.structs import replace

from waypost.engine.job import log_failed
from waypost.engine.router import Router
from waypost.engine.shards import Shards
from waypost.model.ids import Id
from waypost.model.subscription import Ordering
from waypost.policy.terms import terms_of
from waypost.storage import chains, projects, subscriptions
from waypost.storage.connection import Connection
from waypost.storage.store import Store

_CHUNK: Final = 500
"""So many deliveries at most are found again by one transaction."""

_WRITTEN: Final = 5
"""It is about so many subscriptions at most."""

_READ: Final = 500
"""Of so many at once it is read whether anything is parked."""

_RETRY_S: Final = 1.0

Found = Callable[[], None]


class Unparker:
    """For the loop's thread alone."""

    def __init__(
        self,
        store: Store,
        router: Router,
        shards: Shards,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        """Take what it works on; `spawn` runs what it does."""
        self._store = store
        self._router = router
        self._shards = shards
        self._spawn = spawn
        self._waiting: dict[Id, tuple[Id, Found]] = {}
        self._runs = False

    def add(self, project_id: Id, subscription_id: Id, found: Found) -> None:
        """Have found again what was parked of a subscription; `found` is told of each part."""
        self._waiting[subscription_id] = (project_id, found)
        if not self._runs:
            self._runs = True
            self._spawn(self._run())

    async def _run(self) -> None:
        try:
            while self._waiting:
                some = {one: self._waiting.pop(one) for one in [*islice(self._waiting, _READ)]}
                # A shard's next owner goes on by itself with what is left.
                await self._look({k: v for k, v in some.items() if self._shards.owns(k)})
        finally:
            self._runs = False

    async def _look(self, some: Mapping[Id, tuple[Id, Found]]) -> None:
        """Have found again what is parked of some subscriptions, if they are marked."""
        of = [(project_id, one) for one, (project_id, _) in some.items()]
        try:
            marked = await self._store.read(partial(subscriptions.list_unparking, of=of))
        except Exception as error:  # noqa: BLE001 - nothing may stay owed for ever
            await self._failed(error, some)
            return
        for start in range(0, len(marked), _WRITTEN):
            few = {one: some[one] for _, one in marked[start : start + _WRITTEN]}
            await self._unpark(marked[start : start + _WRITTEN], few)

    async def _unpark(
        self, places: Sequence[tuple[Id, Id]], some: Mapping[Id, tuple[Id, Found]]
    ) -> None:
        try:
            ended = await self._store.write(partial(_unpark, places=places))
        except Exception as error:  # noqa: BLE001 - the same
            await self._failed(error, some)
            return
        for subscription_id, (project_id, found) in some.items():
            if subscription_id in ended:
                known = self._router.find(project_id, subscription_id)
                if known is not None:
                    self._router.refresh(replace(known, unparking=False))
            else:
                # What was added meanwhile is as good, and newer.
                self._waiting.setdefault(subscription_id, (project_id, found))
            found()

    async def _failed(self, error: Exception, some: Mapping[Id, tuple[Id, Found]]) -> None:
        """Do it all again in a while; it may have been committed all the same."""
        log_failed("unpark_failed", error)
        await asyncio.sleep(_RETRY_S)
        self._waiting = {**some, **self._waiting}
        for _, found in some.values():
            found()


def _unpark(connection: Connection, *, places: Sequence[tuple[Id, Id]]) -> set[Id]:
    """Let refills find what is parked of some subscriptions; return those of which none is left."""
    ended: set[Id] = set()
    most = _CHUNK
    for place in places:
        present = subscriptions.find(connection, *place)
        if present is not None and present.unparking:
            terms = terms_of(present, projects.defaults(connection, present.project_id))
            keyless = terms.ordering is Ordering.KEY
            most -= chains.unpark(connection, *place, keyless=keyless, most=most)
            if not most:
                break
            subscriptions.end_unparking(connection, *place)
        ended.add(place[1])
    return ended
