"""The verifier: asks once, writes down what came of it, and forgets nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from tests.support import database
from tests.support.database import Records
from tests.support.engine import KEY, Post, Receivers
from tests.support.manual import SeededEntropy
from waypost.engine import verifier
from waypost.engine.configuration import Configuration
from waypost.engine.router import Router
from waypost.engine.sender import Address, Sender
from waypost.engine.verifier import Verifier
from waypost.model.delivery import Timings
from waypost.model.exchange import Consent, Reply
from waypost.model.subscription import SigningKey, Subscription
from waypost.model.verification import Verification, VerificationMode, VerificationState
from waypost.policy import verification
from waypost.policy.format import NATIVE_FORMATS
from waypost.storage import subscriptions
from waypost.storage.sqlite.store import SqliteStore

CHALLENGE = Verification(VerificationMode.CHALLENGE)
HANDSHAKE = Verification(VerificationMode.CLOUDEVENTS)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return database.make(tmp_path / "w.db")


class Desk:
    """A verifier on a store; the test is the receivers."""

    def __init__(self, records: Records, store: SqliteStore) -> None:
        self.store = store
        self.router = Router()
        self.network = Receivers()
        self.told: list[Subscription] = []
        self.keys: tuple[SigningKey, ...] = (KEY,)
        loop = asyncio.get_running_loop()
        self.sender = Sender(loop, self.network, NATIVE_FORMATS, "us.example")
        self.verifier = Verifier(
            Configuration(store),
            self.router,
            self.address,
            self.told.append,
            records.clock,
            SeededEntropy(),
            "us.example",
        )

    def address(self, subscription: Subscription) -> Address:
        return self.sender.address(subscription, self.keys)

    async def saved(self, one: Subscription) -> Subscription:
        return await self.store.read(lambda c: subscriptions.get(c, one.project_id, one.id))

    async def change(self, one: Subscription, **settings: Any) -> None:
        changed = replace(one, **settings)
        await self.store.write(lambda c: subscriptions.update(c, changed))

    async def post(self, count: int = 1) -> Post:
        """Begin what is pending, and return the last request of so many."""
        await self.verifier.run_once()
        await self.network.reach(count)
        return self.network.posts[-1]

    async def finish(self) -> None:
        async with asyncio.timeout(10):
            while self.verifier._asked:
                await asyncio.wait(tuple(self.verifier._asked.values()))


@asynccontextmanager
async def desk(records: Records, path: Path) -> AsyncIterator[Desk]:
    async with database.opened(path) as store:
        made = Desk(records, store)
        with capture_logs():
            yield made
        await made.verifier.stop()


async def test_who_repeats_the_challenge_is_verified(records: Records, tmp_path: Path) -> None:
    one = records.subscription(verification=CHALLENGE, headers={"x-own": "1"})
    records.subscription()
    async with desk(records, tmp_path / "w.db") as at:
        post = await at.post()
        assert post.head.startswith(b"POST ")
        assert b"\r\nx-own: 1\r\n" in post.head
        assert b"\r\nwebhook-signature: v1," in post.head
        post.answer(body=post.body)
        await at.finish()
        saved = await at.saved(one)
        assert saved.is_verified
        assert at.told == [saved]
        assert at.router.find(one.project_id, one.id) == saved
        await at.verifier.run_once()
        assert len(at.network.posts) == 1
        assert at.verifier._asked == {}


async def test_a_handshake_asks_the_very_url_by_name(records: Records, tmp_path: Path) -> None:
    one = records.subscription(verification=HANDSHAKE, url="https://r.example/a?b=c")
    async with desk(records, tmp_path / "w.db") as at:
        post = await at.post()
        assert post.head.startswith(b"OPTIONS /a?b=c HTTP/1.1\r\n")
        assert b"\r\nWebHook-Request-Origin: us.example\r\n" in post.head
        assert post.head.endswith(b"\r\n\r\n")
        assert post.body == b""
        post.open = False
        post.done(Reply(200, b"", Timings(), consent=Consent("us.example", "30")))
        await at.finish()
        saved = await at.saved(one)
        assert (saved.is_verified, saved.verification and saved.verification.per_minute) == (
            True,
            30,
        )


@pytest.mark.parametrize("end", [lambda post: post.answer(500), lambda post: post.fail()])
async def test_who_fails_stays_so_until_it_is_asked_for_anew(
    records: Records, tmp_path: Path, end: Callable[[Post], None]
) -> None:
    one = records.subscription(verification=CHALLENGE)
    async with desk(records, tmp_path / "w.db") as at:
        end(await at.post())
        await at.finish()
        known = (await at.saved(one)).verification
        assert known is not None
        assert (known.state, bool(known.reason)) == (VerificationState.FAILED, True)
        await at.verifier.run_once()
        assert len(at.network.posts) == 1
        await at.change(one, verification=verification.again(known))
        again = await at.post(2)
        again.answer(body=again.body)
        await at.finish()
        assert (await at.saved(one)).is_verified


async def test_an_answer_for_what_was_changed_meanwhile_has_no_say(
    records: Records, tmp_path: Path
) -> None:
    one = records.subscription(verification=CHALLENGE)
    async with desk(records, tmp_path / "w.db") as at:
        post = await at.post()
        await at.change(
            one, url="https://other.example/", verification=replace(CHALLENGE, number=2)
        )
        post.answer(body=post.body)
        await at.finish()
        assert not (await at.saved(one)).is_verified
        assert at.told == []
        other = await at.post(2)
        assert other.host == "other.example"


async def test_only_so_many_are_asked_at_once(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier, "AT_ONCE", 2)
    for _ in range(3):
        records.subscription(verification=CHALLENGE)
    async with desk(records, tmp_path / "w.db") as at:
        await at.post(2)
        await at.verifier.run_once()
        assert len(at.verifier._asked) == 2
        for post in at.network.open:
            post.answer(body=post.body)
        await at.finish()
        await at.post(3)


async def test_what_could_not_be_asked_stays_pending(records: Records, tmp_path: Path) -> None:
    one = records.subscription(verification=CHALLENGE)
    async with desk(records, tmp_path / "w.db") as at:
        at.keys = ()
        await at.verifier.run_once()
        await at.finish()
        assert at.network.posts == []
        at.keys = (KEY,)
        await at.post()
        await at.verifier.stop()
        known = (await at.saved(one)).verification
        assert known == CHALLENGE


async def test_it_looks_when_one_is_pending(records: Records, tmp_path: Path) -> None:
    one = records.subscription(verification=CHALLENGE)
    async with desk(records, tmp_path / "w.db") as at:
        for subscription, wanted in ((replace(one, verification=None), False), (one, True)):
            at.verifier.look(subscription)
            assert at.verifier.job._wanted.is_set() is wanted


async def test_a_look_that_began_before_the_answer_asks_nobody_twice(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = records.subscription(verification=CHALLENGE)
    async with desk(records, tmp_path / "w.db") as at:
        post = await at.post()
        read = at.store.read

        async def read_slowly(fn: Any) -> Any:
            found = await read(fn)
            post.answer(body=post.body)
            await at.finish()
            return found

        with monkeypatch.context() as patched:
            patched.setattr(at.store, "read", read_slowly)
            await at.verifier.run_once()
        assert at.verifier._asked == {}
        assert (await at.saved(one)).is_verified
        assert len(at.network.posts) == 1
