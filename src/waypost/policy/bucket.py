"""The token bucket: at most `size + t * count / per_s` starts in any t seconds, exactly.

It is kept as the moment at which it will be full, in microseconds times `count`: a token is then
`per_s` seconds' worth of that unit, a whole number, and nothing is ever rounded but the moment of
the next token, upward.
"""

from typing import Final

from waypost.model.flow import RateLimit

_SECOND_US: Final = 1_000_000


_NEVER: Final = 1 << 100


class Bucket:
    """A bucket of tokens.

    It is empty when it is first asked: nobody knows what was sent before.
    """

    __slots__ = ("_count", "_full", "_size", "_token", "limit")

    def __init__(self, limit: RateLimit) -> None:
        """Make one."""
        self.limit = limit
        self._count = limit.count
        self._token = limit.per_s * _SECOND_US
        self._size = limit.size * self._token
        self._full = _NEVER

    def free_at(self, now_us: int) -> int:
        """Return from when on a token is there, UTC microseconds; what is past is free now."""
        # A clock that was set back must not make it wait for longer than an empty one does.
        self._full = min(self._full, now_us * self._count + self._size)
        return -((self._size - self._token - self._full) // self._count)

    def take(self, now_us: int) -> None:
        """Take a token, which must be there: ask `free_at` before."""
        self._full = max(self._full, now_us * self._count) + self._token

    def give_back(self) -> None:
        """Return a token with which nothing was sent."""
        self._full -= self._token
