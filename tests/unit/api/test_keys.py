"""How API keys stand on the wire."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from waypost.api.keys import KeyIn, KeyRoutes
from waypost.api.operation import Call
from waypost.api.shapes import Listing
from waypost.model import ids
from waypost.model.api import Api
from waypost.model.errors import InvalidInput, NotFound
from waypost.model.page import Page, PageRequest
from waypost.model.project import ApiKey, Environment, Principal, Project, Scope
from waypost.operations.keys import Keys, MadeKey, NewKey

BASE_URL = "http://127.0.0.1:8080"
PROJECT, KEY = ids.make(1, 1), ids.make(2, 2)
CALLER = Principal(ids.FIRST, "admin", PROJECT, frozenset())
SCOPES = frozenset({Scope.EVENTS_WRITE, Scope.EVENTS_READ})
MADE = MadeKey(
    ApiKey(KEY, PROJECT, "app", SCOPES, 1_000_000, 2_000_000),
    "wp_test_secret",
    Project(PROJECT, PROJECT, "Test", Environment.TEST),
)


class Fake(Keys):
    """One key, and what was asked for."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def create(self, principal: Principal, new: NewKey) -> MadeKey:
        self.asked += [principal, new]
        return MADE

    async def list_page(self, principal: Principal, request: PageRequest) -> Page[ApiKey]:
        self.asked += [principal, request]
        return Page([MADE.key], has_more=False)

    async def revoke(self, principal: Principal, key_id: ids.Id) -> None:
        self.asked += [principal, key_id]


@pytest.fixture
def fake() -> Fake:
    return Fake()


SHOWN = {
    "token": ids.spell(ids.KEY, KEY),
    "name": "app",
    "project": ids.spell(ids.PROJECT, PROJECT),
    "scopes": ["events.read", "events.write"],
    "created": "1970-01-01T00:00:00.000002Z",
    "expires_at": "1970-01-01T00:00:01Z",
    "revoked_at": "1970-01-01T00:00:02Z",
    "api": "native",
}


async def test_a_new_key_is_shown_with_its_secret(fake: Fake) -> None:
    body = KeyIn("app", Environment.TEST)
    made = await KeyRoutes(fake, BASE_URL).create(Call(CALLER, {}, None, body))
    assert msgspec.json.decode(msgspec.json.encode(made)) == SHOWN | {
        "key": "wp_test_secret",
        "environment": "test",
        "project_id": ids.spell_ulid(PROJECT),
        "tenant_locator": ids.spell_uuid(PROJECT),
        "account": ids.spell_uuid(PROJECT),
        "base_url": BASE_URL,
    }


async def test_a_list_shows_no_secret(fake: Fake) -> None:
    page = await KeyRoutes(fake, BASE_URL).list_page(Call(CALLER, {}, Listing(), None))
    assert msgspec.json.decode(msgspec.json.encode(page)) == {"data": [SHOWN], "has_more": False}


async def test_what_is_asked_for_is_handed_on(fake: Fake) -> None:
    east = timezone(timedelta(hours=1))
    body = KeyIn(
        "app",
        Environment.TEST,
        ids.spell(ids.PROJECT, PROJECT),
        [Scope.ADMIN, Scope.ADMIN],
        datetime(1970, 1, 1, 1, 0, 1, tzinfo=east),
    )
    await KeyRoutes(fake, BASE_URL).create(Call(CALLER, {}, None, body))
    scopes = frozenset({Scope.ADMIN})
    assert fake.asked == [CALLER, NewKey("app", Environment.TEST, PROJECT, scopes, 1_000_000)]


async def test_whose_client_it_is_for_is_handed_on(fake: Fake) -> None:
    body = msgspec.json.decode(
        b'{"name": "a", "environment": "test", "api": "buildable"}', type=KeyIn
    )
    await KeyRoutes(fake, BASE_URL).create(Call(CALLER, {}, None, body))
    assert fake.asked == [CALLER, NewKey("a", Environment.TEST, api=Api.BUILDABLE)]


async def test_revoking_names_the_key(fake: Fake) -> None:
    path = {"api_key_token": ids.spell(ids.KEY, KEY)}
    await KeyRoutes(fake, BASE_URL).revoke(Call(CALLER, path, None, None))
    assert fake.asked == [CALLER, KEY]
    with pytest.raises(NotFound, match="API key"):
        await KeyRoutes(fake, BASE_URL).revoke(Call(CALLER, {"api_key_token": "x"}, None, None))


async def test_a_project_that_can_not_be_is_not_found(fake: Fake) -> None:
    with pytest.raises(NotFound, match="project"):
        await KeyRoutes(fake, BASE_URL).create(Call(CALLER, {}, None, KeyIn("a", project="x")))


async def test_an_expiry_out_of_all_range_is_refused(fake: Fake) -> None:
    west = timezone(timedelta(hours=-1))
    late = datetime.max.replace(tzinfo=west)
    with pytest.raises(InvalidInput) as refused:
        await KeyRoutes(fake, BASE_URL).create(Call(CALLER, {}, None, KeyIn("a", expires_at=late)))
    assert [path for path, _ in refused.value.details] == ["expires_at"]
    fine = KeyIn("a", Environment.TEST, expires_at=datetime.max.replace(tzinfo=UTC))
    await KeyRoutes(fake, BASE_URL).create(Call(CALLER, {}, None, fine))


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": "a", "scopes": []}',
        b'{"name": "a", "scopes": ["all"]}',
        b'{"name": "a", "environment": "staging"}',
        b'{"name": "a", "expires_at": "2030-01-01T00:00:00"}',
        b'{"name": "a", "key": "mine"}',
        b'{"name": "a", "api": "github"}',
        b'{"environment": "test"}',
    ],
)
def test_what_makes_no_sense_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=KeyIn)
