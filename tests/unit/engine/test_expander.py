"""The expander: each part is made once, whoever makes it, and told of after its commit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from tests.support import database
from tests.support.database import Records
from waypost.engine.expander import Expander
from waypost.model import ids
from waypost.model.delivery import DeliveryClass, Owed
from waypost.storage import schema
from waypost.storage.store import Store

WANTED = tuple(ids.make(7, n) for n in range(1_200))


def keep(records: Records) -> bytes:
    event_id = records.event()
    records.connection.execute(
        insert(schema.fan_outs).values(
            project_id=records.project,
            event_id=event_id,
            subscriptions=b"".join(WANTED),
            position=0,
        )
    )
    return event_id


async def queued(store: Store) -> list[bytes]:
    column = schema.queue.c.subscription_id
    return await store.read(lambda c: list(c.execute(select(column).order_by(column)).scalars()))


async def test_parts_are_made_and_told_of(tmp_path: Path) -> None:
    records = database.make(tmp_path / "w.db")
    event_id = keep(records)
    told: list[Owed] = []
    async with database.opened(tmp_path / "w.db") as store:
        expander = Expander(store, told.extend, records.ids)
        for count in (500, 1_000, 1_200):
            assert await expander.run_once()
            assert len(told) == len(await queued(store)) == count
        assert not await expander.run_once()
        assert [one.subscription_id for one in told] == await queued(store) == list(WANTED)
    assert {one.event_id for one in told} == {event_id}
    assert {one.kind for one in told} == {DeliveryClass.FRESH}
    assert len({one.id for one in told}) == 1_200


async def test_two_that_make_the_same_part_make_it_once(tmp_path: Path) -> None:
    records = database.make(tmp_path / "w.db")
    keep(records)
    told: list[Sequence[Owed]] = []
    async with database.opened(tmp_path / "w.db") as store:
        expander = Expander(store, told.append, records.ids)
        part = await store.read(lambda c: c.execute(select(schema.fan_outs)).one())
        assert part.position == 0
        read = store.read
        other = Expander(store, lambda _: None, records.ids)
        raced: list[bool] = []

        async def overtaken(fn: Any) -> Any:
            found: Any = await read(fn)
            if not raced:
                raced.append(True)
                await other.run_once()
            return found

        store.read = overtaken  # type: ignore[method-assign] # a stand-in
        assert await expander.run_once()
        store.read = read  # type: ignore[method-assign] # a stand-in
        assert told == [[]]
        assert await queued(store) == list(WANTED[:500])
