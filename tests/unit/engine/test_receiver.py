"""A receiver takes its subscription's settings, and knows better how it fares."""

from typing import Any

import pytest
from msgspec.structs import replace

from waypost.engine.receiver import Receiver
from waypost.engine.sender import Address
from waypost.model import ids
from waypost.model.delivery import Reason
from waypost.model.failure import (
    FailureHandling,
    Incoming,
    OnGivingUp,
    Pending,
    Suspension,
    WhileSuspended,
)
from waypost.model.flow import Wait, Waits
from waypost.model.subscription import (
    DEFAULT_CONCURRENCY,
    DisabledBy,
    OnOrderFailure,
    Ordering,
    Subscription,
)
from waypost.model.verification import Verification, VerificationMode, VerificationState
from waypost.policy.ending import DELETED
from waypost.policy.lane import Lane
from waypost.policy.outcome import Outcome, OutcomeKind
from waypost.policy.retry import STANDARD
from waypost.policy.settle import GaveUp
from waypost.policy.waits import LaneStanding
from waypost.policy.work import Work

ONE = Subscription(b"p" * 16, b"a" * 16, "https://a.example/")


def receiver(subscription: Subscription = ONE) -> Receiver:
    lane = Lane(DEFAULT_CONCURRENCY, 100, empty=True)
    return Receiver(subscription, Address(subscription, (), None), lane)


def take(one: Receiver, subscription: Subscription) -> None:
    one.take(subscription, Address(subscription, (), None))


def test_it_takes_settings() -> None:
    one = receiver()
    assert len(one.policy.schedule_s) == len(STANDARD)
    take(one, replace(ONE, concurrency=7, paused=True, retry_schedule_s=(1.0,)))
    assert (one.lane.concurrency, one.lane.paused, one.ending) == (7, True, None)
    assert len(one.policy.schedule_s) == 1
    take(one, replace(ONE, disabled_by=DisabledBy.GONE))
    assert one.lane.paused
    assert one.ending is not None
    back = receiver(replace(ONE, disabled_by=DisabledBy.GONE, paused=True))
    take(back, ONE)
    assert (back.lane.paused, back.ending) == (False, None)


def test_what_it_knows_of_how_it_fares_is_newer_than_what_was_saved() -> None:
    one = receiver(replace(ONE, failing_since_us=5))
    assert one.failing_since_us == 5
    one.failing_since_us = None
    take(one, replace(ONE, failing_since_us=5))
    assert one.failing_since_us is None
    one.failing_since_us = 9
    take(one, ONE)
    assert one.failing_since_us == 9


def test_enabled_again_it_starts_anew() -> None:
    one = receiver()
    one.failing_since_us = 9
    take(one, replace(ONE, disabled_by=DisabledBy.FAILING, failing_since_us=9))
    assert one.failing_since_us == 9
    take(one, ONE)
    assert one.failing_since_us is None


def test_deleted_it_starts_nothing() -> None:
    one = receiver()
    one.delete()
    assert (one.endings, one.ending, one.lane.paused) == (DELETED, DELETED.incoming, True)


def test_it_is_idle_when_nothing_would_be_lost() -> None:
    one = receiver()
    assert one.is_idle()
    one.suspect = True
    assert not one.is_idle()
    one.suspect, one.queued = False, True
    assert not one.is_idle()
    one.queued = False
    one.lane.push(Work(b"d" * 16, b"e" * 16, 0, 1, 0), 1)
    assert not one.is_idle()


def test_what_leaves_starts_nothing_whatever_becomes_of_the_subscription() -> None:
    one = receiver()
    assert (one.shard, one.epoch, one.over) == (ONE.id[-1], 1, False)
    one.leave()
    assert (one.over, one.lane.paused) == (True, True)
    take(one, ONE)
    assert (one.over, one.lane.paused) == (True, True)


def test_nothing_is_sent_before_it_is_verified() -> None:
    asked = Verification(VerificationMode.CHALLENGE)
    one = receiver(replace(ONE, verification=asked))
    for state in VerificationState:
        take(one, replace(ONE, verification=replace(asked, state=state)))
        assert one.lane.paused is (state is not VerificationState.VERIFIED)
        assert (one.ending, one.over) == (None, False)


def test_it_is_sent_to_no_faster_than_it_allows() -> None:
    asked = Verification(VerificationMode.CLOUDEVENTS, state=VerificationState.VERIFIED)
    one = receiver(replace(ONE, verification=replace(asked, per_minute=120)))
    assert not one.lane.gate.clear
    assert one.lane.gate.free_at(1_000_000) == 1_000_000 + 500_000
    take(one, replace(ONE, verification=asked))
    assert one.lane.gate.clear


WHY = Suspension(5, b"e" * 16, "500", "status 500")


def suspending(pending: Pending, incoming: Incoming) -> Subscription:
    handling = FailureHandling(
        on_giving_up=(OnGivingUp.SUSPEND,), suspended=WhileSuspended(pending, incoming)
    )
    return replace(ONE, failure_handling=handling)


@pytest.mark.parametrize("pending", Pending)
@pytest.mark.parametrize("incoming", Incoming)
def test_suspended_it_starts_nothing_and_ramps_when_it_goes_on(
    pending: Pending, incoming: Incoming
) -> None:
    present = suspending(pending, incoming)
    one = receiver(present)
    one.failing_since_us = 9
    take(one, replace(present, suspension=WHY))
    assert (one.lane.paused, one.is_suspended, one.ends_for_good) == (True, True, False)
    assert one.over == (one.endings is not None)
    assert (one.ending is None) == (incoming is Incoming.KEEP)
    take(one, present)
    assert (one.lane.paused, one.is_suspended) == (False, False)
    assert (one.lane.limit, one.lane.concurrency) == (1, DEFAULT_CONCURRENCY)
    assert (one.ending, one.over) == (None, False)
    assert not one.failing_since_us


def test_it_is_stopped_once() -> None:
    one = receiver()
    assert one.stop()
    assert not one.stop()
    assert one.lane.paused
    take(one, replace(ONE, disabled_by=DisabledBy.GONE))
    assert not one.stop()
    take(one, replace(suspending(Pending.KEEP, Incoming.KEEP), suspension=WHY))
    assert one.stop(), "a suspended one can still be disabled"


def test_how_it_fares_is_told_when_it_changes() -> None:
    one = receiver()
    good, bad = Outcome(OutcomeKind.DELIVERED, 200, b""), Outcome(OutcomeKind.FAILED, 500, b"")
    late = replace(bad, status_code=0, timeout=True)
    assert not one.observe(good, 1, 1)
    assert one.observe(bad, 2, 2)
    assert one.observe(late, 3, 3), "one at a time from now on"
    assert not one.observe(late, 3, 3)
    assert (one.failing_since_us, one.suspect, one.lane.limit) == (2, True, 1)
    assert one.observe(good, 4, 4)
    assert (one.failing_since_us, one.suspect, one.lane.limit) == (None, False, 2)


def test_only_notices_of_failures_never_have_their_subscription_disabled() -> None:
    hidden = replace(ONE, project_id=ids.alerts_of(ids.make(1, 1)))
    assert (receiver(hidden).of_alerts, receiver(hidden).policy.lasting) == (True, True)
    assert (receiver().of_alerts, receiver().policy.lasting) == (False, False)


def test_it_tells_how_its_lane_stands_and_what_holds_it_up() -> None:
    one, now_us = receiver(), 1_800_000_000_000_000
    assert one.standing(now_us) == LaneStanding(0, DEFAULT_CONCURRENCY, DEFAULT_CONCURRENCY)
    one.lane.failed(now_us, started_us=now_us, slow_down=True, retry_after_s=30.0)
    one.suspect = True
    held = Waits(Wait.RETRY_AFTER, now_us + 30_000_000)
    told = LaneStanding(0, 1, DEFAULT_CONCURRENCY, held, suspect=True)
    assert one.standing(now_us) == told
    assert one.standing(now_us + 30_000_000).held is None


KEPT = GaveUp(Reason.EXHAUSTED)


@pytest.mark.parametrize(
    "settings, key, transition, blocks",
    [
        ({}, "a", KEPT, True),
        ({"ordering": Ordering.STRICT}, "", KEPT, True),
        ({"on_order_failure": OnOrderFailure.CONTINUE}, "a", KEPT, False),
        ({}, None, KEPT, False),
        ({}, "a", GaveUp(Reason.EXPIRED), False),
        ({}, "a", GaveUp(Reason.EXHAUSTED, suspend=True), False),
        ({}, "a", GaveUp(Reason.GONE, disable=DisabledBy.GONE), False),
        ({"disabled_by": DisabledBy.PERSON}, "a", KEPT, False),
        ({"suspension": Suspension(1, b"e" * 16, "500", "no")}, "a", KEPT, True),
    ],
)
def test_what_is_given_up_blocks_its_key_where_that_is_asked_for(
    settings: dict[str, Any], key: str | None, transition: GaveUp, blocks: bool
) -> None:
    asked: dict[str, Any] = {"ordering": Ordering.KEY, "on_order_failure": OnOrderFailure.BLOCK}
    one = receiver(replace(ONE, **{**asked, **settings}))
    given_up = Work(ids.make(2, 1), b"e" * 16, 0, 1, 0, key=key)
    assert one.blocks(given_up, transition) is blocks
    one.leave()
    assert one.blocks(given_up, transition) is blocks, "the next owner must find it blocked"
