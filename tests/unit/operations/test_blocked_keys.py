"""Blocked keys: who may see and release which, and who is told."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.support import database
from waypost.model import ids
from waypost.model.delivery import BlockedKey, Owed
from waypost.model.errors import NotFound
from waypost.model.page import PageRequest
from waypost.model.subscription import OnOrderFailure, Ordering
from waypost.operations.blocked_keys import RELEASED, BlockedKeys
from waypost.storage import blocked_keys
from waypost.storage.schema import audit


async def test_a_key_is_listed_and_released_by_its_own_project_alone(tmp_path: Path) -> None:
    records = database.make(tmp_path / "w.db")
    one = records.subscription(ordering=Ordering.KEY, on_order_failure=OnOrderFailure.BLOCK)
    event_id = records.event()
    owed = records.pending(event_id, one)
    key = BlockedKey(one.project_id, one.id, "a", 1, owed, event_id, 5)
    blocked_keys.block(records.connection, key, attempts=0)
    caller, stranger = records.principal(), records.principal(project_id=records.other)
    told: list[Owed] = []

    def tell(some: Sequence[Owed]) -> None:
        told.extend(some)

    async with database.opened(tmp_path / "w.db") as store:
        blocked = BlockedKeys(store, tell, records.ids)
        page = await blocked.list_page(caller, one.id, PageRequest())
        assert page.items == [key]
        with pytest.raises(NotFound, match="event subscription"):
            await blocked.list_page(stranger, one.id, PageRequest())
        with pytest.raises(NotFound, match="event subscription"):
            await blocked.release(stranger, one.id, "a")
        with pytest.raises(NotFound, match="blocked key"):
            await blocked.release(caller, one.id, "b")
        assert told == []
        await blocked.release(caller, one.id, "a")
        assert [(each.project_id, each.subscription_id) for each in told] == [
            (one.project_id, one.id)
        ]
        assert not (await blocked.list_page(caller, one.id, PageRequest())).items
        [noted] = await store.read(lambda c: c.execute(select(audit)).all())
        assert (noted.action, noted.key_id) == (RELEASED, caller.key_id)
        assert noted.subject == ids.spell(ids.SUBSCRIPTION, one.id)
