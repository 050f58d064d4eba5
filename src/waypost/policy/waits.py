"""What a delivery that is owed waits for now, in words: the one place where every wait is told.

Whatever may keep a delivery from starting has its rule in `RULES`. A rule looks at a `Standing` and
returns a `Wait`, or None where it keeps nothing back. What only the lane knows comes with
`LaneStanding`: a new kind of wait is a field there, filled by `Receiver.standing`, and a rule here.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from waypost.model import flow
from waypost.policy import timestamp


class Wait(msgspec.Struct, frozen=True):
    """One thing that a delivery waits for.

    Attributes:
        kind: a word for programs.
        reason: a sentence for people.
        until_us: when that ends by itself, UTC microseconds; None where nobody knows.
    """

    kind: str
    reason: str
    until_us: int | None = None


class LaneStanding(msgspec.Struct, frozen=True):
    """How the lane of a subscription stands, as the process that sends for it knows.

    Attributes:
        in_flight: how many tries are in flight.
        limit: how many may be now.
        concurrency: how many may be when all is well.
        held: what holds up all of it; None where nothing does.
        suspect: its last try ran into its deadline, so it waits for a slow slot.
    """

    in_flight: int = 0
    limit: int = 1
    concurrency: int = 1
    held: flow.Waits | None = None
    suspect: bool = False


class Chained(msgspec.Struct, frozen=True):
    """The place of a delivery among those that are sent one after the other.

    Attributes:
        key: their ordering key; None: they are all that a strict subscription is owed.
        ahead: how many go before it.
        exact: else there are more.
        blocked: one before it was given up, and they wait until the key is released.
    """

    key: str | None
    ahead: int = 0
    exact: bool = True
    blocked: bool = False


class Standing(msgspec.Struct, frozen=True):
    """All that decides what a delivery waits for.

    Attributes:
        now_us: the present, UTC microseconds.
        due_us: when its next try may start.
        attempts: how many were made.
        sending: its try is in flight.
        paused: its subscription is, by a person;
        suspended: or by its own failure handling.
        unverified: its URL is still to be verified, or failed it.
        owner: the process that sends for the subscription; None where there is none now.
        here: that process is this one.
        lane: where it is this one, and has looked at the lane.
        held: what holds up all of the lane, by `lane`, or as its owner wrote it down last.
        chained: its place in an order; None where it has none.
    """

    now_us: int
    due_us: int
    attempts: int
    sending: bool = False
    paused: bool = False
    suspended: bool = False
    unverified: bool = False
    owner: str | None = None
    here: bool = True
    lane: LaneStanding | None = None
    held: flow.Waits | None = None
    chained: Chained | None = None


_HELD: Final = {
    flow.Wait.BREAKER_OPEN: "the receiver fails, so the circuit breaker is open until",
    flow.Wait.RETRY_AFTER: "the receiver asked for a pause until",
    flow.Wait.OUTSIDE_HOURS: "the sending hours begin at",
    flow.Wait.RATE_LIMIT: "the rate limit is used up until",
}
"""What may hold up a lane, up to the moment that is told; the rest has rules of its own."""

_KEY_MAX: Final = 100
"""Of a longer ordering key the beginning is told."""

Rule = Callable[[Standing], Wait | None]


def waits(standing: Standing) -> list[Wait]:
    """Return what a delivery waits for now, in the order of the rules; at least one thing."""
    if standing.sending:
        number = standing.attempts + 1
        return [Wait("in_flight", f"attempt {number} is in flight, or being written down")]
    found = [wait for rule in RULES if (wait := rule(standing)) is not None]
    return found or [Wait("turn", "it is due, and starts when its turn comes")]


def _paused(standing: Standing) -> Wait | None:
    if not standing.paused:
        return None
    return Wait("paused", "the event subscription is paused, until somebody resumes it")


def _suspended(standing: Standing) -> Wait | None:
    if not standing.suspended:
        return None
    return Wait("suspended", "its failures have suspended the event subscription; unsuspend it")


def _unverified(standing: Standing) -> Wait | None:
    if not standing.unverified:
        return None
    return Wait("unverified", "the URL of the event subscription has not passed its verification")


def _unowned(standing: Standing) -> Wait | None:
    if standing.owner is not None:
        return None
    return Wait("owner", "no process sends for this event subscription now")


def _blocked(standing: Standing) -> Wait | None:
    chained = standing.chained
    if chained is None or not chained.blocked:
        return None
    what = f"the ordering key {_quoted(chained.key)}"
    if chained.key is None:
        what = "the order of the event subscription"
    reason = f"{what} is blocked by one that was given up, until somebody releases it"
    return Wait("blocked_key", reason)


def _in_order(standing: Standing) -> Wait | None:
    chained = standing.chained
    if chained is None or not chained.ahead:
        return None
    what = f"ordering key {_quoted(chained.key)}"
    if chained.key is None:
        what = "the event subscription's order"
    if not chained.exact:
        return Wait("order", f"it is behind more than {chained.ahead} of {what}")
    return Wait("order", f"it is behind {chained.ahead} of {what}, at position {chained.ahead + 1}")


def _quoted(key: str | None) -> str:
    text = key or ""
    return f'"{text if len(text) <= _KEY_MAX else text[:_KEY_MAX] + "…"}"'


def _next_attempt(standing: Standing) -> Wait | None:
    if standing.due_us <= standing.now_us:
        return None
    number, at = standing.attempts + 1, timestamp.spell(standing.due_us)
    return Wait("next_attempt", f"attempt {number} is due at {at}", standing.due_us)


def _held(standing: Standing) -> Wait | None:
    held = standing.held
    if held is None or held.what not in _HELD:
        return None
    if held.until_us is None:
        return Wait(held.what.value, f"{_HELD[held.what]} a moment from now")
    if held.until_us <= standing.now_us:
        return None
    until = timestamp.spell(held.until_us)
    return Wait(held.what.value, f"{_HELD[held.what]} {until}", held.until_us)


def _concurrency(standing: Standing) -> Wait | None:
    lane = standing.lane
    if lane is None or lane.in_flight < lane.limit:
        return None
    text = f"{lane.in_flight} of {lane.limit} attempts at once are in flight"
    if lane.limit < lane.concurrency:
        text += f" (slowed down from {lane.concurrency}, because it failed)"
    return Wait("concurrency", text)


def _slow(standing: Standing) -> Wait | None:
    lane = standing.lane
    if lane is None or not lane.suspect or standing.due_us > standing.now_us:
        return None
    return Wait("slow_slot", "the receiver was too slow last, so it waits for a slow slot")


def _elsewhere(standing: Standing) -> Wait | None:
    if standing.here or standing.owner is None or standing.due_us > standing.now_us:
        return None
    return Wait("owner", f"it is due, and in the hands of the process {standing.owner}")


RULES: Final[tuple[Rule, ...]] = (
    _paused,
    _suspended,
    _unverified,
    _unowned,
    _blocked,
    _in_order,
    _next_attempt,
    _held,
    _concurrency,
    _slow,
    _elsewhere,
)
"""Every wait there is, in the order in which they are told."""
