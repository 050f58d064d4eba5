"""An example, which somebody waits for, goes before what else a subscription is owed."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.database import Records
from tests.support.engine import works
from waypost.model.event import Attributes
from waypost.model.flow import RateLimit
from waypost.model.subscription import Ordering


@pytest.mark.parametrize(
    "settings", [{"rate_limit": RateLimit(1, 60)}, {"concurrency": 1, "ordering": Ordering.KEY}]
)
@pytest.mark.parametrize("window", [4, 100])
async def test_it_is_the_next_that_is_sent_however_much_is_owed(
    records: Records, path: Path, settings: dict[str, Any], window: int
) -> None:
    one = records.subscription(**settings)
    async with works(records, path, window=window) as engine:
        engine.receivers.script = lambda post: post.answer()
        await engine.accept(300, payload=b'"owed"')
        await engine.forward(60)
        before = len(engine.receivers.posts)
        assert before < 300 or "ordering" in settings
        if "ordering" in settings:
            engine.receivers.script = None
            await engine.accept(300, payload=b'"owed"')
            await engine.quiet()
            before = len(engine.receivers.posts)
        asked = Attributes(targets=(one.id,), example=True)
        await engine.accept(payload=b'"example"', attributes=asked)
        await engine.quiet()
        assert len(engine.receivers.posts) == before, "it keeps to the limits"
        if "ordering" in settings:
            [flying] = engine.receivers.open
            flying.answer()
            await engine.quiet()
        else:
            await engine.forward(61)
        assert engine.receivers.posts[before].body == b'"example"'
