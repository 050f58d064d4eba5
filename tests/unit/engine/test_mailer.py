"""The mailer: one letter a minute, again where it was not taken, and never lost before that."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Connection, update
from structlog.testing import capture_logs

from tests.support import database
from tests.support.database import Records
from waypost.egress.mail import MailFailed
from waypost.engine import mailer
from waypost.engine.mailer import Mailer
from waypost.policy.letter import SCHEDULE_S, Letter
from waypost.policy.system_events import SubscriptionFailing, event_of, system_types
from waypost.storage import schema, system_events
from waypost.storage.store import Store


class Post:
    """A mailer whose server is the test."""

    def __init__(self, records: Records, store: Store) -> None:
        self.records, self.store = records, store
        self.letters: list[Letter] = []
        self.refuses = False
        self.mailer = Mailer(store, records.clock, self.send)

    async def send(self, letter: Letter, _now_us: int) -> None:
        self.letters.append(letter)
        if self.refuses:
            raise MailFailed("busy")

    async def owe(self, count: int = 1) -> None:
        example = next(one for one in system_types() if one.name.endswith(".failing"))
        news = msgspec.json.decode(example.example, type=SubscriptionFailing)
        made = [event_of(self.records.project, self.records.ids.next(), news) for _ in range(count)]
        for event in made:
            await self.store.write(partial(system_events.keep, event=event, mailed=True))

    async def owe_to(self, *recipients: str) -> None:
        for one in recipients:
            await self.owe()
            unnamed = schema.mails.c.recipient.is_(None)
            change = update(schema.mails).where(unnamed).values(recipient=one)
            await self.store.write(partial(Connection.execute, statement=change))

    async def look(self, seconds: float) -> int:
        """Let time pass and have it look; return how many letters there were by then."""
        self.records.clock.forward(seconds)
        with capture_logs():
            await self.mailer.run_once()
        return len(self.letters)


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    records = database.make(tmp_path / "w.db")
    async with database.opened(tmp_path / "w.db") as store:
        yield Post(records, store)


async def test_what_is_due_goes_in_one_letter_a_minute(post: Post) -> None:
    assert await post.look(0) == 0
    await post.owe(3)
    assert await post.look(0) == 1
    assert post.letters[0].subject.endswith("and 2 more")
    await post.owe(mailer.TOLD_MAX + 5)
    assert await post.look(59) == 1
    assert await post.look(1) == 2
    assert post.letters[1].subject.endswith(f"and {mailer.TOLD_MAX - 1} more")
    assert await post.look(60) == 3
    assert post.letters[2].subject.endswith("and 4 more")
    assert await post.look(60) == 3


async def test_a_letter_that_is_not_taken_is_tried_again_and_given_up_in_the_end(
    post: Post,
) -> None:
    await post.owe()
    post.refuses = True
    assert await post.look(0) == 1
    for tries, gap_s in enumerate(SCHEDULE_S, start=1):
        assert await post.look(gap_s - 1) == tries
        assert await post.look(1) == tries + 1
    assert len({letter.key for letter in post.letters}) == 1
    assert await post.look(1e6) == 1 + len(SCHEDULE_S)


async def test_a_restart_goes_on_where_it_was(post: Post) -> None:
    await post.owe()
    post.refuses = True
    await post.look(0)
    again = Post(post.records, post.store)
    assert await again.look(SCHEDULE_S[0]) == 1
    assert again.letters == post.letters
    assert await again.look(1e6) == 1


async def test_everybody_gets_a_letter_of_their_own_once_a_minute(post: Post) -> None:
    await post.owe_to("a@x.example", "a@x.example", "b@x.example")
    await post.owe()
    assert await post.look(0) == 3
    to = {letter.to: letter.subject.endswith("and 1 more") for letter in post.letters}
    assert to == {None: False, "a@x.example": True, "b@x.example": False}
    await post.owe_to("a@x.example", "c@x.example")
    assert await post.look(59) == 4
    assert post.letters[3].to == "c@x.example"
    assert await post.look(1) == 5
