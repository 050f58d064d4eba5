"""A receiver takes its subscription's settings, and knows better how it fares."""

from msgspec.structs import replace

from waypost.engine.receiver import DELETED, Receiver, ending_of
from waypost.engine.sender import Address
from waypost.model.delivery import DeliveryState, Reason
from waypost.model.subscription import DisabledBy, Subscription
from waypost.policy.lane import Lane
from waypost.policy.retry import STANDARD
from waypost.policy.work import Work

ONE = Subscription(b"p" * 16, b"a" * 16, "https://a.example/")


def receiver(subscription: Subscription = ONE) -> Receiver:
    lane = Lane(subscription.concurrency, 100, empty=True)
    return Receiver(subscription, Address(subscription, (), None), lane)


def take(one: Receiver, subscription: Subscription) -> None:
    one.take(subscription, Address(subscription, (), None))


def test_what_becomes_of_what_is_pending() -> None:
    """The table of the states of a subscription: kept, cancelled, or failed and diverted."""
    assert ending_of(ONE) is None
    assert ending_of(replace(ONE, paused=True)) is None
    found = {by: ending_of(replace(ONE, disabled_by=by)) for by in DisabledBy}
    shapes = {by: (end.state, end.reason, end.divert) for by, end in found.items() if end}
    assert shapes == {
        DisabledBy.PERSON: (DeliveryState.CANCELLED, Reason.SUBSCRIPTION_DISABLED, False),
        DisabledBy.GONE: (DeliveryState.FAILED, Reason.GONE, True),
        DisabledBy.FAILING: (DeliveryState.FAILED, Reason.SUBSCRIPTION_FAILING, True),
    }
    assert ending_of(None) is DELETED
    assert (DELETED.state, DELETED.divert) == (DeliveryState.CANCELLED, False)


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
    assert (one.ending, one.lane.paused) == (DELETED, True)


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
