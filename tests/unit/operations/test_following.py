"""What other processes have changed is followed as what this one changes."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.database import URL
from tests.support.subscribing import RULES, Office, office
from waypost.clock import IdSource, SystemEntropy
from waypost.engine.configuration import Configuration
from waypost.engine.router import Router
from waypost.model.errors import NotAuthenticated
from waypost.model.ids import Id
from waypost.model.project import Environment, Project
from waypost.model.subscription import Subscription
from waypost.operations.access import Access, AccessConfig
from waypost.operations.event_types import Catalogue, EventTypeIn
from waypost.operations.following import (
    CatalogueMemory,
    KeyMemory,
    ProjectMemory,
    SubscriptionMemory,
)
from waypost.operations.keys import Keys, NewKey
from waypost.operations.projects import Projects
from waypost.policy.settings import DefaultSettings, Settings


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Office]:
    async with office(tmp_path) as made:
        yield made


class Other:
    """Another process's memory."""

    def __init__(self, at: Office) -> None:
        self.at = at
        self.router = Router()
        self.router.load({at.records.project: 1, at.records.other: 1}, ())
        self.deleted: list[tuple[Id, Id]] = []
        self.memory = SubscriptionMemory(
            self.router, at.keys, lambda *place: self.deleted.append(place)
        )

    async def follow(self, *places: tuple[Id, Id]) -> None:
        found = await self.at.store.read(lambda c: self.memory.read(c, places))
        self.memory.apply(found)

    async def reload(self) -> None:
        self.memory.apply(await self.at.store.read(lambda c: self.memory.read(c, None)))


@pytest.mark.parametrize("everything", [True, False])
async def test_subscriptions_with_their_keys(at: Office, everything: bool) -> None:
    other, caller = Other(at), at.records.principal()
    kept = await at.subscriptions.create(caller, Settings(url=URL))
    gone = await at.subscriptions.create(caller, Settings(url=URL))
    places = [(one.project_id, one.id) for one in (kept, gone)]
    await other.follow(*places)
    assert {one.id for one in other.router.list_all()} == {kept.id, gone.id}
    await at.subscriptions.pause(caller, kept.id)
    await at.keys.rotate(caller, kept.id)
    await at.subscriptions.delete(caller, gone.id)
    rotated = at.changes[-1][1]
    at.changes.clear()
    await (other.reload() if everything else other.follow(*places))
    (present,) = other.router.list_all()
    assert (present.id, present.paused) == (kept.id, True)
    assert [(one.id, keys) for one, keys in at.changes] == [(kept.id, rotated)]
    assert len(rotated) == 2
    assert other.deleted == [(gone.project_id, gone.id)]
    theirs = other.router.routes(caller.project_id).version
    assert theirs == at.router.routes(caller.project_id).version


async def test_what_the_database_has_forgotten_with_its_project_is_gone(at: Office) -> None:
    other = Other(at)
    other.router.apply(7, Subscription(b"?" * 16, b"!" * 16, URL))
    await other.reload()
    assert other.router.list_all() == []
    assert other.deleted == [(b"?" * 16, b"!" * 16)]


async def test_projects_keys_and_catalogues(at: Office) -> None:
    ids, clock = IdSource(at.records.clock, SystemEntropy()), at.records.clock
    changes, caller = Configuration(at.store), at.records.principal()
    here, there = Access(clock, AccessConfig()), Access(clock, AccessConfig())
    known: list[Project] = []
    projects = Projects(changes, here, at.alerts, RULES, known.append, clock, ids)
    defaults = DefaultSettings(timeout_s=3.0)
    keys = Keys(changes, here, clock, SystemEntropy(), ids)
    made = await projects.create(
        caller, "P", Environment.TEST, strict_types=True, defaults=defaults
    )
    known.clear()
    key = await keys.create(caller, NewKey("k", project_id=made.id))
    names = Catalogue()
    memories: list[tuple[Any, tuple[Id, Id]]] = [
        (ProjectMemory(there, known.append), (made.id, made.id)),
        (KeyMemory(there), (made.id, key.key.id)),
        (CatalogueMemory(names), (made.id, made.id)),
    ]

    async def follow(*, everything: bool) -> None:
        for memory, place in memories:
            places = None if everything else [place]
            memory.apply(await at.store.read(partial(memory.read, places=places)))

    owner = at.records.principal(project_id=made.id)
    await at.event_types.replace(owner, [EventTypeIn("a.b")])
    await follow(everything=False)
    assert there.authenticate(key.text.encode()).project_id == made.id
    assert made.id in there._projects
    assert known == [made]
    assert made.defaults.timeout_s == 3.0
    names.set_strict(made.id, True)
    assert not names.known(made.id, "c.d")
    await at.event_types.replace(owner, [EventTypeIn("c.d")])
    await projects.delete(caller, made.id)
    for everything in (False, True):
        await follow(everything=everything)
        with pytest.raises(NotAuthenticated):
            there.authenticate(key.text.encode())
        assert made.id not in there._projects
        assert names.known(made.id, "c.d")


async def test_a_key_that_is_read_again_keeps_what_it_has_spent(at: Office) -> None:
    clock = at.records.clock
    access = Access(clock, AccessConfig())
    keys = Keys(
        Configuration(at.store), access, clock, SystemEntropy(), IdSource(clock, SystemEntropy())
    )
    made = await keys.create(at.records.principal(), NewKey("k", project_id=at.records.project))
    caller = access.authenticate(made.text.encode())
    left = [access.spend(caller, reads=True) for _ in range(3)]
    memory = KeyMemory(access)
    memory.apply(await at.store.read(lambda c: memory.read(c, None)))
    assert access.spend(caller, reads=True) < left[-1]


async def test_a_catalogue_that_was_emptied_is_followed_by_who_reads_everything(
    at: Office,
) -> None:
    names, caller = Catalogue(), at.records.principal()
    names.set_strict(caller.project_id, True)
    memory = CatalogueMemory(names)

    async def reload() -> bool:
        memory.apply(await at.store.read(lambda c: memory.read(c, None)))
        return names.known(caller.project_id, "c.d")

    await at.event_types.replace(caller, [EventTypeIn("a.b")])
    assert not await reload()
    await at.event_types.replace(caller, [])
    assert await reload()
