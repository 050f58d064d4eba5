"""A throttle: who is told of many things is told of some, and how many were left out between."""

from collections.abc import Hashable
from typing import Final

from waypost.policy.rate import FULL, Allowance, spend

_TIDIED_AT: Final = 1_000


class Throttle:
    """One bucket of tokens for each key; those that are full take no memory."""

    def __init__(self, allowance: Allowance) -> None:
        """Take what each key may spend."""
        self._allowance = allowance
        self._full_at: dict[Hashable, float] = {}
        self._left_out: dict[Hashable, int] = {}
        self._tidied = _TIDIED_AT

    def admit(self, key: Hashable, now_s: float) -> int | None:
        """Return how many were left out since the last one that was told; None: so is this one."""
        spent = spend(self._allowance, self._full_at.get(key, FULL), now_s)
        if spent.wait_s:
            self._left_out[key] = self._left_out.get(key, 0) + 1
            return None
        self._full_at[key] = spent.full_at
        if len(self._full_at) > self._tidied:
            self._tidy(now_s)
        return self._left_out.pop(key, 0)

    def _tidy(self, now_s: float) -> None:
        """Forget full buckets; what was left out of them too: that was long ago."""
        self._full_at = {key: at for key, at in self._full_at.items() if at > now_s}
        self._left_out = {k: n for k, n in self._left_out.items() if k in self._full_at}
        # Looked at anew when twice as many are in use: so each costs little, however many.
        self._tidied = max(_TIDIED_AT, 2 * len(self._full_at))
