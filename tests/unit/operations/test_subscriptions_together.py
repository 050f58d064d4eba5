"""Subscriptions of other surfaces: several at once, with what is written beside them."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select

from tests.support.subscribing import Office, office
from waypost.model.errors import Conflict, InvalidInput, NotFound
from waypost.model.event import Attributes, Event
from waypost.model.ids import Id
from waypost.model.subscription import Signing, SigningKey
from waypost.operations.changing import Wish
from waypost.operations.replays import Selection
from waypost.policy.settings import Settings
from waypost.storage import facts
from waypost.storage.connection import Connection
from waypost.storage.schema import queue

URL = "https://example.com/hook"


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Office]:
    async with office(tmp_path) as opened:
        yield opened


def wish(here: Office, endpoint_id: Id, secret: bytes = b"s", **settings: object) -> Wish:
    key = SigningKey(here.records.ids.next(), Signing.HMAC, secret)
    wanted = msgspec.json.decode(msgspec.json.encode({"url": URL, **settings}), type=Settings)
    return Wish(here.records.ids.next(), wanted, '{"a":1}', endpoint_id, (key,))


async def test_they_are_made_and_changed_together(here: Office) -> None:
    caller, endpoint = here.records.principal(), here.records.ids.next()
    wishes = [wish(here, endpoint, b"one"), wish(here, endpoint, b"two")]

    def beside(connection: Connection) -> None:
        facts.record(connection, "beside", "yes")

    made = await here.subscriptions.put_all(caller, wishes, beside)
    assert [one.id for one in made] == [one.id for one in wishes]
    assert {one.endpoint_id for one in made} == {endpoint}
    at = here.subscriptions.at(caller.project_id, endpoint)
    assert {one.id for one in at} == set(here.subscriptions.known(caller.project_id))
    assert [[key.material for key in keys] for _, keys in here.changes] == [[b"one"], [b"two"]]
    assert await here.store.read(lambda c: facts.find(c, "beside")) == "yes"
    changed = msgspec.structs.replace(wishes[0], wanted=Settings(paused=True), keys=None)
    (after,) = await here.subscriptions.put_all(caller, [changed])
    assert (after.url, after.paused, after.format_settings) == (URL, True, '{"a":1}')
    assert [key.material for key in here.last_keys] == [b"one"]


async def test_all_are_changed_or_none(here: Office) -> None:
    caller, endpoint = here.records.principal(), here.records.ids.next()

    def refuse(_: Connection) -> None:
        raise Conflict("no")

    with pytest.raises(Conflict):
        await here.subscriptions.put_all(caller, [wish(here, endpoint)], refuse)
    bad = msgspec.structs.replace(wish(here, endpoint), wanted=Settings(url="ftp://x"))
    with pytest.raises(InvalidInput):
        await here.subscriptions.put_all(caller, [wish(here, endpoint), bad])
    assert here.subscriptions.at(caller.project_id, endpoint) == ()
    (one,) = await here.subscriptions.put_all(caller, [wish(here, endpoint)])
    with pytest.raises(NotFound):
        await here.subscriptions.delete_all(caller, [one.id, endpoint])
    assert here.subscriptions.at(caller.project_id, endpoint) == (one,)
    await here.subscriptions.delete_all(caller, [one.id])
    assert here.subscriptions.at(caller.project_id, endpoint) == ()
    assert here.deletions == [(caller.project_id, one.id)]


async def test_an_event_for_an_address_is_owed_there_alone(here: Office) -> None:
    caller, one, two = here.records.principal(), here.records.ids.next(), here.records.ids.next()
    here.subscriptions.check_settings(Settings(url=URL))
    with pytest.raises(InvalidInput, match="url"):
        here.subscriptions.check_settings(Settings(url="nonsense"))
    first, second, other = await here.subscriptions.put_all(
        caller,
        [
            wish(here, one),
            wish(here, one, event_types=["b"]),
            wish(here, two, filter={"event_type": "a", "body": {"n": 1}}),
        ],
    )
    event_id = here.records.event()

    def afresh(kind: str, *endpoints: Id) -> set[Id]:
        known = Attributes(endpoints=endpoints)
        return set(here.replays.afresh(Event(caller.project_id, event_id, kind, b'{"n":1}', known)))

    assert afresh("a", one) == {first.id}
    assert afresh("b", one) == {first.id, second.id}
    assert afresh("a", one, two) == {first.id, other.id}
    assert afresh("b", two) == set()
    assert afresh("a", event_id) == set()
    assert afresh("a") == {first.id, other.id}
    await here.subscriptions.update(caller, other.id, Settings(disabled=True))
    owed = await here.replays.owe(caller, event_id, [first.id, other.id, one])
    assert [delivery.subscription_id for delivery in owed] == [first.id]
    assert here.owed == owed
    rows = await here.store.read(lambda c: c.execute(select(queue.c.id)).scalars().all())
    assert rows == [owed[0].id]
    with pytest.raises(NotFound):
        await here.replays.owe(caller, one, [first.id])


async def test_what_a_selection_is_about_is_counted(here: Office) -> None:
    caller, endpoint = here.records.principal(), here.records.ids.next()
    (one,) = await here.subscriptions.put_all(caller, [wish(here, endpoint)])
    events = [here.records.event() for _ in range(3)]
    every = Selection(0, 2**57)
    assert await here.replays.count(caller, every) == len(events)
    assert await here.replays.count(caller, every, key="none") == 0
    among = msgspec.structs.replace(every, among=(one.id,))
    assert await here.replays.count(caller, among) == 0
