"""Expiry: what could not be ended now is kept, and ended later."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import database
from tests.support.database import Records
from tests.support.engine import works
from waypost.engine import expiry
from waypost.model.delivery import DeliveryState, Reason
from waypost.model.errors import Unavailable
from waypost.storage.connection import Connection
from waypost.storage.store import Store


class Refusing:
    """A store that refuses two writes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._left = 2

    async def write(self, fn: Callable[[Connection], int]) -> int:
        if self._left:
            self._left -= 1
            raise Unavailable
        return await self._store.write(fn)


EXPIRED = (DeliveryState.FAILED, Reason.EXPIRED)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w.db"


@pytest.fixture
def records(path: Path) -> Records:
    return database.make(path)


async def test_what_could_not_be_ended_stays_owed_and_is_ended_later(
    records: Records, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "_RETRY_S", 0.0)
    one = records.subscription(deliver_before_s=60, paused=True)
    async with works(records, path) as engine:
        await engine.accept(3)
        await engine.forward(61)
        monkeypatch.setattr(engine.dispatcher._expiry, "_store", Refusing(engine.store))
        await engine.change(one, paused=False)
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
