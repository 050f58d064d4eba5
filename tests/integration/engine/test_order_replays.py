"""Replays to subscriptions that keep an order, among live events and failures."""

import json
import random
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest

from tests.integration.engine.test_order import Witness, draft, inversions, ordered
from tests.support import database
from tests.support.database import Records
from tests.support.engine import Post, Works, works
from tests.support.nodes import Node, node
from tests.support.waiting import until
from waypost.engine.replayer import Replayer
from waypost.model.event import Attributes
from waypost.model.replay import Plan, ReplayKind, ReplayState, Route
from waypost.model.subscription import Ordering, Subscription
from waypost.operations.replays import Replays, Wanted

MODES = [Ordering.KEY, Ordering.STRICT]
OLD, LIVE, KEYS = 60, 40, "abc"


@pytest.fixture
def played(tmp_path: Path) -> Records:
    """Return a database in a file, for an engine whose clock is moved."""
    return database.make(tmp_path / "w.db")


def wanted(to: Subscription, rate: float | None) -> Wanted:
    plan = Plan(event_types=("a",), route=Route.TO, rate=rate)
    return Wanted(ReplayKind.SELECTED, plan, to=to.id)


async def prepared(records: Records, path: Path, mode: Ordering) -> Subscription:
    """Keep events that nobody was owed; return a subscription that was made behind them."""
    chance = random.Random(1)
    records.subscription(ordering=mode, event_types=("nothing",))
    async with works(records, path) as engine:
        for n in range(OLD):
            await engine.hand_in(draft(n, chance.choice(KEYS)))
    return ordered(records, ordering=mode)


async def replaying(engine: Works, to: Subscription, rate: float | None) -> Replayer:
    made = Replayer(engine.store, engine.dispatcher.owed, engine.records.ids, engine.router)
    asked = Replays(
        engine.store, engine.dispatcher.owed, lambda: None, engine.records.ids, engine.router
    )
    await asked.ask(engine.principal, wanted(to, rate))
    return made


async def is_done(engine: Works) -> bool:
    [job] = await engine.rows("replays")
    return bool(job.state == ReplayState.DONE.value)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(3))
async def test_what_is_replayed_keeps_its_order_among_what_is_live(
    played: Records, tmp_path: Path, mode: Ordering, seed: int
) -> None:
    chance = random.Random(seed)
    one = await prepared(played, tmp_path / "w.db", mode)
    witness = Witness(chance, strict=mode is Ordering.STRICT)
    async with works(played, tmp_path / "w.db", window=chance.choice([7, 100])) as engine:
        engine.receivers.script = witness
        replayer = await replaying(engine, one, rate=100.0)
        sent = OLD
        for _ in range(1_000):
            await replayer.run_once()
            if sent < OLD + LIVE and chance.random() < 0.7:
                await engine.hand_in(draft(sent, chance.choice(KEYS)))
                sent += 1
            await engine.forward(0.2)
            if sent == OLD + LIVE and await is_done(engine) and not await engine.count("queue"):
                break
        engine.nothing_leaks()
    assert sum(map(len, witness.seen.values())) == OLD + LIVE
    # One that is replayed has its old place: it may go before a later one that waits for its retry.
    assert [pair for pair in witness.overtaken if pair[0] < pair[1]] == []
    for among in (range(OLD), range(OLD, OLD + LIVE)):
        seen = {key: [n for n in line if n in among] for key, line in witness.seen.items()}
        assert inversions(seen) == 0


@pytest.mark.parametrize("mode", MODES)
async def test_what_is_replayed_to_one_that_is_paused_is_one_line_with_what_is_live(
    played: Records, tmp_path: Path, mode: Ordering
) -> None:
    chance = random.Random(5)
    one = await prepared(played, tmp_path / "w.db", mode)
    witness = Witness(chance, strict=mode is Ordering.STRICT)
    async with works(played, tmp_path / "w.db", window=10) as engine:
        engine.receivers.script = witness
        await engine.change(one, paused=True)
        for n in range(OLD, OLD + LIVE):
            await engine.hand_in(draft(n, chance.choice(KEYS)))
        replayer = await replaying(engine, one, rate=None)
        while await replayer.run_once():
            await engine.forward(1)
        assert await is_done(engine)
        await engine.change(one, paused=False)
        for _ in range(1_000):
            if not await engine.count("queue"):
                break
            await engine.forward(1)
    assert sum(map(len, witness.seen.values())) == OLD + LIVE
    assert (inversions(witness.seen), witness.overtaken) == (0, [])


class Receipts:
    """What came first of each key, at a receiver that fails now and then."""

    def __init__(self, *, strict: bool) -> None:
        self.chance = random.Random(2)
        self.strict = strict
        self.seen: dict[str, list[int]] = defaultdict(list)
        self.taken: set[int] = set()

    def __call__(self, post: Post) -> None:
        got = json.loads(post.body)
        line = self.seen["" if self.strict else got["key"]]
        if got["n"] not in line:
            line.append(got["n"])
        if self.chance.random() < 0.2:
            post.answer(500)
        else:
            self.taken.add(got["n"])
            post.answer()


async def produce(at: Node, numbers: range) -> None:
    for n in numbers:
        key = KEYS[n % 7 % 3]
        payload = json.dumps({"key": key, "n": n}).encode()
        await at.accept(kind="a", payload=payload, attributes=Attributes(ordering_key=key))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("paused", [False, True])
async def test_so_it_is_on_a_shared_database(
    records: Records,
    url: str,
    mode: Ordering,
    paused: bool,
) -> None:
    async with node(records, url, window=20) as running:
        receipts = running.receivers.script = Receipts(strict=mode is Ordering.STRICT)
        await running.subscribe("other", ordering=mode, event_types=("nothing",))
        await produce(running, range(OLD))
        one = await running.subscribe(ordering=mode, retry_schedule=(0.01,) * 30)
        if paused:
            await running.subscriptions.pause(running.principal, one.id)
        jobs = Replays(
            running.store,
            running.dispatcher.owed,
            running.wake_replayer,
            running.ids,
            running.router,
        )
        replay = await jobs.ask(running.principal, wanted(one, None if paused else 300.0))
        await produce(running, range(OLD, OLD + LIVE))
        if paused:
            while (await jobs.get(running.principal, replay.id)).state is ReplayState.RUNNING:
                running.wake_replayer()
            await running.subscriptions.resume(running.principal, one.id)
        await until(lambda: len(receipts.taken) == OLD + LIVE)
    for among in [range(OLD + LIVE)] if paused else [range(OLD), range(OLD, OLD + LIVE)]:
        for line in receipts.seen.values():
            assert all(a < b for a, b in pairwise([n for n in line if n in among]))
