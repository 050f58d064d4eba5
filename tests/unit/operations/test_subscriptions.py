"""Changes of subscriptions: kept, versioned, and followed by what is in memory."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import select, update

from tests.support.database import URL
from tests.support.subscribing import Office, office
from waypost.model.api import Api
from waypost.model.authentication import Basic, HeaderKey
from waypost.model.errors import (
    Conflict,
    InvalidInput,
    InvalidSetting,
    LimitReached,
    NotFound,
    Unavailable,
)
from waypost.model.event_type import EventType
from waypost.model.ids import Id
from waypost.model.page import PageRequest
from waypost.model.subscription import DisabledBy, Signing, Subscription
from waypost.model.transform import Deferred, Fault, FaultKind, Language, Transform
from waypost.operations.changing import Within
from waypost.operations.event_types import EventTypeIn
from waypost.operations.subscriptions import SubscriptionFilter
from waypost.policy.settings import Brought, Settings
from waypost.policy.transforms import TransformIn
from waypost.storage import schema
from waypost.storage.sqlite.store import SqliteStore

NAMED = Settings(url=URL, event_types=("a.b",))


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Office]:
    async with office(tmp_path) as opened:
        yield opened


async def version(at: Office) -> int:
    """Return the routing version that database, committer and router agree on."""
    project_id = at.records.project
    query = select(schema.projects.c.routing_version).where(schema.projects.c.id == project_id)
    kept = await at.store.read(lambda c: c.execute(query).scalar_one())
    assert isinstance(at.store, SqliteStore)
    assert at.store.committer.versions[project_id] == kept
    assert at.router.routes(project_id).version == kept
    return int(kept)


async def test_a_new_one_is_kept_routed_and_told_of_with_its_secret(at: Office) -> None:
    caller = at.records.principal()
    made = await at.subscriptions.create(caller, NAMED)
    assert await at.subscriptions.get(caller, made.id) == made
    assert at.router.routes(caller.project_id).match("a.b", None) == (made,)
    assert await version(at) == 2
    [(told, keys)] = at.changes
    assert told == made
    assert [(key.scheme, len(key.material), key.expires_at_us) for key in keys] == [
        (Signing.HMAC, 32, None)
    ]


async def test_no_two_have_the_same_secret(at: Office) -> None:
    caller = at.records.principal()
    for _ in range(20):
        await at.subscriptions.create(caller, NAMED)
    assert len({keys[0].material for _, keys in at.changes}) == 20


async def test_those_of_one_api_are_counted_and_are_nobody_elses(at: Office) -> None:
    caller, api = at.records.principal(), Api.STEDI
    native = await at.subscriptions.create(caller, NAMED)
    made = await at.subscriptions.create(caller, NAMED, Within(api, 1))
    with pytest.raises(LimitReached):
        await at.subscriptions.create(caller, NAMED, Within(api, 1))
    assert len(at.changes) == 2
    assert (await at.subscriptions.list_page(caller, PageRequest(), api=api)).items == [made]
    assert await at.subscriptions.get(caller, made.id, api=api) == made
    with pytest.raises(NotFound):
        await at.subscriptions.get(caller, native.id, api=api)
    with pytest.raises(NotFound):
        await at.subscriptions.update(caller, native.id, NAMED, Within(api))
    with pytest.raises(NotFound):
        await at.subscriptions.delete(caller, native.id, Within(api))
    assert not await at.subscriptions.was_deleted(caller, made.id, api)
    await at.subscriptions.delete(caller, made.id, Within(api))
    assert await at.subscriptions.was_deleted(caller, made.id, api)
    await at.subscriptions.create(caller, NAMED, Within(api, 1))


async def test_a_change_tells_when_it_was_and_what_else_fails_undoes_it(at: Office) -> None:
    caller = at.records.principal()
    made = await at.subscriptions.create(caller, NAMED)
    assert made.changed_us is None
    at.records.clock.forward(5)
    changed = await at.subscriptions.update(caller, made.id, Settings(name="n"))
    assert changed.name == "n"
    assert abs((changed.changed_us or 0) - at.records.clock.now_us()) < 1_000

    def fail(*_: object) -> None:
        raise NotFound("anything")

    failing = Within(also=fail)
    for change in (
        at.subscriptions.create(caller, NAMED, failing),
        at.subscriptions.update(caller, made.id, Settings(name="m"), failing),
        at.subscriptions.delete(caller, made.id, failing),
        at.keys.rotate(caller, made.id, also=fail),
    ):
        with pytest.raises(NotFound, match="anything"):
            await change
    assert (await at.subscriptions.list_page(caller, PageRequest())).items == [changed]
    assert len(await at.keys.valid(caller, made.id)) == 1


async def test_one_without_a_url_is_refused(at: Office) -> None:
    with pytest.raises(InvalidInput) as refusal:
        await at.subscriptions.create(at.records.principal(), Settings(description="x"))
    assert refusal.value.details == (("url", "is required"),)
    assert (at.changes, await version(at)) == ([], 1)


async def test_what_is_refused_changes_nothing(at: Office) -> None:
    caller = at.records.principal()
    made = await at.subscriptions.create(caller, NAMED)
    with pytest.raises(InvalidInput):
        await at.subscriptions.update(caller, made.id, Settings(url="ftp://x", description="x"))
    assert await at.subscriptions.get(caller, made.id) == made
    assert (len(at.changes), await version(at)) == (1, 2)


async def test_a_change_holds_in_memory_when_it_is_answered(at: Office) -> None:
    caller = at.records.principal()
    made = await at.subscriptions.create(caller, NAMED)
    changed = await at.subscriptions.update(caller, made.id, Settings(event_types=("c",)))
    routes = at.router.routes(caller.project_id)
    assert (routes.match("a.b", None), routes.match("c", None)) == ((), (changed,))
    assert await version(at) == 3
    assert at.changes[1] == (changed, at.changes[0][1])


async def test_pause_and_resume(at: Office) -> None:
    caller = at.records.principal()
    made = await at.subscriptions.create(caller, NAMED)
    for act, paused in ((at.subscriptions.pause, True), (at.subscriptions.resume, False)):
        for _ in range(2):
            assert (await act(caller, made.id)).paused is paused
            found = at.router.find(caller.project_id, made.id)
            assert found is not None
            assert found.paused is paused
    left = await at.subscriptions.get(caller, made.id)
    assert replace(left, changed_us=None) == made


async def test_a_person_disables_and_enables(at: Office) -> None:
    caller = at.records.principal()
    made = await at.subscriptions.create(caller, NAMED)
    disabled = await at.subscriptions.update(caller, made.id, Settings(disabled=True))
    assert disabled.disabled_by is DisabledBy.PERSON
    assert at.router.routes(caller.project_id).match("a.b", None) == ()
    enabled = await at.subscriptions.update(caller, made.id, Settings(disabled=False))
    assert at.router.routes(caller.project_id).match("a.b", None) == (enabled,)


async def test_another_scheme_signs_beside_the_old_one_for_a_day(at: Office) -> None:
    caller = at.records.principal()
    made = await at.subscriptions.create(caller, NAMED)
    [old] = at.last_keys
    changed = await at.subscriptions.update(caller, made.id, Settings(signing=Signing.ED25519))
    new, expiring = at.last_keys
    assert (changed.signing, new.scheme, new.expires_at_us) == (
        Signing.ED25519,
        Signing.ED25519,
        None,
    )
    assert expiring.material == old.material
    assert expiring.expires_at_us is not None
    assert abs(expiring.expires_at_us - at.records.clock.now_us() - 86_400_000_000) < 1000
    await at.subscriptions.update(caller, made.id, Settings(signing=Signing.ED25519))
    assert at.last_keys == (new, expiring)


async def test_a_deleted_one_is_gone_with_its_secrets(at: Office) -> None:
    caller = at.records.principal()
    made = await at.subscriptions.create(caller, Settings(url=URL, signing=Signing.ED25519))
    assert len(at.keys.published()) == 1
    await at.subscriptions.delete(caller, made.id)
    assert at.deletions == [(caller.project_id, made.id)]
    assert at.router.find(caller.project_id, made.id) is None
    assert (at.keys.published(), await at.keys.load()) == ([], {})
    assert await version(at) == 3
    kept = await at.store.read(lambda c: c.execute(select(schema.signing_keys)).all())
    assert kept == []
    trail = await at.store.read(lambda c: c.execute(select(schema.audit.c.action)).scalars().all())
    assert trail == ["subscription.delete"]


@pytest.mark.parametrize("act", ["get", "update", "pause", "resume", "delete", "secret", "rotate"])
async def test_to_another_project_it_is_not_there(at: Office, act: str) -> None:
    made = await at.subscriptions.create(at.records.principal(), NAMED)
    stranger = at.records.principal(project_id=at.records.other)
    missing: Id = at.records.ids.next()
    does = getattr(at.keys if act in {"secret", "rotate"} else at.subscriptions, act)
    more = (NAMED,) if act == "update" else ()
    for caller, subscription_id in ((stranger, made.id), (at.records.principal(), missing)):
        with pytest.raises(NotFound, match="event subscription not found"):
            await does(caller, subscription_id, *more)
    page = await at.subscriptions.list_page(stranger, PageRequest())
    assert page.items == []
    assert (len(at.changes), await version(at)) == (1, 2)


async def test_a_strict_project_takes_types_of_its_catalogue_and_patterns(at: Office) -> None:
    caller = at.records.principal()
    [known] = await at.event_types.replace(caller, [EventTypeIn("card.created")])
    assert known == EventType("card.created")
    at.catalogue.set_strict(caller.project_id, True)
    good = Settings(url=URL, event_types=("card.created", "book.*", "*"))
    await at.subscriptions.create(caller, good)
    bad = Settings(url=URL, event_types=("card.created", "card.crated"))
    with pytest.raises(InvalidInput) as refusal:
        await at.subscriptions.create(caller, bad)
    assert refusal.value.details[0][0] == "event_types[1]"


PROGRAM = TransformIn(javascript="const transform = p => p")


async def test_a_transform_is_compiled_before_it_is_kept(at: Office) -> None:
    caller = at.records.principal()
    made = await at.subscriptions.create(caller, Settings(url=URL, transform=PROGRAM))
    assert made.transform == Transform(Language.JAVASCRIPT, "const transform = p => p")
    assert await at.subscriptions.get(caller, made.id) == made
    assert len(at.runs.all) == 1
    await at.subscriptions.update(caller, made.id, Settings(url=URL, description="d"))
    await at.subscriptions.pause(caller, made.id)
    assert len(at.runs.all) == 1
    removed = await at.subscriptions.update(caller, made.id, Settings(url=URL, transform=None))
    assert (removed.transform, len(at.runs.all)) == (None, 1)


async def test_one_that_does_not_compile_changes_nothing(at: Office) -> None:
    caller = at.records.principal()
    made = await at.subscriptions.create(caller, NAMED)
    at.runs.script = lambda _: Fault(FaultKind.COMPILE, "no", line=1)
    wanted = Settings(url=URL, transform=PROGRAM)
    for refused in (
        at.subscriptions.create(caller, wanted),
        at.subscriptions.update(caller, made.id, wanted),
        at.subscriptions.create(caller, Settings(url=URL, transform=TransformIn())),
    ):
        with pytest.raises(InvalidSetting):
            await refused
    at.runs.script = lambda _: Deferred("busy")
    with pytest.raises(Unavailable):
        await at.subscriptions.update(caller, made.id, wanted)
    assert (await at.subscriptions.list_page(caller, PageRequest(10))).items == [made]
    assert await version(at) == 2


async def test_a_revision_is_made_anew_where_others_were_faster(at: Office) -> None:
    caller = at.records.principal()
    made = await at.subscriptions.create(caller, NAMED)
    seen: list[str] = []

    def revise(present: Subscription) -> Settings:
        seen.append(present.description)
        if len(seen) == 1:
            # Behind its back, between reading and writing.
            at.records.connection.execute(update(schema.subscriptions).values(description="theirs"))
        return Settings(description=f"{present.description}, mine")

    revised = await at.subscriptions.revise(caller, made.id, revise)
    assert (seen, revised.description) == (["", "theirs"], "theirs, mine")
    assert await at.subscriptions.get(caller, made.id) == revised


async def test_a_revision_that_is_always_overtaken_is_refused(at: Office) -> None:
    caller = at.records.principal()
    made = await at.subscriptions.create(caller, NAMED)

    def revise(present: Subscription) -> Settings:
        description = f"{present.description}x"
        at.records.connection.execute(update(schema.subscriptions).values(description=description))
        return Settings(paused=True)

    with pytest.raises(Conflict):
        await at.subscriptions.revise(caller, made.id, revise)
    assert not (await at.subscriptions.get(caller, made.id)).paused


async def test_a_secret_of_any_text_may_be_brought_and_takes_the_old_ones_place(
    at: Office,
) -> None:
    caller = at.records.principal()
    made = await at.subscriptions.create(caller, Brought(url=URL, api=Api.SOCOTRA, secret=b"one"))
    assert [key.material for key in at.last_keys] == [b"one"]
    assert made.api is Api.SOCOTRA
    await at.subscriptions.update(caller, made.id, Brought(secret=b"two"))
    assert [(key.material, key.expires_at_us) for key in at.last_keys] == [(b"two", None)]
    await at.subscriptions.update(caller, made.id, Brought(description="x"))
    assert [key.material for key in at.last_keys] == [b"two"]
    other = await at.subscriptions.create(caller, Brought(url=URL, secret=None))
    assert len(at.last_keys[0].material.decode()) == 64
    found = await at.keys.present(caller, [made.id, other.id])
    assert found[made.id].material == b"two"
    assert await at.keys.present(at.records.principal(project_id=at.records.other), found) == {}


async def test_a_slice_and_its_tallies_are_of_the_project(at: Office) -> None:
    caller, stranger = at.records.principal(), at.records.principal(project_id=at.records.other)
    made = await at.subscriptions.create(caller, NAMED)
    which = SubscriptionFilter(api=Api.NATIVE)
    assert await at.subscriptions.list_slice(caller, which, 0, 5) == ([made], False)
    assert await at.subscriptions.list_slice(stranger, which, 0, 5) == ([], False)
    tallies = await at.subscriptions.tallies(caller, [made.id])
    assert tallies[made.id].ended == {}


async def test_how_it_authenticates_is_kept_encrypted(at: Office) -> None:
    caller, given = at.records.principal(), Basic("ada", "top secret")
    made = await at.subscriptions.create(caller, Settings(url=URL, authentication=given))
    assert made.authentication is not None
    assert made.authentication.shown == Basic("ada", "***")
    assert b"top secret" not in made.authentication.envelope
    assert at.keys.authentication(made) == given
    paused = await at.subscriptions.pause(caller, made.id)
    assert paused.authentication == made.authentication
    other = HeaderKey("x-key", "k")
    changed = await at.subscriptions.update(caller, made.id, Settings(authentication=other))
    assert at.keys.authentication(changed) == other
    assert at.changes[-1][0] == changed
    with pytest.raises(InvalidSetting, match="is what authentication is sent in"):
        await at.subscriptions.update(caller, made.id, Settings(headers={"X-KEY": "v"}))
    freed = await at.subscriptions.update(caller, made.id, Settings(authentication=None))
    assert freed.authentication is None
    assert at.keys.authentication(freed) is None
    await at.subscriptions.update(caller, made.id, Settings(headers={"X-KEY": "v"}))
