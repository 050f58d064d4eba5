"""Order, from acceptance to receipt: whatever fails, waits, is refilled, parked or restarted."""

import json
import random
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.support import database
from tests.support.database import Records
from tests.support.engine import Post, Works, works
from waypost.engine import unparker
from waypost.model.delivery import PARKED, DeliveryClass, Owed
from waypost.model.event import Attributes
from waypost.model.subscription import OnOrderFailure, Ordering, Subscription
from waypost.policy.events import Draft
from waypost.storage import blocked_keys, queue


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return database.make(tmp_path / "w.db")


def draft(number: int, key: str | None) -> Draft:
    attributes = Attributes(ordering_key=key)
    return Draft("a", json.dumps({"key": key, "n": number}).encode(), attributes)


def content(post: Post) -> tuple[str | None, int]:
    found = json.loads(post.body)
    return found["key"], found["n"]


class Witness:
    """A receiver that fails now and then, and notes in which order events come.

    Attributes:
        fail: how likely a try fails.
        seen: by key, the numbers of the events in the order of their first receipts.
        overtaken: events that were not taken yet when another of their chain came.
    """

    def __init__(self, chance: random.Random, *, fail: float = 0.2, strict: bool = False) -> None:
        self.chance = chance
        self.fail = fail
        self.strict = strict
        self.seen: dict[str | None, list[int]] = defaultdict(list)
        self.taken: set[int] = set()
        self.overtaken: list[tuple[int, int]] = []

    def __call__(self, post: Post) -> None:
        key, number = content(post)
        line = self.seen[None if self.strict else key]
        if number not in line:
            if line and line[-1] not in self.taken and (self.strict or key is not None):
                self.overtaken.append((line[-1], number))
            line.append(number)
        if self.chance.random() < self.fail:
            post.answer(500)
        else:
            self.taken.add(number)
            post.answer(200)


def inversions(seen: dict[Any, list[int]]) -> int:
    return sum(earlier > later for line in seen.values() for earlier, later in pairwise(line))


async def drain(running: Works) -> None:
    for _ in range(3_000):
        await running.quiet()
        if not await running.count("queue"):
            return
        await running.forward(2)
    raise AssertionError("it goes on for ever")


def ordered(records: Records, **settings: Any) -> Subscription:
    settings = {"ordering": Ordering.KEY, "retry_schedule_s": (1.0,) * 30, **settings}
    return records.subscription(**settings)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("window", [2, 7, 100])
async def test_each_key_in_its_order_whatever_fails(
    records: Records, tmp_path: Path, seed: int, window: int
) -> None:
    chance = random.Random(seed)
    ordered(records, concurrency=chance.choice([1, 3, 64]))
    witness = Witness(chance)
    count = 0
    for _life in range(3):
        async with works(records, tmp_path / "w.db", window=window) as running:
            running.receivers.script = witness
            for _ in range(12):
                keys = [chance.choice(["a", "b", "c", None]) for _ in range(chance.randint(1, 9))]
                last = running.hand_in(*(draft(count + n, key) for n, key in enumerate(keys)))
                count += len(keys)
                if chance.random() < 0.5:
                    await running.forward(chance.random() * 2)
            await last
            await running.quiet()
    async with works(records, tmp_path / "w.db", window=window) as running:
        running.receivers.script = witness
        await drain(running)
        running.nothing_leaks()
    seen = {key: line for key, line in witness.seen.items() if key is not None}
    assert sum(map(len, witness.seen.values())) == count
    assert inversions(seen) == 0
    assert witness.overtaken == []


@pytest.mark.parametrize("window", [2, 50])
async def test_strict_is_one_line_for_all(records: Records, tmp_path: Path, window: int) -> None:
    chance = random.Random(7)
    ordered(records, ordering=Ordering.STRICT)
    witness = Witness(chance, strict=True)
    async with works(records, tmp_path / "w.db", window=window) as running:
        running.receivers.script = witness
        for n in range(150):
            last = running.hand_in(draft(n, chance.choice(["a", None])))
            if n % 40 == 0:
                await running.forward(1)
        await last
    async with works(records, tmp_path / "w.db", window=window) as running:
        running.receivers.script = witness
        await drain(running)
    assert witness.seen[None] == list(range(150))
    assert witness.overtaken == []


async def test_what_is_put_off_takes_its_place_when_it_is_due(
    records: Records, tmp_path: Path
) -> None:
    ordered(records, ordering=Ordering.STRICT)
    async with works(records, tmp_path / "w.db") as running:
        later = Draft("a", json.dumps({"key": None, "n": 9}).encode(), Attributes(deliver_in_s=60))
        await running.hand_in(later)
        await running.hand_in(draft(1, "a"), draft(2, None))
        seen = []
        for _ in range(2):
            await running.quiet()
            [post] = running.receivers.open
            seen.append(content(post)[1])
            post.answer(200)
        await running.quiet()
        assert (seen, running.receivers.open) == ([1, 2], [])
        await running.hand_in(draft(3, None))
        await running.quiet()
        await running.hand_in(draft(4, None))
        await running.forward(61)
        running.receivers.open[0].answer(200)
        for expected in (9, 4):
            await running.quiet()
            [post] = running.receivers.open
            assert content(post)[1] == expected
            post.answer(200)


async def test_without_an_ordering_the_same_events_overtake_each_other(
    records: Records, tmp_path: Path
) -> None:
    """So that the tests above can fail."""
    ordered(records, ordering=Ordering.NONE)
    async with works(records, tmp_path / "w.db") as running:
        await running.hand_in(*(draft(n, "a") for n in range(5)))
        await running.quiet()
        assert len(running.receivers.open) == 5


async def test_a_retry_holds_its_key_and_no_other(records: Records, tmp_path: Path) -> None:
    ordered(records, retry_schedule_s=(60.0, 60.0))
    async with works(records, tmp_path / "w.db") as running:
        await running.hand_in(*(draft(n, "ab"[n % 2]) for n in range(6)))
        await running.quiet()
        first, other = sorted(running.receivers.open, key=content)
        first.answer(500)
        other.answer(200)
        await running.quiet()
        assert [content(post) for post in running.receivers.open] == [("b", 3)]
        await running.forward(80)
        assert sorted(map(content, running.receivers.open)) == [("a", 0), ("b", 3)]


async def test_giving_up_goes_on_with_the_next(records: Records, tmp_path: Path) -> None:
    ordered(records, retry_schedule_s=())
    async with works(records, tmp_path / "w.db") as running:
        await running.hand_in(draft(1, "a"), draft(2, "a"))
        await running.quiet()
        running.receivers.open[0].answer(500)
        await running.quiet()
        assert [content(post) for post in running.receivers.open] == [("a", 2)]


@pytest.mark.parametrize("mode", [Ordering.KEY, Ordering.STRICT])
async def test_giving_up_blocks_the_key_until_it_is_released(
    records: Records, tmp_path: Path, mode: Ordering
) -> None:
    one = ordered(
        records, ordering=mode, retry_schedule_s=(), on_order_failure=OnOrderFailure.BLOCK
    )
    key = "a" if mode is Ordering.KEY else ""
    async with works(records, tmp_path / "w.db") as running:
        await running.hand_in(*(draft(n, "a") for n in range(4)))
        await running.quiet()
        running.receivers.open[0].answer(500)
        await running.quiet()
        assert running.receivers.open == []
        (blocked,) = await running.rows("blocked_keys")
        assert (blocked.ordering_key, blocked.subscription_id) == (key, one.id)
        assert await running.count("diverted_events") == 1
        await running.hand_in(draft(4, "a"))
        await running.forward(100)
        assert running.receivers.open == []
    async with works(records, tmp_path / "w.db") as running:
        await running.quiet()
        assert running.receivers.open == [], "it is blocked after a restart as before"
        released = await running.store.write(
            lambda c: blocked_keys.release(c, one.project_id, one.id, key)
        )
        assert released
        running.dispatcher.roster.look([(one.project_id, one.id)])
        await running.quiet()
        assert [content(post) for post in running.receivers.open] == [("a", 1)]


@pytest.mark.parametrize("mode", [Ordering.KEY, Ordering.STRICT])
@pytest.mark.parametrize("answer", [200, 500])
async def test_what_blocks_a_key_releases_it_when_it_is_delivered_after_all(
    records: Records, tmp_path: Path, mode: Ordering, answer: int
) -> None:
    one = ordered(
        records, ordering=mode, retry_schedule_s=(), on_order_failure=OnOrderFailure.BLOCK
    )
    async with works(records, tmp_path / "w.db") as running:
        await running.hand_in(*(draft(n, "a") for n in range(3)))
        await running.quiet()
        running.receivers.open[0].answer(500)
        await running.quiet()
        (blocked,) = await running.rows("blocked_keys")
        again = Owed(
            one.project_id,
            records.ids.next(),
            blocked.event_id,
            one.id,
            DeliveryClass.REPLAY,
            records.clock.now_us(),
        )
        await running.store.write(
            lambda c: queue.insert(c, [again]), lambda _: running.dispatcher.owed([again])
        )
        await running.quiet()
        [post] = running.receivers.open
        assert content(post) == ("a", 0)
        post.answer(answer)
        await running.quiet()
        assert await running.count("blocked_keys") == (answer != 200)
        assert [content(post) for post in running.receivers.open] == [("a", 1)] * (answer == 200)


async def test_the_followers_of_a_held_key_fill_no_window(records: Records, tmp_path: Path) -> None:
    ordered(records, retry_schedule_s=(3600.0,))
    async with works(records, tmp_path / "w.db", window=10) as running:
        await running.hand_in(draft(0, "held"))
        await running.quiet()
        running.receivers.open[0].answer(500)
        for start in range(1, 301, 100):
            await running.hand_in(*(draft(start + n, "held") for n in range(100)))
        await running.quiet()
        await running.hand_in(draft(1000, "free"))
        await running.quiet()
        assert [content(post) for post in running.receivers.open] == [("free", 1000)]
        count = text(f"SELECT count(*) FROM queue WHERE class = {PARKED}")
        parked = await running.store.read(lambda c: int(c.execute(count).scalar_one()))
        assert parked > 200
    async with works(records, tmp_path / "w.db", window=10) as running:
        witness = Witness(random.Random(1), fail=0.0)
        running.receivers.script = witness
        await running.forward(5000)
        await drain(running)
        assert witness.seen["held"] == list(range(301))


@pytest.mark.parametrize("before", list(Ordering))
@pytest.mark.parametrize("after", list(Ordering))
async def test_an_ordering_that_is_changed_holds_for_what_waits(
    records: Records, tmp_path: Path, before: Ordering, after: Ordering
) -> None:
    one = ordered(records, ordering=before, concurrency=2)
    async with works(records, tmp_path / "w.db", window=20) as running:
        await running.hand_in(*(draft(n, "a") for n in range(100)))
        await running.quiet()
        await running.change(one, ordering=after)
        await running.quiet()
        await running.hand_in(*(draft(n, "a") for n in range(100, 120)))
        witness = Witness(random.Random(1), fail=0.1)
        running.receivers.script = witness
        flying = {content(post)[1] for post in running.receivers.open}
        for post in running.receivers.open:
            post.answer(200)
        await drain(running)
    if after is not Ordering.NONE:
        assert witness.seen["a"] == [n for n in range(120) if n not in flying]
    else:
        assert sorted(witness.seen["a"]) == [n for n in range(120) if n not in flying]


@pytest.mark.parametrize("after", [Ordering.NONE, Ordering.KEY])
async def test_what_was_parked_is_found_after_a_crash_amid_a_change(
    records: Records, tmp_path: Path, after: Ordering, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a key: one that is sent to by key finds what has one anyway."""
    monkeypatch.setattr(unparker, "_CHUNK", 7)
    one = ordered(records, ordering=Ordering.STRICT, retry_schedule_s=(3600.0,))
    async with works(records, tmp_path / "w.db", window=10) as running:
        await running.hand_in(*(draft(n, None) for n in range(100)))
        await running.quiet()
        running.receivers.open[0].answer(500)
        await running.quiet()
        parked = [row for row in await running.rows("queue") if row._mapping["class"] == PARKED]
        assert len(parked) > 50
        with monkeypatch.context() as broken:
            broken.setattr(unparker.Unparker, "add", lambda *_: None)
            changed = await running.change(one, ordering=after)
            await running.quiet()
        assert changed.unparking
    async with works(records, tmp_path / "w.db", window=10) as running:
        witness = Witness(random.Random(1), fail=0.0)
        running.receivers.script = witness
        await running.forward(5000)
        await drain(running)
        assert len(witness.seen[None]) == 100
        (row,) = await running.rows("subscriptions")
        assert row.unparking == 0
