"""Sources are in force as soon as they are made, and what comes in is kept when it is answered."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import select

from tests.support.sending import LIMITS, VAULT, Gate, gate
from waypost.model import ids
from waypost.model.errors import (
    Conflict,
    InvalidInput,
    InvalidSetting,
    LimitReached,
    NotFound,
    TooManyRequests,
    Unavailable,
    Unverified,
)
from waypost.model.page import PageRequest
from waypost.model.project import Principal
from waypost.model.source import GitHub, Source, SourceType, Twitter
from waypost.operations import sources as operations
from waypost.operations.sources import KnownSources
from waypost.policy.events import Draft
from waypost.policy.inbound import Inbound
from waypost.policy.source_settings import SourceSettings
from waypost.storage.schema import audit

NAMED = SourceSettings(name="s")


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Gate]:
    async with gate(tmp_path) as opened:
        yield opened


@pytest.fixture
def caller(at: Gate) -> Principal:
    return at.records.principal()


async def made(at: Gate, caller: Principal, **settings: object) -> Source:
    wanted = SourceSettings(**{"name": "s", **settings})  # type: ignore[arg-type] # by name
    return await at.sources.create(caller, SourceType.HTTP, wanted)


def draft(at: Gate, source: Source, body: bytes = b'{"id": 1}') -> Draft:
    headers = [(b"content-type", b"application/json")]
    return at.sources.reading(source, Inbound(headers, "/x", b"", body))()


async def test_a_new_source_takes_events_in_at_once(at: Gate, caller: Principal) -> None:
    source = await made(at, caller)
    assert at.sources.enter(source.mask) == source
    assert await at.sources.get(caller, source.id) == source
    accepted = await at.sources.receive(source, draft(at, source))
    event, _ = await at.events.get(caller, accepted.id)
    assert (event.type, event.payload, event.attributes.source) == (
        source.mask,
        b'{"id": 1}',
        source.id,
    )
    other = await made(at, caller)
    assert len(source.mask) == 32
    assert source.mask != other.mask


async def test_a_repeated_key_is_a_duplicate_whatever_the_rest(at: Gate, caller: Principal) -> None:
    source = await made(at, caller, idempotency_keys=("request.body.id",))
    first = await at.sources.receive(source, draft(at, source, b'{"id": 1, "at": 1}'))
    again = await at.sources.receive(source, draft(at, source, b'{"id": 1, "at": 2}'))
    assert (first.duplicate, again.duplicate, again.id) == (False, True, first.id)
    _, receipts = await at.events.get(caller, first.id)
    assert [receipt.key_id for receipt in receipts] == [source.id]


async def test_a_change_is_in_force_at_once(at: Gate, caller: Principal) -> None:
    source = await made(at, caller)
    changed = await at.sources.update(caller, source.id, SourceSettings(verifier=GitHub("s")))
    assert at.sources.enter(source.mask) == changed
    with pytest.raises(Unverified):
        draft(at, changed)
    await at.sources.update(caller, source.id, SourceSettings(disabled=True))
    with pytest.raises(Conflict, match="disabled"):
        at.sources.enter(source.mask)
    await at.sources.delete(caller, source.id)
    with pytest.raises(NotFound):
        at.sources.enter(source.mask)
    with pytest.raises(NotFound):
        await at.sources.get(caller, source.id)
    rows = await at.store.read(lambda c: c.execute(select(audit.c.action)).scalars().all())
    assert sorted(rows) == ["source.create", "source.delete", *["source.update"] * 2]


async def test_nothing_is_changed_by_what_is_refused(at: Gate, caller: Principal) -> None:
    with pytest.raises(InvalidInput, match="name: is required"):
        await at.sources.create(caller, SourceType.HTTP, SourceSettings())
    source = await made(at, caller)
    bad = SourceSettings(name="t", event_type_location="x")
    with pytest.raises(InvalidSetting):
        await at.sources.update(caller, source.id, bad)
    with pytest.raises(InvalidSetting):
        await at.sources.create(caller, SourceType.HTTP, bad)
    assert at.sources.enter(source.mask) == source
    page = await at.sources.list_page(caller, PageRequest())
    assert page.items == [source]


async def test_another_project_has_nothing_to_do_with_it(at: Gate, caller: Principal) -> None:
    source = await made(at, caller)
    stranger = at.records.principal(project_id=at.records.other)
    for call in (
        at.sources.get(stranger, source.id),
        at.sources.update(stranger, source.id, NAMED),
        at.sources.delete(stranger, source.id),
        at.sources.post(stranger, source.id, Draft("a", b"{}")),
    ):
        with pytest.raises(NotFound):
            await call
    assert at.sources.enter(source.mask) == source


async def test_a_project_has_so_many_and_no_more(
    at: Gate, caller: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "SOURCES_MAX", 1)
    await made(at, caller)
    with pytest.raises(LimitReached):
        await made(at, caller)
    await made(at, at.records.principal(project_id=at.records.other))


async def test_who_is_let_in(at: Gate, caller: Principal) -> None:
    source, other = await made(at, caller), await made(at, caller)
    with pytest.raises(NotFound):
        at.sources.enter("0" * 32)
    for _ in range(at.burst):
        at.sources.enter(source.mask)
    with pytest.raises(TooManyRequests):
        at.sources.enter(source.mask)
    # Its allowance outlives a change, and is its own.
    await at.sources.update(caller, source.id, NAMED)
    with pytest.raises(TooManyRequests):
        at.sources.enter(source.mask)
    at.sources.enter(other.mask)
    at.access.confirmed_until = at.records.clock.monotonic() - 1
    with pytest.raises(Unavailable):
        at.sources.enter(other.mask)
    at.access.confirmed_until = at.records.clock.monotonic() + 1
    at.access.remove_project(at.records.project)
    with pytest.raises(NotFound):
        at.sources.enter(other.mask)


async def test_events_are_posted_under_a_source_of_that_type(at: Gate, caller: Principal) -> None:
    posted = await at.sources.create(caller, SourceType.REST_API, NAMED)
    accepted = await at.sources.post(caller, posted.id, Draft("a.b", b"{}"))
    event, _ = await at.events.get(caller, accepted.id)
    assert (event.type, event.attributes.source) == ("a.b", posted.id)
    with pytest.raises(Conflict, match="needs to be HTTP"):
        at.sources.enter(posted.mask)
    await at.sources.update(caller, posted.id, SourceSettings(disabled=True))
    http = await made(at, caller)
    for source_id in (posted.id, http.id):
        with pytest.raises(Conflict):
            await at.sources.post(caller, source_id, Draft("a", b"{}"))
    with pytest.raises(NotFound):
        await at.sources.post(caller, ids.FIRST, Draft("a", b"{}"))


async def test_a_strict_project_takes_its_own_types_alone(at: Gate, caller: Principal) -> None:
    source = await made(at, caller)
    at.catalogue.put(at.records.project, ["a"])
    at.catalogue.set_strict(at.records.project, strict=True)
    with pytest.raises(InvalidInput, match="not in the project's catalogue"):
        await at.sources.receive(source, draft(at, source))


async def test_a_challenge_is_answered_and_noted_to_the_minute(at: Gate, caller: Principal) -> None:
    source = await made(at, caller, verifier=Twitter("Convoy"))
    wanted = "sha256=HXvxTdsfShG6k2zC9NVANwFquJBdOugRYHax2vNiiOo="
    written = at.store.counters.commits
    for _ in range(3):
        source = at.sources.enter(source.mask)
        assert await at.sources.challenge(source, "uzwcfYtzr9") == wanted
    assert at.store.counters.commits - written <= 2
    minute = at.records.clock.now_us() // 60_000_000 * 60_000_000
    assert (await at.sources.get(caller, source.id)).challenged_us == minute
    for token in (None, "", "{}"):
        with pytest.raises(InvalidInput, match="crc_token"):
            await at.sources.challenge(source, token)
    with pytest.raises(InvalidInput, match="no challenge"):
        await at.sources.challenge(replace(source, verifier=GitHub("s")), "a")


@pytest.mark.parametrize("everything", [True, False])
async def test_another_process_follows(at: Gate, caller: Principal, everything: bool) -> None:
    other = KnownSources(VAULT)
    source, gone = await made(at, caller), await made(at, caller)
    other.load([source, gone])
    await at.sources.update(caller, source.id, SourceSettings(max_bytes=5))
    await at.sources.delete(caller, gone.id)
    places = [(source.project_id, source.id), (gone.project_id, gone.id)]
    asked = None if everything else places
    other.apply(await at.store.read(lambda c: other.read(c, asked)))
    found = other.find(at.records.project, source.id)
    assert found is not None
    assert (found.max_bytes, at.sources.max_bytes(found)) == (5, 5)
    assert at.sources.max_bytes(gone) == LIMITS.max_event_bytes
    assert other.find(at.records.project, gone.id) is None
    assert other.find(at.records.other, source.id) is None
    with pytest.raises(NotFound):
        other.enter(gone.mask, at.access)
    await at.sources.load()
    assert at.sources.enter(source.mask).max_bytes == 5
