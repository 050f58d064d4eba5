"""What the answer to an attempt means."""

from enum import StrEnum
from typing import Final

import msgspec

from waypost.model.exchange import Exchange, FailureKind, Reply
from waypost.policy.retry import parse_retry_after

KEPT_OF_SUCCESS: Final = 256
KEPT_OF_FAILURE: Final = 4096
"""How many bytes of an answer are kept with the attempt."""

SLOW_DOWN: Final = frozenset({429, 502, 503, 504})
"""Statuses of a receiver that has more to do than it can."""

_GONE: Final = 410


class OutcomeKind(StrEnum):
    """Whether the receiver took the event."""

    DELIVERED = "delivered"
    FAILED = "failed"


class Outcome(msgspec.Struct, frozen=True):
    """What one attempt came to.

    Attributes:
        status_code: the receiver's status, 0 where none came.
        response: what is kept: the start of the answer, or the text of the transport's error.
        slow_down: the receiver is overloaded.
        gone: the receiver wants nothing more, ever.
        timeout: the deadline passed before a complete answer.
        failure: where it broke off, where no answer came.
        retry_after_s: seconds for which the receiver asked to be left alone.
    """

    kind: OutcomeKind
    status_code: int
    response: bytes
    slow_down: bool = False
    gone: bool = False
    timeout: bool = False
    retry_after_s: float | None = None
    failure: FailureKind | None = None


_DELIVERED: Final = OutcomeKind.DELIVERED


def classify(exchange: Exchange, now_us: int) -> Outcome:
    """Judge what came back: 200 to 299 is success, all else failure, redirects included.

    Standard Webhooks 1.0.0, "Deliverability": 410 ends the subscription; 429, 502 and 504 slow it
    down, and 503 as well, which goes with `Retry-After`.

    Args:
        exchange: a complete answer, or the transport's failure.
        now_us: UTC microseconds, for a `Retry-After` that is a date.
    """
    if not isinstance(exchange, Reply):
        return Outcome(
            OutcomeKind.FAILED,
            0,
            exchange.text.encode(errors="replace")[:KEPT_OF_FAILURE],
            timeout=exchange.kind is FailureKind.TIMEOUT,
            failure=exchange.kind,
        )
    status = exchange.status
    if 200 <= status <= 299:
        return Outcome(_DELIVERED, status, exchange.body[:KEPT_OF_SUCCESS])
    return Outcome(
        OutcomeKind.FAILED,
        status,
        exchange.body[:KEPT_OF_FAILURE],
        slow_down=status in SLOW_DOWN,
        gone=status == _GONE,
        retry_after_s=parse_retry_after(exchange.retry_after, now_us),
    )
