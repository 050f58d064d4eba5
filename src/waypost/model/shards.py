"""Shards: the parts in which the work of sending is shared out among processes.

Every subscription lies in one shard, for ever. The owner of a shard is the only process that sends
to its subscriptions.
"""

from typing import Final

from waypost.model.ids import Id

SHARDS: Final = 256

Shard = int
"""From 0 to 255."""


def shard_of(subscription_id: Id) -> Shard:
    """Return the shard of a subscription: the last byte of its id, which is chance."""
    return subscription_id[-1]
