"""What an order has held up is free when the order, or what a failure means to it, is changed."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.engine.test_order import Witness, content, draft, drain, ordered
from tests.support import database
from tests.support.database import Records
from tests.support.engine import Works, works
from tests.support.waiting import until
from waypost.engine.upkeep import Upkeep
from waypost.model.event import Attributes
from waypost.model.subscription import OnOrderFailure, Ordering, Subscription
from waypost.model.transform import Language, Made, Transform
from waypost.policy.events import Draft

BLOCK, CONTINUE = OnOrderFailure.BLOCK, OnOrderFailure.CONTINUE
NONE, KEY, STRICT = Ordering.NONE, Ordering.KEY, Ordering.STRICT


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return database.make(tmp_path / "w.db")


async def change(engine: Works, one: Subscription, by_default: bool, **settings: Any) -> None:
    """Change what holds for a subscription: there, or in its project's defaults."""
    if by_default:
        await engine.set_defaults(one.project_id, **settings)
    else:
        await engine.change(one, **settings)


@pytest.mark.parametrize("by_default", [False, True])
@pytest.mark.parametrize("mode", [KEY, STRICT])
@pytest.mark.parametrize("after", [{"on_order_failure": CONTINUE}, {"ordering": NONE}])
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_blocked_key_is_free_when_nothing_is_to_be_blocked_any_more(
    records: Records,
    tmp_path: Path,
    by_default: bool,
    mode: Ordering,
    after: dict[str, Any],
    restarted: bool,
) -> None:
    asked = {"ordering": mode, "on_order_failure": BLOCK}
    one = ordered(records, retry_schedule_s=(), **dict.fromkeys(asked) if by_default else asked)
    async with works(records, tmp_path / "w.db", window=20) as engine:
        if by_default:
            await engine.set_defaults(one.project_id, **asked)
        await engine.hand_in(*(draft(n, "a") for n in range(100)))
        await engine.quiet()
        engine.receivers.open[0].answer(500)
        await engine.quiet()
        assert await engine.count("blocked_keys") == 1
        if not restarted:
            witness = engine.receivers.script = Witness(random.Random(1), fail=0.0)
            await change(engine, one, by_default, **{**asked, **after})
            assert await engine.count("blocked_keys") == 0
            await drain(engine)
    if restarted:
        async with works(records, tmp_path / "w.db", window=20) as engine:
            await engine.quiet()
            assert engine.receivers.open == []
            witness = engine.receivers.script = Witness(random.Random(1), fail=0.0)
            await change(engine, one, by_default, **{**asked, **after})
            await drain(engine)
    assert sorted(witness.seen["a"]) == list(range(1, 100))
    if "ordering" not in after:
        assert witness.seen["a"] == list(range(1, 100))


async def test_what_was_about_to_start_takes_its_place_in_the_new_order(
    records: Records, tmp_path: Path
) -> None:
    program = Transform(Language.TEMPLATE, "[1]")
    one = ordered(records, ordering=NONE, transform=program)
    async with works(records, tmp_path / "w.db") as engine:
        await engine.hand_in(draft(1, "a"))
        await until(lambda: len(engine.runs.all) == 1)
        engine.runs.all[0].end(Made(b"{}"))
        await engine.receivers.reach(1)
        engine.receivers.open[0].answer(500)
        await engine.quiet()
        await engine.hand_in(draft(2, "a"))
        await until(lambda: len(engine.runs.all) == 2)
        # The first waits for its retry, and the second for its program, when both change.
        await engine.change(one, ordering=KEY, transform=None)
        engine.runs.all[1].end(Made(b"{}"))
        await engine.quiet()
        assert engine.receivers.open == []
        witness = engine.receivers.script = Witness(random.Random(1), fail=0.0)
        await drain(engine)
        assert witness.seen["a"] == [1, 2]
        engine.nothing_leaks()


async def test_a_key_is_not_blocked_by_what_was_decided_before_the_change(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where another process has made the change, and this one has not heard of it yet."""
    one = ordered(records, retry_schedule_s=(), on_order_failure=BLOCK)
    async with works(records, tmp_path / "w.db") as engine:
        await engine.hand_in(draft(0, "a"), draft(1, "a"))
        await engine.quiet()
        own: Callable[..., Any] = Upkeep.block

        async def late(self: Upkeep, tried: Any) -> bool:
            # It is committed, and nobody has told this process.
            with monkeypatch.context() as deaf:
                deaf.setattr(engine.dispatcher, "subscription_changed", lambda _: None)
                await engine.change(one, on_order_failure=CONTINUE)
            return bool(await own(self, tried))

        monkeypatch.setattr(Upkeep, "block", late)
        engine.receivers.open[0].answer(500)
        await engine.quiet()
        assert await engine.count("blocked_keys") == 0
        assert [content(post) for post in engine.receivers.open] == [("a", 1)]


@pytest.mark.parametrize("after", [NONE, KEY])
async def test_another_order_by_default_finds_what_the_old_one_has_parked(
    records: Records, tmp_path: Path, after: Ordering
) -> None:
    one = ordered(records, ordering=None, retry_schedule_s=(3600.0,), event_types=("a",))
    own = ordered(records, ordering=STRICT, retry_schedule_s=(3600.0,), event_types=("b",))
    async with works(records, tmp_path / "w.db", window=10) as engine:
        await engine.set_defaults(one.project_id, ordering=STRICT)
        await engine.hand_in(*(draft(n, None) for n in range(100)))
        await engine.hand_in(*(Draft("b", b'{"key": "own", "n": 1}', Attributes()),) * 60)
        await engine.quiet()
        for post in engine.receivers.open:
            post.answer(500)
        await engine.quiet()
        held = await engine.count("queue")
        await engine.set_defaults(one.project_id, ordering=after)
        await engine.quiet()
        assert {content(post)[0] for post in engine.receivers.open} == {None}, "its own stays"
        assert await engine.count("queue") == held
        witness = engine.receivers.script = Witness(random.Random(1), fail=0.0)
        for post in engine.receivers.open:
            witness(post)
        await engine.forward(5000)
        await drain(engine)
        assert sorted(witness.seen[None]) == list(range(100))
        rows = {row.id: row.unparking for row in await engine.rows("subscriptions")}
        assert rows == {one.id: 0, own.id: 0}


@pytest.mark.parametrize("mode", [KEY, STRICT])
async def test_an_order_by_default_is_kept(
    records: Records, tmp_path: Path, mode: Ordering
) -> None:
    chance = random.Random(3)
    ordered(records, ordering=None)
    witness = Witness(chance, strict=mode is STRICT)
    async with works(records, tmp_path / "w.db", window=7) as engine:
        await engine.set_defaults(records.project, ordering=mode)
        engine.receivers.script = witness
        for n in range(60):
            last = engine.hand_in(draft(n, chance.choice("ab") if mode is KEY else None))
            if n % 20 == 0:
                await engine.forward(1)
        await last
    async with works(records, tmp_path / "w.db", window=7) as engine:
        engine.receivers.script = witness
        await drain(engine)
    assert witness.overtaken == []
    assert sorted(n for line in witness.seen.values() for n in line) == list(range(60))
    assert all(line == sorted(line) for line in witness.seen.values())


async def test_a_strict_order_by_default_numbers_what_has_no_key(
    records: Records, tmp_path: Path
) -> None:
    ordered(records, ordering=None)
    async with works(records, tmp_path / "w.db") as engine:
        await engine.hand_in(draft(0, None))
        await engine.set_defaults(records.project, ordering=STRICT)
        await engine.hand_in(draft(1, None))
        await engine.set_defaults(records.project, ordering=KEY)
        await engine.hand_in(draft(2, None))
        numbered = {
            json.loads(row.payload)["n"]: row.sequence is not None
            for row in await engine.rows("events")
        }
        assert numbered == {0: False, 1: True, 2: False}
