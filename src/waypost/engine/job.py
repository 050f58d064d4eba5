"""A job: one of the tasks that run by themselves, step by step, when there is something to do."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog

from waypost.model.errors import StorageFull, Unavailable

_log = structlog.get_logger(__name__)

_RETRY_S: Final = 1.0


def log_failed(what: str, error: Exception, **about: str) -> None:
    """Log what has failed and is tried again.

    That the database is away or full for a while is expected; whatever else it is, is an error of
    our own and is told with its cause.

    Args:
        what: the name of the line.
        error: why.
        about: what it was about.
    """
    if isinstance(error, Unavailable | StorageFull):
        _log.info(what, error=str(error), **about)
    else:
        _log.error(what, exc_info=error, **about)


class Job:
    """Calls a step until there is nothing left to do, then waits to be woken."""

    def __init__(
        self, name: str, step: Callable[[], Awaitable[bool]], *, every_s: float | None = None
    ) -> None:
        """Take the step: it does a bounded part, and tells whether there may be more.

        Args:
            name: for the log.
            step: one bounded part of the work; it remembers nothing that a crash may not lose.
            every_s: look for work this often even if nobody wakes the job, seconds.
        """
        self._name = name
        self._step = step
        self._every_s = every_s
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._may: Callable[[], bool] = lambda: True

    def only(self, may: Callable[[], bool], *, every_s: float) -> None:
        """Do the work only where `may` says so, since another process does it else.

        `every_s` is how often to look for what other processes have left to do, seconds.
        """
        self._may = may
        self._every_s = every_s if self._every_s is None else min(self._every_s, every_s)

    def start(self) -> None:
        """Start, with what the last stop or crash has left."""
        self._wanted.set()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def wake(self) -> None:
        """Look for work now."""
        self._wanted.set()

    def wake_in(self, delay_s: float) -> None:
        """Look for work after so many seconds."""
        asyncio.get_running_loop().call_later(max(delay_s, 0.0), self.wake)

    async def stop(self) -> None:
        """Break off; a job that was not started, or is stopped already, stays so."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        is_waiting = False
        while True:
            # Not `wait_for`: until Python 3.12 it loses a cancellation that comes with a wake.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._wanted.wait()
            self._wanted.clear()
            try:
                while self._may() and await self._step():
                    pass
            except Exception as error:  # noqa: BLE001 - whatever it is, the work goes on
                # The store may be away or full for a while, and no work is ever forgotten.
                if not isinstance(error, Unavailable | StorageFull):
                    _log.exception("job_failed", job=self._name)
                elif not is_waiting:
                    _log.info("job_waits", job=self._name, error=str(error))
                    is_waiting = True
                await asyncio.sleep(_RETRY_S)
                self._wanted.set()
            else:
                is_waiting = False
