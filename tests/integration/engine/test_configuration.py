"""What one process changes of the configuration, and when the others go by it."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest
from sqlalchemy import select

from tests.support.database import Records
from tests.support.nodes import Node, node, nodes
from tests.support.waiting import until
from waypost.engine import ingest
from waypost.model.errors import NotAuthenticated, Unavailable, WaypostError
from waypost.model.event import Attributes
from waypost.model.ids import Id
from waypost.model.project import Environment
from waypost.model.shards import SHARDS
from waypost.operations.event_types import EventTypeIn
from waypost.operations.keys import NewKey
from waypost.policy.origin import Origin
from waypost.policy.settings import Settings
from waypost.storage import cluster, configuration, events, schema


def refusal(call: Callable[[], object]) -> type[WaypostError] | None:
    try:
        call()
    except WaypostError as error:
        return type(error)
    return None


async def settled(*running: Node) -> None:
    await until(lambda: all(one.owned == SHARDS // len(running) for one in running))


async def test_an_event_after_a_change_is_routed_by_it_in_every_process(
    records: Records, url: str
) -> None:
    async with nodes(records, url, notify=False) as (first, second):
        await settled(first, second)
        for number in range(20):
            # Nothing is waited for: the process that accepts has not asked anybody since.
            await first.subscribe(f"h{number}", event_types=(f"n.{number}",))
            accepted = await second.accept(kind=f"n.{number}")
            owed = select(schema.queue).where(schema.queue.c.event_id == accepted.id)
            rows = records.connection.execute(owed).all()
            assert len(rows) == 1, number


async def test_a_filter_is_obeyed_in_every_process_from_the_next_event_on(
    records: Records, url: str
) -> None:
    origin = Origin([(b"x-a", b"b"), (b"x-c", b"d"), (b"cookie", b"s3cret")], "/v1/events")

    def owed(event_id: Id) -> int:
        query = select(schema.queue).where(schema.queue.c.event_id == event_id)
        return len(records.connection.execute(query).all())

    async with nodes(records, url, notify=False) as (first, second):
        await settled(first, second)
        made = await first.subscribe(filter=msgspec.Raw(b'{"body":{"n":0}}'))
        for number in range(1, 10):
            # Nothing is waited for, as above.
            text = f'{{"body":{{"n":{number}}},"headers":{{"X-A":"b"}}}}'.encode()
            await first.subscriptions.update(
                first.principal, made.id, Settings(filter=msgspec.Raw(text))
            )
            payload = b'{"n":%d}' % number
            accepted = await second.accept(payload=payload, origin=origin)
            other = await second.accept(payload=b'{"n":0}', origin=origin)
            assert (owed(accepted.id), owed(other.id)) == (1, 0), number
            kept = events.get(records.connection, records.project, accepted.id).attributes
            assert kept == Attributes(headers={"x-a": "b"})
        await first.subscriptions.update(
            first.principal, made.id, Settings(filter=msgspec.Raw(b"null"))
        )
        accepted = await second.accept(origin=origin)
        assert owed(accepted.id) == 1
        assert events.get(records.connection, records.project, accepted.id).attributes.headers == {}


async def test_what_is_paused_changed_and_deleted_elsewhere_is_followed(
    records: Records, url: str
) -> None:
    async with nodes(records, url) as (first, second):
        await settled(first, second)
        made = await first.subscribe()
        owner, other = (first, second) if first.sharing.shards.owns(made.id) else (second, first)
        await other.subscriptions.pause(other.principal, made.id)
        await until(lambda: (owner.router.find(made.project_id, made.id) or made).paused)
        await other.accept()
        await other.subscriptions.update(
            other.principal, made.id, Settings(url="https://new.example/")
        )
        await other.signing_keys.rotate(other.principal, made.id)
        await other.subscriptions.resume(other.principal, made.id)
        await owner.receivers.reach(1)
        (post,) = owner.receivers.posts
        assert post.host == "new.example"
        # One signature by each of two secrets.
        assert post.head.decode().split("webhook-signature: ")[1].split("\r\n")[0].count("v1,") == 2
        await other.accept()
        await owner.receivers.reach(2)
        await other.subscriptions.delete(other.principal, made.id)
        await until(lambda: not owner.router.list_all())
        for post in owner.receivers.open:
            post.answer(500)
        await until(lambda: not owner.dispatcher.lane_count)
        async with asyncio.timeout(5):
            while await owner.store.read(lambda c: c.execute(select(schema.queue)).all()):
                pass
        ended = await owner.store.read(
            lambda c: c.execute(select(schema.deliveries.c.reason)).scalars().all()
        )
        assert ended == ["subscription_deleted"] * 2


async def test_keys_projects_and_catalogues_are_followed(records: Records, url: str) -> None:
    async with nodes(records, url) as (first, second):
        made = await first.keys.create(
            first.principal, NewKey("k", project_id=first.principal.project_id)
        )
        text = made.text.encode()
        await until(lambda: refusal(lambda: second.access.authenticate(text)) is None)
        await first.keys.revoke(first.principal, made.key.id)
        begun = first.clock.monotonic()
        await until(lambda: refusal(lambda: second.access.authenticate(text)) is NotAuthenticated)
        assert first.clock.monotonic() - begun < 1.0
        project = await first.projects.create(
            first.principal, "P", Environment.TEST, strict_types=True
        )
        await first.event_types.replace(
            first.records.principal(project_id=project.id), [EventTypeIn("a.b")]
        )
        await until(lambda: not second.catalogue.known(project.id, "c.d"))
        assert second.catalogue.known(project.id, "a.b")
        assert project.id in second.access._projects
        await second.projects.delete(second.principal, project.id)
        await until(lambda: project.id not in first.access._projects)


async def test_who_is_too_far_behind_reads_everything(
    records: Records, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with nodes(records, url) as (first, second):
        await settled(first, second)
        kept = await first.subscribe("kept")
        gone = await first.subscribe("gone")
        await until(lambda: len(second.router.list_all()) == 2)
        follower = second.sharing.follower
        followed = follower._task
        assert followed is not None
        followed.cancel()
        await first.subscriptions.delete(first.principal, gone.id)
        await first.subscriptions.pause(first.principal, kept.id)
        records.connection.execute(cluster.config_changes.delete())
        await follower._poll()
        (present,) = second.router.list_all()
        assert (present.id, present.paused) == (kept.id, True)
        assert gone.id not in second.dispatcher._receivers.keys
        assert follower.version == configuration.current(records.connection)


async def test_who_cannot_ask_neither_sends_nor_lets_anybody_in(records: Records, url: str) -> None:
    async with node(records, url) as one:
        await settled(one)
        made = await one.keys.create(
            one.principal, NewKey("k", project_id=one.principal.project_id)
        )
        text = made.text.encode()
        await one.subscribe()
        connection = records.connection
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql("LOCK TABLE config_version")
        await until(lambda: refusal(lambda: one.access.authenticate(text)) is Unavailable)
        assert one.clock.monotonic() > one.sharing.shards.until
        # Its routing can't be compared with nothing, but what it commits is not sent.
        await one.accept()
        assert one.receivers.posts == []
        connection.exec_driver_sql("COMMIT")
        await one.receivers.reach(1)
        assert refusal(lambda: one.access.authenticate(text)) is None


async def test_a_commit_that_waits_is_answered_as_unknown_and_sent_all_the_same(
    records: Records, url: str
) -> None:
    async with node(records, url) as one:
        await settled(one)
        await one.subscribe()
        connection = records.connection
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        begun = one.clock.monotonic()
        with pytest.raises(Unavailable):
            await one.accept()
        assert 0.5 < one.clock.monotonic() - begun < 1.0
        connection.exec_driver_sql("COMMIT")
        await one.receivers.reach(1)
        one.receivers.posts[0].answer()
        await until(lambda: one.dispatcher.delivered == 1)
        await until(lambda: one.ingest.waiting == 0)
        await one.accept()
        await one.receivers.reach(2)
        assert len({post.webhook_id for post in one.receivers.posts}) == 2
        assert ingest.IngestConfig().patience_s < 1.0
