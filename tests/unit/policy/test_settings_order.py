"""What a change of the order, or of what a failure means to it, makes of what waits."""

import msgspec
import pytest

from waypost.model.subscription import (
    NOTHING_SET,
    Inheritable,
    OnOrderFailure,
    Ordering,
    Subscription,
)
from waypost.policy.settings import reordered
from waypost.policy.terms import terms_of

FULL = Subscription(b"p" * 16, b"s" * 16, "https://receiver.example/hook")


@pytest.mark.parametrize("before", [None, *Ordering])
@pytest.mark.parametrize("after", [None, *Ordering])
@pytest.mark.parametrize("project", [None, *Ordering])
def test_what_another_order_has_parked_is_to_be_found(
    before: Ordering | None, after: Ordering | None, project: Ordering | None
) -> None:
    present = msgspec.structs.replace(FULL, ordering=before)
    wanted, defaults = (
        msgspec.structs.replace(FULL, ordering=after),
        Inheritable(ordering=project),
    )
    was, will = (terms_of(one, defaults).ordering for one in (present, wanted))
    changed, frees = reordered(present, wanted, defaults)
    assert frees is (was is not will)
    # A strict one finds all anyway.
    assert changed.unparking is (before is not after and will is not Ordering.STRICT)


def test_keys_are_free_that_are_not_to_be_blocked_any_more() -> None:
    block = msgspec.structs.replace(
        FULL, ordering=Ordering.KEY, on_order_failure=OnOrderFailure.BLOCK
    )
    left = msgspec.structs.replace(block, on_order_failure=None)
    go_on = msgspec.structs.replace(block, on_order_failure=OnOrderFailure.CONTINUE)
    blocks = Inheritable(on_order_failure=OnOrderFailure.BLOCK)
    assert reordered(block, go_on, NOTHING_SET) == (go_on, True)
    assert reordered(block, left, NOTHING_SET) == (left, True)
    assert reordered(block, left, blocks) == (left, False)
    assert reordered(go_on, block, NOTHING_SET) == (block, False)
    assert reordered(block, block, NOTHING_SET) == (block, False)
