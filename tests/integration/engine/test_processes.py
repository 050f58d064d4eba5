"""Several processes on one PostgreSQL: who sends what, and what each learns of the others."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import select

from tests.support.database import Records
from tests.support.engine import Post
from tests.support.nodes import Node, node, nodes
from tests.support.waiting import PATIENCE_S, until
from waypost.engine import arrivals
from waypost.engine.arrivals import Arrivals
from waypost.model import ids
from waypost.model.delivery import DeliveryState, Reason
from waypost.model.event import Attributes
from waypost.model.flow import Breaker, BreakerState
from waypost.model.ids import Id
from waypost.model.shards import SHARDS
from waypost.model.subscription import Subscription
from waypost.model.transform import Made, Skipped
from waypost.policy.settings import Settings
from waypost.policy.transforms import TransformIn
from waypost.storage import schema


def shares(*running: Node) -> list[int]:
    return sorted(one.owned for one in running)


def answering(*running: Node) -> None:
    for one in running:
        one.receivers.script = lambda post: post.answer()


async def test_one_process_owns_everything_and_two_share_it(records: Records, url: str) -> None:
    async with node(records, url) as first:
        await until(lambda: first.owned == SHARDS)
        async with node(records, url) as second:
            await until(lambda: shares(first, second) == [128, 128])
            both = zip(first.sharing.shards.epochs, second.sharing.shards.epochs, strict=True)
            assert all((one > 0) != (two > 0) for one, two in both)
        await until(lambda: first.owned == SHARDS)


async def test_an_event_is_sent_by_the_owner_whoever_accepts_it(records: Records, url: str) -> None:
    async with nodes(records, url) as (first, second):
        await until(lambda: shares(first, second) == [128, 128])
        answering(first, second)
        made = [await first.subscribe(f"h{number}") for number in range(8)]
        for accepting in (first, second):
            await accepting.accept()
        await until(lambda: len(first.receivers.posts) + len(second.receivers.posts) == 16)
        mine = {f"h{n}.example" for n, one in enumerate(made) if first.sharing.shards.owns(one.id)}
        assert {post.host for post in first.receivers.posts} == mine
        assert {post.host for post in second.receivers.posts}.isdisjoint(mine)
        await until(lambda: not first.dispatcher.in_flight_count)
        await until(lambda: not second.dispatcher.in_flight_count)


async def test_what_a_dead_process_owned_is_sent_again_within_the_lease_and_two_seconds(
    records: Records, url: str, record_property: Callable[[str, object], None]
) -> None:
    async with nodes(records, url, lease_s=1.0) as (first, second):
        await until(lambda: shares(first, second) == [128, 128])
        made = [await first.subscribe(f"h{number}") for number in range(16)]
        # On a machine that is busy a lease may have passed meanwhile; it is taken again.
        await until(lambda: shares(first, second) == [128, 128])
        lost = {f"h{n}.example" for n, one in enumerate(made) if second.sharing.shards.owns(one.id)}
        assert lost
        await first.accept()
        await until(lambda: len(first.receivers.posts) + len(second.receivers.posts) == 16)
        answering(first)
        for post in first.receivers.open:
            post.answer()
        died = first.clock.monotonic()
        await second.die()
        # Committed while nobody owns them.
        await first.accept()
        await until(lambda: len(first.receivers.posts) == 32)
        healed_s = first.clock.monotonic() - died
        record_property("with a lease of 1 s a kill heals in", f"{healed_s:.2f} s")
        assert healed_s <= 3.0, healed_s
        assert {post.host for post in first.receivers.posts[16 - len(lost) :]} >= lost


async def test_a_process_that_stops_in_order_hands_over_at_once_and_nothing_is_sent_twice(
    records: Records, url: str
) -> None:
    async with nodes(records, url) as (first, second):
        await until(lambda: shares(first, second) == [128, 128])
        made = [await first.subscribe(f"h{number}") for number in range(16)]
        await first.accept()
        await until(lambda: len(first.receivers.posts) + len(second.receivers.posts) == 16)
        hanging = second.receivers.open
        stopping = asyncio.create_task(second.stop())
        # All but the shards of what is in flight, each of which follows when that has landed.
        busy = {one.id[-1] for one in made if f"{one.url[8:-1]}" in {p.host for p in hanging}}
        await until(lambda: first.owned == SHARDS - len(busy))
        hanging[0].answer()
        await until(lambda: first.owned > SHARDS - len(busy))
        for post in (*hanging[1:], *first.receivers.open):
            post.answer()
        await stopping
        await until(lambda: first.owned == SHARDS)
        answering(first)
        await first.accept()
        await until(lambda: len(first.receivers.posts) == 32 - len(hanging))
        ids = [
            post.webhook_id + post.host for one in (first, second) for post in one.receivers.posts
        ]
        assert len(set(ids)) == len(ids) == 32


async def test_a_process_that_is_buried_breaks_off_and_comes_back_as_a_new_one(
    records: Records, url: str
) -> None:
    async with nodes(records, url) as (first, second):
        await until(lambda: shares(first, second) == [128, 128])
        made = [await first.subscribe(f"h{number}") for number in range(16)]
        await first.accept()
        await until(lambda: len(first.receivers.posts) + len(second.receivers.posts) == 16)
        former = second.ownership.me
        hanging = len(second.receivers.open)
        assert hanging
        # As if it had been suspended for longer than its lease.
        second.ownership._until = 0.0
        second.ownership.check()
        assert second.owned == 0
        await until(lambda: not second.receivers.open)
        assert second.dispatcher.held_bytes == 0
        await until(lambda: second.ownership.me not in (None, former))
        await until(lambda: shares(first, second) == [128, 128])
        # They stayed owed: whoever owns them now sends them again.
        await until(
            lambda: len(first.receivers.posts) + len(second.receivers.posts) >= 16 + hanging
        )
        assert len(made) == 16


async def test_without_notifications_nothing_is_lost_and_only_later(
    records: Records, url: str
) -> None:
    async with nodes(records, url, notify=False) as (first, second):
        answering(first, second)
        await until(lambda: shares(first, second) == [128, 128])
        made = [await first.subscribe(f"h{number}") for number in range(8)]
        for accepting in (first, second):
            for _ in range(3):
                await accepting.accept()
        await until(
            lambda: first.dispatcher.delivered + second.dispatcher.delivered == 6 * len(made)
        )


async def test_news_of_work_takes_milliseconds(
    records: Records, url: str, record_property: Callable[[str, object], None]
) -> None:
    async with nodes(records, url) as (first, second):
        answering(first, second)
        await until(lambda: shares(first, second) == [128, 128])
        while True:
            made = await first.subscribe()
            if second.sharing.shards.owns(made.id):
                break
            await first.subscriptions.delete(first.principal, made.id)
        await until(lambda: second.router.find(made.project_id, made.id))
        taken = []
        for number in range(1, 31):
            await first.accept()
            begun = first.clock.monotonic()
            await second.receivers.reach(number)
            taken.append(first.clock.monotonic() - begun)
        taken.sort()
        record_property("an event reaches its owner in another process after", f"{taken[15]:.4f} s")
        assert taken[15] < 0.1, taken


async def test_what_is_accepted_before_a_claimed_shard_was_looked_at_hides_nothing(
    records: Records, url: str
) -> None:
    async with node(records, url) as one:
        await until(lambda: one.owned == SHARDS)
        await one.reconciler.job.stop()
        await one.subscribe()
        await one.accept()
        await one.receivers.reach(1)
        look, may_look = one.ownership._look, asyncio.Event()

        async def look_late() -> Sequence[tuple[Id, Id]]:
            await may_look.wait()
            return await look()

        one.ownership._look = look_late
        # What is in flight is broken off: whoever claims its shard owes it.
        one.ownership._until = 0.0
        one.ownership.check()
        await until(lambda: one.owned == SHARDS)
        await one.accept()
        await one.receivers.reach(2)
        may_look.set()
        await one.receivers.reach(3)
        assert len({post.webhook_id for post in one.receivers.posts}) == 2


async def test_who_waits_here_is_woken_by_what_is_accepted_there(
    records: Records, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "ANNOUNCE_S", 0.1)
    async with nodes(records, url) as (first, second):
        here = Arrivals(first.ingest, first.sharing)
        there = Arrivals(second.ingest, second.sharing)
        with here.waiting(records.project, ("card.created",)) as waiting:

            def is_heard() -> bool:
                here.announce()  # again and again: the other may not have listened yet
                return second.ingest.arrived is not None

            await until(is_heard)
            await second.accept()
            async with asyncio.timeout(PATIENCE_S):
                await waiting.wait(10 * PATIENCE_S)
        assert not there.is_closed


async def test_a_program_runs_where_the_owner_is_and_what_it_skips_has_no_try(
    records: Records, url: str
) -> None:
    program = TransformIn(javascript="function transform(payload) { return payload }")
    async with nodes(records, url) as (first, second):
        await until(lambda: shares(first, second) == [128, 128])
        answering(first, second)
        mine: list[Subscription] = []
        theirs: list[Subscription] = []
        while not (mine and theirs):
            one = await first.subscribe(transform=program)
            (theirs if second.sharing.shards.owns(one.id) else mine).append(one)
        first.runs.script = lambda _: Skipped()
        second.runs.script = lambda _: Made(b'"made"')
        await first.accept()
        await until(lambda: len(second.receivers.posts) == len(theirs))
        assert {post.body for post in second.receivers.posts} == {b'"made"'}
        assert {run.line for run in second.runs.all} == {one.id for one in theirs}
        # Set in the first process, the second goes by it once it has heard of it.
        none = Settings(url=theirs[0].url, transform=None)
        await first.subscriptions.update(first.principal, theirs[0].id, none)
        await until(lambda: None in {one.transform for one in second.router.list_all()})
        await first.accept()
        await until(lambda: len(second.receivers.posts) == 2 * len(theirs))
        assert sorted({post.body for post in second.receivers.posts}) == [b'"made"', b"{}"]
        assert first.receivers.posts == []
        await until(lambda: not first.dispatcher.in_flight_count)
        found = records.connection.execute(
            select(schema.deliveries.c.reason, schema.deliveries.c.attempts).where(
                schema.deliveries.c.state == DeliveryState.CANCELLED
            )
        ).all()
        assert [tuple(row) for row in found] == [(Reason.SKIPPED, 0)] * 2 * len(mine)


async def test_an_open_breaker_goes_with_its_shard(records: Records, url: str) -> None:
    breaker = Breaker(min_requests=3, failure_ratio=1, open_s=3600)
    async with node(records, url) as second:
        async with node(records, url) as first:
            await until(lambda: shares(first, second) == [128, 128])
            made = [await first.subscribe(f"h{n}", breaker=breaker) for n in range(16)]
            owns = first.sharing.shards.owns
            # On a machine that is busy a lease may have passed meanwhile; it is taken again.
            await until(lambda: any(owns(one.id) for one in made))
            theirs = [one for one in made if owns(one.id)]
            for one in (first, second):
                one.receivers.script = lambda post: post.answer(500)
            for _ in range(5):
                await first.accept()
            opened = {one.id for one in theirs}

            def states() -> dict[Id, BreakerState]:
                known = first.dispatcher._receivers
                return {r.subscription.id: r.lane.gate.circuit.state for r in known}

            await until(lambda: all(states().get(one) is BreakerState.OPEN for one in opened))
        await until(lambda: second.owned == SHARDS)
        known = second.dispatcher._receivers
        await until(lambda: opened <= {r.subscription.id for r in known})
        for receiver in known:
            circuit = receiver.lane.gate.circuit
            assert (circuit.state, circuit.openings) == (BreakerState.OPEN, 1)


async def test_a_delayed_event_is_sent_by_the_owner_when_it_is_due(
    records: Records, url: str
) -> None:
    async with nodes(records, url) as (first, second):
        await until(lambda: shares(first, second) == [128, 128])
        answering(first, second)
        for number in range(8):
            await first.subscribe(f"h{number}")
        accepted = await first.accept(attributes=Attributes(deliver_in_s=0.5))
        due_us = ids.moment(accepted.id) + 500_000

        def posts() -> list[Post]:
            return first.receivers.posts + second.receivers.posts

        await until(posts)
        assert first.clock.now_us() >= due_us
        await until(lambda: len(posts()) == 8)
        assert all(stamp(post) >= due_us // 1_000_000 for post in posts())


def stamp(post: Post) -> int:
    """Return when a request was signed, in seconds since 1970."""
    return int(post.head.decode("latin-1").split("webhook-timestamp: ")[1].split("\r\n")[0])
