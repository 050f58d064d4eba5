"""An event for very many ordered subscriptions is a marker in its commit, and keeps its place."""

from pathlib import Path

import pytest

from tests.integration.engine.test_order import content, draft, ordered
from tests.support import database
from tests.support.database import Records
from tests.support.engine import Works, works
from waypost.engine import ingest
from waypost.model.event import Attributes
from waypost.model.ids import Id
from waypost.model.subscription import Ordering
from waypost.policy.events import Draft


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return database.make(tmp_path / "w.db")


def aimed(number: int, key: str | None, to: Id) -> Draft:
    """Return an event for one subscription alone: its delivery is made with it."""
    payload = draft(number, key).payload
    return Draft("a", payload, Attributes(ordering_key=key, targets=(to,)))


async def expand(engine: Works) -> None:
    while await engine.expander.run_once():
        pass
    # Ids run ahead of a clock that stands, and what they are of is due at their moment.
    await engine.forward(1)


async def test_a_commit_holds_no_delivery_of_more_than_it_may(
    records: Records, tmp_path: Path
) -> None:
    for _ in range(ingest.GREAT_FAN_OUT + 1):
        ordered(records)
    async with works(records, tmp_path / "w.db") as engine:
        await engine.hand_in(draft(1, "a"))
        assert (await engine.count("queue"), await engine.count("fan_outs")) == (0, 1)
        await expand(engine)
        assert await engine.count("queue") == ingest.GREAT_FAN_OUT + 1


@pytest.mark.parametrize("mode", [Ordering.KEY, Ordering.STRICT])
async def test_what_comes_behind_it_waits_until_it_is_made(
    records: Records, tmp_path: Path, mode: Ordering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "GREAT_FAN_OUT", 2)
    is_strict = mode is Ordering.STRICT
    one = ordered(records, ordering=mode, url="https://one.example/")
    for _ in range(2):
        ordered(records, ordering=mode)
    async with works(records, tmp_path / "w.db") as engine:

        def open_at_one() -> list[int]:
            mine = [post for post in engine.receivers.open if post.host == "one.example"]
            return sorted(content(post)[1] for post in mine)

        await engine.hand_in(aimed(0, "a", one.id))
        await engine.quiet()
        await engine.hand_in(draft(1, "a"))
        await engine.hand_in(aimed(2, "a", one.id), aimed(3, "b", one.id))
        await engine.quiet()
        assert open_at_one() == ([0] if is_strict else [0, 3])
        for post in engine.receivers.open:
            post.answer(200)
        await engine.quiet()
        assert open_at_one() == [], "the marker stands before what is in the queue"
        await expand(engine)
        for expected in [[1], [2], [3] if is_strict else []]:
            assert open_at_one() == expected
            for post in engine.receivers.open:
                post.answer(200)
            await engine.quiet()
        assert await engine.count("queue") == 0


async def test_it_is_kept_over_a_restart_before_it_is_made(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "GREAT_FAN_OUT", 2)
    one, *_ = (ordered(records) for _ in range(3))
    async with works(records, tmp_path / "w.db") as engine:
        await engine.hand_in(draft(1, "a"))
        await engine.hand_in(aimed(2, "a", one.id))
        await engine.quiet()
        assert engine.receivers.open == []
    async with works(records, tmp_path / "w.db") as engine:
        await engine.quiet()
        assert engine.receivers.open == []
        await expand(engine)
        assert {content(post)[1] for post in engine.receivers.open} == {1}
