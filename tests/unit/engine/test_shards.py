"""Shards: what is owned, and the earlier of two moments."""

from waypost.engine.shards import FOR_EVER, Shards, all_shards
from waypost.model.shards import SHARDS


def test_one_process_alone_owns_everything_for_ever() -> None:
    shards = all_shards()
    assert shards.count() == SHARDS
    assert shards.owns(bytes(16))
    assert shards.leads()
    assert shards.until == FOR_EVER
    shards.wake(bytes(16), bytes(16), None)


def test_what_is_owned_goes_by_the_subscription() -> None:
    shards = Shards(lambda *_: None)
    assert shards.count() == 0
    shards.epochs[7] = 3
    assert shards.owns(bytes([7]) * 16)
    assert not shards.owns(bytes([8]) * 16)
    assert not shards.leads()
    assert shards.count() == 1


def test_it_may_send_as_long_as_the_lease_lasts_and_memory_is_right() -> None:
    shards = Shards(lambda *_: None)
    shards.lease(10)
    assert shards.until == 0
    shards.confirm(5)
    assert shards.until == 5
    shards.confirm(20)
    assert shards.until == 10
    shards.lease(0)
    assert shards.until == 0
