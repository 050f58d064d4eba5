"""The pool of workers: runs transforms in them, a few at a time, and outlives what they do.

A worker belongs to one project for as long as it lives: what a program might find in its memory is
never another project's. A call has three ends that it can't escape: the engine's own limit, the
kernel's, a little later, and after a while of the wall clock ours.
"""

import asyncio
import signal
import socket
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from waypost.model.ids import Id
from waypost.model.transform import Deferred, Fault, FaultKind, Made, Result, Skipped
from waypost.sandbox import answers, frames
from waypost.sandbox.frames import Limits, Request
from waypost.sandbox.keeper import Keeper
from waypost.sandbox.waiting import Waiting

_log = structlog.get_logger(__name__)

IDLE_MAX: Final = 8
"""Workers that may be kept without work: it saves a fork where projects take turns."""
WAITING_MAX: Final = 10_000
_WALL_LEAST_S: Final = 5.0
_WALL_FACTOR: Final = 20
"""A call ends after so many times its limit even if it took no time of the processor's."""
_BACK_OFF_S: Final = 1.0
_READ_BYTES: Final = 256 * 1024


class PoolConfig(msgspec.Struct, frozen=True):
    """How many calls run at a time, and what one may use.

    Attributes:
        workers: calls at a time.
        cpu_s: of the processor's time, seconds.
        memory_bytes: of memory.
        payload_bytes: what it may make of a payload.
    """

    workers: int = 2
    cpu_s: float = 0.1
    memory_bytes: int = 32 * 1024 * 1024
    payload_bytes: int = 256 * 1024


class Job:
    """One call, waiting or at work.

    Attributes:
        line: for whom it is made: between these the pool is fair.
        request: makes what is sent to the worker, when it is its turn.
        dropped: nobody waits for it any more.
    """

    __slots__ = ("_done", "dropped", "line", "project_id", "request")

    def __init__(
        self,
        project_id: Id,
        line: bytes,
        request: Callable[[], Request],
        done: Callable[[Result], None],
    ) -> None:
        """Keep what is to be done."""
        self.project_id = project_id
        self.line = line
        self.request = request
        self._done = done
        self.dropped = False

    def abort(self) -> None:
        """Drop it: `done` is not called. A worker that is at it goes on, for nobody."""
        self.dropped = True

    def conclude(self, result: Result) -> None:
        """Tell whoever waits, once."""
        if not self.dropped:
            self.dropped = True
            self._done(result)


class _Worker:
    """One worker: its socket, and what it is at.

    Attributes:
        ends: it was told to end; its job is concluded when that has happened.
        why: what to tell of a job that it was ended for.
    """

    __slots__ = (
        "connection",
        "deadline",
        "ends",
        "inbox",
        "job",
        "number",
        "outbox",
        "project_id",
        "slow",
        "why",
    )

    def __init__(self, number: int, project_id: Id, connection: socket.socket) -> None:
        self.number = number
        self.project_id = project_id
        self.connection = connection
        self.job: Job | None = None
        self.slow = False
        self.deadline: asyncio.TimerHandle | None = None
        self.inbox = bytearray()
        self.outbox = memoryview(b"")
        self.ends = False
        self.why: FaultKind | None = None


class Pool:
    """Runs transforms. For the event loop's thread alone.

    Attributes:
        counts: how many calls came to what.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, config: PoolConfig) -> None:
        """Take how much may be used; nothing is started before the first call."""
        self._loop = loop
        self._config = config
        self._limits = Limits(config.cpu_s, config.memory_bytes, config.payload_bytes)
        self._keeper = Keeper(loop, self._limits, self._ended, self._lost)
        self._wall_s = max(_WALL_LEAST_S, _WALL_FACTOR * config.cpu_s)
        self._waiting: Waiting[Job] = Waiting(WAITING_MAX)
        self._workers: dict[int, _Worker] = {}
        self._idle: dict[int, _Worker] = {}
        self._number = 0
        self._at_work = 0
        self._slow_at_work = 0
        self._down_until_s = 0.0
        self._closed = False
        self.counts = {"made": 0, "skipped": 0, "failed": 0, "deferred": 0}

    @property
    def worker_count(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    def submit(
        self,
        project_id: Id,
        line: bytes,
        request: Callable[[], Request],
        done: Callable[[Result], None],
    ) -> Job:
        """Run a transform when it is its turn.

        Args:
            project_id: whose program it is.
            line: for whom: a subscription, say.
            request: called when it is its turn, for what to send.
            done: called once, later, unless the job is dropped.
        """
        job = Job(project_id, line, request, done)
        if self._closed or self._loop.time() < self._down_until_s:
            self._defer([job], "transforms can't be run now")
        elif not self._waiting.push(job):
            self._defer([job], "too many transforms wait to be run")
        else:
            self._pump()
        return job

    async def close(self) -> None:
        """Run nothing more; end all workers and wait until they have ended."""
        self._closed = True
        self._let_go("the server is stopping")
        await self._keeper.close()

    def _defer(self, jobs: list[Job], reason: str) -> None:
        for job in jobs:
            self._loop.call_soon(self._conclude, job, Deferred(reason))

    def _conclude(self, job: Job, result: Result) -> None:
        match result:
            case Made():
                self.counts["made"] += 1
            case Skipped():
                self.counts["skipped"] += 1
            case Fault():
                self.counts["failed"] += 1
            case _:
                self.counts["deferred"] += 1
        job.conclude(result)

    # Calls start.

    def _pump(self) -> None:
        """Start what may start. One worker is kept from those who hold theirs for long."""
        while self._at_work < self._config.workers and not self._closed:
            slow = self._slow_at_work < max(1, self._config.workers - 1)
            job = self._waiting.pop(slow=slow)
            if job is None:
                return
            try:
                frame = frames.pack_request(job.request())
                self._begin(self._worker(job.project_id), job, frame)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
                _log.exception("transform_not_started")
                self._waiting.landed(job.line, 0.0)
                self._defer([job], "no worker can be started")
                if isinstance(error, OSError):
                    self._back_off()

    def _worker(self, project_id: Id) -> _Worker:
        """Return an idle worker of a project, made where there is none.

        Raises:
            OSError: none can be made.
        """
        for worker in self._idle.values():
            if worker.project_id == project_id:
                return self._idle.pop(worker.number)
        if len(self._idle) >= IDLE_MAX:
            # The one that had nothing to do for longest.
            self._end(next(iter(self._idle.values())))
        self._number += 1
        worker = _Worker(self._number, project_id, self._keeper.fork(self._number))
        self._workers[worker.number] = worker
        self._loop.add_reader(worker.connection, self._read, worker)
        return worker

    def _begin(self, worker: _Worker, job: Job, frame: bytes) -> None:
        worker.job = job
        worker.slow = self._waiting.is_slow(job.line)
        self._at_work += 1
        self._slow_at_work += worker.slow
        worker.deadline = self._loop.call_later(self._wall_s, self._overran, worker)
        worker.outbox = memoryview(frame)
        self._write(worker)

    def _write(self, worker: _Worker) -> None:
        try:
            while worker.outbox:
                worker.outbox = worker.outbox[worker.connection.send(worker.outbox) :]
        except BlockingIOError:
            self._loop.add_writer(worker.connection, self._write, worker)
            return
        except OSError:
            # It is dying; its end is read.
            worker.outbox = memoryview(b"")
        self._loop.remove_writer(worker.connection)

    # Calls end.

    def _read(self, worker: _Worker) -> None:
        try:
            part = worker.connection.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        if not part:
            self._end(worker)
            return
        inbox = worker.inbox
        inbox += part
        if len(inbox) < frames.LENGTH.size:
            return
        size = frames.LENGTH.size + frames.LENGTH.unpack_from(inbox)[0]
        if size > frames.ANSWER_MAX or len(inbox) > size or worker.job is None:
            self._end(worker, FaultKind.CRASH)
        elif len(inbox) == size:
            self._answered(worker, bytes(inbox[frames.LENGTH.size :]))

    def _answered(self, worker: _Worker, body: bytes) -> None:
        worker.inbox.clear()
        answer = frames.unpack_answer(body)
        result = None if answer is None else answers.read(answer, self._limits)
        if answer is None or result is None:
            self._end(worker, FaultKind.CRASH)
            return
        job = self._release(worker, answer.took_us / 1_000_000)
        self._idle[worker.number] = worker
        if len(self._idle) > IDLE_MAX:
            self._end(next(iter(self._idle.values())))
        self._pump()
        self._conclude(job, result)

    def _release(self, worker: _Worker, took_s: float) -> Job:
        """Take back what a worker holds of the pool; return its job, which took so long."""
        job, worker.job = worker.job, None
        assert job is not None  # noqa: S101 - it is at work
        if worker.deadline is not None:
            worker.deadline.cancel()
        self._at_work -= 1
        self._slow_at_work -= worker.slow
        self._waiting.landed(job.line, took_s)
        return job

    # Workers end.

    def _overran(self, worker: _Worker) -> None:
        self._end(worker, FaultKind.TIMEOUT)

    def _end(self, worker: _Worker, why: FaultKind | None = None) -> None:
        """End a worker, or learn how it has ended; `_ended` follows."""
        if worker.ends:
            return
        worker.ends = True
        worker.why = why
        self._idle.pop(worker.number, None)
        self._close(worker)
        self._keeper.kill(worker.number)

    def _ended(self, number: int, status: int) -> None:
        worker = self._workers.pop(number, None)
        if worker is None or worker.job is None:
            return
        fault = self._fault(worker, status)
        job = self._release(worker, self._limits.cpu_s)
        _log.warning("transform_ended_worker", kind=fault.kind.value, status=status)
        self._pump()
        self._conclude(job, fault)

    def _fault(self, worker: _Worker, status: int) -> Fault:
        if worker.why is FaultKind.TIMEOUT:
            return Fault(FaultKind.TIMEOUT, f"it took more than {self._wall_s:g} seconds in all")
        if status == -signal.SIGPROF:
            return Fault(FaultKind.TIMEOUT, answers.overtime(self._limits))
        if status == -signal.SIGKILL and worker.why is None:
            return Fault(FaultKind.MEMORY, "it was killed, most likely for the memory that it took")
        return Fault(FaultKind.CRASH, "it brought its process down")

    def _lost(self, ready: bool) -> None:  # noqa: FBT001 - what the keeper tells
        """The nursery has ended, and with it all workers."""
        if not ready:
            self._back_off()
        self._let_go("the process that runs transforms was lost")

    def _back_off(self) -> None:
        self._down_until_s = self._loop.time() + _BACK_OFF_S
        self._defer(self._waiting.clear(), "transforms can't be run now")

    def _let_go(self, reason: str) -> None:
        workers = list(self._workers.values())
        self._workers.clear()
        self._idle.clear()
        for worker in workers:
            if not worker.ends:
                self._close(worker)
            if worker.job is not None:
                self._defer([self._release(worker, 0.0)], reason)
        if self._closed:
            self._defer(self._waiting.clear(), reason)
        elif workers:
            self._loop.call_soon(self._pump)

    def _close(self, worker: _Worker) -> None:
        self._loop.remove_reader(worker.connection)
        self._loop.remove_writer(worker.connection)
        worker.connection.close()
