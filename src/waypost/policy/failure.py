"""What a failed try means to a subscription: its failure handling, made ready to decide by."""

from functools import lru_cache
from typing import Final

import msgspec

from waypost.model.exchange import FailureKind
from waypost.model.failure import (
    BUILT_IN,
    FailureHandling,
    OnGivingUp,
    Otherwise,
    Retry,
    Strategy,
)
from waypost.policy.outcome import Outcome
from waypost.policy.retry import JITTER, STANDARD

MAX_INTERVAL_S: Final = 86400.0
"""The longest gap that a strategy makes unless it is told another one: a day."""

TIMEOUT: Final = "timeout"
CONNECTION: Final = "connection"
TLS: Final = "tls"

_WORDS: Final = {FailureKind.TIMEOUT: TIMEOUT, FailureKind.TLS: TLS}
_DOUBLINGS: Final = 64
"""Beyond so many even the shortest gap is far longer than the longest allowed."""
_MESSAGE_CHARS: Final = 256


class FailurePolicy(msgspec.Struct, frozen=True):
    """How a subscription's failures are decided on.

    Attributes:
        schedule_s: seconds from each failed attempt to the next; there is one attempt more.
        jitter: the share of a gap by which chance may shorten or stretch it.
        window_us: no retry is due later than this after the delivery was made, microseconds.
        triggers: the names of failures that count; None for all.
        disable_after_us: nothing but failures for so long disables the subscription, microseconds;
            None for the server's.
        lasting: a receiver that is gone, or has failed for days, is not disabled.
    """

    schedule_s: tuple[float, ...] = STANDARD
    jitter: float = JITTER
    window_us: int | None = None
    triggers: frozenset[str] | None = None
    otherwise: Otherwise = Otherwise.TRIGGER
    divert: bool = True
    suspend: bool = False
    disable: bool = False
    alert: bool = False
    disable_after_us: int | None = None
    lasting: bool = False


@lru_cache(maxsize=1024)
def gaps_s(retry: Retry) -> tuple[float, ...]:
    """Return the gaps that a strategy makes, in seconds: as many as it has retries."""
    if retry.strategy is Strategy.SCHEDULE:
        return retry.schedule_s
    longest_s = MAX_INTERVAL_S if retry.max_interval_s is None else retry.max_interval_s
    longest_s = max(longest_s, retry.interval_s)
    return tuple(
        min(retry.interval_s * _factor(retry.strategy, number), longest_s)
        for number in range(1, retry.retries + 1)
    )


def _factor(strategy: Strategy, number: int) -> float:
    """Return by what the interval grows before retry `number`, from 1."""
    if strategy is Strategy.LINEAR:
        return number
    if strategy is Strategy.EXPONENTIAL:
        return 2.0 ** min(number - 1, _DOUBLINGS)
    return 1


def policy_of(
    handling: FailureHandling = BUILT_IN,
    schedule_s: tuple[float, ...] = STANDARD,
    *,
    lasting: bool = False,
) -> FailurePolicy:
    """Return what to decide by.

    Args:
        handling: the failure handling that holds.
        schedule_s: the gaps between tries that hold, in seconds.
        lasting: the subscription is never disabled by itself.
    """
    retry, window_s = handling.retry, handling.retry_window_s
    disable_s = handling.disable_after_s
    done = handling.on_giving_up
    return FailurePolicy(
        schedule_s,
        jitter=JITTER if retry is None or retry.jitter is None else retry.jitter,
        window_us=None if window_s is None else int(window_s * 1_000_000),
        triggers=None if handling.triggers is None else frozenset(handling.triggers),
        otherwise=handling.otherwise,
        divert=OnGivingUp.DIVERT in done,
        suspend=OnGivingUp.SUSPEND in done,
        disable=OnGivingUp.DISABLE in done,
        alert=OnGivingUp.ALERT in done,
        disable_after_us=None if disable_s is None else int(disable_s * 1_000_000),
        lasting=lasting or handling.never_disable,
    )


def trigger_of(outcome: Outcome, triggers: frozenset[str] | None) -> str | None:
    """Return the most specific trigger that names a failure; None where none does.

    Where all failures count it is the failure's own name.
    """
    own = failure_name(outcome)
    if triggers is None or own in triggers:
        return own
    family = f"{own[0]}xx" if outcome.status_code else own
    return family if family in triggers else None


def failure_name(outcome: Outcome) -> str:
    """Return what a trigger calls a failure: its status, "timeout", "tls" or "connection".

    "connection" is everything else that kept an answer from coming whole, from a name that is not
    found to an address that may not be sent to.
    """
    if outcome.status_code:
        return str(outcome.status_code)
    return _WORDS.get(outcome.failure, CONNECTION) if outcome.failure else CONNECTION


def message_of(outcome: Outcome) -> str:
    """Return one sentence for people about a failure: the status and the start of the answer."""
    text = outcome.response.decode(errors="replace")[:_MESSAGE_CHARS].strip()
    if not outcome.status_code:
        return text or failure_name(outcome)
    return f"status {outcome.status_code}: {text}" if text else f"status {outcome.status_code}"
