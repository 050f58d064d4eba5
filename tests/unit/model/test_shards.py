"""Shards: every subscription lies in one, and they lie in all."""

from collections import Counter

from tests.support.manual import ManualClock, SeededEntropy
from waypost.clock import IdSource
from waypost.model.shards import SHARDS, shard_of


def test_subscriptions_made_in_a_row_lie_in_all_shards_alike() -> None:
    ids = IdSource(ManualClock(), SeededEntropy())
    found = Counter(shard_of(ids.next()) for _ in range(100 * SHARDS))
    assert set(found) == set(range(SHARDS))
    assert max(found.values()) < 200


def test_a_subscription_lies_in_the_same_shard_for_ever() -> None:
    assert shard_of(bytes(range(16))) == 15
