"""The rig: one server, its receivers and its producers, from the first start to the verdict."""

import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.torture import audit, ledger, oracle
from tests.torture.api import Api
from tests.torture.cast import CAST, Role
from tests.torture.ledger import Ledger
from tests.torture.load import Load
from tests.torture.oracle import Verdict
from tests.torture.process import ProcessError, Receivers, Server

MAX_IN_FLIGHT = 64
DRAIN_S = 90.0
CRASH_S = 30.0
_POLL_S = 0.05
_LAST_WORDS = "last-words"


class Rig:
    """Everything that a run needs. Make it with `rig`, which also ends it."""

    def __init__(
        self, folder: Path, cast: Sequence[Role], chance: random.Random, receivers: Receivers
    ) -> None:
        """Take the running receivers; the server is not started yet."""
        self.server = Server(
            folder,
            {
                "WAYPOST_MAX_IN_FLIGHT": str(MAX_IN_FLIGHT),
                "WAYPOST_LANE_WINDOW": "200",
                "WAYPOST_DISK_RESERVE": "0",
            },
        )
        self.receivers = receivers
        self.chance = chance
        self.roles: dict[str, Role] = {}
        self._cast = cast
        self._folder = folder
        self._sent = Ledger(folder / "sent.jsonl")
        self.api = Api(self.server)
        self.load = Load(self.server, self._sent, chance)
        self._ended = False

    @property
    def ceiling(self) -> int:
        """How many attempts can be in flight: the setting, and those that count aside as slow."""
        return MAX_IN_FLIGHT + sum(role.concurrency for role in self._cast if role.hangs)

    def subscription(self, role: Role) -> str:
        """Return the token of a role's subscription."""
        return next(token for token, known in self.roles.items() if known == role)

    # Lives.

    async def begin(self, sabotage: Sequence[str] = (), *, wrapper: Sequence[str] = ()) -> None:
        """Start the first life, and make the subscriptions."""
        await self.start(sabotage, wrapper=wrapper)
        await self.server.ready()
        for role in self._cast:
            self.roles[await self.api.subscribe(role, self.receivers)] = role

    async def start(self, sabotage: Sequence[str] = (), *, wrapper: Sequence[str] = ()) -> None:
        """Start a life."""
        if sabotage:
            sabotage = [*sabotage, "--last-words", str(self._folder / _LAST_WORDS)]
        await self.server.start(sabotage, wrapper=wrapper)

    async def kill(self) -> None:
        """End a life by SIGKILL."""
        await self.receivers.command(ended=await self.server.kill(), killed=True)

    async def crashed(self, within_s: float = CRASH_S) -> bool:
        """Wait until a life has ended by its own crash point; False where it lives on.

        Raises:
            ProcessError: it has ended otherwise.
        """
        if not await self.server.died(within_s):
            return False
        words = self._folder / _LAST_WORDS
        if not words.exists():
            raise ProcessError(f"the server ended by itself\n{self.server.log_tail()}")
        await self.receivers.command(ended=float(words.read_text()), killed=True)
        words.unlink()
        return True

    async def stop(self) -> None:
        """End a life by SIGTERM.

        Raises:
            ProcessError: it did not end with exit code 0.
        """
        at, code = await self.server.stop()
        await self.receivers.command(ended=at, killed=False)
        if code:
            raise ProcessError(f"exit code {code} after SIGTERM\n{self.server.log_tail()}")

    # The end.

    async def drained(self, within_s: float = DRAIN_S) -> None:
        """Wait until nothing is owed any more; give up where it takes too long."""
        deadline = time.monotonic() + within_s
        while audit.waiting(self.server.database) and time.monotonic() < deadline:
            if await self.server.died(_POLL_S):
                raise ProcessError(f"the server ended by itself\n{self.server.log_tail()}")

    async def verdict(self, drain_s: float = DRAIN_S) -> Verdict:
        """Drain, stop, and compare what everybody knows. The server must be up."""
        await self.server.ready()
        await self.drained(drain_s)
        shown = await self.api.look()
        await self.stop()
        story = oracle.tell(
            ledger.read(self._folder / "sent.jsonl"),
            ledger.read(self._folder / "received.jsonl"),
            self.roles,
            audit.read(self.server.database),
            shown,
            self.ceiling,
        )
        return oracle.judge(story)

    # The rest.

    async def end(self) -> None:
        """End the load and every process."""
        await self.load.cancel()
        await self.server.end()
        await self.receivers.end()
        self._sent.close()


@asynccontextmanager
async def rig(folder: Path, cast: Sequence[Role] = CAST, seed: int = 0) -> AsyncIterator[Rig]:
    """Make a rig in a folder, and end its processes whatever happens."""
    receivers = await Receivers.start(folder / "received.jsonl", folder / "receivers.log")
    made = Rig(folder, cast, random.Random(seed), receivers)
    try:
        yield made
    finally:
        await made.end()
