"""Rate limits: a token bucket as a value, in the form of one number.

A bucket is the moment at which it will be full again (the generic cell rate algorithm): that one
number says how many tokens it holds at any moment, and nothing has to refill it.
"""

from typing import Final

import msgspec


class Allowance(msgspec.Struct, frozen=True):
    """How much may be spent.

    Attributes:
        per_s: tokens that come back each second, > 0.
        burst: tokens of a full bucket, >= 1.
    """

    per_s: float
    burst: int


class Spent(msgspec.Struct, frozen=True):
    """What an attempt to spend came to.

    Attributes:
        full_at: the bucket from now on: when it will be full, in the seconds that `now` counts.
        remaining: whole tokens left.
        wait_s: 0 where a token was taken; else none was, and so many seconds until one is there.
    """

    full_at: float
    remaining: int
    wait_s: float


FULL: Final = 0.0
"""A bucket that has not been touched."""


def spend(allowance: Allowance, full_at: float, now: float) -> Spent:
    """Take one token out of the bucket, if it holds one.

    Args:
        allowance: the bucket's size and speed.
        full_at: the bucket.
        now: the present, monotonic seconds.
    """
    held_s = allowance.burst / allowance.per_s
    after = (max(now, full_at)) + 1.0 / allowance.per_s
    ahead_s = after - now
    if ahead_s > held_s + 1e-9:
        return Spent(full_at, 0, ahead_s - held_s)
    return Spent(after, int((held_s - ahead_s) * allowance.per_s + 1e-6), 0.0)
