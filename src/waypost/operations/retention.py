"""Retention as administrators ask for it, beside what the pruner does by itself."""

import base64
import binascii
from collections import Counter
from typing import Final

import msgspec

from waypost.clock import Clock, IdSource
from waypost.engine.pruner import Pruner
from waypost.engine.sweep import PARTS, Order, Position
from waypost.model.errors import InvalidInput
from waypost.model.ids import ID_BYTES
from waypost.model.project import Principal
from waypost.policy import timestamp
from waypost.storage import audit
from waypost.storage.store import Store

PRUNED: Final = "retention.prune"

_AT_ONCE_S: Final = 0.25
"""For so long a request works; then it answers where it stands."""

_LONGEST_KEY: Final = 2

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Position).decode


class Pruned(msgspec.Struct, frozen=True):
    """What one request has done.

    Attributes:
        rows: how many rows were deleted, or counted, by table; of a dropped partition, about.
        dropped: the partitions that were dropped.
        kept: those that had had their time and were not, with the reason.
        position: from where the next request goes on; None where nothing is left to do.
    """

    rows: dict[str, int]
    dropped: list[str]
    kept: dict[str, str]
    position: str | None


class Retention:
    """Prunes, a bounded part in each call."""

    def __init__(self, store: Store, pruner: Pruner, clock: Clock, source: IdSource) -> None:
        """Take the pruner, and where it is kept who has asked it for what."""
        self._store = store
        self._pruner = pruner
        self._clock = clock
        self._ids = source

    async def prune(
        self,
        principal: Principal,
        before_us: int | None,
        diverted_before_us: int | None,
        *,
        dry: bool,
        position: str | None,
    ) -> Pruned:
        """Delete a part of what has had its time, or count it.

        Args:
            principal: who asks.
            before_us: the moment up to which events go, UTC microseconds; None: by the settings.
            diverted_before_us: the same for diverted events.
            dry: only count.
            position: where the call before has ended; None: from the beginning.

        Raises:
            InvalidInput: the position is none.
        """
        order = self._pruner.order(before_us, diverted_before_us, dry=dry)
        at: Position | None = Position() if position is None else _read(position)
        if position is None and not dry:
            await self._record(principal, order)
        rows: Counter[str] = Counter()
        dropped: list[str] = []
        kept: dict[str, str] = {}
        until = self._clock.monotonic() + _AT_ONCE_S
        while at is not None:
            step = await self._pruner.step(order, at)
            at = step.position
            rows.update(step.rows)
            if step.dropped is not None:
                dropped.append(step.dropped)
            if step.kept is not None:
                kept.update([step.kept])
            if self._clock.monotonic() >= until:
                break
        return Pruned(dict(+rows), dropped, kept, None if at is None else _spell(at))

    async def _record(self, principal: Principal, order: Order) -> None:
        record_id = self._ids.next()
        cuts = order.cuts
        events, diverted = timestamp.spell(cuts.events_us), timestamp.spell(cuts.diverted_us)
        subject = f"events before {events}, diverted before {diverted}"
        await self._store.write(lambda c: audit.record(c, principal, record_id, PRUNED, subject))


def _spell(position: Position) -> str:
    return base64.urlsafe_b64encode(_encode(position)).decode().rstrip("=")


def _read(text: str) -> Position:
    try:
        position = _decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, msgspec.DecodeError):
        position = None
    if (
        position is None
        or position.part not in PARTS
        or len(position.key) > _LONGEST_KEY
        or any(len(part) != ID_BYTES for part in (position.project_id, *position.key))
    ):
        raise InvalidInput(details=[("position", "is not one that an answer has given")])
    return position
