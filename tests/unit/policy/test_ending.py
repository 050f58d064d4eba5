"""What becomes of what is owed to a subscription that is not to be sent to."""

import pytest
from msgspec.structs import replace

from waypost.model import ids
from waypost.model.delivery import DeliveryState, Reason
from waypost.model.failure import (
    BUILT_IN,
    FailureHandling,
    Incoming,
    OnGivingUp,
    Pending,
    Suspension,
    WhileSuspended,
)
from waypost.model.subscription import DisabledBy, Subscription
from waypost.policy.ending import DELETED, Ending, Endings, endings_of

ONE = Subscription(b"p" * 16, b"a" * 16, "https://a.example/")
SINCE_US = 1_700_000_000_000_000
SUSPENDED = replace(ONE, suspension=Suspension(SINCE_US, b"e" * 16, "500", "status 500"))
BEFORE, AT, LATER = (ids.make(SINCE_US + gap_us, 0) for gap_us in (-1, 0, 10**9))
DIVERTED = Ending(DeliveryState.FAILED, Reason.SUBSCRIPTION_SUSPENDED, divert=True)
CANCELLED = Ending(DeliveryState.CANCELLED, Reason.SUBSCRIPTION_SUSPENDED, divert=False)


def suspending(pending: Pending, incoming: Incoming) -> FailureHandling:
    return FailureHandling(
        on_giving_up=(OnGivingUp.SUSPEND,), suspended=WhileSuspended(pending, incoming)
    )


@pytest.mark.parametrize(
    "subscription, ending",
    [
        (
            replace(ONE, disabled_by=DisabledBy.PERSON),
            (DeliveryState.CANCELLED, Reason.SUBSCRIPTION_DISABLED, False),
        ),
        (replace(ONE, disabled_by=DisabledBy.GONE), (DeliveryState.FAILED, Reason.GONE, True)),
        (
            replace(SUSPENDED, disabled_by=DisabledBy.FAILING),
            (DeliveryState.FAILED, Reason.SUBSCRIPTION_FAILING, True),
        ),
        (None, (DeliveryState.CANCELLED, Reason.SUBSCRIPTION_DELETED, False)),
    ],
)
def test_all_ends_alike_where_it_is_for_good(
    subscription: Subscription | None, ending: tuple[DeliveryState, Reason, bool]
) -> None:
    endings = endings_of(subscription, suspending(Pending.KEEP, Incoming.DIVERT))
    assert endings is not None
    expected = Ending(*ending)
    assert [endings.of(one) for one in (BEFORE, AT, LATER)] == [expected] * 3
    assert endings.parts() == [(expected, None)]


def test_what_is_enabled_or_paused_stays_owed() -> None:
    for one in (ONE, replace(ONE, paused=True)):
        assert endings_of(one, suspending(Pending.DIVERT, Incoming.CANCEL)) is None
    assert endings_of(None, BUILT_IN) is DELETED


PENDING = {Pending.KEEP: None, Pending.DIVERT: DIVERTED}
INCOMING = {Incoming.KEEP: None, Incoming.DIVERT: DIVERTED, Incoming.CANCEL: CANCELLED}


@pytest.mark.parametrize("pending", Pending)
@pytest.mark.parametrize("incoming", Incoming)
def test_a_suspension_tells_what_was_owed_from_what_comes(
    pending: Pending, incoming: Incoming
) -> None:
    endings = endings_of(SUSPENDED, suspending(pending, incoming))
    before, later = PENDING[pending], INCOMING[incoming]
    if before is None and later is None:
        assert endings is None
        return
    assert endings == Endings(before, later, SINCE_US)
    assert [endings.of(one) for one in (BEFORE, AT, LATER)] == [before, later, later]
    spans = {span: ending for ending, span in endings.parts()}
    assert len(spans) == (before is not None) + (later is not None)
    for span, ending in spans.items():
        assert span is not None
        first, behind = ids.lowest(span[0]), ids.lowest(span[1])
        held = [one for one in (BEFORE, AT, LATER) if first <= one < behind]
        assert held == ([BEFORE] if span[0] == 0 else [AT, LATER])
        assert {endings.of(one) for one in held} == {ending}
