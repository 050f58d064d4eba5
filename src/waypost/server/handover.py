"""The line between a supervisor and one of its processes.

By it go the orders at the start, then connections that the supervisor has accepted; and back comes
the word how many of them are open. Where one end is gone, the other one learns it by the same line.

The supervisor accepts for all: a connection goes to the process that has the fewest, so a few
connections that are kept alive are spread evenly, and none is lost in the queue of a process that
died.
"""

import array
import asyncio
import pickle
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

import structlog

from waypost.clock import SystemClock
from waypost.config import Config
from waypost.web.listener import BACKLOG, Listener

_log = structlog.get_logger(__name__)

_LENGTH: Final = struct.Struct("!I")
_WORD: Final = struct.Struct("!II")
_READ_BYTES: Final = 4_096
_MOST_AT_ONCE: Final = 64
_MOST_UNANSWERED: Final = 16
_SILENT_S: Final = 0.2
_RETRY_S: Final = 0.1
_GATHER_S: Final = 0.005


class Orders(NamedTuple):
    """What a process of a group must know.

    Attributes:
        config: what the supervisor was told; it does not change if a file does meanwhile.
        number: of the process, from 1.
        size: how many processes the group has.
        port: where the group listens.
        figures: the descriptor of the group's figures.
    """

    config: Config
    number: int
    size: int
    port: int
    figures: int


class Member:
    """A process, as its supervisor knows it.

    Attributes:
        is_ready: it serves.
        load: connections that it has open, or that are on their way to it.
    """

    def __init__(self, line: socket.socket, told: Callable[[], None]) -> None:
        """Take the line's end, and whom to tell whenever the process has said something."""
        self._line = line
        self._line.setblocking(False)
        self._told = told
        self._open = 0
        self._unanswered = 0
        self._heard = 0.0
        self._clock = SystemClock()
        self._rest = b""
        self.is_ready = False

    def order(self, orders: Orders) -> None:
        """Send the orders, and hear what it says from now on."""
        content = pickle.dumps(orders)
        self._line.setblocking(True)
        self._line.sendall(_LENGTH.pack(len(content)) + content)
        self._line.setblocking(False)
        asyncio.get_running_loop().add_reader(self._line, self._hear)

    @property
    def load(self) -> int:
        """Connections that it has, as far as is known."""
        return self._open + self._unanswered

    @property
    def is_free(self) -> bool:
        """Whether it may be handed one more connection."""
        return self._unanswered < _MOST_UNANSWERED

    @property
    def is_silent(self) -> bool:
        """Whether it takes long to answer: it may hang."""
        return self._unanswered > 0 and self._clock.monotonic() - self._heard > _SILENT_S

    def hand(self, connection: socket.socket) -> bool:
        """Hand over a connection; False where it can't be reached."""
        descriptors = array.array("i", [connection.fileno()])
        try:
            self._line.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        except OSError:
            return False
        if not self._unanswered:
            self._heard = self._clock.monotonic()
        self._unanswered += 1
        return True

    def close(self) -> None:
        """Hear it no more."""
        self.is_ready = False
        asyncio.get_running_loop().remove_reader(self._line)
        self._line.close()

    def _hear(self) -> None:
        try:
            heard = self._line.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        if not heard:
            # It has ended, or is about to: whoever waits for it knows.
            self.is_ready = False
            asyncio.get_running_loop().remove_reader(self._line)
            return
        words = self._rest + heard
        whole = len(words) - len(words) % _WORD.size
        for adopted, self._open in _WORD.iter_unpack(words[:whole]):
            self._unanswered -= adopted
        self._rest = words[whole:]
        self._heard = self._clock.monotonic()
        self.is_ready = True
        self._told()


class Door:
    """Accepts the connections of a group, and hands each to the process that has the fewest."""

    def __init__(self, listening: socket.socket) -> None:
        """Take the bound socket; whoever connects before a process is ready is refused."""
        self._listening = listening
        self._listening.setblocking(False)
        self._members: list[Member] = []
        self._is_listening = False
        self._accepting = False

    def add(self, member: Member) -> None:
        """Let a process have connections, as soon as it is ready."""
        self._members.append(member)

    def remove(self, member: Member) -> None:
        """Hand nothing to a process any more."""
        self._members.remove(member)

    def open(self) -> None:
        """Accept, if a process is free.

        Raises:
            OSError: the address is taken after all.
        """
        if self._accepting or self._next() is None or self._listening.fileno() < 0:
            return
        if not self._is_listening:
            self._listening.listen(BACKLOG)
            self._is_listening = True
        self._accepting = True
        asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def close(self) -> None:
        """Accept no more: whoever connects is refused."""
        self._pause()
        self._listening.close()

    def _pause(self) -> None:
        if self._accepting:
            self._accepting = False
            asyncio.get_running_loop().remove_reader(self._listening)

    def _wait(self) -> None:
        """Leave those who connect in the kernel's queue, for a moment or until a word comes."""
        self._pause()
        asyncio.get_running_loop().call_later(_RETRY_S, self.open)

    def _next(self) -> Member | None:
        ready = [member for member in self._members if member.is_ready]
        # One that hangs gets a connection only where all do.
        answering = [member for member in ready if not member.is_silent] or ready
        free = [member for member in answering if member.is_free]
        return min(free, key=lambda member: member.load, default=None)

    def _accept(self) -> None:
        for _ in range(_MOST_AT_ONCE):
            member = self._next()
            if member is None:
                self._wait()
                return
            try:
                connection, _ = self._listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                # No descriptors are left: those who wait in the kernel's queue wait on.
                _log.warning("accept_failed", error=str(error))
                self._wait()
                return
            with connection:
                while member is not None and not member.hand(connection):
                    member.is_ready = False
                    member = self._next()


class Line:
    """The end of the line in the process."""

    def __init__(self, descriptor: int) -> None:
        """Take the descriptor that the supervisor has left open."""
        self._line = socket.socket(fileno=descriptor)
        self._listener: Listener | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_reporting = False
        self.lost: Callable[[], None] = lambda: None

    def orders(self) -> Orders:
        """Wait for the orders.

        Raises:
            EOFError: the supervisor is gone.
        """
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        orders: Orders = pickle.loads(self._read(length))  # noqa: S301 - our own parent wrote it
        self._line.setblocking(False)
        return orders

    def _read(self, length: int) -> bytes:
        content = b""
        while len(content) < length:
            part = self._line.recv(length - len(content))
            if not part:
                raise EOFError
            content += part
        return content

    def serve(self, listener: Listener) -> None:
        """Tell that this process is ready, and give the listener what is handed over."""
        self._listener = listener
        asyncio.get_running_loop().add_reader(self._line, self._receive)
        self._say(0)

    def report_soon(self) -> None:
        """Tell how many connections are open, in a moment: they often go many at a time."""
        if not self._is_reporting:
            self._is_reporting = True
            asyncio.get_running_loop().call_later(_GATHER_S, self._report)

    def _report(self) -> None:
        self._is_reporting = False
        self._say(0)

    async def stop(self) -> None:
        """Take what has been handed over, and nothing after that."""
        asyncio.get_running_loop().remove_reader(self._line)
        self._receive()
        await asyncio.gather(*self._tasks)

    def close(self) -> None:
        """Close this end."""
        self._line.close()

    def _receive(self) -> None:
        while True:
            try:
                told, descriptors, _, _ = socket.recv_fds(self._line, 1, _MOST_AT_ONCE)
            except BlockingIOError:
                return
            except OSError:
                told = b""
            if not told:
                asyncio.get_running_loop().remove_reader(self._line)
                self.lost()
                return
            task = asyncio.get_running_loop().create_task(self._adopt(descriptors))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _adopt(self, descriptors: list[int]) -> None:
        listener = self._listener
        if listener is None:
            return
        for descriptor in descriptors:
            # A caller that is gone already is no matter.
            with suppress(OSError):
                await listener.adopt(socket.socket(fileno=descriptor))
        self._say(1)

    def _say(self, adopted: int) -> None:
        count = 0 if self._listener is None else self._listener.open_connections
        # Where nobody hears it, or hears nothing now, the supervisor is gone or about to be.
        with suppress(OSError):
            self._line.send(_WORD.pack(adopted, count))
