"""Projects: made, changed, deleted, and followed in memory."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select

from tests.support import database
from tests.support.database import Place, Records
from tests.support.subscribing import RULES
from waypost.clock import SystemEntropy
from waypost.engine.announcer import Announcer
from waypost.engine.configuration import Configuration
from waypost.engine.router import Router
from waypost.model import ids
from waypost.model.errors import Conflict, InvalidInput, NotAuthenticated, NotFound
from waypost.model.page import PageRequest
from waypost.model.project import PROJECT_SCOPES, ApiKey, Environment, Project
from waypost.model.subscription import NOTHING_SET, Inheritable, SigningKey, Subscription
from waypost.operations.access import Access, AccessConfig
from waypost.operations.alerts import Alerts
from waypost.operations.projects import Projects
from waypost.operations.signing_keys import SigningKeys
from waypost.policy.credentials import digest
from waypost.policy.retry import LITHIC
from waypost.policy.settings import DefaultSettings
from waypost.storage import alerts, keys, subscriptions
from waypost.storage.cluster import config_changes
from waypost.storage.connection import Connection
from waypost.storage.schema import audit
from waypost.storage.store import Store
from waypost.storage.vault import Vault


@pytest.fixture
def records(place: Place) -> Records:
    return database.make(place)


@pytest.fixture
async def store(records: Records, place: Place) -> AsyncIterator[Store]:
    async with database.opened(place) as opened:
        yield opened


class Memory:
    """What follows projects in memory."""

    def __init__(self, records: Records) -> None:
        self.access = Access(records.clock, AccessConfig())
        self.strict: dict[ids.Id, bool] = {}
        self.defaults: dict[ids.Id, Inheritable] = {}

        self.hidden: dict[ids.Id, Subscription] = {}

    def told(self, subscription: Subscription, keys: tuple[SigningKey, ...]) -> None:
        assert len(keys) == 1
        self.hidden[subscription.id] = subscription

    def deleted(self, _project_id: ids.Id, subscription_id: ids.Id) -> None:
        del self.hidden[subscription_id]

    def changed(self, project: Project) -> None:
        self.strict[project.id] = project.strict_types
        self.defaults[project.id] = project.defaults

    def knows(self, project_id: ids.Id) -> bool:
        return project_id in self.access._projects


@pytest.fixture
def memory(records: Records) -> Memory:
    return Memory(records)


@pytest.fixture
def projects(records: Records, store: Store, memory: Memory) -> Projects:
    changes, router, ids = Configuration(store), Router(), records.ids
    vault, clock = Vault(bytes(range(32)), SystemEntropy()), records.clock
    signing = SigningKeys(changes, vault, memory.told, clock, SystemEntropy(), ids, Announcer(ids))
    alerts = Alerts(router, signing, memory.deleted, ids)
    return Projects(changes, memory.access, alerts, RULES, memory.changed, clock, ids)


async def test_the_default_project_is_made_once(projects: Projects, memory: Memory) -> None:
    made = await projects.ensure_default()
    assert (made.environment, made.name) == (Environment.TEST, "Default")
    assert memory.knows(made.id)
    assert await projects.ensure_default() == made


async def test_a_new_project_is_in_the_account_of_who_made_it(
    projects: Projects, records: Records, memory: Memory
) -> None:
    default = await projects.ensure_default()
    principal = records.principal(project_id=default.id)
    made = await projects.create(principal, "Shop", Environment.PRODUCTION, strict_types=True)
    assert made.account_id == default.account_id
    assert await projects.get(made.id) == made
    assert memory.knows(made.id)
    assert memory.strict[made.id] is True


async def test_a_change_leaves_what_is_not_named(projects: Projects, memory: Memory) -> None:
    default = await projects.ensure_default()
    changed = await projects.update(default.id, name=None, strict_types=True)
    assert (changed.name, changed.strict_types) == ("Default", True)
    assert memory.strict[default.id] is True
    changed = await projects.update(default.id, name="Main", strict_types=None)
    assert (changed.name, changed.strict_types) == ("Main", True)
    assert await projects.get(default.id) == changed


async def test_defaults_are_kept_and_followed_and_null_unsets_one(
    projects: Projects, records: Records, store: Store, memory: Memory
) -> None:
    default = await projects.ensure_default()
    assert memory.defaults[default.id] == NOTHING_SET
    principal = records.principal(project_id=default.id)
    wanted = DefaultSettings(timeout_s=5.0, retry_schedule="lithic")
    made = await projects.create(
        principal, "Shop", Environment.TEST, strict_types=False, defaults=wanted
    )
    assert made.defaults == Inheritable(timeout_s=5.0, retry_schedule_s=LITHIC)
    assert await projects.get(made.id) == made
    assert memory.defaults[made.id] == made.defaults
    less = DefaultSettings(timeout_s=None, concurrency=3)
    await projects.update(made.id, name=None, strict_types=None, defaults=less)
    expected = Inheritable(concurrency=3, retry_schedule_s=LITHIC)
    assert memory.defaults[made.id] == (await projects.get(made.id)).defaults == expected
    memory.defaults.clear()
    await projects.load()
    assert memory.defaults[made.id] == expected


async def test_a_default_that_is_not_allowed_is_refused_with_its_place(
    projects: Projects,
) -> None:
    default = await projects.ensure_default()
    with pytest.raises(InvalidInput) as refusal:
        await projects.update(
            default.id,
            name=None,
            strict_types=None,
            defaults=DefaultSettings(retry_schedule="fast"),
        )
    assert [path for path, _ in refusal.value.details] == ["defaults.retry_schedule"]


async def test_the_memory_is_loaded_from_the_database(
    projects: Projects, records: Records, store: Store, memory: Memory
) -> None:
    key = ApiKey(records.ids.next(), records.other, "app", PROJECT_SCOPES)
    await store.write(lambda c: keys.insert(c, key, digest(b"secret")))
    await projects.update(records.other, name=None, strict_types=True)
    await projects.load()
    assert memory.access.authenticate(b"secret").project_id == records.other
    assert memory.strict == {records.project: False, records.other: True}
    assert memory.knows(records.project)


async def test_a_deleted_project_takes_its_keys_with_it(
    projects: Projects, records: Records, store: Store, memory: Memory
) -> None:
    await projects.ensure_default()
    key = ApiKey(records.ids.next(), records.other, "app", PROJECT_SCOPES)
    await store.write(lambda c: keys.insert(c, key, digest(b"secret")))
    await projects.load()
    principal = records.principal()
    await projects.delete(principal, records.other)
    with pytest.raises(NotAuthenticated):
        memory.access.authenticate(b"secret")
    found = await store.read(lambda c: keys.get(c, records.other, key.id))
    assert found.revoked_at_us == records.clock.now_us()
    with pytest.raises(NotFound):
        await projects.get(records.other)
    listed = await projects.list_page(PageRequest())
    assert records.other not in [project.id for project in listed.items]
    row = await store.read(lambda c: c.execute(select(audit)).one())
    token = ids.spell(ids.PROJECT, records.other)
    assert (row.key_id, row.action, row.subject) == (principal.key_id, "project.delete", token)


async def test_a_deleted_project_takes_all_that_is_hidden_with_it(
    projects: Projects, records: Records, store: Store, memory: Memory
) -> None:
    await projects.ensure_default()
    hidden, others = ids.alerts_of(records.other), ids.alerts_of(records.project)
    kept = [
        Subscription(project_id, records.ids.next(), database.URL)
        for project_id in (hidden, hidden, others)
    ]

    def keep(connection: Connection) -> None:
        for project_id in (hidden, others):
            alerts.make_project(connection, project_id)
        for one in kept:
            subscriptions.insert(connection, one)

    await store.write(keep)
    memory.hidden = {one.id: one for one in kept}
    await projects.delete(records.principal(), records.other)
    assert memory.hidden == {kept[2].id: kept[2]}
    assert await store.read(lambda c: subscriptions.list_of(c, hidden)) == []
    assert await store.read(lambda c: subscriptions.list_of(c, others)) == [kept[2].id]
    told = await store.read(lambda c: c.execute(select(config_changes.c.subject)).scalars().all())
    assert {one.id for one in kept[:2]} <= set(told)


async def test_a_project_with_subscriptions_stays(
    projects: Projects, records: Records, store: Store
) -> None:
    subscription = Subscription(records.other, records.ids.next(), database.URL)
    await store.write(lambda c: subscriptions.insert(c, subscription))
    with pytest.raises(Conflict, match="subscriptions"):
        await projects.delete(records.principal(), records.other)
    await projects.get(records.other)


async def test_the_default_project_stays(projects: Projects, records: Records) -> None:
    default = await projects.ensure_default()
    with pytest.raises(Conflict, match="default"):
        await projects.delete(records.principal(), default.id)


async def test_what_is_not_there_is_not_found(projects: Projects, records: Records) -> None:
    unknown = records.ids.next()
    with pytest.raises(NotFound):
        await projects.update(unknown, name="x", strict_types=None)
    with pytest.raises(NotFound):
        await projects.delete(records.principal(), unknown)
