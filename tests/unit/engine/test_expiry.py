"""Expiry: what could not be ended now is kept, and ended later."""

from pathlib import Path

import pytest

from tests.support.database import Records
from tests.support.engine import works
from waypost.engine import expiry
from waypost.model.delivery import DeliveryState, Reason
from waypost.model.errors import Unavailable

EXPIRED = (DeliveryState.FAILED, Reason.EXPIRED)


async def test_what_could_not_be_ended_stays_owed_and_is_ended_later(
    records: Records, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "_RETRY_S", 0.0)
    one = records.subscription(deliver_before_s=60, paused=True)
    async with works(records, path) as engine:
        await engine.accept(3)
        await engine.forward(61)
        write, refusals = engine.store.write, iter(range(2))

        async def refuse(*arguments: object) -> object:
            if next(refusals, None) is not None:
                raise Unavailable
            return await write(*arguments)  # type: ignore[arg-type]

        await engine.change(one, paused=False)
        monkeypatch.setattr(engine.dispatcher._expiry._store, "write", refuse)
        await engine.quiet()
        assert await engine.ends() == {EXPIRED: 3}
        assert engine.sent == []
        engine.nothing_leaks()


async def test_what_was_ended_by_somebody_else_stays_as_it_is(records: Records, path: Path) -> None:
    one = records.subscription(deliver_before_s=60, paused=True)
    async with works(records, path) as engine:
        await engine.accept(3)
        await engine.forward(61)
        await engine.change(one, paused=False)
        await engine.disable(one)
        await engine.quiet()
        assert sum((await engine.ends()).values()) == 3
        engine.nothing_leaks()
