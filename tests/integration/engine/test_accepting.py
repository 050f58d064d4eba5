"""Accepting: idempotency, routing that moves on, great fan-outs, and callers that fail."""

import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from tests.support.database import Records
from tests.support.engine import Works, works
from waypost.engine.ingest import GREAT_FAN_OUT, MAX_OWED_ROWS, Accepted, IngestConfig
from waypost.model.delivery import DeliveryState
from waypost.model.errors import IdempotencyMismatch, StorageFull, Unavailable
from waypost.model.event import Attributes
from waypost.policy.events import Draft
from waypost.storage import fan_outs, projects

DELIVERED = (DeliveryState.DELIVERED, None)


def keyed(key: str, body: bytes = b"{}") -> Draft:
    return Draft("card.created", body, Attributes(idempotency_key=key), body.ljust(16)[:16])


async def test_one_key_makes_one_event_and_each_repetition_a_receipt(
    records: Records, path: Path
) -> None:
    records.subscription()
    async with works(records, path) as engine:
        answers = await asyncio.gather(*(engine.hand_in(keyed("k")) for _ in range(200)))
        accepted: list[Accepted] = [answer[0] for answer in answers]
        assert len({one.id for one in accepted}) == 1
        assert sum(one.duplicate for one in accepted) == 199
        assert await engine.count("events") == await engine.count("queue") == 1
        receipts = await engine.rows("receipts")
        assert len({row.id for row in receipts}) == 199
        assert {(row.event_id, row.same_body) for row in receipts} == {(accepted[0].id, 1)}
        assert len(engine.sent) == 1
        assert (engine.ingest.accepted, engine.ingest.duplicates) == (1, 199)


async def test_another_body_under_a_used_key_is_refused_whole_and_leaves_a_receipt(
    records: Records, path: Path
) -> None:
    async with works(records, path) as engine:
        await engine.hand_in(keyed("k"))
        refused = await engine.hand_in(keyed("new"), keyed("k", b"[]"))
        assert isinstance(refused, IdempotencyMismatch)
        assert refused.at_index == 1
        assert await engine.count("events") == await engine.count("idempotency_keys") == 1
        (receipt,) = await engine.rows("receipts")
        assert receipt.same_body == 0


async def test_a_key_that_repeats_within_a_request(records: Records, path: Path) -> None:
    async with works(records, path) as engine:
        same = await engine.hand_in(keyed("a"), keyed("a"), keyed("b"))
        assert [one.duplicate for one in same] == [False, True, False]
        assert same[0].id == same[1].id
        other = await engine.hand_in(keyed("c"), keyed("c", b"[]"))
        assert isinstance(other, IdempotencyMismatch)
        assert await engine.count("events") == 2
        assert await engine.count("receipts") == 1  # none of an event that never came to be


async def test_keys_are_of_a_project_and_expire(records: Records, path: Path) -> None:
    async with works(records, path, intake=IngestConfig(idempotency_ttl_s=60)) as engine:
        first = (await engine.hand_in(keyed("k")))[0]
        elsewhere = (await engine.hand_in(keyed("k"), project_id=records.other))[0]
        assert not elsewhere.duplicate
        engine.clock.forward(59)
        assert (await engine.hand_in(keyed("k")))[0].duplicate
        engine.clock.forward(2)
        again = (await engine.hand_in(keyed("k", b"[]")))[0]
        assert not again.duplicate
        assert again.id != first.id
        assert (await engine.hand_in(keyed("k", b"[]")))[0].duplicate


async def test_what_was_routed_by_an_old_version_is_routed_again(
    records: Records, path: Path
) -> None:
    one = records.subscription()
    async with works(records, path) as engine:
        # The change is committed first; the event was matched before it was known.
        engine.store.committer.versions[one.project_id] += 1
        handed_in = engine.hand_in(Draft("card.created", b"{}"))
        routes = engine.router.routes(one.project_id)

        def follow(_: object) -> None:
            routes.version += 1

        await engine.store.write(lambda _: None, follow)
        accepted = await handed_in
        assert isinstance(accepted[0], Accepted)
        (row,) = await engine.rows("events")
        assert row.routing_version == 2
        assert await engine.count("queue") == 1


async def test_routing_that_never_catches_up_ends_in_a_refusal(
    records: Records, path: Path
) -> None:
    async with works(records, path) as engine:
        await engine.store.write(lambda c: projects.bump_routing(c, records.project))
        assert isinstance(await engine.hand_in(Draft("a", b"{}")), Unavailable)
        assert await engine.count("events") == 0


async def test_a_full_intake_refuses_at_once(records: Records, path: Path) -> None:
    async with works(records, path, intake=IngestConfig(max_waiting=3)) as engine:
        fits = engine.hand_in(Draft("a", b"{}"), Draft("a", b"{}"))
        over = engine.hand_in(Draft("a", b"{}"), Draft("a", b"{}"))
        assert isinstance(over.result(), Unavailable)
        assert len(await fits) == 2
        # A request that is alone is taken, however large.
        assert len(await engine.hand_in(*[Draft("a", b"{}")] * 5)) == 5


async def test_a_closed_intake_says_why(records: Records, path: Path) -> None:
    async with works(records, path) as engine:
        engine.ingest.close(full=True)
        assert isinstance(engine.hand_in(Draft("a", b"{}")).result(), StorageFull)
        engine.ingest.open()
        assert await engine.accept()
        engine.ingest.close(full=False)
        assert isinstance(engine.hand_in(Draft("a", b"{}")).result(), Unavailable)


async def test_an_answer_that_cannot_be_given_keeps_nothing_from_being_sent(
    records: Records, path: Path, logged: list[MutableMapping[str, Any]]
) -> None:
    records.subscription()
    async with works(records, path) as engine:

        def broken(_: object) -> None:
            raise ConnectionResetError

        engine.ingest.accept(engine.principal, [Draft("card.created", b"{}")], broken)
        await engine.receivers.reach(1)
        assert [entry["event"] for entry in logged] == ["completion_failed"]


async def expand(engine: Works) -> int:
    parts = 0
    while await engine.expander.run_once():
        engine.clock.forward(0.01)
        parts += 1
    return parts


async def test_a_great_fan_out_is_made_in_parts_and_survives_kills_between_them(
    records: Records, path: Path
) -> None:
    made = [records.subscription() for _ in range(1_200)]
    async with works(records, path) as engine:
        (event,) = await engine.accept()
        assert engine.woken == 1
        assert await engine.count("queue") == 0
        assert await engine.count("fan_outs") == 1
        assert await engine.expander.run_once()
        assert await engine.count("queue") == 500
    async with works(records, path) as engine:  # the second part, read but not written
        part = await engine.store.read(fan_outs.find_next)
        assert part is not None
        assert (part.position, len(part.subscriptions), part.ended) == (500, 500, False)
    records.clock.forward(1)
    async with works(records, path) as engine:
        assert await expand(engine) == 2
        assert await engine.count("fan_outs") == 0
        engine.receivers.script = lambda post: post.answer()
        for post in engine.receivers.open:
            post.answer()
        await engine.receivers.reach(1_200)
        await engine.quiet()
        rows = await engine.rows("deliveries")
        assert {row.event_id for row in rows} == {event.id}
        assert sorted(row.subscription_id for row in rows) == [one.id for one in made]
        engine.nothing_leaks()


async def test_a_fan_out_is_great_from_501(records: Records, path: Path) -> None:
    for _ in range(GREAT_FAN_OUT):
        records.subscription(event_types=("five.hundred", "more"))
    records.subscription(event_types=("more",))
    async with works(records, path) as engine:
        await engine.hand_in(Draft("five.hundred", b"{}"))
        assert (engine.woken, await engine.count("queue")) == (0, 500)
        await engine.hand_in(Draft("more", b"{}"))
        assert (engine.woken, await engine.count("queue")) == (1, 500)
        assert await expand(engine) == 2
        assert await engine.count("queue") == 1_001


async def test_a_part_that_was_made_by_somebody_else_is_not_made_again(
    records: Records, path: Path
) -> None:
    for _ in range(501):
        records.subscription()
    async with works(records, path) as engine:
        await engine.accept()
        part = await engine.store.read(fan_outs.find_next)
        assert part is not None
        await expand(engine)
        assert not await engine.store.write(lambda c: fan_outs.advance(c, part))
        assert await engine.count("queue") == 501


async def test_a_request_with_more_deliveries_than_a_commit_takes(
    records: Records, path: Path
) -> None:
    for _ in range(400):
        records.subscription()
    async with works(records, path) as engine:
        accepted = await engine.accept(20)
        owed = await engine.count("queue")
        assert owed <= MAX_OWED_ROWS
        assert await engine.count("fan_outs") == 20 - owed // 400
        await expand(engine)
        assert await engine.count("queue") == 8_000
        assert len({row.event_id for row in await engine.rows("queue")}) == len(accepted) == 20
