"""Notices for other surfaces: hidden subscriptions that come, stop and go with a change."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.support.database import URL
from tests.support.subscribing import Office, office
from waypost.engine.announcer import Announcer
from waypost.model import ids
from waypost.model.errors import Conflict
from waypost.model.ids import Id
from waypost.model.subscription import DisabledBy, Signing, SigningKey, Subscription
from waypost.operations.notices import Hidden, Notices, Told
from waypost.storage import events, fan_outs, subscriptions
from waypost.storage.connection import Connection

OWN = ids.make(7, 7)


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Office]:
    async with office(tmp_path) as made:
        yield made


class Desk:
    """The notices of an office."""

    def __init__(self, here: Office) -> None:
        self.here = here
        self.hidden_id = ids.alerts_of(here.records.project)
        self.follows = 0
        announcer = Announcer(here.records.ids)
        announcer.follow = self.follow
        self.notices = Notices(here.alerts, here.keys, announcer, here.records.ids)

    def follow(self) -> None:
        self.follows += 1

    def one(self, secret: bytes = b"s", **settings: object) -> Hidden:
        key = SigningKey(self.here.records.ids.next(), Signing.HMAC, secret)
        return Hidden(present=((Subscription(self.hidden_id, OWN, URL, **settings), key),))  # type: ignore[arg-type] # any settings

    async def put(self, wanted: Hidden, *after: object) -> None:
        caller = self.here.records.principal()

        def refuse(_connection: Connection) -> None:
            if after:
                raise Conflict("no")

        writes = (self.notices.writing(caller, wanted), refuse)
        await self.here.subscriptions.put_all(caller, [], *writes)

    async def found(self, of: Id = OWN) -> Subscription | None:
        return await self.here.store.read(lambda c: subscriptions.find(c, self.hidden_id, of))


async def test_they_come_change_stop_and_go(at: Office) -> None:
    desk = Desk(at)
    await desk.put(desk.one())
    (to, keys) = at.changes[-1]
    assert (to.id, [one.material for one in keys]) == (OWN, [b"s"])
    assert at.router.find(desk.hidden_id, OWN) == to
    await desk.put(desk.one(b"t", format="thin"))
    changed = await desk.found()
    assert changed is not None
    assert (changed.format, at.last_keys[0].material) == ("thin", b"t")
    for _ in range(2):
        await desk.put(Hidden(off=(OWN, ids.make(8, 8))))
        assert await desk.found() == replace(changed, disabled_by=DisabledBy.PERSON)
    await desk.put(desk.one())
    again = await desk.found()
    assert again is not None
    assert again.disabled_by is None
    await desk.put(Hidden(gone=(OWN, ids.make(8, 8))))
    assert await desk.found() is None
    assert at.deletions == [(desk.hidden_id, OWN)]
    assert desk.follows == 6


async def test_what_is_told_is_owed_with_the_change_or_not_at_all(at: Office) -> None:
    desk = Desk(at)
    told = Hidden(told=(Told(OWN, "a.b", b"[1]"),))
    with pytest.raises(Conflict):
        await desk.put(told, "fails")
    assert await at.store.read(fan_outs.find_next) is None
    await desk.put(told)
    part = await at.store.read(fan_outs.find_next)
    assert part is not None
    assert (part.project_id, part.subscriptions) == (desk.hidden_id, (OWN,))
    event = await at.store.read(lambda c: events.get(c, part.project_id, part.event_id))
    assert (event.type, event.payload) == ("a.b", b"[1]")
    assert desk.follows == 1
