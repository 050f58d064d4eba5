"""Keys: good as soon as they are made, for nothing as soon as they are revoked."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select

from tests.support import database
from tests.support.database import Records
from tests.support.manual import SeededEntropy
from waypost.engine.configuration import Configuration
from waypost.model import ids
from waypost.model.errors import InvalidInput, LimitReached, NotAuthenticated, NotFound
from waypost.model.page import PageRequest
from waypost.model.project import PROJECT_SCOPES, Api, Environment, Scope
from waypost.operations import keys as operations
from waypost.operations.access import Access, AccessConfig
from waypost.operations.keys import Keys, NewKey
from waypost.policy.credentials import is_key
from waypost.storage import projects
from waypost.storage.schema import api_keys, audit
from waypost.storage.store import Store


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return database.make(tmp_path / "w.db")


@pytest.fixture
async def store(records: Records, tmp_path: Path) -> AsyncIterator[Store]:
    async with database.opened(tmp_path / "w.db") as opened:
        yield opened


@pytest.fixture
def access(records: Records) -> Access:
    return Access(records.clock, AccessConfig())


@pytest.fixture
def keys(records: Records, store: Store, access: Access) -> Keys:
    return Keys(Configuration(store), access, records.clock, SeededEntropy(), records.ids)


async def test_a_new_key_is_good_at_once(keys: Keys, records: Records, access: Access) -> None:
    made = await keys.create(records.principal(), NewKey("app", project_id=records.other))
    assert is_key(made.text)
    principal = access.authenticate(made.text.encode())
    assert (principal.key_id, principal.key_name) == (made.key.id, "app")
    assert (principal.project_id, principal.scopes) == (records.other, PROJECT_SCOPES)


async def test_its_secret_is_nowhere_in_the_database(
    keys: Keys, records: Records, store: Store, tmp_path: Path
) -> None:
    made = await keys.create(records.principal(), NewKey("app", Environment.TEST))
    await store.close()
    for file in tmp_path.iterdir():
        assert made.text.encode() not in file.read_bytes()
        assert made.text.split("_")[2].encode() not in file.read_bytes()
    await store.open()


async def test_it_may_do_what_it_was_asked_for(
    keys: Keys, records: Records, access: Access
) -> None:
    scopes = frozenset({Scope.EVENTS_WRITE})
    new = NewKey("app", Environment.TEST, scopes=scopes)
    made = await keys.create(records.principal(), new)
    assert access.authenticate(made.text.encode()).scopes == scopes


async def test_an_environment_chooses_the_accounts_oldest_project_or_makes_one(
    keys: Keys, records: Records, store: Store, access: Access
) -> None:
    principal = records.principal()
    test = await keys.create(principal, NewKey("a", Environment.TEST))
    assert test.project.id == records.project
    first = await keys.create(principal, NewKey("a", Environment.PRODUCTION))
    again = await keys.create(principal, NewKey("b", Environment.PRODUCTION))
    assert first.project == again.project
    assert first.project.environment is Environment.PRODUCTION
    assert first.project.account_id == test.project.account_id
    assert await store.read(lambda c: projects.get(c, first.project.id)) == first.project
    admin = access.authenticate(first.text.encode())
    token = ids.spell(ids.PROJECT, first.project.id).encode()
    access.authorize(admin, Scope.EVENTS_READ, token)


@pytest.mark.parametrize(
    "new, field",
    [
        (NewKey("a"), "environment"),
        (NewKey("a", Environment.TEST, expires_at_us=1), "expires_at"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    keys: Keys, records: Records, new: NewKey, field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await keys.create(records.principal(), new)
    assert [path for path, _ in refused.value.details] == [field]


async def test_a_project_must_be_there_and_of_the_environment_that_is_named(
    keys: Keys, records: Records
) -> None:
    wrong = NewKey("a", Environment.PRODUCTION, project_id=records.project)
    with pytest.raises(InvalidInput, match="test"):
        await keys.create(records.principal(), wrong)
    unknown = NewKey("a", project_id=records.ids.next())
    with pytest.raises(NotFound, match="project"):
        await keys.create(records.principal(), unknown)


async def test_there_is_a_limit_of_good_keys(
    keys: Keys, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "MAX_ACTIVE", 2)
    principal = records.principal()
    first = await keys.create(principal, NewKey("a", Environment.TEST))
    await keys.create(principal, NewKey("b", Environment.TEST))
    with pytest.raises(LimitReached):
        await keys.create(principal, NewKey("c", Environment.TEST))
    await keys.revoke(principal, first.key.id)
    await keys.create(principal, NewKey("c", Environment.TEST))


async def test_a_revoked_key_is_good_for_nothing_and_stays_in_the_list(
    keys: Keys, records: Records, access: Access
) -> None:
    principal = records.principal()
    made = await keys.create(principal, NewKey("a", Environment.TEST))
    await keys.revoke(principal, made.key.id)
    with pytest.raises(NotAuthenticated, match="not active"):
        access.authenticate(made.text.encode())
    page = await keys.list_page(principal, PageRequest())
    assert [(key.id, key.revoked_at_us) for key in page.items] == [
        (made.key.id, records.clock.now_us())
    ]


async def test_another_projects_key_can_neither_be_seen_nor_revoked(
    keys: Keys, records: Records, access: Access
) -> None:
    made = await keys.create(records.principal(), NewKey("a", Environment.TEST))
    stranger = records.principal(project_id=records.other)
    assert (await keys.list_page(stranger, PageRequest())).items == []
    with pytest.raises(NotFound, match="API key"):
        await keys.revoke(stranger, made.key.id)
    access.authenticate(made.text.encode())


async def test_who_made_and_revoked_it_is_kept(keys: Keys, records: Records, store: Store) -> None:
    principal = records.principal()
    made = await keys.create(principal, NewKey("a", Environment.TEST))
    await keys.revoke(principal, made.key.id)
    rows = await store.read(lambda c: c.execute(select(audit).order_by(audit.c.id)).all())
    assert [(row.key_id, row.action) for row in rows] == [
        (principal.key_id, "api_key.create"),
        (principal.key_id, "api_key.revoke"),
    ]
    assert {row.subject for row in rows} == {ids.spell(ids.KEY, made.key.id)}
    count = await store.read(lambda c: len(c.execute(select(api_keys)).all()))
    assert count == 1


async def test_it_may_be_good_for_several_projects(
    keys: Keys, records: Records, store: Store, access: Access
) -> None:
    said = frozenset({"events.read"})
    new = NewKey(
        "k",
        project_id=records.project,
        scopes=frozenset(),
        api=Api.SOCOTRA,
        permissions=said,
        tenants=(records.other,),
    )
    made = await keys.create(records.principal(), new)
    caller = access.authenticate(made.text.encode())
    assert (caller.permissions, caller.tenants) == (said, (records.other,))
    assert not caller.scopes
    gone = msgspec.structs.replace(new, tenants=(records.ids.next(),))
    with pytest.raises(NotFound):
        await keys.create(records.principal(), gone)
