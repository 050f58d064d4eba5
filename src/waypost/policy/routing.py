"""Routing: which subscriptions of a project want an event. Compiled once, matched many times."""

from collections.abc import Iterator
from typing import Final

from waypost.model.subscription import DisabledBy, Subscription

_CACHE_MAX: Final = 10_000
ALL: Final = "*"
PREFIX: Final = ".*"


class Routes:
    """The subscriptions of one project, indexed by event type, at one version of its routing.

    Attributes:
        version: the version of the project's routing that this stands for.
    """

    def __init__(self, version: int) -> None:
        """Start with no subscription."""
        self.version = version
        self._by_id: dict[bytes, Subscription] = {}
        self._buckets: dict[str, dict[bytes, Subscription]] = {}
        self._cache: dict[str, tuple[Subscription, ...]] = {}

    def put(self, subscription: Subscription) -> None:
        """Add a subscription, or take its new settings."""
        self.drop(subscription.id)
        self._by_id[subscription.id] = subscription
        if _is_owed(subscription):
            for key in _keys(subscription):
                self._buckets.setdefault(key, {})[subscription.id] = subscription

    def drop(self, subscription_id: bytes) -> None:
        """Remove a subscription; it may be absent."""
        self._cache.clear()
        present = self._by_id.pop(subscription_id, None)
        for key in _keys(present) if present else ():
            bucket = self._buckets.get(key, {})
            bucket.pop(subscription_id, None)
            if not bucket:
                self._buckets.pop(key, None)

    def __iter__(self) -> Iterator[Subscription]:
        """Yield all of them, enabled or not."""
        return iter(self._by_id.values())

    def find(self, subscription_id: bytes) -> Subscription | None:
        """Return a subscription, enabled or not."""
        return self._by_id.get(subscription_id)

    def match(self, event_type: str, owner: str | None) -> tuple[Subscription, ...]:
        """Return the subscriptions that are owed an event of this type and owner."""
        matched = self._cache.get(event_type)
        if matched is None:
            matched = self._look_up(event_type)
        if not matched:
            return matched
        for subscription in matched:
            if subscription.owner is not None and subscription.owner != owner:
                return tuple(s for s in matched if s.owner is None or s.owner == owner)
        return matched

    def aimed(self, targets: tuple[bytes, ...]) -> tuple[Subscription, ...]:
        """Return those of the subscriptions that an event names as its targets that are owed it."""
        found = (self._by_id.get(target) for target in dict.fromkeys(targets))
        return tuple(s for s in found if s is not None and _is_owed(s))

    def _look_up(self, event_type: str) -> tuple[Subscription, ...]:
        matched: dict[bytes, Subscription] = {}
        for key in _keys_of_type(event_type):
            matched.update(self._buckets.get(key, {}))
        if len(self._cache) >= _CACHE_MAX:
            self._cache.clear()
        result = self._cache[event_type] = tuple(matched.values())
        return result


def wants(subscription: Subscription, event_type: str, owner: str | None) -> bool:
    """Tell whether a subscription's filter takes an event, whatever its state."""
    if subscription.owner is not None and subscription.owner != owner:
        return False
    return not set(_keys(subscription)).isdisjoint(_keys_of_type(event_type))


def _is_owed(subscription: Subscription) -> bool:
    """Tell whether what comes is owed: what comes while it is disabled by itself is diverted."""
    return subscription.disabled_by is not DisabledBy.PERSON


def _keys(subscription: Subscription) -> tuple[str, ...]:
    return subscription.event_types or (ALL,)


def _keys_of_type(event_type: str) -> list[str]:
    """Return every pattern that takes a type: `a.b.c`, `a.b.*`, `a.*` and `*`."""
    parts = event_type.split(".")
    prefixes = [".".join(parts[:n]) + PREFIX for n in range(1, len(parts))]
    return [event_type, *prefixes, ALL]
