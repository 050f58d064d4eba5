"""The lane keeper: writes down how lanes fare and what holds them up.

For whoever sends to their subscriptions next, and for those who ask why nothing is sent. It is
written behind the lanes' back, at most once a second and together.
"""

from typing import Final

import structlog

from waypost.clock import Clock
from waypost.engine.receiver import Receiver
from waypost.model.errors import StorageFull, Unavailable
from waypost.model.flow import Wait, Waits
from waypost.model.ids import Id
from waypost.storage import lane_states
from waypost.storage.connection import Connection
from waypost.storage.store import Store

_log = structlog.get_logger(__name__)

_MOMENT_US: Final = 1_000_000
"""What waits less than this for a token waits for a moment: until when is not written."""


class LaneKeeper:
    """For the loop's thread alone."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Take what is written to."""
        self._store = store
        self._clock = clock
        self._unsaved: dict[Id, Receiver] = {}
        self._forgotten = 0

    def __bool__(self) -> bool:
        """Tell whether something is to be written."""
        return bool(self._unsaved)

    def look(self, receiver: Receiver, now_us: int) -> None:
        """See what holds up a lane; it may have changed."""
        if receiver.over or receiver.stopping:
            return
        waits = receiver.lane.waits(now_us)
        if waits is not None and receiver.is_suspended:
            waits = Waits(Wait.SUSPENDED)
        if waits is not None and waits.what is Wait.RATE_LIMIT:
            until_us = waits.until_us or now_us
            waits = Waits(Wait.RATE_LIMIT, until_us if until_us > now_us + _MOMENT_US else None)
        if waits != receiver.waits:
            receiver.waits = waits
            self.unsaved(receiver)

    def unsaved(self, receiver: Receiver) -> None:
        """Remember that the state of a lane has changed."""
        self._unsaved[receiver.subscription.id] = receiver

    def forget(self) -> None:
        """Write nothing of what has changed: other processes know better by now."""
        self._unsaved.clear()
        self._forgotten += 1

    async def save(self) -> None:
        """Write what has changed."""
        unsaved, self._unsaved = self._unsaved, {}
        forgotten, now_us = self._forgotten, self._clock.now_us()
        states = [
            # Of one that is over, nothing is known here that holds.
            (
                one.subscription.project_id,
                identifier,
                None if one.ends_for_good else one.state(now_us),
            )
            for identifier, one in unsaved.items()
        ]
        if not states:
            return

        def save(connection: Connection) -> None:
            for project_id, subscription_id, state in states:
                lane_states.save(connection, project_id, subscription_id, state)

        try:
            await self._store.write(save)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next save tries again
            expected = isinstance(error, Unavailable | StorageFull)
            _log.info("lane_states_unsaved", exc_info=None if expected else error)
            if self._forgotten == forgotten:
                self._unsaved = {**unsaved, **self._unsaved}
