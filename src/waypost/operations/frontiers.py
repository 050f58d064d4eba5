"""Frontiers: up to where no event is to be had any more under a transaction key.

Who keeps up with what comes has nearly all that is old behind it: a look from the beginning would
pass over all of it each time. What has a transaction never is without one again, so the frontier
only moves on. A lease that runs out behind it is found by its index.

In memory alone, of this process: after a start the first look goes from the beginning.
"""

from collections import OrderedDict
from typing import Final

import msgspec

from waypost.model import ids
from waypost.model.ids import Id
from waypost.model.transaction import CLAIMABLE, Standing
from waypost.storage.transactions import Wanted

REMEMBERED_MAX: Final = 10_000
"""How many are remembered: of more, those that were used least lately are forgotten."""

UNORDERED_US: Final = 1_000_000
"""An event may be committed so much later than another one that has a later id."""

_Key = tuple[Id, tuple[str, ...], str, frozenset[Standing]]


class _Known(msgspec.Struct, frozen=True):
    """Of the events with ids in [first, end) none is to be had but by a lease that runs out."""

    first: Id
    end: Id


class Frontiers:
    """For the loop's thread alone."""

    def __init__(self, late_us: int) -> None:
        """Begin with none; another process may commit an event so much after its id was made."""
        self._late_us = late_us
        self._known: OrderedDict[_Key, _Known] = OrderedDict()

    def start(self, project_id: Id, wanted: Wanted) -> Id:
        """Return the event from which on to look."""
        first = wanted.first
        known = self._known.get(_key(project_id, wanted))
        if known is None or first < known.first:
            return first
        return max(first, known.end)

    def learn(
        self, project_id: Id, wanted: Wanted, start: Id, found: Id | None, now_us: int
    ) -> None:
        """Learn from a look.

        Args:
            project_id: whose events.
            wanted: which ones were looked for.
            start: from where on.
            found: the first that was found; where none was, the newest that there is; None where
                there is none at all, or it was not looked so far.
            now_us: the present, UTC microseconds.
        """
        if found is None or wanted.admits is not None or not _is_final(wanted.standings):
            return
        end_us = min(ids.moment(found) - UNORDERED_US, now_us - self._late_us)
        end = ids.lowest(end_us)
        key = _key(project_id, wanted)
        known = self._known.get(key)
        if known is None or wanted.first < known.first:
            known = _Known(wanted.first, end)
        elif start <= known.end < end:
            known = _Known(known.first, end)
        if known.end <= known.first:
            return
        self._known[key] = known
        self._known.move_to_end(key)
        if len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)


def _key(project_id: Id, wanted: Wanted) -> _Key:
    return project_id, wanted.types, wanted.tx_key, wanted.standings


def _is_final(standings: frozenset[Standing]) -> bool:
    """Tell whether what does not stand so never will again, but by a lease that runs out."""
    return Standing.ABSENT in standings and standings <= CLAIMABLE
