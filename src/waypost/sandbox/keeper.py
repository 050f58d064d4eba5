"""The server's side of the nursery: starts it when the first worker is wanted, and tells it.

What is told here does not wait: a worker that is wanted can be written to at once, and reads it
when it is there.
"""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from waypost.sandbox import frames
from waypost.sandbox.frames import Limits

_log = structlog.get_logger(__name__)

PATIENCE_S: Final = 10.0
"""A nursery that has not ended a worker by then does not work any more."""

_SOURCES: Final = str(Path(__file__).parents[2])
# Nothing of the caller's surroundings: no settings, which hold secrets, and no clock but UTC.
_ENVIRONMENT: Final = {"LC_ALL": "C.UTF-8", "TZ": "UTC0"}
_START: Final = (
    "import sys; sys.path[:] = sys.argv[5:];"
    "from waypost.sandbox.nursery import main; main(sys.argv[1:5])"
)


class Keeper:
    """Has workers made and ended. For the event loop's thread alone.

    Attributes:
        ready: the nursery has said that it is there.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        ended: Callable[[int, int], None],
        lost: Callable[[bool], None],
    ) -> None:
        """Start nothing yet.

        Args:
            loop: the event loop.
            limits: of every call.
            ended: told the number of a worker that was killed, and how it ended: its exit status,
                or its signal below zero.
            lost: told that the nursery is gone, and all workers with it; and whether it had ever
                said that it was there.
        """
        self._loop = loop
        self._limits = limits
        self._ended = ended
        self._lost = lost
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._read = b""
        self._ending: dict[int, asyncio.TimerHandle] = {}
        self.ready = False

    @property
    def pid(self) -> int | None:
        """The nursery's process id; None where there is none."""
        return None if self._process is None else self._process.pid

    def fork(self, number: int) -> socket.socket:
        """Have a worker made; return the socket by which it is spoken to.

        Raises:
            OSError: it can't be.
        """
        control = self._control or self._start()
        ours, theirs = socket.socketpair()
        try:
            socket.send_fds(control, [frames.CONTROL.pack(frames.FORK, number)], [theirs.fileno()])
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        return ours

    def kill(self, number: int) -> None:
        """Have a worker killed, if it still lives; `ended` is told of it."""
        if self._control is None:
            return
        self._ending[number] = self._loop.call_later(PATIENCE_S, self._gone)
        try:
            self._control.send(frames.CONTROL.pack(frames.KILL, number))
        except OSError:
            # It does not take orders any more: all of it goes.
            self._gone()

    async def close(self) -> None:
        """End the nursery and its workers, and wait until they have."""
        process = self._process
        if process is None:
            return
        self._let_go()
        await self._loop.run_in_executor(None, process.wait)

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - ourselves
                [
                    *(sys.executable, "-I", "-S", "-c", _START),
                    *(str(theirs.fileno()), str(self._limits.cpu_s)),
                    *(str(self._limits.memory_bytes), str(self._limits.payload_bytes)),
                    *(_SOURCES, *(str(Path(place).absolute()) for place in sys.path if place)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                cwd="/",
                pass_fds=(theirs.fileno(),),
                # What a terminal sends to all of a session is for the server alone.
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        self._control = ours
        self._loop.add_reader(ours, self._hear)
        return ours

    def _hear(self) -> None:
        assert self._control is not None  # noqa: S101 - else nobody reads
        try:
            heard = self._control.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        if not heard:
            self._gone()
            return
        self._read += heard
        if not self.ready and len(self._read) >= frames.HELLO.size:
            (flags,) = frames.HELLO.unpack_from(self._read)
            self._read = self._read[frames.HELLO.size :]
            self.ready = True
            _log.info(
                "transforms_started",
                has_engine=bool(flags & frames.HAS_ENGINE),
                filters_calls=bool(flags & frames.FILTERS_CALLS),
            )
        while self.ready and len(self._read) >= frames.ENDED.size:
            number, status = frames.ENDED.unpack_from(self._read)
            self._read = self._read[frames.ENDED.size :]
            if number in self._ending:
                self._ending.pop(number).cancel()
                self._ended(number, status)

    def _gone(self) -> None:
        process, ready = self._process, self.ready
        self._let_go()
        if process is not None:
            process.kill()
            process.wait()
            _log.error("transforms_lost", status=process.returncode)
        self._lost(ready)

    def _let_go(self) -> None:
        if self._control is not None:
            self._loop.remove_reader(self._control)
            self._control.close()
        for deadline in self._ending.values():
            deadline.cancel()
        self._ending.clear()
        self._control = self._process = None
        self._read = b""
        self.ready = False
