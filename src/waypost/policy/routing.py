"""Routing: which subscriptions of a project want an event. Compiled once, matched many times.

First by type and owner, then by content: a subscription's filter is looked at where its types take
the event, and where no value that it demands rules it out at once.

System events, whose types begin with `waypost.`, go to those alone who name them, by type or by a
prefix such as `waypost.*`: whoever takes everything takes everything that producers send.

Filters are compiled when first an event comes that they may be asked about, or ahead of that a few
at a time: a start with a hundred thousand of them is not kept waiting.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Final

import msgspec

from waypost.model.event import NO_ATTRIBUTES, SYSTEM, Attributes
from waypost.model.subscription import DisabledBy, Ordering, Subscription
from waypost.policy import filters
from waypost.policy.content import Content
from waypost.policy.filter_index import FilterIndex
from waypost.policy.filter_syntax import NOTHING, Reads, may_read_request
from waypost.policy.filters import Filter

_CACHE_MAX: Final = 10_000
ALL: Final = "*"
PREFIX: Final = ".*"
_NULL: Final = b"null"
_NOBODY: Final[Mapping[bytes, Subscription]] = {}


class _Bucket:
    """The subscriptions that have one pattern among their types.

    Attributes:
        plain: those that take whatever the events hold.
        filtered: those whose filters are asked.
        pending: those that await that their filters, the texts beside them, are compiled.
    """

    __slots__ = ("filtered", "pending", "plain")

    def __init__(self) -> None:
        self.plain: dict[bytes, Subscription] = {}
        self.filtered: FilterIndex[tuple[Subscription, Filter]] = FilterIndex()
        self.pending: dict[bytes, tuple[Subscription, str]] = {}

    def drop(self, subscription_id: bytes) -> bool:
        """Remove a subscription; tell whether one is left."""
        self.plain.pop(subscription_id, None)
        self.filtered.drop(subscription_id)
        self.pending.pop(subscription_id, None)
        return bool(self.plain or self.filtered or self.pending)


class _Takers(msgspec.Struct, frozen=True):
    """Who takes events of one type: whatever they hold, or if their filters match."""

    plain: tuple[Subscription, ...]
    filtered: tuple[FilterIndex[tuple[Subscription, Filter]], ...]


class Routes:
    """The subscriptions of one project, indexed by event type, at one version of its routing.

    Attributes:
        version: the version of the project's routing that this stands for.
        strict: some subscription has its events sent in the order of the whole project.
    """

    def __init__(self, version: int) -> None:
        """Start with no subscription."""
        self.version = version
        self.strict = False
        self._default = Ordering.NONE
        self._strict: set[bytes] = set()
        self._unordered: set[bytes] = set()
        self._by_id: dict[bytes, Subscription] = {}
        self._filters: dict[bytes, Filter] = {}
        self._buckets: dict[str, _Bucket] = {}
        self._pending: set[str] = set()
        self._cache: dict[str, _Takers] = {}
        self._reading: dict[bytes, str] = {}
        self._at: dict[bytes, dict[bytes, Subscription]] = {}
        self._reads: Reads | None = NOTHING

    @property
    def reads(self) -> Reads:
        """What some filter reads of the request that brings an event."""
        if self._reads is None:
            self._reads = NOTHING
            for subscription_id, text in self._reading.items():
                found = self._compiled(subscription_id, text).reads
                if found != NOTHING:
                    self._reads |= found
        return self._reads

    def put(self, subscription: Subscription) -> None:
        """Add a subscription, or take its new settings."""
        text = subscription.filter
        present = self._by_id.get(subscription.id)
        is_same = present is not None and present.filter == text
        known, reads = self._filters.get(subscription.id), self._reads
        self.drop(subscription.id)
        self._by_id[subscription.id] = subscription
        if subscription.ordering is Ordering.STRICT:
            self._strict.add(subscription.id)
        elif subscription.ordering is None:
            self._unordered.add(subscription.id)
        self._see_strict()
        if subscription.endpoint_id is not None:
            self._at.setdefault(subscription.endpoint_id, {})[subscription.id] = subscription
        if text is not None:
            if is_same and known is not None:
                self._filters[subscription.id] = known
            if may_read_request(text):
                self._reading[subscription.id] = text
                self._reads = reads if is_same else None
        if not _is_owed(subscription):
            return
        for key in set(_keys(subscription)):
            bucket = self._buckets.setdefault(key, _Bucket())
            if text is None:
                bucket.plain[subscription.id] = subscription
            else:
                bucket.pending[subscription.id] = (subscription, text)
                self._pending.add(key)

    def drop(self, subscription_id: bytes) -> None:
        """Remove a subscription; it may be absent."""
        self._cache.clear()
        present = self._by_id.pop(subscription_id, None)
        self._filters.pop(subscription_id, None)
        self._strict.discard(subscription_id)
        self._unordered.discard(subscription_id)
        self._see_strict()
        if present is not None and present.endpoint_id is not None:
            self._leave(present.endpoint_id, subscription_id)
        if self._reading.pop(subscription_id, None) is not None:
            self._reads = None
        for key in _keys(present) if present else ():
            bucket = self._buckets.get(key)
            if bucket is not None and not bucket.drop(subscription_id):
                del self._buckets[key]
                self._pending.discard(key)

    def order_by(self, ordering: Ordering) -> None:
        """Take the order of those subscriptions that set none themselves."""
        self._default = ordering
        self._see_strict()

    def _see_strict(self) -> None:
        by_default = self._default is Ordering.STRICT and bool(self._unordered)
        self.strict = by_default or bool(self._strict)

    def compile_some(self, limit: int) -> int:
        """Compile up to so many of the filters that no event has been asked about; return how many.

        0 where there are none left.
        """
        done = 0
        while self._pending and done < limit:
            done += self._settle(next(iter(self._pending)), limit - done)
        return done

    def __iter__(self) -> Iterator[Subscription]:
        """Yield all of them, enabled or not."""
        return iter(self._by_id.values())

    def find(self, subscription_id: bytes) -> Subscription | None:
        """Return a subscription, enabled or not."""
        return self._by_id.get(subscription_id)

    def match(
        self,
        event_type: str,
        owner: str | None,
        payload: bytes = _NULL,
        attributes: Attributes = NO_ATTRIBUTES,
    ) -> tuple[Subscription, ...]:
        """Return the subscriptions that are owed an event of this type, owner and content."""
        takers = self._cache.get(event_type)
        if takers is None:
            takers = self._look_up(event_type)
        matched = takers.plain
        for subscription in matched:
            if subscription.owner is not None and subscription.owner != owner:
                matched = tuple(s for s in matched if s.owner is None or s.owner == owner)
                break
        if takers.filtered:
            return matched + _sift(takers.filtered, owner, Content(payload, attributes, event_type))
        return matched

    def takers(
        self, event_type: str, payload: bytes, attributes: Attributes
    ) -> tuple[Subscription, ...]:
        """Return who is owed an event: whom it is aimed at, else those that want it."""
        if attributes.targets:
            return self.aimed(attributes.targets)
        if attributes.endpoints:
            return self.match_at(event_type, payload, attributes)
        return self.match(event_type, attributes.owner, payload, attributes)

    def aimed(self, targets: tuple[bytes, ...]) -> tuple[Subscription, ...]:
        """Return those of the subscriptions that an event names as its targets that are owed it."""
        found = (self._by_id.get(target) for target in dict.fromkeys(targets))
        return tuple(s for s in found if s is not None and _is_owed(s))

    def at(self, endpoint_id: bytes) -> tuple[Subscription, ...]:
        """Return the subscriptions that share an address, enabled or not."""
        return tuple(self._at.get(endpoint_id, {}).values())

    def match_at(
        self, event_type: str, payload: bytes, attributes: Attributes
    ) -> tuple[Subscription, ...]:
        """Return those at the event's endpoints that are owed it; nobody else is asked."""
        content: Content | None = None
        found: list[Subscription] = []
        for endpoint_id in dict.fromkeys(attributes.endpoints):
            for one in self._at.get(endpoint_id, _NOBODY).values():
                if not (_is_owed(one) and wants(one, event_type, attributes.owner)):
                    continue
                if one.filter is not None:
                    content = content or Content(payload, attributes, event_type)
                    if not self._compiled(one.id, one.filter).matches(content):
                        continue
                found.append(one)
        return tuple(found)

    def _leave(self, endpoint_id: bytes, subscription_id: bytes) -> None:
        there = self._at[endpoint_id]
        del there[subscription_id]
        if not there:
            del self._at[endpoint_id]

    def _look_up(self, event_type: str) -> _Takers:
        plain: dict[bytes, Subscription] = {}
        filtered = []
        for key in _keys_of_type(event_type):
            bucket = self._buckets.get(key)
            if bucket is not None:
                self._settle(key, len(bucket.pending))
                plain.update(bucket.plain)
                if bucket.filtered:
                    filtered.append(bucket.filtered)
        if len(self._cache) >= _CACHE_MAX:
            self._cache.clear()
        result = self._cache[event_type] = _Takers(tuple(plain.values()), tuple(filtered))
        return result

    def _settle(self, key: str, limit: int) -> int:
        """Compile up to so many of the filters that are pending in a bucket; return how many."""
        bucket = self._buckets[key]
        found = list(islice(bucket.pending.items(), limit))
        for subscription_id, (subscription, text) in found:
            del bucket.pending[subscription_id]
            compiled = self._compiled(subscription_id, text)
            if compiled.empty:
                bucket.plain[subscription_id] = subscription
            else:
                bucket.filtered.put(subscription_id, (subscription, compiled), compiled)
        if not bucket.pending:
            self._pending.discard(key)
        return len(found)

    def _compiled(self, subscription_id: bytes, text: str) -> Filter:
        """Return the filter of a subscription, compiled where it was not yet."""
        known = self._filters.get(subscription_id)
        if known is None:
            known = self._filters[subscription_id] = filters.restored(text)
        return known


def _sift(
    indexes: tuple[FilterIndex[tuple[Subscription, Filter]], ...],
    owner: str | None,
    content: Content,
) -> tuple[Subscription, ...]:
    """Return those whose filters match."""
    found: dict[bytes, Subscription] = {}
    for index in indexes:
        for subscription, compiled in index.candidates(content):
            if (
                (subscription.owner is None or subscription.owner == owner)
                and subscription.id not in found
                and compiled.matches(content)
            ):
                found[subscription.id] = subscription
    return tuple(found.values())


def wants(subscription: Subscription, event_type: str, owner: str | None) -> bool:
    """Tell whether a subscription takes events of a type and an owner, whatever its state.

    Its filter is not asked: that takes the event's content.
    """
    if subscription.owner is not None and subscription.owner != owner:
        return False
    return takes_type(_keys(subscription), event_type)


def takes_type(patterns: tuple[str, ...], event_type: str) -> bool:
    """Tell whether one of these types, prefixes as `card.*`, or `*` takes an event type."""
    return not _key_set(event_type).isdisjoint(patterns)


def names_system(patterns: tuple[str, ...] | None) -> bool:
    """Tell whether one of a subscription's types is a system event's, or a prefix of theirs."""
    return any(pattern.startswith(SYSTEM) for pattern in patterns or ())


def _is_owed(subscription: Subscription) -> bool:
    """Tell whether what comes is owed: what comes while it is disabled by itself is diverted."""
    return subscription.disabled_by is not DisabledBy.PERSON


def _keys(subscription: Subscription) -> tuple[str, ...]:
    return subscription.event_types or (ALL,)


@lru_cache(maxsize=4096)
def _key_set(event_type: str) -> frozenset[str]:
    return frozenset(_keys_of_type(event_type))


def _keys_of_type(event_type: str) -> list[str]:
    """Return every pattern that takes a type: `a.b.c`, `a.b.*`, `a.*` and `*`."""
    parts = event_type.split(".")
    prefixes = [".".join(parts[:n]) + PREFIX for n in range(1, len(parts))]
    if event_type.startswith(SYSTEM):
        return [event_type, *prefixes]
    return [event_type, *prefixes, ALL]
