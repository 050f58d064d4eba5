"""Programs: those that the test plays, and real ones in real processes."""

import asyncio
import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import Any

from waypost.model.ids import Id
from waypost.model.transform import Made, Result
from waypost.sandbox import frames
from waypost.sandbox.frames import Request
from waypost.sandbox.pool import Job, Pool


class Run:
    """One program that was to be run; the test is the program."""

    def __init__(
        self,
        project_id: Id,
        line: bytes,
        request: Callable[[], Request],
        done: Callable[[Result], None],
    ) -> None:
        """Keep what was asked."""
        self.project_id = project_id
        self.line = line
        self.request = request
        self._done = done
        self.open = True

    def end(self, result: Result) -> None:
        """Say what comes of it."""
        assert self.open, "ended twice"
        self.open = False
        self._done(result)

    def abort(self) -> None:
        """Be dropped."""
        self.open = False


class Runs:
    """What runs programs.

    Attributes:
        all: every run, in order.
        script: where set, says soon after what comes of each run.
    """

    def __init__(self, script: Callable[[Run], Result] | None = None) -> None:
        """Start with none."""
        self.all: list[Run] = []
        self.script = script

    def submit(
        self,
        project_id: Id,
        line: bytes,
        request: Callable[[], Request],
        done: Callable[[Result], None],
    ) -> Run:
        """Take a program to run."""
        run = Run(project_id, line, request, done)
        self.all.append(run)
        if self.script is not None:
            asyncio.get_running_loop().call_soon(self._play, self.script, run)
        return run

    def _play(self, script: Callable[[Run], Result], run: Run) -> None:
        if run.open:
            run.end(script(run))


def untouched(_run: Run) -> Result:
    """Play a program that changes nothing."""
    return Made()


PATIENCE_S = 60.0
PROJECT = b"p" * 16
LINE = b"s" * 16


class Programs:
    """Runs real programs in a pool, and waits for what comes of them."""

    def __init__(self, pool: Pool) -> None:
        """Take the pool."""
        self.pool = pool
        self.jobs: list[Job] = []

    def start(
        self,
        text: str,
        *,
        language: bytes = frames.JAVASCRIPT,
        payload: bytes = b'{"n": 1}',
        project: bytes = PROJECT,
        line: bytes = LINE,
    ) -> "asyncio.Future[Result]":
        """Start a function with this body, or a template."""
        if language == frames.JAVASCRIPT:
            text = f"function transform(payload) {{ {text} }}"
        request = Request(language, 0, text.encode(), payload)
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.jobs.append(self.pool.submit(project, line, lambda: request, done.set_result))
        return done

    async def run(self, text: str, **options: Any) -> Result:
        """Run one to its end."""
        return await ended(self.start(text, **options))

    @property
    def nursery(self) -> int:
        """The process id of the nursery."""
        pid = self.pool._keeper.pid
        assert pid is not None
        return pid

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        return children(self.nursery)


async def ended(run: "asyncio.Future[Result]") -> Result:
    """Wait for what comes of a program."""
    async with asyncio.timeout(PATIENCE_S):
        return await run


def children(pid: int) -> list[int]:
    """Return the children of a process that has one thread; on Linux."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Watched:
    """A process that is watched for its end; on Linux."""

    def __init__(self, pid: int) -> None:
        """Watch it from now on."""
        self._file = os.pidfd_open(pid)

    def ends(self) -> bool:
        """Wait for its end."""
        ready, _, _ = select.select([self._file], [], [], PATIENCE_S)
        os.close(self._file)
        return bool(ready)
