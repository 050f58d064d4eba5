"""A change that is asked for twice under one key is made once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.database import URL
from tests.support.manual import SeededEntropy
from tests.support.subscribing import SECRET_KEY, Office, office
from waypost.model.errors import Conflict, IdempotencyMismatch
from waypost.model.page import PageRequest
from waypost.operations.changing import Within
from waypost.operations.repeats import KEPT_US, Repeats, Request
from waypost.operations.signing_keys import Also
from waypost.policy.settings import Settings
from waypost.storage.vault import Vault

WANTED = Settings(url=URL)
ASKED = Request("k", b"POST /x\0{}")


class Desk:
    """Makes subscriptions under keys."""

    def __init__(self, at: Office) -> None:
        self.at = at
        self.caller = at.records.principal()
        vault = Vault(SECRET_KEY, SeededEntropy())
        self.repeats = Repeats(at.store, vault, at.records.clock)

    async def make(self, request: Request) -> bytes:
        """Make a subscription, and answer with its id."""

        async def change(also: Also) -> None:
            await self.at.subscriptions.create(self.caller, WANTED, Within(also=also))

        return await self.repeats.once(self.caller, request, lambda made, _keys: made.id, change)

    async def count(self) -> int:
        page = await self.at.subscriptions.list_page(self.caller, PageRequest())
        return len(page.items)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with office(tmp_path) as at:
        yield Desk(at)


async def test_the_first_answer_is_said_again(desk: Desk) -> None:
    made = await desk.make(ASKED)
    assert await desk.make(ASKED) == made
    assert await desk.count() == 1
    desk.at.records.clock.forward(KEPT_US / 1_000_000)
    assert await desk.make(ASKED) != made
    assert await desk.count() == 2


async def test_another_request_under_the_key_is_refused(desk: Desk) -> None:
    await desk.make(ASKED)
    with pytest.raises(IdempotencyMismatch):
        await desk.make(Request("k", b"POST /x\0{1}"))
    await desk.make(Request("K", ASKED.content))
    assert await desk.count() == 2


async def test_of_two_at_once_one_changes_something(desk: Desk) -> None:
    made = await asyncio.gather(desk.make(ASKED), desk.make(ASKED), return_exceptions=True)
    assert [type(one) for one in made if isinstance(one, Exception)] == [Conflict]
    assert await desk.count() == 1


async def test_without_a_key_nothing_is_kept(desk: Desk) -> None:
    bare = Request(None, b"")
    assert await desk.make(bare) != await desk.make(bare)
    assert await desk.count() == 2
