import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.model.delivery import (
    TRANSITIONS,
    DeliveryState,
    Reason,
)
from waypost.model.exchange import FailureKind
from waypost.model.failure import Otherwise
from waypost.model.subscription import DisabledBy
from waypost.policy.failure import FailurePolicy
from waypost.policy.outcome import Outcome, OutcomeKind
from waypost.policy.settle import (
    DISABLE_AFTER_US,
    Delivered,
    GaveUp,
    RetryAt,
    Transition,
    internal_failure,
    settle,
)

NOW_US = 1_700_000_000_000_000
SECOND_US = 1_000_000
DAY_US = 24 * 3600 * SECOND_US
POLICY = FailurePolicy((5.0, 300.0))
MIDDLE = 0.5

GOOD = Outcome(OutcomeKind.DELIVERED, 204, b"")
BAD = Outcome(OutcomeKind.FAILED, 500, b"")
GONE = Outcome(OutcomeKind.FAILED, 410, b"", gone=True)
BUSY = Outcome(OutcomeKind.FAILED, 503, b"", slow_down=True, retry_after_s=60.0)

ONE_DISABLED = GaveUp(Reason.SUBSCRIPTION_FAILING, disable=DisabledBy.FAILING)
RECEIVER_GONE = GaveUp(Reason.GONE, disable=DisabledBy.GONE)
EXHAUSTED = GaveUp(Reason.EXHAUSTED)


def after(seconds: float) -> RetryAt:
    return RetryAt(NOW_US + int(seconds * SECOND_US))


@pytest.mark.parametrize(
    "attempts, outcome, failing_for_us, transition",
    [
        (0, GOOD, None, Delivered()),
        (2, GOOD, None, Delivered()),
        (9, GOOD, 9 * DAY_US, Delivered()),
        (0, BAD, None, after(5)),
        (1, BAD, None, after(300)),
        (2, BAD, None, EXHAUSTED),
        (9, BAD, None, EXHAUSTED),
        (0, BUSY, None, after(60)),
        (1, BUSY, None, after(300)),
        (2, BUSY, None, EXHAUSTED),
        (0, GONE, None, RECEIVER_GONE),
        (2, GONE, None, RECEIVER_GONE),
        (0, GONE, 9 * DAY_US, RECEIVER_GONE),
        (0, BAD, 0, after(5)),
        (0, BAD, 5 * DAY_US - 1, after(5)),
        (0, BAD, 5 * DAY_US, ONE_DISABLED),
        (2, BAD, 5 * DAY_US - 1, EXHAUSTED),
        (2, BAD, 5 * DAY_US, ONE_DISABLED),
    ],
)
def test_what_follows_an_attempt(
    attempts: int, outcome: Outcome, failing_for_us: int | None, transition: Transition
) -> None:
    since_us = None if failing_for_us is None else NOW_US - failing_for_us
    settled = settle(attempts, outcome, POLICY, NOW_US, MIDDLE, since_us, DISABLE_AFTER_US)
    assert settled == transition


def give_up(**policy: object) -> Transition:
    """Settle the last try of a schedule of none."""
    return settle(0, BAD, FailurePolicy((), **policy), NOW_US, MIDDLE, None)  # type: ignore[arg-type] # fields by name


@pytest.mark.parametrize(
    "policy, transition",
    [
        ({}, EXHAUSTED),
        ({"divert": False}, GaveUp(Reason.EXHAUSTED, divert=False)),
        ({"suspend": True}, GaveUp(Reason.EXHAUSTED, suspend=True)),
        ({"disable": True}, GaveUp(Reason.EXHAUSTED, disable=DisabledBy.FAILING)),
        ({"alert": True, "divert": False}, GaveUp(Reason.EXHAUSTED, divert=False, alert=True)),
    ],
)
def test_what_follows_from_giving_up_is_a_setting(
    policy: dict[str, object], transition: Transition
) -> None:
    assert give_up(**policy) == transition


FIVES = frozenset({"5xx", "timeout"})
LATE = Outcome(OutcomeKind.FAILED, 0, b"", timeout=True, failure=FailureKind.TIMEOUT)
BROKEN = Outcome(OutcomeKind.FAILED, 0, b"", failure=FailureKind.CONNECTION)
MISSING = Outcome(OutcomeKind.FAILED, 404, b"")


@pytest.mark.parametrize("outcome", [BAD, BUSY, LATE])
@pytest.mark.parametrize("otherwise", Otherwise)
def test_a_trigger_is_tried_again(outcome: Outcome, otherwise: Otherwise) -> None:
    policy = FailurePolicy((5.0,), triggers=FIVES, otherwise=otherwise)
    assert isinstance(settle(0, outcome, policy, NOW_US, MIDDLE, None), RetryAt)


@pytest.mark.parametrize("outcome", [MISSING, BROKEN])
@pytest.mark.parametrize(
    "otherwise, transition",
    [
        (Otherwise.TRIGGER, after(5)),
        (Otherwise.DIVERT, GaveUp(Reason.NOT_A_TRIGGER)),
        (Otherwise.IGNORE, GaveUp(Reason.NOT_A_TRIGGER, divert=False)),
    ],
)
def test_what_no_trigger_names_is_a_setting(
    outcome: Outcome, otherwise: Otherwise, transition: Transition
) -> None:
    policy = FailurePolicy(
        (5.0,), triggers=FIVES, otherwise=otherwise, alert=True, suspend=True, disable=True
    )
    assert settle(0, outcome, policy, NOW_US, MIDDLE, None) == transition


@pytest.mark.parametrize(
    "made_before_s, window_s, transition",
    [
        (0, 5, after(5)),
        (0, 4.9, EXHAUSTED),
        (60, 64, EXHAUSTED),
        (60, 65, after(5)),
    ],
)
def test_no_retry_is_due_beyond_the_window(
    made_before_s: float, window_s: float, transition: Transition
) -> None:
    policy = FailurePolicy((5.0,), window_us=int(window_s * SECOND_US))
    made_us = NOW_US - int(made_before_s * SECOND_US)
    assert settle(0, BAD, policy, NOW_US, MIDDLE, None, made_us=made_us) == transition


@pytest.mark.parametrize("chance, gap_s", [(0.0, 50), (0.5, 100), (0.999999, 149.9999)])
def test_how_much_chance_there_is_in_a_gap_is_a_setting(chance: float, gap_s: float) -> None:
    settled = settle(0, BAD, FailurePolicy((100.0,), jitter=0.5), NOW_US, chance, None)
    assert isinstance(settled, RetryAt)
    assert settled.due_us - NOW_US == pytest.approx(gap_s * SECOND_US)
    exact = settle(0, BAD, FailurePolicy((100.0,), jitter=0.0), NOW_US, chance, None)
    assert exact == after(100)


@pytest.mark.parametrize("outcome, since_us", [(GONE, None), (BAD, NOW_US - 9 * DAY_US)])
def test_a_lasting_one_is_never_disabled(outcome: Outcome, since_us: int | None) -> None:
    lasting = FailurePolicy((5.0,), lasting=True)
    assert settle(0, outcome, lasting, NOW_US, MIDDLE, since_us) == after(5)
    told = FailurePolicy((5.0,), alert=True)
    settled = settle(0, outcome, told, NOW_US, MIDDLE, since_us)
    assert isinstance(settled, GaveUp)
    assert settled.alert


def test_how_long_a_subscription_may_fail_is_a_setting() -> None:
    settled = settle(0, BAD, POLICY, NOW_US, MIDDLE, NOW_US - DAY_US, DAY_US)
    assert settled == ONE_DISABLED


def test_everything_given_up_is_diverted() -> None:
    assert RECEIVER_GONE.divert
    assert ONE_DISABLED.divert
    assert EXHAUSTED.divert


def test_an_error_of_our_own_is_tried_three_times_and_disables_nobody() -> None:
    assert internal_failure(1, NOW_US, MIDDLE) == after(5)
    assert internal_failure(2, NOW_US, MIDDLE) == after(60)
    assert internal_failure(3, NOW_US, MIDDLE) == GaveUp(Reason.INTERNAL)
    assert internal_failure(4, NOW_US, MIDDLE) == GaveUp(Reason.INTERNAL)


outcomes = st.builds(
    Outcome,
    kind=st.sampled_from(OutcomeKind),
    status_code=st.integers(100, 599),
    response=st.just(b""),
    gone=st.booleans(),
    retry_after_s=st.none() | st.floats(0, 86400),
)


@given(
    attempts=st.integers(0, 12),
    outcome=outcomes,
    schedule=st.lists(st.floats(0.01, 1e6), max_size=10).map(tuple),
    jitter=st.floats(0, 1, exclude_max=True),
    since_us=st.none() | st.integers(0, NOW_US),
)
def test_a_delivery_leaves_the_queue_once_and_never_by_silence(
    attempts: int,
    outcome: Outcome,
    schedule: tuple[float, ...],
    jitter: float,
    since_us: int | None,
) -> None:
    policy = FailurePolicy(schedule)
    settled = settle(attempts, outcome, policy, NOW_US, jitter, since_us, DAY_US)
    state = {
        Delivered: DeliveryState.DELIVERED,
        RetryAt: DeliveryState.PENDING,
        GaveUp: DeliveryState.FAILED,
    }[type(settled)]
    assert state in TRANSITIONS[DeliveryState.PENDING]
    assert (state is DeliveryState.DELIVERED) == (outcome.kind is OutcomeKind.DELIVERED)
    if isinstance(settled, RetryAt):
        assert settled.due_us > NOW_US
        assert attempts < len(schedule)


@pytest.mark.parametrize("own_s, since_s, disabled", [(60, 60, True), (60, 59, False)])
def test_for_how_long_it_may_fail_is_a_setting(
    own_s: float, since_s: float, disabled: bool
) -> None:
    policy = FailurePolicy((5.0,), disable_after_us=int(own_s * SECOND_US))
    since_us = NOW_US - int(since_s * SECOND_US)
    settled = settle(0, BAD, policy, NOW_US, MIDDLE, since_us)
    if disabled:
        by = DisabledBy.FAILING
        assert settled == GaveUp(Reason.SUBSCRIPTION_FAILING, disable=by)
    else:
        assert settled == after(5)
