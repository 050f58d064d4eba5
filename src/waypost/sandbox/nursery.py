"""The process that makes workers: it has loaded what they need, and forks one when it is told to.

A fork takes a millisecond where a start takes thirty, so a worker that a program has used up costs
little. This process never runs a program itself. It is told by its control socket what to do, and
when that ends, by whatever death of the server, it ends its workers and itself.

It is told to fork a worker, with the socket that the worker is to serve, or to kill one, which is
answered with how it ended.
"""

import gc
import os
import signal
import socket
import sys
from contextlib import suppress

from waypost.sandbox import frames, javascript, worker
from waypost.sandbox.confine import Confinement
from waypost.sandbox.frames import Limits


class Nursery:
    """Workers by the numbers that the server has given them."""

    def __init__(self, control: socket.socket, limits: Limits) -> None:
        """Take the control socket and the limits of every call."""
        self._control = control
        self._limits = limits
        self._confinement = Confinement(limits.memory_bytes)
        self._workers: dict[int, int] = {}

    def run(self) -> None:
        """Do what the server says, until it is gone."""
        flags = frames.HAS_ENGINE * javascript.AVAILABLE
        flags |= frames.FILTERS_CALLS * self._confinement.filters_calls
        self._control.sendall(frames.HELLO.pack(flags))
        while True:
            message, files, _, _ = socket.recv_fds(self._control, frames.CONTROL.size, 1)
            if len(message) < frames.CONTROL.size:
                break
            what, number = frames.CONTROL.unpack(message)
            if what == frames.KILL:
                self._control.sendall(frames.ENDED.pack(number, self._end(number)))
                continue
            for connection in files:
                # One that can't be made shows by its socket, which nobody has.
                with suppress(OSError):
                    self._fork(number, connection)
                os.close(connection)
        for number in tuple(self._workers):
            self._end(number)

    def _fork(self, number: int, connection: int) -> None:
        child = os.fork()
        if child:
            self._workers[number] = child
            return
        status = 1
        try:
            worker.serve(connection, self._limits, self._confinement)
            status = 0
        finally:
            # Nothing of this process may run in its child, whatever happened.
            os._exit(status)

    def _end(self, number: int) -> int:
        pid = self._workers.pop(number, 0)
        if not pid:
            return 0
        os.kill(pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(arguments: list[str]) -> None:
    """Run; the arguments are the control socket and the limits, as numbers."""
    control, cpu_s, memory_bytes, payload_bytes = arguments
    # A stop of the service may be told to all its processes; these end with the server.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    limits = Limits(float(cpu_s), int(memory_bytes), int(payload_bytes))
    # What stands now is shared with every worker: the collector must not write to it.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(control)) as connection:
        Nursery(connection, limits).run()


if __name__ == "__main__":
    main(sys.argv[1:])
