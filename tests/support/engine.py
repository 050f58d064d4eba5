"""The engine on a real database: everything but the network and the clock is what it is in use."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from sqlalchemy import func, select

from tests.support import database
from tests.support.database import Records
from tests.support.manual import SeededEntropy
from tests.support.sandbox import Runs
from waypost.engine.configuration import Configuration
from waypost.engine.dispatcher import Dispatcher
from waypost.engine.expander import Expander
from waypost.engine.ingest import Accepted, Ingest, IngestConfig
from waypost.engine.preparer import Runner
from waypost.engine.reconciler import look
from waypost.engine.router import Router
from waypost.engine.sender import Done, Sender
from waypost.engine.slots import DispatcherConfig
from waypost.engine.teller import Teller
from waypost.model.delivery import DeliveryState, Reason, Timings
from waypost.model.errors import WaypostError
from waypost.model.event import NO_ATTRIBUTES, Attributes
from waypost.model.exchange import FailureKind, Reply, TransportFailure
from waypost.model.ids import Id
from waypost.model.project import Project
from waypost.model.subscription import (
    DisabledBy,
    Inheritable,
    Signing,
    SigningKey,
    Subscription,
)
from waypost.policy.events import Draft
from waypost.policy.format import NATIVE_FORMATS, Outgoing, Rendered
from waypost.policy.settings import reordered
from waypost.policy.urls import Destination
from waypost.storage import blocked_keys, ordering, projects, schema, subscriptions
from waypost.storage.connection import Connection
from waypost.storage.sqlite.store import SqliteStore

PATIENCE_S = 20.0
BACKLOG_US = 900_000_000
KEY = SigningKey(bytes(16), Signing.HMAC, bytes(range(32)))


class Post:
    """One request that was sent; the test is its receiver."""

    def __init__(self, project_id: Id, host: str, head: bytes, body: bytes, done: Done) -> None:
        """Keep what was sent."""
        self.project_id = project_id
        self.host = host
        self.head = head
        self.body = body
        self.done = done
        self.open = True
        self.timeout_s = 0.0

    @property
    def webhook_id(self) -> str:
        """The id that the receiver tells repetitions by."""
        return self.head.decode("latin-1").split("webhook-id: ")[1].split("\r\n")[0]

    def answer(
        self, status: int = 200, *, body: bytes = b"", retry_after: str | None = None
    ) -> None:
        """Answer it."""
        self._end(Reply(status, body, Timings(), retry_after))

    def fail(self, kind: FailureKind = FailureKind.TIMEOUT) -> None:
        """End it without an answer."""
        self._end(TransportFailure(kind, kind.value, Timings()))

    def abort(self) -> None:
        """Break it off, as the transport does: its `done` hears of that later."""
        if self.open:
            asyncio.get_running_loop().call_soon(self.fail, FailureKind.ABORTED)

    def _end(self, exchange: Reply | TransportFailure) -> None:
        assert self.open, "answered twice"
        self.open = False
        self.done(exchange)


class Receivers:
    """A transport whose other side is the test.

    Attributes:
        posts: everything that was sent, in order.
        script: where set, it is called with each request soon after it was sent.
    """

    def __init__(self) -> None:
        """Start with nothing sent."""
        self.posts: list[Post] = []
        self.script: Callable[[Post], None] | None = None
        self.calls_out = 0
        self.insecure: set[str] = set()
        self._changed = asyncio.Event()

    @property
    def open(self) -> list[Post]:
        """The requests that have no answer yet."""
        return [post for post in self.posts if post.open]

    def to(
        self, project_id: Id, destination: Destination, *, insecure_tls: bool = False
    ) -> Callable[..., Post]:
        """Return what sends requests to a destination."""
        if insecure_tls:
            self.insecure.add(destination.host)
        return partial(self._post, project_id, destination)

    def _post(
        self,
        project_id: Id,
        destination: Destination,
        head: bytes,
        body: bytes,
        timeout_s: float,
        done: Done,
    ) -> Post:
        post = Post(project_id, destination.host, head, body, done)
        post.timeout_s = timeout_s
        self.posts.append(post)
        self._changed.set()
        if self.script is not None:
            self.calls_out += 1
            asyncio.get_running_loop().call_soon(self._play, self.script, post)
        return post

    def _play(self, script: Callable[[Post], None], post: Post) -> None:
        self.calls_out -= 1
        if post.open:
            script(post)

    async def reach(self, count: int, patience_s: float = PATIENCE_S) -> None:
        """Wait until so many requests were sent in all."""
        async with asyncio.timeout(patience_s):
            while len(self.posts) < count:
                self._changed.clear()
                await self._changed.wait()


class Broken:
    """A format with a defect."""

    name = "broken"
    signature_header = "webhook-signature"

    def render(self, outgoing: Outgoing) -> Rendered:
        """Fail."""
        raise ZeroDivisionError


class Works:
    """One process's engine. `stop` drains it; a test that just leaves it plays a crash."""

    def __init__(
        self,
        records: Records,
        store: SqliteStore,
        config: DispatcherConfig,
        intake: IngestConfig,
        runner: Runner | None = None,
    ) -> None:
        """Wire the parts as the server does."""
        loop = asyncio.get_running_loop()
        self.records = records
        self.clock = records.clock
        self.store = store
        self.router = Router()
        self.receivers = Receivers()
        self.runs = Runs()
        sender = Sender(loop, self.receivers, {**NATIVE_FORMATS, "broken": Broken()})
        self.dispatcher = Dispatcher(
            Configuration(store),
            self.router,
            sender,
            self.clock,
            SeededEntropy(),
            config,
            runner or self.runs,
        )
        self.expander = Expander(store, self.dispatcher.owed, records.ids)
        self.announcer = self.dispatcher.roster.announcer
        self.teller = Teller(
            store, self.announcer, self.dispatcher.owed, self.clock, records.ids, BACKLOG_US
        )
        self.woken = 0
        self.ingest = Ingest(
            store, self.router, self.dispatcher, self.clock, records.ids, intake, self._wake
        )
        self.principal = records.principal()

    def _wake(self) -> None:
        self.woken += 1

    async def start(self) -> None:
        """Send what is owed."""
        for project in await self.store.read(projects.list_all):
            self.dispatcher.roster.defaults_changed(project)
        found = await self.store.read(subscriptions.load_all)
        self.router.load(self.store.committer.versions, found)
        keys = {one.id: (KEY,) for one in found}
        await self.dispatcher.start(keys, await look(self.store, self.router))

    # What producers and people do.

    def hand_in(self, *drafts: Draft, project_id: Id | None = None) -> "asyncio.Future[Any]":
        """Hand a request's events in; the future has what `done` is called with."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        principal = self.principal
        if project_id is not None:
            principal = self.records.principal(project_id=project_id)
        self.ingest.accept(principal, drafts, answer.set_result)
        # Ids run ahead of a clock that stands, and what they are of is due at their moment.
        self.clock.forward(0.01)
        return answer

    async def accept(
        self,
        count: int = 1,
        *,
        payload: bytes = b"{}",
        attributes: Attributes = NO_ATTRIBUTES,
        project_id: Id | None = None,
    ) -> list[Accepted]:
        """Accept events in one request."""
        drafts = [Draft("card.created", payload, attributes) for _ in range(count)]
        accepted = await self.hand_in(*drafts, project_id=project_id)
        assert not isinstance(accepted, WaypostError), accepted
        return list(accepted)

    async def change(self, subscription: Subscription, **settings: Any) -> Subscription:
        """Change a subscription, as its operations do."""

        def write(connection: Connection) -> tuple[int, Subscription]:
            present = subscriptions.get(connection, subscription.project_id, subscription.id)
            defaults = projects.defaults(connection, subscription.project_id)
            changed, frees = reordered(present, replace(present, **settings), defaults)
            subscriptions.update(connection, changed)
            if frees:
                blocked_keys.free_all(connection, changed.project_id, changed.id)
            return projects.bump_routing(connection, changed.project_id), changed

        def follow(result: tuple[int, Subscription]) -> None:
            self.router.apply(*result)
            self.dispatcher.subscription_changed(result[1])

        return (await self.store.write(write, follow))[1]

    async def set_defaults(self, project_id: Id, **settings: Any) -> None:
        """Change the defaults of a project, as its operations do."""

        def write(connection: Connection) -> Project:
            project = projects.get(connection, project_id)
            changed = replace(project, defaults=Inheritable(**settings))
            reordered = ordering.follow(connection, project_id, project.defaults, changed.defaults)
            projects.update(connection, changed)
            if reordered:
                version = projects.bump_routing(connection, project_id)
                changed = replace(changed, routing_version=version)
            return changed

        await self.store.write(write, self.dispatcher.roster.defaults_changed)

    async def disable(
        self, subscription: Subscription, by: DisabledBy = DisabledBy.PERSON
    ) -> Subscription:
        """Disable a subscription."""
        return await self.change(subscription, disabled_by=by)

    async def enable(self, subscription: Subscription) -> Subscription:
        """Enable a subscription again."""
        return await self.change(subscription, disabled_by=None, failing_since_us=None)

    async def delete(self, subscription: Subscription) -> None:
        """Delete a subscription, as its operations do."""
        place = (subscription.project_id, subscription.id)

        def write(connection: Connection) -> int:
            subscriptions.delete(connection, *place, self.clock.now_us())
            return projects.bump_routing(connection, place[0])

        def follow(version: int) -> None:
            self.router.remove(version, *place)
            self.dispatcher.roster.deleted(*place)

        await self.store.write(write, follow)

    # Time.

    async def forward(self, seconds: float) -> None:
        """Let time pass, and everything happen that it brings."""
        self.clock.forward(seconds)
        self.dispatcher._alarms._fire()
        self.sweep()
        await self.quiet()

    def sweep(self) -> None:
        """Do now what the dispatcher does once in a while."""
        if self.dispatcher._sweeper is not None:
            self.dispatcher._sweeper.cancel()
        self.dispatcher._sweep()

    async def quiet(self) -> None:
        """Wait until nothing is read, written or answered by a script: only time goes on."""
        dispatcher = self.dispatcher
        async with asyncio.timeout(PATIENCE_S):
            while True:
                await self.store.write(lambda _: None)
                tasks = dispatcher._tasks | dispatcher._refiller._tasks | dispatcher._upkeep._tasks
                if dispatcher._expiry._task is not None:
                    tasks = tasks | {dispatcher._expiry._task}
                if tasks:
                    await asyncio.wait(tasks)
                elif (
                    not self.store.committer._inbox
                    and not self.receivers.calls_out
                    and dispatcher.in_flight_count == len(self.receivers.open)
                ):
                    return

    async def tell(self) -> None:
        """Save how receivers fare, tell of what there is to tell, and let it be delivered."""
        await self.forward(1)
        await self.teller.run_once()
        while await self.expander.run_once():
            pass
        # Ids run ahead of a clock that stands, and what they are of is due at their moment.
        await self.forward(0.1)

    # What became of it.

    @property
    def sent(self) -> list[str]:
        """The ids that were sent, in order, repetitions included."""
        return [post.webhook_id for post in self.receivers.posts]

    async def rows(self, table: str) -> list[Any]:
        """Return all rows of a table."""
        chosen = schema.metadata.tables[table]
        return list(await self.store.read(lambda c: c.execute(select(chosen)).all()))

    async def count(self, table: str) -> int:
        """Count a table's rows."""
        chosen = select(func.count()).select_from(schema.metadata.tables[table])
        return int(await self.store.read(lambda c: c.execute(chosen).scalar_one()))

    async def ends(self) -> dict[tuple[DeliveryState, Reason | None], int]:
        """Count the final deliveries by their state and reason."""
        found: dict[tuple[DeliveryState, Reason | None], int] = {}
        for row in await self.rows("deliveries"):
            end = DeliveryState(row.state), None if row.reason is None else Reason(row.reason)
            found[end] = found.get(end, 0) + 1
        return found

    def nothing_leaks(self) -> None:
        """Check that all that was taken was given back."""
        dispatcher = self.dispatcher
        assert dispatcher.in_flight_count == 0
        assert not dispatcher._fast.waiting
        assert not dispatcher._slow.waiting
        held = [
            work
            for receiver in dispatcher._receivers._by_id.values()
            for work in receiver.lane.known.values()
        ]
        for receiver in dispatcher._receivers._by_id.values():
            assert receiver.lane.in_flight == 0
        assert dispatcher.held_bytes == sum(
            len(work.event.payload) for work in held if work.event is not None
        )


@asynccontextmanager
async def works(
    records: Records,
    path: Path,
    *,
    intake: IngestConfig | None = None,
    runner: Runner | None = None,
    **config: Any,
) -> AsyncIterator[Works]:
    """Run an engine on a database that was made; at the end it is killed, not drained."""
    async with database.opened(path) as store:
        running = Works(
            records, store, DispatcherConfig(**config), intake or IngestConfig(), runner
        )
        await running.start()
        yield running
        dispatcher = running.dispatcher
        dispatcher.stopping = True
        dispatcher._alarms.stop()
        if dispatcher._sweeper is not None:
            dispatcher._sweeper.cancel()
        tasks = dispatcher._tasks | dispatcher._refiller._tasks | dispatcher._upkeep._tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
