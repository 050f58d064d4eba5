"""System events, rule by rule, under a clock that the test moves."""

from pathlib import Path
from typing import Any

import msgspec

from tests.support.database import Records
from tests.support.engine import Post, Works, works
from waypost.model import ids
from waypost.model.flow import Breaker
from waypost.model.subscription import Subscription
from waypost.policy.system_events import (
    News,
)

TAKER = "https://taker.example/"
HOUR = 3600
BREAKER = Breaker(failure_ratio=0.5, min_requests=2, open_s=10, probes=1)
OFF = Breaker(enabled=False)
ALL_NEWS = News.__subclasses__()[0].__subclasses__() + News.__subclasses__()[1:]


def taker(records: Records, *types: str, **settings: Any) -> Subscription:
    return records.subscription(
        url=TAKER, event_types=types or ("waypost.*",), breaker=OFF, **settings
    )


class Script:
    """Lets takers succeed, and answers everybody else with a status."""

    def __init__(self, engine: Works, status: int = 500) -> None:
        self.engine = engine
        self.status = status
        self.taker_status = 204
        engine.receivers.script = self.answer

    def answer(self, post: Post) -> None:
        post.answer(self.taker_status if post.host == "taker.example" else self.status)

    @property
    def news(self) -> list[Any]:
        """Everything that takers were told, as it was told."""
        return [
            msgspec.json.decode(post.body, type=Any)
            for post in self.engine.receivers.posts
            if post.host == "taker.example"
        ]

    @property
    def types(self) -> list[str]:
        return [one["type"].removeprefix("waypost.") for one in self.news]


async def listed(engine: Works) -> list[str]:
    rows = await engine.rows("events")
    found = sorted((row.id, row.type) for row in rows if row.type.startswith("waypost."))
    return [name.removeprefix("waypost.") for _, name in found]


async def test_an_opened_breaker_is_told_and_its_closing_a_minute_later(
    records: Records, path: Path
) -> None:
    taker(records)
    one = records.subscription(breaker=BREAKER, event_types=("card.*",), description="Cards")
    async with works(records, path) as engine:
        script = Script(engine)
        await engine.accept(3)
        await engine.quiet()
        await engine.tell()
        [opened] = script.news
        assert opened == {
            "type": "waypost.breaker.opened",
            "timestamp": opened["timestamp"],
            "subscription": ids.spell(ids.SUBSCRIPTION, one.id),
            "description": "Cards",
            "open_until": opened["open_until"],
            "openings": 1,
        }
        script.status = 204
        await engine.forward(10)
        await engine.tell()
        assert script.types == ["breaker.opened"], "it is soon for more"
        await engine.forward(60)
        await engine.tell()
        await engine.tell()
        assert script.types == ["breaker.opened", "breaker.closed"]
