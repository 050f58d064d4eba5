"""Sharing: what a process has besides, where others work on the same database.

It owns some of the shards, follows what others change of the configuration, and wakes those whose
work it has committed. Here these three are made, and told of each other and of the dispatcher.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, Protocol

import structlog

from waypost.clock import Clock, IdSource
from waypost.engine.configuration import Configuration
from waypost.engine.dispatcher import Dispatcher
from waypost.engine.follower import Follower
from waypost.engine.job import Job
from waypost.engine.ownership import Ownership, OwnershipConfig
from waypost.engine.reconciler import Reconciler, look
from waypost.engine.roster import Roster
from waypost.engine.router import Router
from waypost.engine.shards import Shards
from waypost.engine.waker import Channel, Hurried, Lane, Topic, Waker
from waypost.model.errors import Unavailable
from waypost.model.ids import Id
from waypost.storage import queue
from waypost.storage.apart import Apart
from waypost.storage.connection import Connection
from waypost.storage.store import Store

_log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0
"""How often it is looked for what another process has left to do, where nobody tells of it."""

LOOK_ANYWAY_S: Final = 5.0
"""The same where others tell of it: should one have died before it did."""

_ROUNDS: Final = 5
"""So often at most a delivery is read anew that may have been sent while it was read."""


class Links(Protocol):
    """The ways to a database, and through it to the other processes, beside the store's."""

    def newest(self, connection: Connection) -> Sequence[tuple[Id, Id, Id | None]]:
        """Read (project, subscription, delivery) of what each lane was owed last."""

    def apart(self, name: str) -> Apart:
        """Return a connection for one use alone; nothing is connected yet."""

    def channel(self, heard: Callable[[str], None], connected: Callable[[], None]) -> Channel:
        """Return a way to send messages; it calls back in a thread of its own."""


class Sharing:
    """For the loop's thread alone.

    Attributes:
        shards: those that this process owns.
        configuration: what changes of the configuration go through.
        follower: keeps up with what others change.
        waker: tells others, and hears of them.
        look_s: how often it is looked for what others have left to do, seconds.
    """

    def __init__(self, store: Store, links: Links, clock: Clock, *, notify: bool) -> None:
        """Make what does not need to know the dispatcher; nothing is connected yet.

        Args:
            store: the database.
            links: the other ways to it.
            clock: the database's.
            notify: tell others at once; else they look by themselves.
        """
        self._loop = asyncio.get_running_loop()
        self._store = store
        self._links = links
        self._clock = clock
        self._notify = notify
        self.look_s = LOOK_ANYWAY_S if notify else LOOK_S
        self._tasks: set[asyncio.Task[None]] = set()
        self._channel: Channel | None = None
        self._ownership: Ownership | None = None
        self.waker = Waker(self._loop)
        self.shards = Shards(self.waker.wake)
        self.follower = Follower(links.apart("follower"), clock)
        self.configuration = Configuration(store, self._follow_own)

    async def _follow_own(self) -> None:
        self.waker.tell(Topic.CONFIGURATION)
        await self.follower.catch_up()

    def serve(
        self, router: Router, dispatcher: Dispatcher, ids: IdSource, config: OwnershipConfig
    ) -> Ownership:
        """Own shards on a dispatcher's behalf, from `start` on."""
        ownership = Ownership(
            self._links.apart("lease"),
            self.shards,
            dispatcher,
            self._clock,
            ids,
            config,
            partial(look, self._store, router),
        )
        ownership.tell = partial(self.waker.tell, Topic.WORKERS)
        dispatcher.roster.left = ownership.left
        self.waker.woken = partial(self._woken, router, dispatcher)
        self.waker.hurried = partial(self._hurried, dispatcher)
        self.waker.listeners[Topic.WORKERS] = ownership.wake
        self.waker.listeners[Topic.CONFIGURATION] = self.follower.wake
        self._ownership = ownership
        return ownership

    def confirm(self, dispatcher: Dispatcher, admit: Callable[[float], None]) -> None:
        """Send, and admit callers, only while what is in memory is known to be right."""

        def confirmed(until: float) -> None:
            self.shards.confirm(until)
            admit(until)

        self.follower.confirmed = confirmed
        self.follower.lapsed = dispatcher.go_on

    def reconciler(self, dispatcher: Dispatcher) -> Reconciler:
        """Return what finds the work that others have committed and not told of."""
        made = Reconciler(self._store, dispatcher, self._links.newest)
        made.job.only(lambda: self.shards.count() > 0, every_s=LOOK_S)
        self.waker.listeners[Topic.OWED] = made.job.wake
        return made

    def one_does(self, *jobs: Job) -> None:
        """Let one process do these jobs for all."""
        for job in jobs:
            job.only(self.shards.leads, every_s=self.look_s)

    def listen(self, topic: Topic, job: Job) -> Callable[[], None]:
        """Return what has a job look for work, here and in the other processes."""
        self.waker.listeners[topic] = job.wake

        def wake() -> None:
            job.wake()
            self.waker.tell(topic)

        return wake

    async def start(self) -> None:
        """Join the others; what `Follower.begin` has preceded is loaded.

        Raises:
            Unavailable: the database does not answer.
        """
        await self.follower.start()
        if self._notify:
            self._channel = self.waker.channel = self._links.channel(
                partial(self._from_thread, self.waker.heard),
                partial(self._from_thread, self.waker.missed),
            )
        if self._ownership is not None:
            self._ownership.start()

    def retire(self) -> None:
        """Give up every shard, each as soon as it is quiet."""
        if self._ownership is not None:
            self._ownership.retire()

    async def stop(self) -> None:
        """Leave the others, when nothing is in flight any more."""
        if self._ownership is not None:
            await self._ownership.leave()
        self.waker.flush()
        self.waker.channel = None
        if self._channel is not None:
            await asyncio.to_thread(self._channel.close)
        await self.follower.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _from_thread(self, fn: Callable[..., None], *args: str) -> None:
        try:
            self._loop.call_soon_threadsafe(fn, *args)
        except RuntimeError:
            # The loop is closed: nobody is left to be told.
            _log.debug("message_dropped")

    def _woken(self, router: Router, dispatcher: Dispatcher, lanes: Sequence[Lane]) -> None:
        known = [lane for lane in lanes if router.find(*lane) is not None]
        dispatcher.roster.look(known)
        if len(known) < len(lanes):
            strange = [lane for lane in set(lanes) - set(known) if self.shards.owns(lane[1])]
            if strange:
                self._spawn(self._wake_strange(dispatcher, strange))

    async def _wake_strange(self, dispatcher: Dispatcher, lanes: Sequence[Lane]) -> None:
        """Wake lanes of subscriptions that are so new that nothing is known of them here."""
        try:
            await self.follower.catch_up()
        except Unavailable:
            return  # the next look at what is owed finds them
        dispatcher.roster.look(lanes)

    def _hurried(self, dispatcher: Dispatcher, hurried: Sequence[Hurried]) -> None:
        self._spawn(self._hurry(dispatcher.roster, hurried))

    async def _hurry(self, roster: Roster, hurried: Sequence[Hurried]) -> None:
        """Send deliveries that others have committed before what waits in their lanes.

        Where the database does not answer they take their turns.
        """
        for _ in range(_ROUNDS):
            marks = {
                (project_id, delivery_id): mark
                for project_id, subscription_id, delivery_id in hurried
                if (mark := roster.mark(subscription_id, delivery_id)) is not None
            }
            if not marks:
                return
            try:
                owed = await self._store.read_owed(partial(queue.find_untried, places=[*marks]))
            except Unavailable:
                return
            hurried = [
                (one.project_id, one.subscription_id, one.id)
                for one in owed
                if not roster.hurry(marks[one.project_id, one.id], one)
            ]

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
