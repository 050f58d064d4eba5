"""The teller: makes the system events that tell of how subscriptions fare.

What there is to tell it finds in the database, whoever wrote it there: subscriptions that fail or
have recovered, breakers, diverted events, replays that are finished, backlogs. Each event is kept
in one transaction with the mark that it was told, if what it tells of is still unmarked: a crash
in between neither loses nor doubles it. One process does it for all.

What changes again and again is told of seldom: a breaker's closing a minute after its opening at
the earliest, diverted events of a subscription once a minute, with their number.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec

from waypost.clock import Clock, IdSource
from waypost.engine.announcer import Announcer
from waypost.engine.job import Job
from waypost.model import ids
from waypost.model.delivery import DeliveryClass, Owed
from waypost.model.ids import Id
from waypost.model.subscription import Subscription
from waypost.policy.failure_settings import ALERT_ENDPOINTS_MAX
from waypost.policy.system_events import (
    LEVELS_US,
    BacklogHigh,
    BreakerClosed,
    BreakerOpened,
    DeliveryDiverted,
    News,
    OrderingKeyBlocked,
    OrderingKeyReleased,
    ReplayFinished,
    SubscriptionFailing,
    SubscriptionRecovered,
    about,
    event_of,
    level_of,
)
from waypost.policy.terms import terms_of
from waypost.policy.timestamp import spell
from waypost.storage import alerts, key_news, projects, queue, subscriptions, told
from waypost.storage.connection import Connection
from waypost.storage.key_news import By, KeyNews
from waypost.storage.store import Store
from waypost.storage.told import Backlog, Box, Finished, Found, Place, What

EVERY_S: Final = 1.0
AT_ONCE: Final = 100
"""So many of a kind are told in one pass."""

_MICROS: Final = 1_000_000
GAP_US: Final = 60 * _MICROS
"""What comes again within a minute is told of together."""

_BACKLOGS_EVERY_US: Final = 60 * _MICROS
LANES_AT_ONCE: Final = 1_000
_PARTS_MAX: Final = 1_000
_START: Final = (ids.FIRST, ids.FIRST)


class _Seen(msgspec.Struct, frozen=True):
    """What one look has found to tell, of each kind a bounded number."""

    failing: list[Found]
    recovered: list[Found]
    opened: list[Found]
    closed: list[Found]
    finished: list[Finished]
    has_boxes: bool
    has_keys: bool


class Teller:
    """Looks for what is to be told, once a second. For the loop's thread alone."""

    def __init__(
        self,
        store: Store,
        announcer: Announcer,
        owed: Callable[[Sequence[Owed]], None],
        clock: Clock,
        source: IdSource,
        backlog_us: int,
    ) -> None:
        """Take what it works with.

        Args:
            store: the database.
            announcer: makes the events.
            owed: takes notices that were committed.
            clock: of the database.
            source: of ids.
            backlog_us: what has waited for longer is a high backlog, microseconds.
        """
        self._store = store
        self._announcer = announcer
        self._owed = owed
        self._clock = clock
        self._ids = source
        self._backlog_us = backlog_us
        # When each box was told of last, forgotten after the gap; what is marked and not told.
        self._told_us: dict[Place, int] = {}
        self._marked: dict[Place, Box] = {}
        self._keys_told_us: dict[tuple[Id, Id, str], int] = {}
        self._lanes: list[Place] = []
        self._looked_us = 0
        self.job = Job("teller", self.run_once, every_s=EVERY_S)

    async def run_once(self) -> bool:
        """Tell what there is to tell now, of each kind a bounded number. False: until later."""
        now_us = self._clock.now_us()
        seen = await self._store.read(partial(_look, now_us=now_us))
        for found in seen.failing:
            await self._failing(found, now_us)
        for found in seen.recovered:
            await self._ended(found, What.FAILING, now_us)
        for found in seen.opened:
            await self._opened(found, now_us)
        for found in seen.closed:
            await self._ended(found, What.BREAKER, now_us)
        for finished in seen.finished:
            await self._finished(finished, now_us)
        if seen.has_boxes or self._marked:
            await self._tell_boxes(now_us)
        if seen.has_keys:
            await self._tell_keys(now_us)
        if now_us - self._looked_us >= _BACKLOGS_EVERY_US:
            self._looked_us = now_us
            await self._tell_backlogs(now_us)
        return False

    async def _write(self, change: Callable[[Connection], object]) -> None:
        await self._store.write(change, lambda _: self._announcer.follow())

    # Failing.

    async def _failing(self, found: Found, now_us: int) -> None:
        level = level_of(found.at_us, found.told_us, now_us)
        if level is None:
            return
        place = (found.project_id, found.subscription_id)
        event_id, notice_id = self._announcer.new_id(), self._ids.next()
        made = [self._ids.next_at() for _ in range(ALERT_ENDPOINTS_MAX)]

        def write(connection: Connection) -> list[Owed]:
            present = subscriptions.find(connection, *place)
            if present is None or present.failing_since_us != found.at_us:
                return []
            at_us = found.at_us + level
            if not told.mark(connection, *place, What.FAILING, at_us, found.told_us):
                return []
            news = SubscriptionFailing(
                **about(present, now_us),
                failing_since=spell(found.at_us),
                failing_for_s=level // _MICROS,
            )
            self._announce(connection, present, event_id, news)
            self._announcer.tell_watchers(connection, present, event_id, news)
            return _alert(connection, present, news, notice_id, made)

        def after(owed: list[Owed]) -> None:
            self._announcer.follow()
            self._owed(owed)

        await self._store.write(write, after)

    # Breakers, and what is over.

    async def _opened(self, found: Found, now_us: int) -> None:
        place = (found.project_id, found.subscription_id)
        event_id = self._announcer.new_id()

        def write(connection: Connection) -> None:
            if not told.mark(connection, *place, What.BREAKER, now_us):
                return
            present = subscriptions.find(connection, *place)
            if present is not None:
                news = BreakerOpened(
                    **about(present, now_us), open_until=spell(found.at_us), openings=found.openings
                )
                self._announce(connection, present, event_id, news)

        await self._write(write)

    async def _ended(self, found: Found, what: What, now_us: int) -> None:
        place = (found.project_id, found.subscription_id)
        event_id = self._announcer.new_id()

        def write(connection: Connection) -> None:
            if not told.forget(connection, *place, what, found.at_us):
                return
            present = subscriptions.find(connection, *place)
            if present is None or present.disabled_by is not None:
                return  # that was told, and is more
            known = about(present, now_us)
            news: News = SubscriptionRecovered(**known, recovered_by="delivery")
            if what is What.BREAKER:
                news = BreakerClosed(**known, opened=spell(found.at_us))
            else:
                self._announcer.tell_watchers(connection, present, event_id, news)
            self._announce(connection, present, event_id, news)

        await self._write(write)

    # Diverted events.

    async def _tell_boxes(self, now_us: int) -> None:
        self._told_us = {
            place: at_us for place, at_us in self._told_us.items() if now_us - at_us < GAP_US
        }
        left = AT_ONCE
        for place in tuple(self._marked):
            await self._tell_box(place, now_us)
        after = _START
        while left > 0:
            found = await self._store.read(
                partial(told.find_boxes, after=after, limit=LANES_AT_ONCE)
            )
            for place in found:
                if left > 0 and place not in self._told_us:
                    left -= 1
                    await self._tell_box(place, now_us)
            if len(found) < LANES_AT_ONCE:
                return
            after = found[-1]

    async def _tell_box(self, place: Place, now_us: int) -> None:
        """Mark what is in a box, and tell of it with the last part: so it is told of once."""
        for part in range(1, _PARTS_MAX + 1):
            before, event_id = self._marked.get(place, told.NOTHING), self._announcer.new_id()
            write = partial(
                self._empty,
                place=place,
                before=before,
                event_id=event_id,
                now_us=now_us,
                last=part == _PARTS_MAX,
            )
            left = await self._store.write(write, lambda _: self._announcer.follow())
            if left is None:
                self._marked.pop(place, None)
                self._told_us[place] = now_us
                return
            self._marked[place] = left

    def _empty(
        self,
        connection: Connection,
        *,
        place: Place,
        before: Box,
        event_id: Id,
        now_us: int,
        last: bool,
    ) -> Box | None:
        """Mark a part of a box; return all that is marked and not told, or None where it is."""
        box = told.empty_box(connection, *place)
        whole = box.behind(before)
        if box.looked == told.CHUNK and not last:
            return whole
        present = subscriptions.find(connection, *place)
        last_id, event = whole.delivery_id, whole.event_id
        if present is not None and last_id is not None and event is not None:
            news = DeliveryDiverted(
                **about(present, now_us),
                diverted=whole.count,
                delivery=ids.spell(ids.DELIVERY, last_id),
                event=ids.spell(ids.EVENT, event),
                reason=whole.reason,
            )
            self._announce(connection, present, event_id, news)
        return None

    # Ordering keys.

    async def _tell_keys(self, now_us: int) -> None:
        """Tell of keys that were blocked or released, of each subscription once in a while."""
        self._keys_told_us = {
            place: at_us for place, at_us in self._keys_told_us.items() if now_us - at_us < GAP_US
        }
        left, after = AT_ONCE, key_news.START
        while left > 0:
            found = await self._store.read(partial(key_news.find, after=after, limit=LANES_AT_ONCE))
            for news in found:
                if left > 0 and news.place not in self._keys_told_us:
                    left -= 1
                    event_id = self._announcer.new_id()
                    await self._write(
                        partial(self._key, found=news, event_id=event_id, now_us=now_us)
                    )
                    self._keys_told_us[news.place] = now_us
            if len(found) < LANES_AT_ONCE:
                return
            after = found[-1].place

    def _key(self, connection: Connection, *, found: KeyNews, event_id: Id, now_us: int) -> None:
        whole = key_news.take(connection, found)
        if whole is None:
            return
        present = subscriptions.find(connection, whole.project_id, whole.subscription_id)
        if present is not None:
            self._announce(connection, present, event_id, _of_keys(present, whole, now_us))

    # Replays.

    async def _finished(self, found: Finished, now_us: int) -> None:
        project_id, to = found.project_id, found.subscription_id
        event_id = self._announcer.new_id()

        def write(connection: Connection) -> None:
            if not told.mark_finished(connection, project_id, found.id):
                return
            present = None if to is None else subscriptions.find(connection, project_id, to)
            news = ReplayFinished(
                timestamp=spell(now_us),
                replay=ids.spell(ids.REPLAY, found.id),
                kind=found.kind,
                subscription=None if to is None else ids.spell(ids.SUBSCRIPTION, to),
                state=found.state,
                owed=found.owed,
            )
            owner = None if present is None else present.owner
            self._announcer.announce(connection, project_id, event_id, news, owner)

        await self._write(write)

    # Backlogs.

    async def _tell_backlogs(self, now_us: int) -> None:
        """Look at some lanes, in turn, and at those of which was told."""
        if not self._lanes:
            self._lanes = await self._store.read(queue.list_lanes)
        some, self._lanes = self._lanes[:LANES_AT_ONCE], self._lanes[LANES_AT_ONCE:]
        high = await self._store.read(partial(told.list_told, what=What.BACKLOG))
        for place in dict.fromkeys((*some, *high)):
            was_told = place in high
            # It is over when what waits has waited for half as long.
            waited_us = self._backlog_us // 2 if was_told else self._backlog_us
            project_id, subscription_id = place
            backlog = await self._store.read(
                partial(
                    told.read_backlog,
                    project_id=project_id,
                    subscription_id=subscription_id,
                    before_us=now_us - waited_us,
                )
            )
            if (backlog is None) is was_told:
                await self._write(
                    partial(
                        self._backlog,
                        place=place,
                        backlog=backlog,
                        event_id=self._announcer.new_id(),
                        now_us=now_us,
                    )
                )

    def _backlog(
        self,
        connection: Connection,
        *,
        place: Place,
        backlog: Backlog | None,
        event_id: Id,
        now_us: int,
    ) -> None:
        if backlog is None:
            told.forget(connection, *place, What.BACKLOG)
            return
        present = subscriptions.find(connection, *place)
        if present is None or not told.mark(connection, *place, What.BACKLOG, now_us):
            return
        news = BacklogHigh(
            **about(present, now_us),
            oldest_due=spell(backlog.oldest_us),
            deliveries=backlog.deliveries,
            waits_for=backlog.waits_for,
        )
        self._announce(connection, present, event_id, news)

    def _announce(self, connection: Connection, of: Subscription, event_id: Id, news: News) -> None:
        self._announcer.announce(connection, of.project_id, event_id, news, of.owner)


def _look(connection: Connection, now_us: int) -> _Seen:
    return _Seen(
        told.find_failing(connection, now_us, LEVELS_US, AT_ONCE),
        told.find_recovered(connection, AT_ONCE),
        told.find_opened(connection, AT_ONCE),
        told.find_closed(connection, now_us - GAP_US, AT_ONCE),
        told.find_finished(connection, AT_ONCE),
        bool(told.find_boxes(connection, _START, 1)),
        bool(key_news.find(connection, key_news.START, 1)),
    )


def _of_keys(of: Subscription, found: KeyNews, now_us: int) -> News:
    """Return what there is to tell of keys that were blocked, or released."""
    known, key = about(of, now_us), found.ordering_key or None
    if found.delivery_id is None or found.event_id is None:
        by = found.by or By.PERSON
        return OrderingKeyReleased(
            **known, released=found.count, ordering_key=key, released_by=by.value
        )
    return OrderingKeyBlocked(
        **known,
        blocked=found.count,
        ordering_key=key,
        delivery=ids.spell(ids.DELIVERY, found.delivery_id),
        event=ids.spell(ids.EVENT, found.event_id),
    )


def _alert(
    connection: Connection,
    of: Subscription,
    news: News,
    notice_id: Id,
    made: Sequence[tuple[Id, int]],
) -> list[Owed]:
    """Tell the alert endpoints of a subscription; return what they are owed."""
    defaults = projects.defaults(connection, of.project_id)
    endpoints = terms_of(of, defaults).failure_handling.alert_endpoints
    hidden_id = ids.alerts_of(of.project_id)
    owed = [
        Owed(hidden_id, delivery_id, notice_id, endpoint.id, DeliveryClass.FRESH, due_us)
        for endpoint, (delivery_id, due_us) in zip(endpoints, made, strict=False)
    ]
    if owed:
        notice = event_of(hidden_id, notice_id, news)
        alerts.insert_notice(connection, hidden_id, notice_id, notice.type, notice.payload, owed)
    return owed
