"""The recorder: what became of a try, as the rows that the committer writes together."""

from collections.abc import Callable
from typing import Final

import msgspec

from waypost.model.delivery import AttemptState, DeliveryState, Reason, Timings
from waypost.model.ids import Id
from waypost.policy.ending import Ending
from waypost.policy.outcome import Outcome, OutcomeKind
from waypost.policy.settle import Delivered, RetryAt, Skipped, Transition
from waypost.policy.work import Work
from waypost.storage.changes import Settlement

_encode = msgspec.msgpack.Encoder().encode

_DELIVERED: Final = OutcomeKind.DELIVERED
_STATE_DELIVERED: Final = int(DeliveryState.DELIVERED)
_STATE_FAILED: Final = int(DeliveryState.FAILED)
_SUCCESS: Final = int(AttemptState.SUCCESS)
_FAILED: Final = int(AttemptState.FAILED)

Done = Callable[[Settlement], None]


class Try(msgspec.Struct, frozen=True):
    """One try that has ended.

    Attributes:
        resent: the request was written twice within the try.
        ended_us: when it ended, UTC microseconds.
    """

    project_id: Id
    subscription_id: Id
    work: Work
    outcome: Outcome
    timings: Timings
    resent: bool
    ended_us: int


def settlement(tried: Try, transition: Transition, ending: Ending | None, done: Done) -> Settlement:
    """Return the settlement of a try.

    Args:
        tried: the try.
        transition: what was decided by its outcome.
        ending: what its subscription was ended by meanwhile: what was not delivered ends so too.
        done: called after the commit.
    """
    if isinstance(transition, Delivered):
        return _final(tried, _STATE_DELIVERED, None, divert=False, done=done)
    if ending is not None:
        return _final(tried, int(ending.state), ending.reason, divert=ending.divert, done=done)
    if isinstance(transition, Skipped):
        return _skipped(tried, done)
    if isinstance(transition, RetryAt):
        return _retry(tried, transition.due_us, done)
    return _final(tried, _STATE_FAILED, transition.reason, divert=transition.divert, done=done)


def _final(tried: Try, state: int, reason: str | None, *, divert: bool, done: Done) -> Settlement:
    """Return the settlement that takes a delivery out of the queue."""
    work = tried.work
    number = work.attempts + 1
    project_id, event_id = tried.project_id, work.event_id
    subscription_id, ended_us = tried.subscription_id, tried.ended_us
    return Settlement(
        project_id,
        event_id,
        work.id,
        work.attempts,
        _attempt(tried, number),
        done,
        delivery=(
            project_id,
            event_id,
            work.id,
            subscription_id,
            state,
            number,
            ended_us,
            reason,
        ),
        diverted=(project_id, work.id, event_id, subscription_id, reason, ended_us, number)
        if divert
        else None,
    )


def _skipped(tried: Try, done: Done) -> Settlement:
    """Return the settlement that takes a delivery out of the queue without a try."""
    work = tried.work
    place = (tried.project_id, work.event_id, work.id)
    end = (int(DeliveryState.CANCELLED), work.attempts, tried.ended_us, Reason.SKIPPED)
    delivery = (*place, tried.subscription_id, *end)
    return Settlement(*place, work.attempts, (), done, delivery=delivery)


def _retry(tried: Try, due_us: int, done: Done) -> Settlement:
    """Return the settlement that keeps a delivery in the queue until `due_us`."""
    work = tried.work
    return Settlement(
        tried.project_id,
        work.event_id,
        work.id,
        work.attempts,
        _attempt(tried, work.attempts + 1),
        done,
        retry_at_us=due_us,
    )


def _attempt(tried: Try, number: int) -> tuple[object, ...]:
    work, outcome = tried.work, tried.outcome
    return (
        tried.project_id,
        work.event_id,
        work.attempt_id,
        work.id,
        tried.subscription_id,
        number,
        _SUCCESS if outcome.kind is _DELIVERED else _FAILED,
        outcome.status_code,
        outcome.response,
        None,
        _encode(tried.timings),
        int(tried.resent),
    )
