"""The rig of a cluster: a PostgreSQL, its workers, their receivers and producers."""

import asyncio
import base64
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from tests.support import postgres
from tests.torture import audit, ledger, oracle
from tests.torture.api import Api
from tests.torture.cast import CAST, Role
from tests.torture.client import Connection, Unanswered
from tests.torture.cluster import sends
from tests.torture.cluster.faults import Fault, Kind
from tests.torture.cluster.judgement import Judgement, judge
from tests.torture.ledger import Ledger
from tests.torture.load import Load
from tests.torture.process import ROOT, ProcessError, Receivers, Server, environment, new_key

LEASE_S = 2.0
MAX_IN_FLIGHT = 32
DRAIN_S = 90.0
BACK_S = 10.0
"""After the database is back everything goes on by itself within this time."""

STALL_S = 40.0
_POLL_S = 0.05
_STEADY = tuple(Role(f"steady-{number}", concurrency=8) for number in range(8))
CLUSTER_CAST = (*CAST[2:], *_STEADY)
"""Many subscriptions: every worker owns some."""


class Workers:
    """The workers, of which a producer may ask any."""

    def __init__(self, folder: Path, count: int, database: str, settings: dict[str, str]) -> None:
        """Nothing runs yet."""
        self.key = new_key()
        self.all = [
            Server(folder, settings, name=f"worker-{number}", database=database, key=self.key)
            for number in range(count)
        ]
        self._turn = 0

    @property
    def port(self) -> int:
        """The next worker's port."""
        self._turn += 1
        return self.all[self._turn % len(self.all)].port


class Cluster:
    """Everything that a run needs. Make it with `cluster`, which also ends it."""

    def __init__(
        self,
        folder: Path,
        workers: int,
        chance: random.Random,
        database: postgres.Server,
        receivers: Receivers,
        cast: Sequence[Role],
    ) -> None:
        """Take the running database and receivers; no worker is started yet."""
        self._cast = cast
        self.database = database
        self.receivers = receivers
        self.chance = chance
        self.faults: list[Fault] = []
        self.roles: dict[str, Role] = {}
        self._folder = folder
        self._frozen: dict[int, float] = {}
        self._sabotage: Sequence[str] = ()
        settings = {
            "WAYPOST_SECRET_KEY": base64.b64encode(os.urandom(32)).decode(),
            "WAYPOST_MAX_IN_FLIGHT": str(MAX_IN_FLIGHT),
            "WAYPOST_LANE_WINDOW": "200",
            "WAYPOST_DISK_RESERVE": "0",
            "WAYPOST_LEASE": f"{LEASE_S}",
        }
        self._settings = {**settings, "WAYPOST_DATABASE_URL": database.url("waypost")}
        self.workers = Workers(folder, workers, database.url("waypost"), settings)
        self.api = Api(self.workers)
        self._sent = Ledger(folder / "sent.jsonl")
        self.load = Load(self.workers, self._sent, chance)

    @property
    def ceiling(self) -> int:
        """How many attempts of one worker can be in flight, with those that count as slow."""
        return MAX_IN_FLIGHT + sum(role.concurrency for role in self._cast if role.hangs)

    async def begin(self, *sabotage: str) -> None:
        """Make the tables, start all workers, and make the subscriptions."""
        self._sabotage = sabotage
        await asyncio.to_thread(self._migrate)
        for worker in self.workers.all:
            await self._start(worker)
        for worker in self.workers.all:
            await worker.ready()
        for role in self._cast:
            self.roles[await self.api.subscribe(role, self.receivers)] = role

    def _migrate(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "waypost", "migrate"],
            check=False,
            capture_output=True,
            cwd=ROOT,
            env=environment(self._settings),
        )
        if done.returncode:
            raise ProcessError(f"waypost migrate failed\n{done.stderr.decode()}")

    async def _start(self, worker: Server) -> None:
        await worker.start([f"--sends={self._folder}", *self._sabotage])

    async def revive(self, worker: Server) -> None:
        """Start a worker that was killed; it is ready on return."""
        await self._start(worker)
        await worker.ready()

    # Faults.

    async def kill(self, worker: Server) -> None:
        """Kill a worker."""
        pid = worker.process.pid
        at = await worker.kill()
        self.faults.append(Fault(Kind.KILLED, pid, at, at))

    async def freeze(self, worker: Server, seconds: float) -> None:
        """Freeze a worker for a while."""
        began = worker.freeze()
        try:
            await self.passes(seconds)
        finally:
            ended = worker.thaw()
        self.faults.append(Fault(Kind.FROZEN, worker.process.pid, began, ended))

    async def stalled(self) -> Server:
        """Wait until a worker has frozen itself; it is thawed by `thaw`.

        Raises:
            ProcessError: none has.
        """
        deadline = time.monotonic() + STALL_S
        while time.monotonic() < deadline:
            for worker in self.workers.all:
                if worker.is_frozen():
                    self._frozen[worker.process.pid] = time.monotonic()
                    return worker
            await self.passes(_POLL_S)
        raise ProcessError(f"no worker has stalled\n{self.workers.all[0].log_tail()}")

    def thaw(self, worker: Server) -> None:
        """Have a worker go on that has frozen itself."""
        pid = worker.process.pid
        self.faults.append(Fault(Kind.FROZEN, pid, self._frozen[pid], worker.thaw()))

    async def received(self, count: int) -> None:
        """Wait until so many deliveries have arrived.

        Raises:
            ProcessError: they have not.
        """
        deadline = time.monotonic() + STALL_S
        while self._count_received() < count:
            if time.monotonic() > deadline:
                logs = "\n".join(worker.log_tail() for worker in self.workers.all)
                raise ProcessError(f"{count} deliveries have not arrived\n{logs}")
            await self.passes(_POLL_S)

    def _count_received(self) -> int:
        lines = ledger.read(self._folder / "received.jsonl")
        return sum(isinstance(line, ledger.Received) for line in lines)

    async def break_database(self, seconds: float) -> None:
        """Have PostgreSQL end as in a crash, and start it again after a while.

        Raises:
            ProcessError: the workers did not go on by themselves in time.
        """
        began = time.monotonic()
        await asyncio.to_thread(self.database.stop, signal.SIGQUIT)
        await self.passes(seconds)
        await asyncio.to_thread(self.database.start)
        ended = time.monotonic()
        self.faults.append(Fault(Kind.DATABASE, None, began, ended))
        for worker in self.workers.all:
            await self._accepts(worker, ended + BACK_S)

    async def _accepts(self, worker: Server, deadline: float) -> None:
        connection = Connection(worker.port, worker.key)
        try:
            while time.monotonic() < deadline:
                try:
                    if (await connection.request("GET", "/readyz"))[0] == 200:
                        return
                except Unanswered:
                    pass
                if await worker.died(_POLL_S):
                    raise ProcessError(f"a worker ended by itself\n{worker.log_tail()}")
        finally:
            await connection.close()
        raise ProcessError(f"not ready {BACK_S} s after the database\n{worker.log_tail()}")

    async def passes(self, seconds: float) -> None:
        """Let time go by; every worker that lives must live through it.

        Raises:
            ProcessError: one ended by itself.
        """
        alive = [worker for worker in self.workers.all if worker.process.returncode is None]
        ends = [asyncio.create_task(worker.process.wait()) for worker in alive]
        ended, _ = await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        for worker, end in zip(alive, ends, strict=True):
            if end in ended:
                raise ProcessError(f"a worker ended by itself\n{worker.log_tail()}")

    # The end.

    async def judgement(self, drain_s: float = DRAIN_S) -> Judgement:
        """Drain, stop, and compare what everybody knows. All workers must be up."""
        for worker in self.workers.all:
            await worker.ready()
        deadline = time.monotonic() + drain_s
        url = self.database.url("waypost")
        while await asyncio.to_thread(audit.waiting, url) and time.monotonic() < deadline:
            await self.passes(_POLL_S)
        shown = await self.api.look()
        for worker in self.workers.all:
            _, code = await worker.stop()
            if code:
                raise ProcessError(f"exit code {code} after SIGTERM\n{worker.log_tail()}")
        story = oracle.tell(
            ledger.read(self._folder / "sent.jsonl"),
            ledger.read(self._folder / "received.jsonl"),
            self.roles,
            await asyncio.to_thread(audit.read, url),
            shown,
            self.ceiling,
        )
        log = sends.read(self._folder)
        told = b"\n".join(msgspec.json.encode(fault) for fault in self.faults)
        (self._folder / "faults.jsonl").write_bytes(told)
        return judge(story, self.faults, log, workers=len(self.workers.all), lease_s=LEASE_S)

    async def end(self) -> None:
        """End the load and every process."""
        await self.load.cancel()
        for worker in self.workers.all:
            await worker.end()
        await self.receivers.end()
        self._sent.close()


@asynccontextmanager
async def cluster(
    folder: Path, workers: int, seed: int = 0, cast: Sequence[Role] = CLUSTER_CAST
) -> AsyncIterator[Cluster]:
    """Make a cluster, and end its processes whatever happens. The database keeps fsync on."""
    with postgres.running(durable=True) as database:
        database.execute("CREATE DATABASE waypost")
        receivers = await Receivers.start(folder / "received.jsonl", folder / "receivers.log")
        made = Cluster(folder, workers, random.Random(seed), database, receivers, cast)
        try:
            yield made
        finally:
            await made.end()
