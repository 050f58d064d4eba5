"""The producers: several connections that post, and write down what they know.

A post without an idempotency key whose answer did not come is left alone: it may be an event or
not. One with a key is sent again until its answer comes, and must then be one event.
"""

import asyncio
import json
import random
from collections import deque
from collections.abc import Sequence

import msgspec

from tests.torture.cast import TYPES
from tests.torture.client import Connection, Place, Unanswered, Unsent
from tests.torture.ledger import Answered, Ledger, Posted, payload

RETRY_S = 0.03
_PLAN = ("single",) * 8 + ("keyed",) * 6 + ("again", "twins", "batch", "keyed batch")


class Post(msgspec.Struct):
    """One request: an event, or a batch of them."""

    numbers: Sequence[int]
    types: Sequence[str]
    keyed: bool
    batch: bool = False


class Load:
    """What all producers share.

    Attributes:
        answered: how many requests were acknowledged.
        chains: so many ordering keys there are, each event having one; 0: none has.
    """

    def __init__(self, place: Place, ledger: Ledger, chance: random.Random) -> None:
        """Nothing is posted yet."""
        self._place = place
        self._ledger = ledger
        self._chance = chance
        self._next = 0
        self._groups = 0
        self._owed: deque[Post] = deque()
        self._known: deque[Post] = deque(maxlen=200)
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.answered = 0
        self.chains = 0

    # A stream of posts, until it is told to stop.

    def start(self, connections: int, pause_s: float) -> None:
        """Post from several connections, each pausing about so long between two requests."""
        self._stop.clear()
        self._tasks = [asyncio.create_task(self._stream(pause_s)) for _ in range(connections)]

    async def finish(self) -> None:
        """Post nothing new; send again what has a key and no answer, until it has one."""
        self._stop.set()
        await asyncio.gather(*self._tasks)
        await self.run([])

    async def cancel(self) -> None:
        """Break everything off; after `finish` there is nothing left to break off."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _stream(self, pause_s: float) -> None:
        connection = self._connect()
        while not self._stop.is_set():
            if not await self._step(connection):
                await self._pause(RETRY_S)
            else:
                await self._pause(self._chance.expovariate(1 / pause_s))
        await connection.close()

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return

    async def _step(self, connection: Connection) -> bool:
        if self._owed:
            return await self._send(connection, self._owed.popleft())
        match self._chance.choice(_PLAN):
            case "again" if self._known:
                return await self._send(connection, self._chance.choice(self._known))
            case "twins":
                return await self._twins(connection, self.make(keyed=True))
            case "batch":
                return await self._send(connection, self.make(5, batch=True))
            case "keyed batch":
                return await self._send(connection, self.make(5, keyed=True, batch=True))
            case plan:
                return await self._send(connection, self.make(keyed=plan == "keyed"))

    async def _twins(self, connection: Connection, post: Post) -> bool:
        """Send the same post twice at the same time."""
        other = self._connect()
        both = await asyncio.gather(self._send(connection, post), self._send(other, post))
        await other.close()
        return all(both)

    # A fixed amount of posts.

    async def run(self, posts: Sequence[Post], connections: int = 4) -> None:
        """Send posts from several connections; return when each one that has a key is answered."""
        self._stop.clear()
        self._owed.extend(posts)
        await asyncio.gather(*(self._empty() for _ in range(connections)))
        self._stop.set()

    def ordered(self, count: int) -> Sequence[Post]:
        """Make posts of so many events in all, each of a chain: some one by one, some in batches.

        All are sent until they are answered, so that each is one event.
        """
        posts: list[Post] = []
        while count > 0:
            size = min(count, 10 if len(posts) % 4 == 3 else 1)
            kind = "order.created" if len(posts) % 16 == 5 else "plain.tick"
            posts.append(self.make(size, kind=kind, keyed=True, batch=size > 1))
            count -= size
        return posts

    async def run_twins(self, count: int) -> None:
        """Post events twice each, both at the same time."""
        connection = self._connect()
        for _ in range(count):
            await self._twins(connection, self.make(keyed=True))
        await connection.close()

    async def _empty(self) -> None:
        connection = self._connect()
        while self._owed:
            if not await self._send(connection, self._owed.popleft()):
                await self._pause(RETRY_S)
        await connection.close()

    # One post.

    def make(
        self, count: int = 1, *, kind: str = "", keyed: bool = False, batch: bool = False
    ) -> Post:
        """Make a post of new events, of one type or of any."""
        numbers = range(self._next, self._next + count)
        self._next += count
        return Post(numbers, [kind or self._chance.choice(TYPES) for _ in numbers], keyed, batch)

    def _connect(self) -> Connection:
        return Connection(self._place.port, self._place.key)

    async def _send(self, connection: Connection, post: Post) -> bool:
        """Send a post; False where no answer came."""
        self._write_posted(post)
        items = [
            _item(n, kind, post, self._chain(n))
            for n, kind in zip(post.numbers, post.types, strict=True)
        ]
        path, body = "/v1/events", items[0]
        if post.batch:
            path, body = "/v1/events/batch", b'{"events":[%b]}' % b",".join(items)
        try:
            status, answer = await connection.request("POST", path, body)
        except Unanswered as error:
            if post.keyed or isinstance(error, Unsent):
                self._owed.append(post)
            return False
        self._write_answered(post, status, answer)
        if status != 202 and post.keyed:
            self._owed.append(post)
        return status == 202

    def _write_posted(self, post: Post) -> None:
        at = asyncio.get_running_loop().time()
        self._groups += post.batch
        for n, kind in zip(post.numbers, post.types, strict=True):
            key = _key(n) if post.keyed else None
            group = post.numbers[0] if post.batch else None
            self._ledger.write(Posted(n, kind, key, group, at, self._chain(n)))

    def _chain(self, n: int) -> str | None:
        return f"chain-{n % self.chains}" if self.chains else None

    def _write_answered(self, post: Post, status: int, answer: bytes) -> None:
        at = asyncio.get_running_loop().time()
        content = json.loads(answer) if answer else {}
        results = content["data"] if status == 202 and post.batch else [content] * len(post.numbers)
        for n, result in zip(post.numbers, results, strict=True):
            known = status == 202
            self._ledger.write(
                Answered(
                    n,
                    at,
                    status,
                    result["token"] if known else "",
                    result["duplicate"] if known else False,
                )
            )
        if status == 202:
            self.answered += 1
            if post.keyed:
                self._known.append(post)


def _key(n: int) -> str:
    return f"key-{n}"


def _item(n: int, kind: str, post: Post, chain: str | None) -> bytes:
    more = b', "idempotency_key": "%b"' % _key(n).encode() if post.keyed else b""
    if chain is not None:
        more += b', "ordering_key": "%b"' % chain.encode()
    return b'{"event_type": "%b", "payload": %b%b}' % (kind.encode(), payload(n), more)
